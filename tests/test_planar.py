"""Planar flows behind the same methods, and the same laws."""

import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknvp import PlanarFlowDensity

from .small import moons, normal_rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def small(**settings):
    return PlanarFlowDensity(
        **{"n_layers": 8, "n_estimators": 2, "learning_rate_init": 0.03, "max_iter": 60, "random_state": 0, **settings}
    )


def full_batch(**settings):
    return small(**{"batch_size": 10**9, "early_stopping": False, "max_iter": 20, "tol": 0.0, **settings})


@parametrize_with_checks([full_batch(max_iter=3), small(max_iter=2, n_layers=2, standardize=False)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("standardize", [True, False])
def test_integrates_to_one_in_two_dimensions(standardize):
    density = small(standardize=standardize).fit(moons())
    x, y = np.linspace(-12, 13, 627), np.linspace(-12, 12.5, 615)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1)
    p = np.exp(density.score_samples(grid.reshape(-1, 2))).reshape(grid.shape[:2])
    assert integrate.simpson(integrate.simpson(p, x=y), x=x) == pytest.approx(1, abs=2e-3)


def test_samples_follow_the_scored_density():
    """The mean of any function of the samples is its integral under the density; within five standard errors."""
    density = small().fit(moons())
    drawn = density.sample(20_000, random_state=0)
    x = np.linspace(-8, 9, 851)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(density.score_samples(grid)) * (x[1] - x[0]) ** 2
    for f in (lambda r: r[:, 0], lambda r: r[:, 1], lambda r: r[:, 0] * r[:, 1], lambda r: np.sin(3 * r).prod(1)):
        values = f(drawn)
        assert values.mean() == pytest.approx(f(grid) @ p, abs=5 * values.std() / np.sqrt(len(values)) + 1e-3)


def test_an_untrained_flow_is_the_normal_fit():
    X = normal_rows(100, 3) * [1, 20, 300] + 5
    density = small(learning_rate_init=1e-300, alpha=0, max_iter=1).fit(X)
    np.testing.assert_allclose(density.score_samples(X), stats.norm(X.mean(0), X.std(0)).logpdf(X).sum(1), rtol=1e-10)


def test_learns_what_a_normal_fit_cannot():
    density = small(n_layers=16, max_iter=100).fit(moons(400))
    held_out = moons(1000, seed=1)
    normal = stats.multivariate_normal(moons(400).mean(0), np.cov(moons(400).T))
    assert density.score_samples(held_out).mean() > normal.logpdf(held_out).mean() + 0.3


def test_units_shift_the_log_density_by_their_jacobian():
    X, a = moons(), np.array([2.5, 1e-6])
    moved = small(max_iter=5).fit(a * X + 3).score_samples(a * X + 3)
    np.testing.assert_allclose(moved, small(max_iter=5).fit(X).score_samples(X) - np.log(a).sum(), atol=1e-6)


def test_a_constant_column_changes_no_score():
    X = moons()
    wider = small(max_iter=3).fit(np.c_[X, np.full(len(X), 7.0)]).score_samples(np.c_[X, np.full(len(X), 7.0)])
    np.testing.assert_allclose(wider, small(max_iter=3).fit(X).score_samples(X), rtol=1e-9)
    assert np.isfinite(small().fit(np.ones((5, 2))).score_samples([[1.0, 1.0]])).all()


def test_a_weight_is_a_repetition():
    X, counts = moons(60), np.arange(60) % 4
    weighted = full_batch().fit(X, sample_weight=counts)
    repeated = full_batch().fit(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X), rtol=1e-6)


def test_rows_far_outside_score_low_and_finite():
    density = small().fit(moons())
    scores = density.score_samples(np.outer([1e1, 1e3, 1e6, 1e12, 1e30], np.ones(2)))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()


def test_every_parameter_changes_the_fit():
    X = np.exp(normal_rows(200, 3))
    base = {"max_iter": 100, "n_layers": 2, "tol": 0.05, "n_iter_no_change": 2}
    before = small(**base).fit(X).loss_curve_
    changed = {
        "n_layers": 3, "standardize": False, "n_estimators": 3, "alpha": 5.0, "batch_size": 50, "max_iter": 2,
        "learning_rate_init": 1e-3, "early_stopping": False, "validation_fraction": 0.4, "n_iter_no_change": 1,
        "tol": 5.0, "random_state": 1, "periods": 20.0,
    }  # fmt: skip
    for name, value in changed.items():
        assert small(**{**base, name: value}).fit(X).loss_curve_ != before, name
    assert {*changed, "warm_start", "device", "verbose"} == set(PlanarFlowDensity().get_params())


def test_warm_start_goes_on_and_keeps_its_layers():
    density = small(max_iter=20, warm_start=True).fit(moons())
    before = density.score(moons())
    assert density.set_params(max_iter=100).fit(moons()).score(moons()) > before
    after = density.score(moons())
    with pytest.raises(ValueError, match="n_layers must stay 8 to continue the fitted flow, got 9"):
        density.set_params(n_layers=9).fit(moons())
    assert density.score(moons()) == after
