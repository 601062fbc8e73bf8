"""Rows that depend on each other: likelihood of new rows, with groups and without, and rates of false alarms.

``python benchmarks/dependent.py`` fits the tables below and a normal distribution to each, with ``groups`` and without,
and scores 10,000 independent new rows. The rows are normal ones in five columns whose correlations are 1/2, or a
function of these, "curved": a parabola, an exponential and a funnel. Copies stand in random order.
``python benchmarks/dependent.py --warned 10`` counts in how many of so many draws of these tables a warning is raised
or rows are grouped, without a fit. ``python benchmarks/dependent.py --alarms 15`` counts it among independent tables of
each kind and size.
"""

import argparse
import warnings

import numpy as np
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors

from sknvp import RealNVPOutlierDetector
from sknvp._estimators.dependence import hold_out_together
from sknvp._estimators.rows import Rows

N_FEATURES = 5
COVARIANCE = np.full((N_FEATURES, N_FEATURES), 0.5) + 0.5 * np.eye(N_FEATURES)


def normal(n_rows, rng):
    return rng.multivariate_normal(np.zeros(N_FEATURES), COVARIANCE, n_rows)


def curved(Z):
    a, b, c, d, e = Z.T
    return np.stack([a, b + a**2, np.exp(c), d * np.exp(a / 2), e], 1)


def log_density(family, Z):
    """Return the log-density of the rows that a family makes of normal rows."""
    log_det = Z[:, 2] + Z[:, 0] / 2 if family == "curved" else 0
    return stats.multivariate_normal(np.zeros(N_FEATURES), COVARIANCE).logpdf(Z) - log_det


FAMILIES = {"normal": lambda Z: Z, "curved": curved}


def independent(rng, n_rows):
    return normal(n_rows, rng), None, n_rows


def copies(rng, n_rows, n_copies, noise):
    Z = np.repeat(normal(n_rows, rng), n_copies, axis=0)
    Z = (1 - noise**2) ** 0.5 * Z + noise * normal(len(Z), rng)
    order = np.random.default_rng(0).permutation(len(Z))
    return Z[order], np.repeat(np.arange(n_rows), n_copies)[order], n_rows


def with_interpolated(X, n_new, rng):
    """Add rows that belong to no group of their own."""
    nearest = NearestNeighbors(n_neighbors=5).fit(X).kneighbors(return_distance=False)
    first = rng.integers(len(X), size=n_new)
    second = nearest[first, rng.integers(5, size=n_new)]
    return np.concatenate([X, X[first] + rng.uniform(size=(n_new, 1)) * (X[second] - X[first])])


def autoregressive(rng, n_rows, rho, shuffled=False):
    """The number of independent rows is the effective one of the mean."""
    noise = normal(n_rows, rng)
    Z = noise.copy()
    for t in range(1, n_rows):
        Z[t] = rho * Z[t - 1] + (1 - rho**2) ** 0.5 * noise[t]
    groups = np.arange(n_rows) * 8 // n_rows
    order = rng.permutation(n_rows) if shuffled else np.arange(n_rows)
    return Z[order], groups[order], int(n_rows * (1 - rho) / (1 + rho))


TABLES = {
    "1000 independent rows": lambda rng: independent(rng, 1000),
    **{
        f"250 rows 4 times, noise {noise:g}": lambda rng, noise=noise: copies(rng, 250, 4, noise)
        for noise in (1e-9, 1e-3, 0.03, 0.1, 0.2, 0.3)
    },
    "50 patients 10 times, noise 0.3": lambda rng: copies(rng, 50, 10, 0.3),
    "100 rows and 400 interpolated": lambda rng: independent(rng, 100),
    **{
        f"1000 rows, AR(1) of {rho}{', shuffled' * shuffled}": lambda rng, rho=rho, shuffled=shuffled: autoregressive(
            rng, 1000, rho, shuffled
        )
        for rho in (0.9, 0.99)
        for shuffled in (False, True)
    },
}


def fitted(X, new, groups=None):
    """Return the mean log-density of new rows, the share of them that is flagged, and whether a warning was raised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ConvergenceWarning)
        detector = RealNVPOutlierDetector(random_state=0).fit(X, groups=groups)
    return detector.score(new) / len(new), (detector.predict(new) < 0).mean(), bool(caught)


def table(family, name, rng):
    Z, groups, n_independent = TABLES[name](rng)
    X = FAMILIES[family](Z)
    return with_interpolated(X, 400, rng) if "interpolated" in name else X, groups, n_independent


def outcome(family, name, seed):
    """Return truth, normal distribution, and what `fitted` gives without groups, with groups, of independent rows."""
    rng = np.random.default_rng(seed)
    X, groups, n_independent = table(family, name, rng)
    Z_new = normal(10_000, rng)
    new = FAMILIES[family](Z_new)
    gauss = stats.multivariate_normal(X.mean(0), np.cov(X.T)).logpdf(new).mean()
    untold = fitted(X, new)
    told = fitted(X, new, groups) if groups is not None else (np.nan,) * 3
    alone = fitted(FAMILIES[family](normal(max(n_independent, 2), rng)), new)
    return [log_density(family, Z_new).mean(), gauss, *untold, *told, *alone]


def likelihoods(seeds):
    print("mean nats of new rows (share flagged), and in how many draws a warning was raised")
    print(f"{'table':43}{'truth':>9}{'normal':>9}{'untold':>18}{'told':>18}{'independent rows':>18}")
    for family in FAMILIES:
        for name in TABLES:
            results = [outcome(family, name, seed) for seed in seeds]
            mean, n_warned = np.mean(results, axis=0), int(np.sum(results, axis=0)[4])
            cells = [f"{mean[i]:9.2f} ({mean[i + 1]:5.1%})" for i in (2, 5, 8)]
            print(
                f"{family + ', ' + name:43}{mean[0]:9.2f}{mean[1]:9.2f}{'  '.join(cells)}  {n_warned} warned",
                flush=True,
            )


def raises_a_sign(X):
    """Return whether a warning is raised or rows are grouped."""
    rows = Rows.merged(X, np.ones(len(X)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return hold_out_together(rows, X, np.ones(len(X))) is not rows or bool(caught)


def warned(n_tables):
    for family in FAMILIES:
        for name in TABLES:
            n_signs = sum(
                raises_a_sign(table(family, name, np.random.default_rng(seed))[0]) for seed in range(n_tables)
            )
            print(f"{family + ', ' + name:43}{n_signs} of {n_tables}", flush=True)


def clusters(k, n_features, rng):
    return 10 * k + rng.normal(size=(len(k), n_features)) / 10.0**k


INDEPENDENT = {
    "normal": lambda n, d, rng: rng.normal(size=(n, d)),
    "uniform": lambda n, d, rng: rng.uniform(size=(n, d)),
    "t with 1.5 degrees": lambda n, d, rng: rng.standard_t(1.5, size=(n, d)),
    "log-normal": lambda n, d, rng: np.exp(2 * rng.normal(size=(n, d))),
    "clusters of unequal width": lambda n, d, rng: (
        (k := rng.integers(5, size=(n, 1))) * 10 + rng.normal(size=(n, d)) / 10.0**k
    ),
    "whole numbers": lambda n, d, rng: rng.poisson(4, size=(n, d)).astype(float),
    "rounded": lambda n, d, rng: rng.normal(size=(n, d)).round(1),
    "near a curve": lambda n, d, rng: np.sin(np.arange(d) + rng.uniform(0, 3, (n, 1))) + 1e-3 * rng.normal(size=(n, d)),
    "near a curve, much noise": lambda n, d, rng: (
        np.sin(np.arange(d) + rng.uniform(0, 3, (n, 1))) + 0.05 * rng.normal(size=(n, d))
    ),
    "near a surface, much noise": lambda n, d, rng: (
        np.sin(np.arange(d) + rng.uniform(0, 3, (n, 1))) * np.cos(0.7 * np.arange(d) + rng.uniform(0, 3, (n, 1)))
        + 0.05 * rng.normal(size=(n, d))
    ),
    "two factors and noise": lambda n, d, rng: (
        rng.normal(size=(n, 2)) @ rng.normal(size=(2, d)) + 0.1 * rng.normal(size=(n, d))
    ),
    "five levels": lambda n, d, rng: np.c_[rng.normal(size=(n, 1)), rng.integers(5, size=(n, d))],
    "on a line": lambda n, d, rng: rng.normal(size=(n, 1)) * np.arange(1.0, d + 1),
    "sorted by class": lambda n, d, rng: np.sort(rng.integers(3, size=n))[:, None] * 4 + rng.normal(size=(n, d)),
    "sorted by a column": lambda n, d, rng: (X := rng.normal(size=(n, d)))[np.argsort(X[:, 0])],
}


def alarms(n_tables):
    for name, make in INDEPENDENT.items():
        counts = []
        for n_rows in (40, 100, 300, 1000):
            for n_features in (1, 2, 5, 20):
                rng = np.random.default_rng(0)
                n_alarms = sum(raises_a_sign(make(n_rows, n_features, rng)) for _ in range(n_tables))
                counts.append(n_alarms)
        print(f"{name:28}{sum(counts)} of {n_tables * len(counts)}, at most {max(counts)} of {n_tables}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--warned", type=int, metavar="N_TABLES")
    parser.add_argument("--alarms", type=int, metavar="N_TABLES")
    arguments = parser.parse_args()
    if arguments.warned:
        warned(arguments.warned)
    elif arguments.alarms:
        alarms(arguments.alarms)
    else:
        likelihoods(range(arguments.seeds))
