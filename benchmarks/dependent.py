"""Rows that depend on each other: likelihood of new rows, with groups and without, and rates of false alarms.

``python benchmarks/dependent.py`` fits the tables below and a normal distribution to each, with ``groups`` and without,
and scores 10,000 independent new rows of that distribution, a normal one in four columns whose correlations are 1/2.
``python benchmarks/dependent.py --alarms 200`` counts in how many of so many independent tables of each kind and size a
warning is raised or rows are grouped.
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

N_FEATURES = 4
COVARIANCE = np.full((N_FEATURES, N_FEATURES), 0.5) + 0.5 * np.eye(N_FEATURES)


def normal(n_rows, rng):
    return rng.multivariate_normal(np.zeros(N_FEATURES), COVARIANCE, n_rows)


def copies(rng, n_rows, n_copies, noise):
    X = np.repeat(normal(n_rows, rng), n_copies, axis=0)
    return (1 - noise**2) ** 0.5 * X + noise * normal(len(X), rng), np.repeat(np.arange(n_rows), n_copies), n_rows


def interpolated(rng, n_rows, n_new):
    """Interpolated rows belong to no group of their own."""
    X = normal(n_rows, rng)
    nearest = NearestNeighbors(n_neighbors=5).fit(X).kneighbors(return_distance=False)
    first = rng.integers(n_rows, size=n_new)
    second = nearest[first, rng.integers(5, size=n_new)]
    new = X[first] + rng.uniform(size=(n_new, 1)) * (X[second] - X[first])
    return np.concatenate([X, new]), None, n_rows


def autoregressive(rng, n_rows, rho, shuffled=False):
    """The number of independent rows is the effective one of the mean."""
    noise = normal(n_rows, rng)
    X = noise.copy()
    for t in range(1, n_rows):
        X[t] = rho * X[t - 1] + (1 - rho**2) ** 0.5 * noise[t]
    groups = np.arange(n_rows) * 8 // n_rows
    order = rng.permutation(n_rows) if shuffled else np.arange(n_rows)
    return X[order], groups[order], int(n_rows * (1 - rho) / (1 + rho))


TABLES = {
    "250 rows 4 times, noise 1e-9": lambda rng: copies(rng, 250, 4, 1e-9),
    "250 rows 4 times, noise 1e-3": lambda rng: copies(rng, 250, 4, 1e-3),
    "250 rows 4 times, noise 0.03": lambda rng: copies(rng, 250, 4, 0.03),
    "100 patients 5 times, noise 0.3": lambda rng: copies(rng, 100, 5, 0.3),
    "100 rows and 400 interpolated": lambda rng: interpolated(rng, 100, 400),
    "1000 rows, AR(1) of 0.9": lambda rng: autoregressive(rng, 1000, 0.9),
    "1000 rows, AR(1) of 0.9, shuffled": lambda rng: autoregressive(rng, 1000, 0.9, shuffled=True),
    "1000 rows, AR(1) of 0.99": lambda rng: autoregressive(rng, 1000, 0.99),
    "1000 rows, AR(1) of 0.99, shuffled": lambda rng: autoregressive(rng, 1000, 0.99, shuffled=True),
}


def fitted(X, new, groups=None):
    """Return the mean log-density of new rows, the share of them that is flagged, and whether a warning was raised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ConvergenceWarning)
        detector = RealNVPOutlierDetector(random_state=0).fit(X, groups=groups)
    return detector.score(new) / len(new), (detector.predict(new) < 0).mean(), bool(caught)


def likelihoods(seeds):
    print("mean nats of new rows (share flagged, * if warned of)")
    print(f"{'table':36}{'truth':>9}{'normal':>9}{'untold':>18}{'told':>18}{'independent rows':>18}")
    for name, make in TABLES.items():
        results = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            X, groups, n_independent = make(rng)
            new = normal(10_000, rng)
            truth = stats.multivariate_normal(np.zeros(N_FEATURES), COVARIANCE).logpdf(new).mean()
            gauss = stats.multivariate_normal(X.mean(0), np.cov(X.T)).logpdf(new).mean()
            fits = [fitted(X, new), fitted(X, new, groups), fitted(normal(max(n_independent, 2), rng), new)]
            results.append([truth, gauss, *np.ravel(fits)])
        mean = np.mean(results, axis=0)
        cells = [f"{mean[i]:9.2f} ({mean[i + 1]:5.1%}){'*' if mean[i + 2] else ' '}" for i in (2, 5, 8)]
        print(f"{name:36}{mean[0]:9.2f}{mean[1]:9.2f}" + "".join(cells), flush=True)


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
    "on a line": lambda n, d, rng: rng.normal(size=(n, 1)) * np.arange(1.0, d + 1),
    "sorted by class": lambda n, d, rng: np.sort(rng.integers(3, size=n))[:, None] * 4 + rng.normal(size=(n, d)),
    "sorted by a column": lambda n, d, rng: (X := rng.normal(size=(n, d)))[np.argsort(X[:, 0])],
}


def alarms(n_tables):
    for name, make in INDEPENDENT.items():
        counts = []
        for n_rows in (40, 100, 300, 1000):
            for n_features in (1, 2, 5, 20):
                rng, n_alarms = np.random.default_rng(0), 0
                for _ in range(n_tables):
                    X = make(n_rows, n_features, rng)
                    rows = Rows.merged(X, np.ones(n_rows))
                    with warnings.catch_warnings(record=True) as caught:
                        warnings.simplefilter("always")
                        n_alarms += hold_out_together(rows, X) is not rows or bool(caught)
                counts.append(n_alarms)
        print(f"{name:28}{sum(counts)} of {n_tables * len(counts)}, at most {max(counts)} of {n_tables}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--alarms", type=int, metavar="N_TABLES")
    arguments = parser.parse_args()
    alarms(arguments.alarms) if arguments.alarms else likelihoods(range(arguments.seeds))
