"""Distribution functions and scores of predicted distributions, against closed forms and quadrature."""

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from sklearn.model_selection import GridSearchCV, cross_validate

from sknvp import ConditionalRealNVPDensity
from sknvp.metrics import crps, energy_score, neg_crps_scorer, neg_energy_scorer

from .small import normal_rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def conditional(**settings):
    defaults = {"n_layers": 2, "hidden_layer_sizes": 16, "n_estimators": 2, "max_iter": 40, "random_state": 0}
    return ConditionalRealNVPDensity(**{**defaults, **settings})


def pairs(n=500, seed=0):
    """Noise that grows with x."""
    x, noise = normal_rows(n, 2, seed).T
    return x[:, None], x + np.exp(0.5 * x) * noise


@pytest.fixture(scope="module")
def fitted():
    return conditional().fit(*pairs())


def test_the_distribution_function_is_the_integral_of_the_density(fitted):
    grid = np.linspace(-40, 40, 4001)
    for x in (-1.0, 0.5):
        density = np.exp(fitted.score_samples(np.full((4001, 1), x), grid))
        integral = integrate.cumulative_trapezoid(density, x=grid, initial=0)
        np.testing.assert_allclose(fitted.predict_cdf(np.full((4001, 1), x), grid), integral, atol=2e-3)


def test_the_distribution_function_inverts_quantiles(fitted):
    X = pairs(50, 1)[0]
    for q in (0.01, 0.3, 0.99):
        np.testing.assert_allclose(fitted.predict_cdf(X, fitted.predict_quantile(X, q)), q, atol=1e-9)


def test_rows_with_missing_cells_have_a_distribution_function():
    X, y = pairs()
    X = np.c_[np.where(np.arange(500) % 5, X[:, 0], np.nan), X]
    density = conditional(max_iter=3).fit(X, y)
    np.testing.assert_allclose(density.predict_cdf(X, density.predict_quantile(X, 0.3)), 0.3, atol=1e-9)


def test_new_targets_are_spread_evenly(fitted):
    X, y = pairs(2000, 1)
    assert stats.kstest(fitted.predict_cdf(X, y), "uniform").statistic < 0.05
    assert stats.kstest(fitted.predict_cdf(X, X[:, 0] + (y - X[:, 0]) * 2), "uniform").statistic > 0.1


def test_whole_numbers_add_their_probabilities_up():
    X = normal_rows(300, 1)
    y = np.random.default_rng(0).poisson(np.exp(0.5 * X[:, 0] + 1)).astype(float)
    density = conditional(max_iter=5).fit(X, y)
    values = np.arange(15.0)
    for x in (-1.0, 1.0):
        rows = np.full((15, 1), x)
        total = np.cumsum(np.exp(density.score_samples(rows, values)))
        np.testing.assert_allclose(density.predict_cdf(rows, values), total, atol=1e-6)
        np.testing.assert_allclose(density.predict_cdf(rows, values + 0.4), total, atol=1e-6)
        np.testing.assert_array_equal(density.predict_cdf(rows[:2], [-1.0, -0.5]), 0)
    assert density.predict_cdf([[0.0]], [1e6])[0] == pytest.approx(1)


def test_zeros_and_bounds():
    """A jump at zero by the probability of zeros, nothing below it, and one at the upper bound."""
    X, rng = normal_rows(400, 1), np.random.default_rng(0)
    y = np.where(rng.uniform(size=400) < 0.4, 0.0, rng.beta(2, 2, 400))
    density = conditional(max_iter=20, bounds=(0, 1)).fit(X, y)
    at = density.predict_cdf(np.zeros((5, 1)), [-1.0, 0.0, 0.5, 1.0, 2.0])
    zero = np.exp(density.score_samples([[0.0]], [0.0])[0])
    assert at[0] == 0
    assert at[1] == pytest.approx(zero, abs=1e-6)
    assert at[1] == pytest.approx(0.4, abs=0.15)
    np.testing.assert_array_equal(at[3:], 1)
    grid = np.linspace(0.001, 0.5, 400)
    rest = integrate.simpson(np.exp(density.score_samples(np.zeros((400, 1)), grid)), x=grid)
    assert at[2] - zero == pytest.approx(rest, abs=0.01)


def test_constant_and_ordered_targets():
    X = normal_rows(60, 1)
    density = conditional(max_iter=1).fit(X, np.full(60, 0.1))
    np.testing.assert_array_equal(density.predict_cdf(X[:3], [0.0, 0.1, 0.2]), [0, 1, 1])
    grades = pd.Categorical.from_codes(np.arange(60) % 3, ["low", "middle", "high"], ordered=True)
    density = conditional(max_iter=1).fit(X, pd.Series(grades))
    each = [density.predict_cdf(X[:1], pd.Series([grade])) for grade in ("low", "middle", "high")]
    assert 0 < each[0] < each[1] < each[2] == 1
    assert each[0] == pytest.approx(np.exp(density.score_samples(X[:1], pd.Series(["low"]))), abs=1e-6)


def test_several_targets_and_categories_have_no_distribution_function():
    X = normal_rows(60, 1)
    with pytest.raises(ValueError, match="predict_cdf needs a single target, got 2 in fit"):
        conditional(max_iter=1).fit(X, normal_rows(60, 2)).predict_cdf(X, normal_rows(60, 2))
    words = np.array(["a", "b"] * 30)
    with pytest.raises(ValueError, match="predict_cdf needs a target of numbers or of ordered categories"):
        conditional(max_iter=1).fit(X, words).predict_cdf(X, words)


def test_crps_of_a_normal_distribution():
    """Gneiting and Raftery (2007): sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))."""
    rng, y = np.random.default_rng(0), np.array([-2.0, 0.0, 0.3, 4.0])
    drawn = 1 + 2 * rng.standard_normal((4, 200_000))
    z = (y - 1) / 2
    expected = 2 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    for i in range(4):
        assert crps(y[[i]], drawn[[i]]) == pytest.approx(expected[i], abs=0.02)
    assert crps(y, drawn, sample_weight=[1, 0, 0, 3]) == pytest.approx(
        np.average(expected, weights=[1, 0, 0, 3]), abs=0.02
    )


def test_few_draws_give_no_bias():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(100_000)
    for n_draws in (2, 5):
        assert crps(y, rng.standard_normal((100_000, n_draws))) == pytest.approx(1 / np.sqrt(np.pi), abs=0.01)


def test_the_energy_score_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    for n_draws in (2, 7, 8):
        y, drawn = rng.normal(size=(5, 3)), rng.normal(size=(5, n_draws, 3))
        pairwise = np.linalg.norm(drawn[:, :, None] - drawn[:, None], axis=-1).sum((1, 2)) / (n_draws * (n_draws - 1))
        expected = np.linalg.norm(drawn - y[:, None], axis=-1).mean(1) - pairwise / 2
        assert energy_score(y, drawn) == pytest.approx(expected.mean())
        assert energy_score(y[:, 0], drawn[..., 0]) == pytest.approx(crps(y[:, 0], drawn[..., 0]))
        assert energy_score(y[:, :1], drawn[..., :1]) == pytest.approx(crps(y[:, 0], drawn[..., 0]))


def test_the_truth_has_the_best_scores():
    rng = np.random.default_rng(0)
    y, drawn = rng.normal(size=(5_000, 2)), rng.normal(size=(5_000, 20, 2))
    wrong = {
        "narrow": drawn * 0.5,
        "wide": drawn * 2,
        "moved": drawn + 0.5,
        "dependent": np.repeat(drawn[..., :1], 2, -1),
    }
    for other in wrong.values():
        assert energy_score(y, drawn) < energy_score(y, other)


def test_scorers_in_searches_and_cross_validations():
    X, y = pairs(200)
    search = GridSearchCV(conditional(max_iter=30), {"alpha": [0.1, 1e3]}, scoring=neg_crps_scorer, cv=2).fit(X, y)
    assert (search.cv_results_["mean_test_score"] < 0).all()
    assert search.best_params_ == {"alpha": 0.1}
    two = np.c_[y, y + normal_rows(200, 1, 3)[:, 0]]
    results = cross_validate(conditional(max_iter=3), X, two, scoring={"energy": neg_energy_scorer}, cv=2)
    assert (results["test_energy"] < 0).all()
    density = conditional(max_iter=3).fit(X, y)
    assert neg_energy_scorer(density, X, y) == pytest.approx(neg_crps_scorer(density, X, y))
    counts = np.arange(200) % 2
    assert neg_crps_scorer(density, X, y, sample_weight=counts) == pytest.approx(
        -crps(y[1::2], density.sample(X, 100, random_state=0)[1::2])
    )


@pytest.mark.parametrize(
    ("y_true", "y_drawn", "message"),
    [
        (np.ones(3), np.ones((4, 5)), "inconsistent numbers of samples"),
        (np.ones(3), np.ones((3, 1)), "the number of draws in y_drawn must be an integer of at least 2, got 1"),
        (np.ones((3, 2)), np.ones((3, 5)), "y_true and y_drawn must have shapes"),
        (np.ones((3, 2)), np.ones((3, 5, 2)), r"\(n_samples,\) and \(n_samples, n_draws\), got \(3, 2\)"),
        (np.ones(3) * np.nan, np.ones((3, 5)), "y_true contains NaN"),
    ],
)
def test_wrong_arrays(y_true, y_drawn, message):
    with pytest.raises(ValueError, match=message):
        crps(y_true, y_drawn)


@pytest.mark.parametrize("score", [crps, energy_score])
@pytest.mark.parametrize(("weights", "message"), [([0, 0], "at least 1 row of weight above"), ([2, -1], "not be neg")])
def test_wrong_weights(score, weights, message):
    with pytest.raises(ValueError, match=f"sample_weight must .*{message}"):
        score(np.zeros(2), np.zeros((2, 3)), sample_weight=weights)
