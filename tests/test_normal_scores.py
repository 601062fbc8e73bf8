"""Normal scores of columns, and the flows and mixtures that see them."""

import pickle

import numpy as np
import pytest
import torch
from scipy import stats

from sknvp import RealNVPDensity
from sknvp._columns.scores import normal_scores
from sknvp._missing.experts import KnownCells
from sknvp.flows import Flow, StandardNormal
from sknvp.flows.builders.expert_specification import CopulaSpecification
from sknvp.flows.builders.specification import NormalScoreMaps, Scaling
from sknvp.flows.layers import NormalScores

from .flows.builders import splines_to_scores
from .small import normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def margin(values, weights=None):
    """The density of a column that is normal on the scale of its scores, as a function of values."""
    weights = np.ones(len(values)) if weights is None else weights
    points = normal_scores(values[:, None], weights[None], np.ones(1, bool))
    flow = Flow(NormalScores(1, *(torch.tensor(part).double() for part in points)), StandardNormal(1))
    return lambda x: flow.log_prob(torch.tensor(x).view(-1, 1))[0].numpy()


def spikes(n, seed):
    """Half of the values within 0.01 of zero, half of them normal around three."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.5, 0.01 * rng.standard_normal(n), 3 + rng.standard_normal(n))


SOURCES = {
    "normal": stats.norm(),
    "skew": stats.lognorm(0.8, scale=0.8),
    "heavy tails": stats.t(4),
    "uniform": stats.uniform(-1.7, 3.4),
}


@pytest.mark.parametrize("name", SOURCES)
def test_margins_come_near_the_source_on_new_values(name):
    source = SOURCES[name]
    old, new = source.rvs((2, 2000), random_state=0)
    assert (source.logpdf(new) - margin(old)(new)).mean() < 0.04


def test_narrow_parts_are_found():
    x = spikes(2000, 1)
    truth = np.logaddexp(stats.norm(0, 0.01).logpdf(x), stats.norm(3, 1).logpdf(x)) - np.log(2)
    assert (truth - margin(spikes(2000, 0))(x)).mean() < 0.1


@pytest.mark.parametrize("n", [2, 30, 2000])
def test_margins_integrate_to_one(n):
    x = np.linspace(-60, 60, 600_001)
    assert np.trapezoid(np.exp(margin(spikes(n, 0))(x)), x) == pytest.approx(1, abs=1e-3)


def test_values_of_weight_zero_say_nothing_and_weights_stand_for_their_ratios():
    values, x = np.append(spikes(300, 0), [-9.0, 9.0]), np.linspace(-2, 5, 50)
    counted = np.append(np.arange(300) % 2, [1, 1]) > 0
    expected = margin(values[counted])(x)
    np.testing.assert_allclose(margin(values, 1.0 * counted)(x), expected, rtol=1e-6)
    np.testing.assert_allclose(margin(values, 7.0 * counted)(x), expected, rtol=1e-6)


def test_a_value_says_nothing_for_a_narrow_part_around_itself():
    """Single values far apart from each other are no evidence for narrow kernels."""
    x = np.linspace(-2, 2, 40)
    between = (x[1:] + x[:-1]) / 2
    density = margin(x)
    assert np.abs(density(x)[1:-1] - density(between)[1:]).max() < 0.3


def test_rounded_values_have_probabilities():
    """The density at a value that is known to a tenth, times a tenth, is the share of such values, and never more."""
    values = np.round(spikes(3000, 0) + 1.0, 1)
    found, counts = np.unique(values, return_counts=True)
    shares = counts / len(values)
    probabilities = 0.1 * np.exp(margin(values)(found))
    assert (probabilities < shares + 0.03).all()
    assert probabilities[shares.argmax()] == pytest.approx(shares.max(), rel=0.5)


def test_columns_that_are_not_asked_for_have_the_identity():
    points = normal_scores(np.c_[spikes(99, 0), spikes(99, 1)], np.ones((1, 99)), np.array([False, True]))
    layer = NormalScores(1, *map(torch.tensor, points))
    x = torch.randn(1, 50, 2, generator=torch.Generator().manual_seed(0)) * 9
    torch.testing.assert_close(layer(x)[0][..., 0], x[..., 0])


@pytest.mark.parametrize(("n_estimators", "n_mapped"), [(1, None), (2, 1), (5, 2)])
def test_the_last_half_of_the_flows_uses_normal_scores(n_estimators, n_mapped):
    density = small(n_estimators=n_estimators, max_iter=1, early_stopping=False).fit(normal_rows(50, 2))
    layers = [part for part in density.flow_.modules() if isinstance(part, NormalScores)]
    assert [len(layer.knots) for layer in layers] == ([] if n_mapped is None else [n_mapped])


def test_flows_as_numbers_are_where_nothing_is_standardized_and_in_streams():
    rows = normal_rows(50, 2)
    for density in (small(standardize=False, max_iter=1).fit(rows), small(max_iter=1).partial_fit(rows)):
        assert not any(isinstance(part, NormalScores) for part in density.flow_.modules())


def test_a_member_knows_no_margin_of_the_rows_that_it_holds_out():
    """Each of four members holds out one of four groups; the last two have the margins of the rows of the others."""
    rows, groups = normal_rows(400, 2), np.arange(400) // 100
    scores = small(n_estimators=4, max_iter=1).fit(rows, groups=groups)._specification.scores
    z, weights = (rows - rows.mean(0)) / rows.std(0), np.stack([groups != group for group in range(4)]) * 1.0
    without = normal_scores(z, weights, np.ones(2, bool)).knots
    same = np.array([[np.allclose(own, other, atol=1e-4) for other in without] for own in scores.knots])
    assert len(same) == 2
    assert (same.sum(1) == 1).all()
    assert (same.sum(0) <= 1).all()


def test_weights_stand_for_repetitions_where_columns_are_discrete_too():
    rng = np.random.default_rng(0)
    rows = np.c_[rng.integers(0, 3, 80), rng.lognormal(size=(80, 2))]
    settings = {"discrete_features": [0], "n_estimators": 2, "max_iter": 1}
    weighted = small(**settings).fit(rows, sample_weight=np.full(80, 3))._specification.scores
    repeated = small(**settings).fit(np.repeat(rows, 3, axis=0))._specification.scores
    once = small(**settings, early_stopping=False).fit(rows)._specification.scores
    thrice = small(**settings, early_stopping=False).fit(np.repeat(rows, 3, axis=0))._specification.scores
    for pair in ((weighted, repeated), (once, thrice)):
        for one, other in zip(*pair, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def log_normal_rows(n, seed):
    z = np.random.default_rng(seed).multivariate_normal(np.zeros(3), 0.4 * np.eye(3) + 0.6, n)
    return np.exp(0.7 * z)


def test_a_copula_is_found_where_only_the_margins_are_not_normal():
    """Exponentials of normal rows have a normal copula. Flows that have hardly learned add nothing to it."""
    density = stacked(max_iter=1).fit(log_normal_rows(1000, 0))
    new = log_normal_rows(4000, 1)
    z = np.log(new) / 0.7
    truth = stats.multivariate_normal(np.zeros(3), 0.4 * np.eye(3) + 0.6).logpdf(z) - np.log(0.7 * new).sum(1)
    assert density.stacking_weights_["gaussian_mixture_copula"] > 0.5
    assert (truth - density.score_samples(new)).mean() < 0.15
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(again.score_samples(new), density.score_samples(new))


def test_known_cells_under_a_copula_have_the_integral_over_the_others():
    rng, scaling = np.random.default_rng(0), Scaling(np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.arange(2))
    factors = np.triu(rng.normal(size=(2, 3, 2, 2)), 1) + rng.uniform(0.5, 2, (2, 3, 2, 1)) * np.eye(2)
    copula = CopulaSpecification(
        scaling=scaling,
        log_weights=np.log(np.full((2, 3), 1 / 3)),
        means=rng.normal(size=(2, 3, 2)),
        precisions_cholesky=factors,
        scores=NormalScoreMaps(*(part.numpy() for part in splines_to_scores(2, 2))),
    )
    y = np.linspace(-300, 300, 100_001)
    for known in (0, 1):
        grid = np.full((len(y), 2), [0.7, -1.0])
        grid[:, 1 - known] = y
        joint = copula.build().log_prob(torch.tensor(grid)).exp().mean(0).numpy()
        cells = np.array([[[0.7, -1.0]]])
        cells[..., 1 - known] = np.nan
        log_density = KnownCells([copula], np.zeros(1)).log_density(cells, np.arange(2)[None] == known)
        assert np.exp(log_density).item() == pytest.approx(np.trapezoid(joint, y), rel=1e-3)


def test_a_fit_that_goes_on_with_other_rows_keeps_its_scores():
    density = stacked(warm_start=True).fit(log_normal_rows(200, 0))
    before = density._specification.scores
    density.fit(log_normal_rows(200, 1))
    assert density._specification.scores is before
    assert "gaussian_mixture_copula" not in density.stacking_weights_
    assert np.isfinite(density.score_samples(log_normal_rows(50, 2))).all()


def test_default_density_of_a_skew_column():
    source = stats.lognorm(1.5)
    old, new = source.rvs((2, 1500, 1), random_state=0)
    density = RealNVPDensity(random_state=0).fit(old)
    assert (source.logpdf(new[:, 0]) - density.score_samples(new)).mean() < 0.05


@pytest.mark.parametrize("values", [np.exp(1.5 * normal_rows(78, 1)[:, 0]), np.append(np.full(100, 30.0), 0.0)])
def test_margins_fall_beyond_the_values_as_a_t_distribution_does(values):
    z = (values - values.mean()) / values.std()
    beyond = margin(z)(z.max() + np.linspace(0.5, 20, 40))
    assert (np.diff(beyond) < 0).all()
    assert beyond[-1] > -300


def test_rounding_is_that_of_the_rows_that_count():
    rounded = np.round(normal_rows(200, 1)[:, 0], 1)
    both, counted = np.append(rounded, rounded + 1e-6), np.arange(400) < 200
    x = np.linspace(-2, 2, 101)
    np.testing.assert_allclose(margin(both, 1.0 * counted)(x), margin(rounded)(x), atol=1e-4)


def test_no_weight_at_all_means_no_margins():
    points = normal_scores(normal_rows(9, 1), np.stack([np.ones(9), np.zeros(9)]), np.ones(1, bool))
    np.testing.assert_array_equal(points.knots[1], points.scores[1])


def test_an_integral_over_one_cell_finds_the_narrow_part_of_a_column():
    """Half of a column lies within a few thousandths of zero; the oracle is the trapezoidal rule."""
    rng = np.random.default_rng(1)
    narrow = np.where(rng.random(600) < 0.5, 0.003 * rng.normal(size=600), 3 + rng.normal(size=600))
    density = small(max_iter=60).fit(np.c_[narrow, rng.normal(size=600)])
    x = np.unique(np.r_[np.linspace(-9, 15, 4001), np.linspace(-0.05, 0.05, 4001)])
    for second in (-1.0, 0.5):
        joint = np.exp(density.score_samples(np.c_[x, np.full(len(x), second)]))
        found, error = density.score_samples([[np.nan, second]], return_std=True)
        assert found[0] == pytest.approx(np.log(np.trapezoid(joint, x)), abs=max(0.03, 3 * error[0]))
