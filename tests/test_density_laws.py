"""Laws that a density keeps, whatever was fitted, against integration, SciPy and arithmetic."""

import itertools
import pickle
from functools import cache, partial

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from sknvp.flows import AffineCoupling, Ensemble

from .small import full_batch, moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def skewed(n, n_features, seed=0):
    """Rows with skewed, dependent columns of unequal units."""
    Z = normal_rows(n, n_features, seed)
    X = Z + 0.5 * np.roll(Z, 1, axis=1) ** 2
    return X * 10.0 ** np.arange(n_features) + 5


@cache
def fit_of_moons(make):
    """The fit that several tests compare theirs with; it is not changed."""
    return make().fit(moons())


@pytest.mark.parametrize("make", [small, stacked])
@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_integrates_to_one_in_one_dimension(make, coupling):
    X = np.concatenate([normal_rows(200, 1) - 3, normal_rows(100, 1, 1) * 0.3 + 2])
    density = make(coupling=coupling).fit(X)
    grid = np.linspace(-40, 40, 40_001)
    assert integrate.simpson(np.exp(density.score_samples(grid[:, None])), x=grid) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "settings",
    [{}, {"coupling": "spline"}, {"standardize": False}, {"stacking": True}, {"batch_norm": True}],
    ids=str,
)
def test_integrates_to_one_in_two_dimensions(settings):
    density = small(**settings).fit(moons())
    x, y = np.linspace(-12, 13, 627), np.linspace(-12, 12.5, 615)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1)
    p = np.exp(density.score_samples(grid.reshape(-1, 2))).reshape(grid.shape[:2])
    assert integrate.simpson(integrate.simpson(p, x=y), x=x) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("make", [small, stacked])
def test_integrates_to_one_in_five_dimensions(make):
    """By importance sampling from a wide Student t around the data; within five standard errors."""
    X = skewed(500, 5)
    density = make().fit(X)
    proposal = stats.multivariate_t(X.mean(0), 2 * np.cov(X.T), df=4, seed=0)
    draws = proposal.rvs(100_000)
    ratio = np.exp(density.score_samples(draws) - proposal.logpdf(draws))
    error = ratio.std() / np.sqrt(len(ratio))
    assert error < 0.02
    assert ratio.mean() == pytest.approx(1, abs=5 * error)


@pytest.mark.parametrize("standardize", [True, False])
def test_losses_are_in_the_units_of_the_rows(standardize, monkeypatch):
    """With a learning rate too small to move anything, and every row held out once, they are the mean score."""
    X = skewed(100, 3) if standardize else normal_rows(100, 3)
    still = {"standardize": standardize, "learning_rate_init": 1e-300, "alpha": 0, "max_iter": 1}
    monkeypatch.setattr("sknvp.density.estimate_normal_scores", lambda *_: None)  # so that all flows are equal
    trained_on = full_batch(**still).fit(X)
    assert -trained_on.loss_curve_[0] == pytest.approx(trained_on.score(X) / 100, rel=1e-5)
    held_out = small(n_estimators=4, validation_fraction=0.25, **still).fit(X)
    assert held_out.best_validation_score_ == pytest.approx(held_out.score(X) / 100, rel=1e-5)


def test_one_member_of_one_column_treats_many_rows():
    """Without inputs a network is a bias, in long columns too."""
    X = normal_rows(3000, 1).astype(np.float32)
    density = small(n_estimators=1, max_iter=2).fit(X)
    np.testing.assert_allclose(density.score_samples(X)[:7], density.score_samples(X[:7]), rtol=1e-5)
    assert density.sample(3000, random_state=0).shape == (3000, 1)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_rows_of_either_precision_train_the_same_flow(coupling):
    X = skewed(100, 3).astype(np.float32)
    single, double = (small(coupling=coupling, max_iter=20).fit(rows) for rows in (X, X.astype(np.float64)))
    assert all(torch.equal(part, part.float().double()) for part in double.flow_.parameters())
    assert single.best_validation_score_ == pytest.approx(double.best_validation_score_, rel=1e-3)
    np.testing.assert_allclose(single.score_samples(X), double.score_samples(X), rtol=1e-3)


def test_what_is_validated_is_what_is_fitted(monkeypatch):
    """In float32 too, far from zero: with every row held out once, untrained, the score is the mean of all.

    All flows see the columns as they are, so that they are equal.
    """
    monkeypatch.setattr("sknvp.density.estimate_normal_scores", lambda *_: None)
    X = (normal_rows(400, 3) + 1e6 + 0.03).astype(np.float32)  # to a sixteenth
    settings = {"validation_fraction": 0.25, "learning_rate_init": 1e-300, "alpha": 0, "max_iter": 1}
    density = small(n_estimators=4, discrete_features=None, **settings).fit(X)
    assert density.best_validation_score_ == pytest.approx(density.score(X) / 400, rel=1e-5)


def test_an_untrained_flow_is_the_normal_fit():
    """With a learning rate too small to move anything the density is that of independent normals."""
    X = skewed(100, 3)
    density = small(n_estimators=1, learning_rate_init=1e-300, alpha=0, max_iter=1).fit(X)
    expected = stats.norm(X.mean(0), X.std(0)).logpdf(X).sum(1)
    np.testing.assert_allclose(density.score_samples(X), expected, rtol=1e-10)
    np.testing.assert_allclose(density.loc_, X.mean(0))
    np.testing.assert_allclose(density.scale_, X.std(0))


@pytest.mark.parametrize("make", [small, full_batch, stacked])
@pytest.mark.parametrize(("scale", "shift"), [(1e-20, 0.0), (3.7, -1e3), (1e12, 7e13)])
def test_units_and_offsets_shift_the_log_density_by_their_jacobian(make, scale, shift):
    """For x -> a x + b with positive a the same density comes out, less sum(log a)."""
    X = skewed(150, 3)
    a = scale * np.array([1.0, 2.5, 0.3])
    density, moved = make().fit(X), make().fit(a * X + shift)
    rows = skewed(50, 3, seed=1)
    np.testing.assert_allclose(
        moved.score_samples(a * rows + shift), density.score_samples(rows) - np.log(a).sum(), atol=2e-4
    )


def test_standardization_is_part_of_the_density():
    """Doubling the units of one column lowers every log-density by log 2 exactly: powers of two round nothing."""
    X = skewed(150, 2)
    density, moved = stacked().fit(X), stacked().fit(X * [1, 2])
    np.testing.assert_allclose(moved.score_samples(X * [1, 2]), density.score_samples(X) - np.log(2), rtol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"n_estimators": 1}, {"coupling": "spline"}, {"stacking": True}], ids=str)
def test_samples_follow_the_scored_density(settings):
    """Energy test of samples against rows drawn from the scored density by rejection; false alarm 1 in 1000."""
    density = small(**settings).fit(moons())
    rng = np.random.default_rng(0)
    box = rng.uniform([-4, -4], [5, 4], (60_000, 2))
    p = np.exp(density.score_samples(box))
    accepted = box[rng.uniform(size=len(box)) < p / p.max()][:400]
    drawn = density.sample(400, random_state=0)
    assert len(accepted) == 400

    both = np.concatenate([accepted, drawn])
    distance = np.linalg.norm(both[:, None] - both[None], axis=-1)
    sign = np.repeat([1, -1], 400)
    shuffled = np.array([rng.permutation(sign) for _ in range(999)])
    energies = -np.sum(shuffled @ distance * shuffled, axis=1)  # 400^2 times 2 E|a - b| - E|a - a'| - E|b - b'|
    assert -sign @ distance @ sign <= max(energies)


def test_rows_that_overflow_are_drawn_again_and_large_ones_stay(monkeypatch):
    density, sample, n_calls = small(max_iter=1).fit(moons()), Ensemble.sample, itertools.count()

    def overflows_once(self, *arguments):
        rows = sample(self, *arguments)
        if next(n_calls) == 0:
            rows[::3, 0] = torch.tensor([np.inf, -np.inf, np.nan])
        rows[1::3] = torch.finfo(rows.dtype).max  # the sum of these overflows
        return rows

    expected = density.sample(9, random_state=0)
    monkeypatch.setattr(Ensemble, "sample", overflows_once)
    drawn = density.sample(9, random_state=0)
    assert np.isfinite(drawn).all()
    assert next(n_calls) == 2
    np.testing.assert_array_equal(drawn[2::3], expected[2::3])

    monkeypatch.setattr(Ensemble, "sample", lambda self, *arguments: sample(self, *arguments) * np.inf)
    with pytest.raises(ValueError, match="beyond all numbers"):
        density.sample(9)


def test_every_member_gives_its_share_of_the_samples():
    """Two members moved far apart: half of the rows come from each, in no order."""
    density = small(max_iter=1).fit(moons())
    with torch.no_grad():
        for layer in (part for part in density.flow_.modules() if isinstance(part, AffineCoupling)):
            [*layer.conditioner.parameters()][-1][:, 1, 0] = torch.tensor([-50.0, 50.0])  # the shift t of each member
    right = density.sample(10_000, random_state=0).sum(1) < 0
    assert right.mean() == pytest.approx(0.5, abs=5 * 0.5 / 100)
    assert np.corrcoef(right[1:], right[:-1])[0, 1] == pytest.approx(0, abs=5 / 100)


@pytest.mark.parametrize(("n_layers", "total"), [(2, 4), (8, 16), (9, 16), (64, 16)])
def test_deep_affine_stacks_stretch_no_more_than_eight_layers(n_layers, total):
    """Each layer scales one of two columns; with huge weights it does so as far as its bound lets it."""
    density = small(n_layers=n_layers, max_iter=1, standardize=False).fit(moons())
    with torch.no_grad():
        for part in density.flow_.parameters():
            part.fill_(1e6)
        _, log_det = density.flow_.transform(torch.tensor(moons()).expand(2, -1, -1))
    assert log_det.max() == pytest.approx(total)


def test_a_flow_from_before_deep_stacks_had_bounds_of_their_own_keeps_its_density():
    density = small(n_layers=20, max_iter=1).fit(moons())
    object.__setattr__(density._specification, "max_log_scale", 2.0)
    scores = pickle.loads(pickle.dumps(density)).score_samples(moons())
    del density._specification.__dict__["max_log_scale"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(density)).score_samples(moons()), scores)


def test_members_are_averaged_as_densities():
    """The log of the mean of the members' densities, not the mean of the logs."""
    density = small(n_estimators=3).fit(moons())
    rows = moons(20, seed=1)
    each = density.flow_.log_prob(torch.tensor(rows)).detach().numpy()
    np.testing.assert_allclose(density.score_samples(rows), np.log(np.exp(each).mean(0)))


@pytest.mark.parametrize("make", [small, stacked, partial(small, standardize=False)])
@pytest.mark.parametrize("value", [0.0, 0.1, -7e9])
def test_all_probability_of_a_constant_column_is_at_its_value(make, value):
    """So it changes no score, whatever its units, and another value is as good as impossible."""
    X = moons()
    alone = fit_of_moons(make)
    wider = make().fit(np.c_[X, np.full(len(X), value)])
    equal, other = (np.c_[X, np.full(len(X), v)] for v in (value, np.nextafter(np.float32(value), np.float32(1))))
    np.testing.assert_allclose(wider.score_samples(equal), alone.score_samples(X), rtol=1e-9)
    np.testing.assert_allclose(wider.score_samples(other), alone.score_samples(X) - 30 * np.log(10), rtol=1e-9)
    assert (wider.sample(50, random_state=0)[:, 2] == value).all()


def test_a_constant_is_found_in_rows_of_single_precision():
    X = np.c_[moons(), np.full(400, 0.1)]
    density = small().fit(X)
    np.testing.assert_allclose(density.score_samples(X.astype(np.float32)), density.score_samples(X), atol=1e-4)


@pytest.mark.parametrize("make", [small, stacked])
def test_nothing_varies(make):
    density = make().fit(np.ones((5, 2)))
    np.testing.assert_allclose(density.score_samples([[1.0, 1.0], [1.0, 3.0]]), [0, np.log(1e-30)])
    np.testing.assert_array_equal(density.sample(3, random_state=0), np.ones((3, 2)))


@pytest.mark.parametrize("make", [small, full_batch, stacked])
def test_a_weight_is_a_repetition(make):
    """In everything, bit for bit: standardisation, batches, validation, stopping, experts. Zero weight is absence."""
    X = skewed(90, 2)
    counts = np.arange(90) % 4
    weighted = make().fit(X, sample_weight=counts)
    repeated = make().fit(np.repeat(X, counts, axis=0))
    np.testing.assert_array_equal(weighted.score_samples(X), repeated.score_samples(X))
    assert weighted.loss_curve_ == repeated.loss_curve_
    scaled = make().fit(X, sample_weight=counts * 2.0**-40)
    np.testing.assert_array_equal(weighted.score_samples(X), scaled.score_samples(X))


@pytest.mark.parametrize("make", [small, full_batch, stacked])
def test_the_order_of_the_rows_does_not_matter(make):
    X = skewed(90, 3)
    order = np.random.default_rng(0).permutation(90)
    weights = np.linspace(1, 2, 90)
    once, again = make().fit(X, sample_weight=weights), make().fit(X[order], sample_weight=weights[order])
    np.testing.assert_array_equal(once.score_samples(X), again.score_samples(X))
    once, again = make().partial_fit(X), make().partial_fit(X[order])
    np.testing.assert_array_equal(once.score_samples(X), again.score_samples(X))


def test_learns_what_a_normal_fit_cannot():
    """Held-out two moons are at least 0.3 nats a row likelier than under a normal distribution of any covariance."""
    density = small(max_iter=300).fit(moons(1500))
    held_out = moons(1500, seed=1)
    normal = stats.multivariate_normal(moons(1500).mean(0), np.cov(moons(1500).T))
    assert density.score_samples(held_out).mean() > normal.logpdf(held_out).mean() + 0.3


@pytest.mark.parametrize("make", [small, stacked])
@pytest.mark.parametrize("n_features", [1, 2, 4])
def test_rows_far_outside_score_low_and_finite(make, n_features):
    density = make().fit(skewed(200, n_features))
    far = np.outer([1e1, 1e3, 1e6, 1e12, 1e30], np.ones(n_features)) * density.scale_ + density.loc_
    log_density = density.score_samples(far)
    assert np.isfinite(log_density).all()
    assert (np.diff(log_density) < 0).all()


@pytest.mark.parametrize("outlier", [-999.0, 1e6, 1e15, 1e200])
@pytest.mark.parametrize("make", [small, stacked])
def test_a_gross_outlier_leaves_the_other_rows_their_density(make, outlier):
    """In training and standardisation: the others lose little more than the outlier's share of the mass."""
    alone, rows = fit_of_moons(make), moons(200, seed=1)
    spoilt = make().fit(np.r_[moons(), [[outlier, outlier]]])
    assert spoilt.score_samples(rows).mean() > alone.score_samples(rows).mean() - 0.1
    assert np.isfinite(spoilt.score_samples([[outlier, outlier], [-1e300, 1e300]])).all()
    assert np.isfinite(spoilt.sample(100, random_state=0)).all()
