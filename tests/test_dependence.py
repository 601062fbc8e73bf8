"""Rows that depend on each other: groups that are held out together, and the signs that are warned of."""

import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, GroupKFold

from sknvp import (
    ConditionalRealNVPDensity,
    DensityClassifier,
    PlanarFlowDensity,
    RealNVPImageDensity,
    RealNVPOutlierDetector,
)
from sknvp._estimators.dependence import hold_out_together
from sknvp._estimators.neighbours import Nearest, evenness, mutual_shares, turn
from sknvp._estimators.rows import Rows

from .small import moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def prepared(X):
    return Rows.merged(X, np.ones(len(X)))


def copies(n_rows, n_copies, noise, n_features=4):
    X = np.repeat(normal_rows(n_rows, n_features), n_copies, axis=0)
    return X + noise * normal_rows(len(X), n_features, 1)


def interpolated(n_rows, n_new, n_features=4):
    """Rows, and new ones between each and one of its five nearest, as SMOTE makes them."""
    X, rng = normal_rows(n_rows, n_features), np.random.default_rng(0)
    nearest = np.argsort(((X[:, None] - X) ** 2).sum(-1), axis=1)[:, 1:6]
    rows = rng.integers(n_rows, size=n_new)
    ends = X[nearest[rows, rng.integers(5, size=n_new)]]
    return np.concatenate([X, X[rows] + rng.uniform(size=(n_new, 1)) * (ends - X[rows])])


def autoregressive(n_rows, rho, n_features=4):
    noise = normal_rows(n_rows, n_features)
    X = noise.copy()
    for t in range(1, n_rows):
        X[t] = rho * X[t - 1] + np.sqrt(1 - rho**2) * noise[t]
    return X


def order_lost(X):
    return np.random.default_rng(0).permutation(X)


@pytest.mark.parametrize("noise", [1e-12, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("n_copies", [2, 4, 10])
@pytest.mark.parametrize("n_features", [1, 4])
def test_rows_that_are_all_but_equal_are_held_out_together(noise, n_copies, n_features):
    X = copies(400 // n_copies, n_copies, noise / 100 if n_features == 1 else noise, n_features)
    rows = hold_out_together(prepared(X), X, np.ones(len(X)))
    group = {tuple(row): g for row, g in zip(rows.x, rows.groups, strict=True)}
    own = np.array([group[tuple(row)] for row in X]).reshape(-1, n_copies)
    assert (own == own[:, :1]).mean() > 0.95
    assert len(np.unique(own)) > 0.8 * len(own)


def with_twins(X):
    """Two rows more, which differ hardly from two others."""
    return np.concatenate([X, X[[0, 9]] + 1e-9])


@pytest.mark.parametrize(
    ("X", "sign"),
    [
        (copies(100, 4, 0.01), "near copies"),
        (copies(100, 10, 0.03), "near copies"),
        (interpolated(100, 400), "on the line between two others"),
        (interpolated(100, 400).astype(np.float32), "on the line between two others"),
        (autoregressive(500, 0.9), "near the one before"),
        (autoregressive(500, 0.99, 1), "near the one before"),
        (np.c_[np.arange(500.0), autoregressive(500, 0.99, 1)], "near the one before"),
        (order_lost(copies(250, 4, 0.2, 5)), "near copies"),
        (order_lost(copies(250, 2, 0.3, 8)), "near copies"),
        (order_lost(copies(250, 4, 0.3, 8)), "near copies"),
        (order_lost(with_twins(copies(250, 2, 0.3, 8))), "near copies"),
        (order_lost(copies(50, 10, 0.3, 8)), "near copies"),
        (order_lost(autoregressive(500, 0.9, 15)), "near copies"),
        (order_lost(autoregressive(500, 0.99, 10)), "along a path"),
        (order_lost(autoregressive(4000, 0.99, 15)), "along a path"),
    ],
)
def test_dependent_rows_are_warned_of(X, sign):
    with pytest.warns(UserWarning, match=sign):
        rows = hold_out_together(prepared(X), X, np.ones(len(X)))
    np.testing.assert_array_equal(rows.groups, np.arange(len(rows.x)))


INDEPENDENT = {
    "normal": lambda n, d, rng: rng.normal(size=(n, d)),
    "heavy tails": lambda n, d, rng: rng.standard_t(1.5, size=(n, d)),
    "log-normal": lambda n, d, rng: np.exp(2 * rng.normal(size=(n, d))),
    "clusters": lambda n, d, rng: (
        rng.integers(5, size=(n, 1)) * 10.0 + 10.0 ** rng.integers(-2, 1, (n, 1)) * rng.normal(size=(n, d))
    ),
    "whole numbers": lambda n, d, rng: rng.poisson(4, size=(n, d)).astype(float),
    "a curve": lambda n, d, rng: (
        np.sin(np.arange(1, d + 1) * rng.uniform(0, 3, (n, 1))) + 1e-3 * rng.normal(size=(n, d))
    ),
    "rounded": lambda n, d, rng: rng.normal(size=(n, d)).round(1),
    "a curve with much noise": lambda n, d, rng: (
        np.sin(np.arange(d) + rng.uniform(0, 3, (n, 1))) + 0.05 * rng.normal(size=(n, d))
    ),
    "eight clusters": lambda n, d, rng: (
        np.random.default_rng(0).normal(size=(8, d))[rng.integers(8, size=n)] * 5 + 0.5 * rng.normal(size=(n, d))
    ),
    "two levels": lambda n, d, rng: np.c_[rng.normal(size=(n, 1)), rng.integers(2, size=(n, d))],
    "constant": lambda n, d, rng: np.ones((n, d)),
    "in turn": lambda n, d, rng: np.c_[rng.normal(size=(n, d)), np.arange(n) % 5],
    "on a line": lambda n, d, rng: rng.normal(size=(n, 1)) * np.arange(1.0, d + 1),
    "on two lines": lambda n, d, rng: np.abs(rng.normal(size=(n, 1)) - np.arange(d) % 2),
    "sorted by class": lambda n, d, rng: np.sort(rng.integers(3, size=n))[:, None] * 4 + rng.normal(size=(n, d)),
    "sorted by a column": lambda n, d, rng: (X := rng.normal(size=(n, d)))[np.argsort(X[:, 0])],
}


@pytest.mark.parametrize("kind", INDEPENDENT)
@pytest.mark.parametrize("n_features", [1, 2, 5, 20])
def test_independent_rows_are_not_warned_of(kind, n_features):
    for n_rows in (10, 60, 250, 1000):
        X = INDEPENDENT[kind](n_rows, n_features, np.random.default_rng(n_rows))
        rows = prepared(X)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert hold_out_together(rows, X, np.ones(len(X))) is rows


@pytest.mark.parametrize(("n_features", "share"), [(1, 2 / 3), (2, 6 * np.pi / (8 * np.pi + 3 * 3**0.5)), (3, 16 / 27)])
def test_nearest_rows_of_independent_rows_keep_their_laws(n_features, share):
    """The share of mutual nearest neighbours is one minus that of rows in the lens outside of a ball, by geometry."""
    nearest = Nearest.of(np.random.default_rng(0).uniform(size=(3000, n_features)))
    shares, turns = mutual_shares(nearest), turn(nearest)
    assert shares[0] == pytest.approx(share, abs=0.02)
    assert (np.diff(shares) > -0.01).all()
    assert evenness(nearest) == pytest.approx(1, abs=0.1)
    assert abs(turns.mean()) < 3 * turns.std() / 3000**0.5


def test_a_table_as_it_is_bundled_is_not_warned_of():
    X = load_iris().data  # sorted by class
    assert hold_out_together(prepared(X), X, np.ones(len(X))).groups.max() == len(np.unique(X, axis=0)) - 1


FITS = {
    "density": lambda X, **given: small().fit(X, **given),
    "outlier detector": lambda X, **given: RealNVPOutlierDetector(**small().get_params()).fit(X, **given),
    "planar flow": lambda X, **given: PlanarFlowDensity(n_layers=2, max_iter=3, random_state=0).fit(X, **given),
    "conditional density": lambda X, **given: ConditionalRealNVPDensity(n_layers=2, max_iter=3, random_state=0).fit(
        X[:, :1], X[:, 1], **given
    ),
    "images": lambda X, **given: RealNVPImageDensity(
        image_shape=(1, 1, 2), n_levels=9, n_filters=4, n_blocks=0, max_iter=3, random_state=0
    ).fit((X * 4).round().clip(0, 8), **given),
}


@pytest.mark.parametrize("kind", FITS)
def test_labels_of_groups_say_who_belongs_together_and_nothing_else(kind):
    """One label a row is no grouping; other names for the groups, or another order of the rows, change no bit."""
    X, groups = moons(120), np.arange(120) // 6
    names = np.array([f"g{-group}" for group in groups])
    fitted = [FITS[kind](X, groups=labels) for labels in (None, np.arange(120), groups, names)]
    order = np.random.default_rng(0).permutation(120)
    fitted.append(FITS[kind](X[order], groups=groups[order]))
    untold, alone, told, renamed, moved = (fit.validation_scores_ for fit in fitted)
    assert untold == alone != told
    assert told == renamed == moved


def test_groups_mend_what_repeated_measurements_spoil():
    """Held-out rows that were measured before let kernels of no width win; held out by group they cannot."""
    X, new = copies(60, 5, 0.1, 2), normal_rows(500, 2, 7)
    told = stacked().fit(X, groups=np.repeat(np.arange(60), 5)).score_samples(new).mean()
    independent = stacked().fit(normal_rows(60, 2)).score_samples(new).mean()
    assert told > independent - 0.15


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.zeros(400), "groups must hold at least 2 different labels"),
        (np.zeros((400, 2)), "groups must have shape"),
        (np.zeros(3), "inconsistent numbers of samples"),
        (np.full(400, np.nan), "groups contains NaN"),
        ([None, "a"] * 200, "groups must hold labels of one type that has an order, got NoneType and str. Give each"),
    ],
)
def test_groups_that_break_a_rule_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        small().fit(moons(), groups=groups)


def test_without_held_out_rows_one_group_will_do():
    small(early_stopping=False).fit(moons(), groups=np.zeros(400))


def test_groups_are_routed_to_splits_and_to_fits():
    X, groups = moons(120), np.arange(120) // 6
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(small().set_fit_request(groups=True), {"alpha": [0.1]}, cv=GroupKFold(3))
        routed = search.fit(X, groups=groups).best_estimator_
    assert routed.validation_scores_ == small().fit(X, groups=groups).validation_scores_


@pytest.mark.parametrize("routing", [False, True])
def test_the_classifier_passes_groups_to_the_density_of_each_class(routing):
    X, y, groups = moons(120), np.arange(120) % 2, np.arange(120) // 6
    with config_context(enable_metadata_routing=routing):
        density = small().set_fit_request(groups=True) if routing else small()
        classifier = DensityClassifier(density).fit(X, y, groups=groups)
    for label, fitted in zip(classifier.classes_, classifier.estimators_, strict=True):
        own = small().fit(X[y == label], groups=groups[y == label])
        assert fitted.validation_scores_ == own.validation_scores_
