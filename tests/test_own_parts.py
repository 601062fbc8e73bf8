"""Couplings and base distributions of a user inside of estimators: all laws of the named ones hold for them."""

import copy
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from scipy import integrate
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sknvp import ConditionalRealNVPDensity, RealNVPOutlierDetector, RealNVPTransformer, VariationalRealNVP
from sknvp._distributed.shard import _plain
from sknvp.flows import AffineCoupling, Base, Coupling, SplineCoupling, StandardNormal, StudentT

from .flows.builders import gradients_of
from .own_parts import AdditiveCoupling, Logistic
from .small import moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:The flows are far from log_density"
)
X = moons()


def own(**settings):
    """NICE: additive couplings and logistic noise."""
    return small(**{"coupling": AdditiveCoupling, "base": Logistic, "max_iter": 20, **settings})


@pytest.fixture(scope="module")
def fitted():
    return own().fit(X)


def test_the_density_integrates_to_one_and_draws_follow_it(fitted):
    axis = np.linspace(-6, 6, 161)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(fitted.score_samples(grid)).reshape(161, 161)
    assert integrate.simpson(integrate.simpson(p, x=axis), x=axis) == pytest.approx(1, abs=2e-3)
    drawn = fitted.sample(20_000, random_state=0)
    for j in range(2):
        mean = integrate.simpson(integrate.simpson(p, x=axis, axis=1 - j) * axis, x=axis)
        assert drawn[:, j].mean() == pytest.approx(mean, abs=4 * drawn[:, j].std() / 20_000**0.5 + 2e-3)


def test_gradients_are_those_of_differences(fitted):
    density, x = fitted.density_, torch.tensor(moons(20, 1), requires_grad=True)
    density.log_prob(x).sum().backward()
    for j, move in enumerate(1e-6 * np.eye(2)):
        with torch.no_grad():
            difference = (density.log_prob(x + torch.tensor(move)) - density.log_prob(x - torch.tensor(move))) / 2e-6
        np.testing.assert_allclose(x.grad[:, j], difference, rtol=1e-5, atol=1e-6)


def values_around(function, part, move):
    """Return the values of a function of a parameter on both sides of it, and put the parameter back."""
    values = []
    for step in (move, -2 * move):
        part.add_(step)
        values.append(function())
    part.add_(move)
    return values


def test_gradients_of_training_are_those_of_differences(fitted):
    """Training asks the base for its gradient, which autograd finds, and the couplings for theirs."""
    flow, x = copy.deepcopy(fitted.flow_), torch.tensor(X[:20]).expand(2, -1, -1)
    weights = torch.ones(2, 20, dtype=torch.float64)
    _, gradients = gradients_of(flow, x, weights)
    for part, gradient in zip(flow.parameters(), gradients, strict=True):
        direction = torch.randn(part.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            above, below = values_around(lambda: flow.log_prob(x).sum(), part, 1e-6 * direction)
        torch.testing.assert_close((gradient * direction).sum(), (above - below) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("affine", AffineCoupling), ("spline", SplineCoupling)])
def test_a_class_is_its_name(name, kind):
    named, given = (small(coupling=coupling, max_iter=3).fit(X) for coupling in (name, kind))
    np.testing.assert_array_equal(given.score_samples(X), named.score_samples(X))
    by_function = small(coupling=lambda *arguments: kind(*arguments), base=StandardNormal, max_iter=3).fit(X)
    np.testing.assert_array_equal(by_function.score_samples(X), named.score_samples(X))


def test_settings_of_a_part_go_into_a_partial():
    """Copies of a partial function are not equal, but make equal parts."""
    density = small(base=partial(StudentT, degrees_of_freedom=4), coupling=partial(AffineCoupling, max_log_scale=0.1))
    density.fit(X)
    assert density.flow_.base.nu == 4
    assert {m.max_log_scale for m in density.flow_.modules() if isinstance(m, AffineCoupling)} == {0.1}
    twin = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(twin.score_samples(X), density.score_samples(X))
    twin.partial_fit(X)
    with pytest.raises(ValueError, match=r"base must stay .* to continue"):
        twin.set_params(base=partial(StudentT, degrees_of_freedom=6)).partial_fit(X)


def test_copies_continue_alike(fitted):
    assert pickle.dumps(fitted).count(b"AdditiveCoupling") > 0
    twins = [pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)]
    scores = [twin.set_params(warm_start=True, max_iter=2).fit(X).partial_fit(X).score_samples(X) for twin in twins]
    np.testing.assert_array_equal(*scores)
    assert not np.array_equal(scores[0], fitted.score_samples(X))
    with pytest.raises(ValueError, match=r"coupling must stay .*AdditiveCoupling.* to continue"):
        twins[0].set_params(coupling="affine").fit(X)


def test_processes_that_share_a_fit_tell_parts_apart():
    assert _plain(AdditiveCoupling) == _plain(AdditiveCoupling) != _plain(AffineCoupling)


def test_searches_and_clones_take_them():
    density = own(max_iter=2, n_estimators=1)
    assert clone(density).get_params() == density.get_params()
    assert "coupling=<class 'tests.own_parts.AdditiveCoupling'>" in repr(density)
    grid = {"coupling": ["affine", AdditiveCoupling], "base": ["normal", Logistic]}
    search = GridSearchCV(density, grid, cv=2).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(set(search.cv_results_["mean_test_score"])) == 4


def test_experts_constants_counts_and_missing_cells_stand_beside_them():
    brief, rows = {"coupling": AdditiveCoupling, "base": Logistic, "n_layers": 2, "max_iter": 1}, X[:100]
    density = stacked(**brief).fit(np.c_[rows, np.ones(100)])
    assert sum(density.stacking_weights_.values()) == pytest.approx(1)
    assert (density.sample(5, random_state=0)[:, 2] == 1).all()
    counts = np.round(3 * rows)
    assert (small(**brief).fit(counts).score_samples(counts) < 0).all()
    holed = np.where(np.arange(200).reshape(100, 2) % 7 == 3, np.nan, rows)
    assert np.isfinite(small(**brief).fit(holed).score_samples(holed)).all()
    single = small(**brief).fit(rows.astype(np.float32))
    assert single.sample(3, random_state=0).dtype == np.float32
    assert np.isfinite(RealNVPOutlierDetector(n_estimators=1, **brief).fit(rows).score_samples(rows)).all()


def test_a_single_column_gets_what_was_given():
    density = small(coupling=AdditiveCoupling, max_iter=2).fit(X[:, :1])
    assert any(isinstance(part, AdditiveCoupling) for part in density.flow_.modules())
    grid = np.linspace(-10, 10, 2001)
    assert integrate.simpson(np.exp(density.score_samples(grid[:, None])), x=grid) == pytest.approx(1, abs=1e-6)


def test_noise_and_rows_find_each_other():
    transformer = RealNVPTransformer(n_layers=2, coupling=AdditiveCoupling, max_iter=2, random_state=0).fit(X)
    np.testing.assert_allclose(transformer.inverse_transform(transformer.transform(X)), X, atol=1e-9)


def test_conditional_densities_take_couplings():
    """Shifts by a network of X are a regression with normal noise; quantiles invert its distribution."""
    rows, noise = np.linspace(-2, 2, 300)[:, None], normal_rows(300, 1)[:, 0]
    y = np.sin(2 * rows[:, 0]) + 0.1 * noise
    density = ConditionalRealNVPDensity(
        coupling=AdditiveCoupling, n_layers=2, n_estimators=2, stacking=False, max_iter=60, random_state=0
    ).fit(rows, y)
    assert np.abs(density.predict(rows) - np.sin(2 * rows[:, 0])).mean() < 0.1
    np.testing.assert_allclose(density.predict_cdf(rows, density.predict_quantile(rows, 0.3)), 0.3, atol=1e-6)


def test_variational_fits_take_couplings():
    """They differentiate from noise to data, by the implicit function theorem."""
    settings = {"n_layers": 2, "n_estimators": 1, "max_iter": 75, "annealing": 0.0, "random_state": 0}

    def banana(x):
        return -(x[:, 0] ** 2 + (x[:, 1] - x[:, 0] ** 2 / 4) ** 2) / 2

    fit = VariationalRealNVP(coupling=AdditiveCoupling, **settings).fit(banana, 2)
    assert fit.elbo_curve_[-1] > fit.elbo_curve_[0] + 0.02
    assert fit.log_evidence_ == pytest.approx(np.log(2 * np.pi), abs=0.1)


class Summed(AdditiveCoupling):
    def elementwise(self, x, theta, inverse):
        z, log_slope = super().elementwise(x, theta, inverse)
        return z, log_slope.sum(1)


class OneWay(AdditiveCoupling):
    def elementwise(self, x, theta, inverse):
        return super().elementwise(x, theta, False)


class Stretched(AdditiveCoupling):
    def elementwise(self, x, theta, inverse):
        z, log_slope = super().elementwise(x, theta, inverse)
        return (z / 2 if inverse else super().elementwise(2 * x, theta, inverse)[0]), log_slope


class Centred(Coupling):
    """Its map is not element-wise: a common step of all rows shows the slope that it returns."""

    N_PARAMETERS = 1

    def elementwise(self, x, theta, inverse):
        mean = x.mean(-1, keepdim=True)
        return (x + mean) / 2 if inverse else 2 * x - mean, torch.zeros_like(x)


class Untold(Coupling):
    N_PARAMETERS = 1


class Threefold(AdditiveCoupling):
    def elementwise(self, x, theta, inverse):
        return *super().elementwise(x, theta, inverse), None


class SameSign(Coupling):
    N_PARAMETERS = 1

    def elementwise(self, x, theta, inverse):
        s = theta[:, 0]
        return x * (-s if inverse else s).exp(), s


class Learned(AdditiveCoupling):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.size = torch.nn.Parameter(torch.ones(1, 1, 1))


class Uncounted(Coupling):
    """It does not say how many parameters it has."""


class WrongWidth(Logistic):
    def __init__(self, n_features):
        super().__init__(n_features + 1)


class LearnedBase(Logistic):
    def __init__(self, n_features):
        super().__init__(n_features)
        self.size = torch.nn.Parameter(torch.ones(1))


class PerColumn(Logistic):
    def log_prob(self, z):
        return -z.square()


class Unseeded(Logistic):
    def sample(self, shape, reference, generator=None):
        return torch.randn(*shape, self.n_features, dtype=reference.dtype)


class Drawless(Base):
    def __init__(self, n_features):
        super().__init__()
        self.n_features = n_features

    def log_prob(self, z):
        return -z.abs().sum(-1)


class Scaled(Logistic):
    def __init__(self, n_features, scale):
        super().__init__(n_features)
        self.register_buffer("scale", torch.tensor(scale))

    def log_prob(self, z):
        return super().log_prob(z / self.scale) - self.scale.log().sum()

    def sample(self, shape, reference, generator=None):
        return super().sample(shape, reference, generator) * self.scale.to(reference)


class Box(Drawless):
    def log_prob(self, z):
        return torch.where((z.abs() < 2).all(-1), -self.n_features * 2 * math.log(2), -torch.inf)

    def sample(self, shape, reference, generator=None):
        return 4 * torch.rand(*shape, self.n_features, generator=generator).to(reference) - 2


class Improper(Logistic):
    def log_prob(self, z):
        return z.sum(-1).log()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"coupling": "nice"}, "coupling must be one of 'affine', 'spline' or a subclass of sknvp.flows.Coupling or a"),
        ({"coupling": torch.nn.Linear}, "coupling must be .* got <class"),
        ({"coupling": AdditiveCoupling(None, 0)}, "coupling must be .* got AdditiveCoupling"),
        ({"coupling": lambda *arguments: 3}, "coupling must make a sknvp.flows.Coupling, got 3 of type int"),
        ({"coupling": Uncounted}, "coupling must have N_PARAMETERS.* got None in Uncounted"),
        ({"coupling": Learned}, "coupling must learn nothing but what its conditioner learns"),
        ({"coupling": Summed}, r"coupling must have a method elementwise .* shape \(1, 2, 8\) here, got \(1, 8\)"),
        ({"coupling": OneWay}, r"coupling must invert its map .* got OneWay, by which \S+ comes back as \S+\. "),
        ({"coupling": Stretched}, "coupling must .* logarithm of its slope.*whose slope is 2 where it returns log.1."),
        ({"coupling": SameSign}, "coupling must return the log-slope of the direction .* Change the sign"),
        ({"base": "uniform"}, "base must be one of 'normal' or a subclass of sknvp.flows.Base or a function"),
        ({"base": lambda n_features: None}, "base must make a sknvp.flows.Base, got None of type NoneType"),
        ({"base": WrongWidth}, "base must set n_features to the number of columns, 2, got 3"),
        ({"base": LearnedBase}, r"base must have nothing to train, got parameters \['size'\]"),
        ({"base": PerColumn}, r"base must have a method log_prob .* shape \(2, 10\) here, got \(2, 10, 2\)"),
        ({"base": Unseeded}, "base must draw from the generator .* an equal one from Unseeded"),
        ({"base": Improper}, "base must have finite log-densities everywhere, got Improper, which has nan at"),
        ({"coupling": Centred}, "coupling must map each number by itself .* got Centred, whose slope is"),
        ({"coupling": Untold}, "coupling must have a method elementwise, got Untold without it"),
        ({"coupling": Threefold}, "coupling must have a method elementwise that returns .* got tuple from Threefold"),
        ({"base": Base}, r"base must be a function of the number of columns, got <class .*raised: .* n_features alone"),
        ({"base": Drawless}, "base must have a method sample, got Drawless without it"),
        ({"base": Box}, r"base must have finite log-densities everywhere, got Box, which has -inf at \[10.0, 10.0\]"),
    ],
)
def test_wrong_parts_get_errors_that_name_the_cure(settings, words):
    with pytest.raises((ValueError, TypeError), match=words):
        small(**settings).fit(X)


def test_a_base_of_no_columns_is_one_where_all_columns_are_constant():
    constant = np.full((30, 2), 3.0)
    for base in (partial(StudentT, degrees_of_freedom=4), Logistic, "normal"):
        np.testing.assert_array_equal(small(base=base).fit(constant).score_samples(constant), 0.0)


def test_partials_with_arrays_are_compared_by_their_parts():
    def with_scale(scale):
        return partial(Scaled, scale=np.array([1.0, scale]))

    density = small(base=with_scale(2.0), max_iter=2).fit(X)
    density.set_params(base=with_scale(2.0)).partial_fit(X)
    with pytest.raises(ValueError, match="base must stay"):
        density.set_params(base=with_scale(3.0)).partial_fit(X)
    assert _plain(with_scale(2.0)) == _plain(with_scale(2.0)) != _plain(with_scale(3.0))
