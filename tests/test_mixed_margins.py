"""Margins of columns with bounds, with values that have a probability, and of numbers at equal distances."""

import numpy as np
import pytest
from scipy import integrate, stats

from sknvp._columns.describe import columns_of
from sknvp._columns.lattice import Lattice, LatticeMargin
from sknvp._columns.margins import LOG_OTHER
from sknvp._columns.mixed import MixedMargin, from_line, to_line

RNG = np.random.default_rng(0)
DRAWN = RNG.normal(size=2000)
COLUMNS = {  # values, bounds, atoms
    "above zero": (np.exp(DRAWN), (0, np.inf), ()),
    "below ten": (10 - np.exp(DRAWN), (-np.inf, 10), ()),
    "a share": (stats.norm.cdf(2 * DRAWN), (0, 1), ()),
    "many zeros": (np.where(RNG.uniform(size=2000) < 0.6, 0, np.exp(DRAWN)), (0, np.inf), (0.0,)),
    "zeros and ones": (np.clip(0.5 + 0.5 * DRAWN, 0, 1), (0, 1), (0.0, 1.0)),
    "a default value": (np.where(RNG.uniform(size=2000) < 0.3, 0.5, DRAWN), (-np.inf, np.inf), (0.5,)),
    "defaults at both sides": (np.where(np.abs(DRAWN) > 1, np.sign(DRAWN), DRAWN), (-np.inf, np.inf), (-1.0, 1.0)),
}


def margin_of(column, weights=None):
    values, (low, high), atoms = COLUMNS[column]
    weights = np.ones(len(values)) if weights is None else weights
    return MixedMargin.of(values, weights, float(weights.sum()), low=low, high=high, atoms=atoms)


def density(margin, x):
    """The density of the column where the flow is the identity."""
    places = margin.places(x)
    return np.exp(places.log_measure + stats.norm.logpdf(places.point))


@pytest.mark.parametrize("column", COLUMNS)
def test_density_and_probabilities_add_up_to_one(column):
    values, (low, high), atoms = COLUMNS[column]
    margin = margin_of(column)
    reach = 8 if np.isfinite(low + high) else 60 * margin.scale  # numbers between two bounds end at 8 in float64
    t = np.linspace(margin.loc - reach, margin.loc + reach, 60_001)
    x = np.unique(from_line(t, low, high))
    x = x[(x > low) & (x < high) & ~np.isin(x, atoms)]
    total = sum(np.exp(margin.places(np.array([atom])).log_measure[0]) for atom in atoms)
    line, log_slope = to_line(x, low, high)
    assert total + integrate.trapezoid(density(margin, x) / np.exp(log_slope), x=line) == pytest.approx(1, abs=1e-4)
    for atom in atoms:
        assert np.exp(margin.places(np.array([atom])).log_measure[0]) == pytest.approx(
            (values == atom).mean(), abs=1e-3
        )


@pytest.mark.parametrize("column", COLUMNS)
def test_points_are_normal_quantiles_of_the_distribution_function(column):
    """The slope is that of the points by differences, and intervals leave no gap."""
    values, (low, high), atoms = COLUMNS[column]
    margin, step = margin_of(column), 1e-6
    x = np.unique(values[~np.isin(values, atoms)])[::40]
    x = x[(np.abs(x[:, None] - np.array([*atoms, low, high])) > 1e-3).all(1)]
    differences = (margin.places(x + step).point - margin.places(x - step).point) / (2 * step)
    places = margin.places(x)
    slope = places.log_measure if not atoms else np.log(density(margin, x)) - stats.norm.logpdf(places.point)
    np.testing.assert_allclose(np.exp(slope), differences, rtol=1e-4)
    for atom in atoms:
        interval = margin.places(np.array([atom]))
        below, above = (margin.places(np.array([atom + shift])) for shift in (-1e-9, 1e-9))
        if atom > low:
            assert stats.norm.cdf(below.point[0]) == pytest.approx(interval.low[0], abs=1e-4)
        if atom < high:
            assert stats.norm.cdf(above.point[0]) == pytest.approx(interval.high[0], abs=1e-4)


@pytest.mark.parametrize("column", COLUMNS)
def test_values_are_found_again(column):
    values, (low, high), _ = COLUMNS[column]
    margin, places = margin_of(column), margin_of(column).places(values)
    for share in (1e-6, 0.5, 1 - 1e-6):
        inside = stats.norm.ppf(places.low + share * (places.high - places.low))
        y = np.where(np.isnan(places.point), inside, places.point)
        np.testing.assert_allclose(margin.values_at(y), values, rtol=1e-6, atol=1e-9)
    drawn = margin.values_at(40 * DRAWN)
    assert np.isfinite(drawn).all()
    assert ((low <= drawn) & (drawn <= high)).all()


@pytest.mark.parametrize("column", COLUMNS)
def test_weights_are_repetitions(column):
    values, (low, high), atoms = COLUMNS[column]
    counts = np.arange(len(values)) % 3
    repeated = np.repeat(values, counts)
    expected = MixedMargin.of(repeated, np.ones(len(repeated)), len(repeated), low=low, high=high, atoms=atoms)
    weighted = margin_of(column, counts.astype(float))
    for name in ("loc", "scale", "probabilities"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(expected, name), rtol=1e-12)


def test_what_cannot_be_takes_a_constant_off():
    margin = margin_of("above zero")
    for x in (0.0, -1.0, -1e300):
        places = margin.places(np.array([x]))
        assert places.log_measure == LOG_OTHER
        assert (places.low, places.high) == (0, 1)
    assert margin_of("many zeros").places(np.array([0.0])).log_measure > -1


def test_a_value_far_out_keeps_finite_scores():
    for column in COLUMNS:
        places = margin_of(column).places(np.array([1e-300, 1e300, -1e300]))
        assert np.isfinite(places.log_measure).all()


def column(values, counts=None):
    return columns_of(np.asarray(values, dtype=float)[:, None], counts=counts)[0]


WHOLE = RNG.poisson(4, 400)


@pytest.mark.parametrize(
    ("values", "origin", "spacing"),
    [
        (WHOLE / 10, 0.0, 0.1),
        (WHOLE / 4 + 0.1, 0.1, 0.25),
        ((WHOLE / 10).astype(np.float32), 0.0, 0.1),
        (np.where(WHOLE > 4, 0.3, 1.0), None, 0.7),
    ],
)
def test_lattices_are_found(values, origin, spacing):
    lattice = column(values).lattice
    assert lattice.spacing == pytest.approx(spacing, rel=1e-6)
    assert origin is None or lattice.origin == pytest.approx(origin, abs=1e-6)
    np.testing.assert_allclose(lattice.values(lattice.steps(values)), values, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "values",
    [DRAWN, np.repeat(DRAWN[:50], 3), np.round(DRAWN, 3), np.full(50, 0.3), WHOLE[:8] / 10, (WHOLE - 4.0) / 1.7],
    ids=len,
)
def test_other_columns_are_no_lattices(values):
    assert column(values).lattice is None


def test_the_density_on_a_lattice_is_that_of_its_spacing():
    values = WHOLE / 10
    margin = LatticeMargin.of(values, np.ones(400), 400.0, Lattice(0.0, 0.1), low=-np.inf, high=np.inf)
    possible = np.arange(200) / 10
    places = margin.places(possible)
    assert np.exp(places.log_measure).sum() * 0.1 == pytest.approx(1 - 1 / 402, abs=1e-9)
    np.testing.assert_array_equal(margin.values_at(stats.norm.ppf((places.low + places.high) / 2))[:40], possible[:40])
    between = margin.places(np.array([0.35]))
    assert LOG_OTHER < between.log_measure[0] < places.log_measure[3] - 5
    assert str(margin) == "numbers 0.1 apart"


@pytest.mark.parametrize(
    ("values", "atoms", "bounds"),
    [
        (COLUMNS["many zeros"][0], (0.0,), (0.0, np.inf)),
        (-COLUMNS["many zeros"][0], (0.0,), (-np.inf, 0.0)),
        (np.where(np.arange(2000) % 12, DRAWN, 0.0), (0.0,), (-np.inf, np.inf)),
        (np.where(np.arange(2000) % 40, DRAWN, 0.0), (), (-np.inf, np.inf)),
        (np.where(np.arange(2000) % 2, 0.3, 0.0) * (1 + (np.arange(2000) % 6 > 2)), (), (-np.inf, np.inf)),
        (COLUMNS["a default value"][0], (), (-np.inf, np.inf)),
        (np.where(DRAWN > 1, 0.0, np.where(DRAWN < -1, 0.123456789, DRAWN)), (), (-np.inf, np.inf)),
        (DRAWN, (), (-np.inf, np.inf)),
        (DRAWN[:5], (), (-np.inf, np.inf)),
    ],
)
def test_values_with_a_probability_are_found(values, atoms, bounds):
    found = column(values)
    assert found.atoms == atoms
    assert (found.low, found.high) == bounds
    counts = np.arange(len(values)) % 3
    weighted, repeated = column(values, counts), column(np.repeat(values, counts))
    assert weighted == repeated or weighted.atoms == repeated.atoms
