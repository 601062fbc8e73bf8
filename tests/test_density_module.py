"""The fitted density as a module of PyTorch: its scores, gradients and draws are those of the estimator."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import optimize, stats
from sklearn.exceptions import NotFittedError

from sknvp import ConditionalRealNVPDensity, PlanarFlowDensity, RealNVPDensity, RealNVPImageDensity, RealNVPTransformer

from .small import moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def conditional(**settings):
    defaults = {"n_layers": 2, "hidden_layer_sizes": 16, "n_estimators": 2, "max_iter": 20, "random_state": 0}
    return ConditionalRealNVPDensity(**{**defaults, **settings})


X = moons()
ESTIMATORS = {
    "flows": lambda: small().fit(X),
    "all": lambda: stacked(coupling="spline").fit(X),
    "constant": lambda: stacked().fit(np.c_[X, np.ones(400)]),
    "planar": lambda: PlanarFlowDensity(n_layers=2, n_estimators=2, max_iter=3, random_state=0).fit(X),
    "transformer": lambda: RealNVPTransformer(n_layers=2, max_iter=3, random_state=0).fit(X),
    "single precision": lambda: small().fit(X.astype(np.float32)),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_scores_are_those_of_the_estimator(name):
    estimator, rows = ESTIMATORS[name](), moons(50, 1)
    rows = rows.astype(np.float32) if name == "single precision" else rows
    rows = np.c_[rows, np.ones(50)] if name == "constant" else rows
    scores = estimator.density_.log_prob(torch.tensor(rows))
    np.testing.assert_allclose(scores.numpy(), estimator.score_samples(rows), rtol=1e-6, atol=1e-6)


def test_any_leading_shape():
    density = stacked().fit(moons()).density_
    x = torch.tensor(moons(24))
    each = density.log_prob(x)
    assert torch.equal(density.log_prob(x.view(2, 3, 4, 2)), each.view(2, 3, 4))
    assert density.log_prob(x[0]).shape == ()
    assert float(density.log_prob(x[0])) == pytest.approx(float(each[0]))


@pytest.mark.parametrize("settings", [{"coupling": "affine"}, {"coupling": "spline"}])
def test_gradients_are_those_of_differences(settings):
    density = stacked(**settings).fit(moons()).density_
    x = torch.tensor(moons(20, 1), requires_grad=True)
    density.log_prob(x).sum().backward()
    for j, move in enumerate(1e-6 * np.eye(2)):
        with torch.no_grad():
            difference = (density.log_prob(x + torch.tensor(move)) - density.log_prob(x - torch.tensor(move))) / 2e-6
        np.testing.assert_allclose(x.grad[:, j], difference, rtol=1e-3, atol=1e-3)


def test_a_minimiser_finds_the_mode_of_a_normal_distribution():
    X = normal_rows(2000, 2) * [2.0, 0.1] + [5.0, -1.0]
    density = RealNVPDensity(n_estimators=2, random_state=0).fit(X).density_

    def loss(point):
        x = torch.tensor(point, requires_grad=True)
        value = -density.log_prob(x)
        value.backward()
        return float(value.detach()), x.grad.numpy()

    found = optimize.minimize(loss, [4.0, -1.1], jac=True, method="L-BFGS-B")
    np.testing.assert_allclose((found.x - [5.0, -1.0]) / [2.0, 0.1], 0, atol=0.5)


@pytest.fixture(scope="module")
def given():
    X = np.c_[normal_rows(400, 2) * [1.0, 30.0], np.ones(400)]
    y = np.c_[X[:, 0], X[:, 0] + X[:, 1] / 30] + 0.3 * normal_rows(400, 2, 1)
    return conditional().fit(X, y), X, y


def test_contexts_are_in_the_units_of_rows(given):
    estimator, X, y = given
    density = estimator.density_
    scores = density.log_prob(torch.tensor(y), torch.tensor(X))
    np.testing.assert_allclose(scores.numpy(), estimator.score_samples(X, y), rtol=1e-6)
    for one in (torch.tensor(X[0]), torch.tensor(X[:1])):
        repeated = estimator.score_samples(np.repeat(X[:1], 400, axis=0), y)
        np.testing.assert_allclose(density.log_prob(torch.tensor(y), one).numpy(), repeated, rtol=1e-6)


def test_gradients_in_contexts_are_those_of_differences(given):
    estimator, X, y = given
    density, y = estimator.density_, torch.tensor(y[:20])
    c = torch.tensor(X[:20], requires_grad=True)
    density.log_prob(y, c).sum().backward()
    for j, step in enumerate((1e-6, 3e-5, 1e-6)):
        move = torch.tensor(step * np.eye(3)[j])
        with torch.no_grad():
            difference = (density.log_prob(y, c + move) - density.log_prob(y, c - move)) / (2 * step)
        np.testing.assert_allclose(c.grad[:, j], difference, rtol=1e-2, atol=1e-3)


def test_draws_and_their_gradients(given):
    estimator, X, _ = given
    density, generator = estimator.density_, torch.Generator().manual_seed(0)
    drawn = density.sample(4000, torch.tensor(X[0]), generator)
    assert not drawn.requires_grad
    theirs = estimator.sample(X[:1], 4000, random_state=0)[0]
    for j in range(2):
        assert stats.ks_2samp(drawn[:, j].numpy(), theirs[:, j]).pvalue > 1e-3
    c = torch.zeros(3, dtype=torch.float64).index_fill(0, torch.tensor([2]), 1.0).requires_grad_()
    mean = density.rsample(4000, c, torch.Generator().manual_seed(0))[:, 0].mean()
    mean.backward()
    assert float(c.grad[0]) == pytest.approx(1.0, abs=0.3)  # the first target follows the first column
    assert float(c.grad[2]) == 0
    joint = small().fit(moons()).density_
    a, b = (joint.rsample(5, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(a, b)


def test_nothing_done_to_it_changes_the_estimator():
    estimator, X = small().fit(moons()), moons(20, 1)
    before = estimator.score_samples(X)
    density = estimator.density_
    assert not any(part.requires_grad for part in density.parameters())
    with torch.no_grad():
        for part in density.parameters():
            part.add_(1.0)
    np.testing.assert_array_equal(estimator.score_samples(X), before)
    with pytest.raises(AttributeError):
        estimator.density_ = None


def test_only_continuous_columns_have_one():
    with pytest.raises(NotFittedError, match="it has no density_"):
        small().density_  # noqa: B018
    X = moons()
    others = [
        small(max_iter=1).fit(np.round(X)),
        small(max_iter=1, bounds=(-10, 10)).fit(X),
        small(max_iter=1, periods=10).fit(X),
        RealNVPImageDensity(n_filters=2, n_blocks=0, n_levels=2, max_iter=1).fit(np.arange(64).reshape(4, 16) % 2),
        conditional(max_iter=1).fit(pd.DataFrame({"word": ["a", "b"] * 200, "number": X[:, 0]}), X[:, 1]),
        conditional(max_iter=1).fit(X, np.round(X[:, 1])),
        conditional(max_iter=1).fit(np.where(np.arange(800).reshape(400, 2) % 7, X, np.nan), X[:, 1]),
    ]
    for estimator in others:
        assert not hasattr(estimator, "density_")
    with pytest.raises(AttributeError, match="density_ needs columns that are continuous, without bounds and periods"):
        others[0].density_  # noqa: B018


def test_contexts_are_given_where_there_is_a_condition(given):
    with pytest.raises(ValueError, match="context must be given"):
        given[0].density_.sample(3)
    with pytest.raises(ValueError, match="context must be None"):
        small(max_iter=1).fit(moons()).density_.sample(3, torch.zeros(2))
