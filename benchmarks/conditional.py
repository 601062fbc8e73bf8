"""Held-out conditional log-likelihood and CRPS of the defaults, or of other settings, beside what else gives one.

    python benchmarks/conditional.py                                       # generated, with p(y | x) known
    python benchmarks/conditional.py --data FOLDER [--only stock] [--splits 3] [--rivals linear boosting gp zuko ...]

FOLDER holds .npz files. Where there is only an array X, its last column is to be told from the others; figures are
log-densities in nats a row and the CRPS, in units where the training rows' last column has variance one. Where there
are X, y and the indices train_0, test_0 and so on of splits, as papers share them for UCI tables, figures are in the
units of y. The rivals: a linear regression with normal errors; a normal distribution around
HistGradientBoostingRegressor, its variance that of cross-validated residuals; GaussianProcessRegressor on 2,000 rows
with a length scale a column and noise; zuko's conditional neural spline flow, the better on validation rows of two
learning rates that fall along a cosine, with the best weights on these rows kept; NGBoost, its number of rounds, 2,000
at most, chosen on a tenth of the rows and then fitted to all, as in its paper; quantile-forest with 500 trees, which
has no density. The CRPS is computed from a hundred quantiles, in our case those of draws.

Generated: y normal with a standard deviation that grows with x, and y on one of two branches. What is printed is how
many nats a row the estimate falls short of the truth, and which share of fresh y lies between the quantiles that 50, 80
and 95 percent should.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from conditional_rivals import RIVALS, Fitted
from scipy import stats
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sknvp import ConditionalRealNVPDensity

MAX_TRAIN, MAX_TEST = 10_000, 5_000
N_DRAWS = 400  # of each row, from which our CRPS is computed
COVERAGES = (0.5, 0.8, 0.95)


def ours(settings):
    def fit(X, y):
        density = ConditionalRealNVPDensity(**{"random_state": 0, **settings}).fit(X, y)

        def quantiles(X, p):  # of draws, which take a fraction of the time of `predict_quantile`
            return np.quantile(density.sample(X, N_DRAWS, random_state=0), p, axis=1).T

        return Fitted(density.score_samples, quantiles)

    return fit


def heteroscedastic(n, rng):
    """Rows, targets, and the log-density of these: normal, of a width that grows fourfold."""
    x = rng.uniform(-1, 1, n)
    truth = stats.norm(np.sin(3 * x), 0.25 * 2**x)
    y = truth.rvs(random_state=rng)
    return x[:, None], y, truth.logpdf(y)


def two_branches(n, rng):
    """The same of y near (1 + x) or -(1 + x), the first the likelier the greater x is."""
    x = rng.uniform(0, 1, n)
    share = 0.3 + 0.4 * x
    y = np.where(rng.uniform(size=n) < share, 1, -1) * (1 + x) + 0.2 * rng.standard_normal(n)
    density = share * stats.norm(1 + x, 0.2).pdf(y) + (1 - share) * stats.norm(-1 - x, 0.2).pdf(y)
    return x[:, None], y, np.log(density)


GENERATED = {"heteroscedastic": heteroscedastic, "two branches": two_branches}


def on_generated(settings, n_seeds, n_rows):
    for name, draw in GENERATED.items():
        figures = []
        for seed in range(n_seeds):
            rng = np.random.default_rng(seed)
            density = ConditionalRealNVPDensity(**{"random_state": seed, **settings}).fit(*draw(n_rows, rng)[:2])
            X, y, truth = draw(5_000, rng)
            edges = [0.5 * (1 + side * share) for share in COVERAGES for side in (-1, 1)]
            low, high = density.predict_quantile(X, edges).T.reshape(-1, 2, len(y)).swapaxes(0, 1)
            inside = ((low <= y) & (y <= high)).mean(1)
            figures.append([truth.mean() - density.score_samples(X, y).mean(), *inside])
            shortfall(name, f"seed {seed}", *figures[-1])
        shortfall(name, "mean", *np.mean(figures, axis=0))


def shortfall(name, which, gap, *inside):
    covered = ", ".join(f"{100 * p:.0f} %: {100 * q:.1f} %" for p, q in zip(COVERAGES, inside, strict=True))
    print(f"{name:16s} {which:6s} {gap:.4f} nats a row short of the truth; between quantiles for {covered}", flush=True)


def load(path, split):
    """Standardised rows, X and y to train on, X and y held out; and the unit that figures are to be in."""
    data = np.load(path)
    if "y" in data:
        rows = np.column_stack([data["X"], data["y"]]).astype(np.float64)
        train, test = rows[data[f"train_{split}"]], rows[data[f"test_{split}"]]
    else:
        train, test = train_test_split(data["X"].astype(np.float64), test_size=0.3, random_state=split)
    train, test = train[:MAX_TRAIN], test[:MAX_TEST]
    scaler = StandardScaler().fit(train)
    parts = [part for rows in (train, test) for part in np.split(scaler.transform(rows), [-1], axis=1)]
    return parts, scaler.scale_[-1] if "y" in data else 1.0


def line(name, split, figures):
    cells = (f"{density:9.3f} {crps:8.4f} {time:6.1f}" for density, crps, time in figures)
    print(f"{name:14s} {split:>5s} " + " ".join(cells), flush=True)


def evaluate(method, path, split):
    """Mean log-density and CRPS of the rows held out, and the seconds of the fit on one processor."""
    (X, y, X_test, y_test), unit = load(path, split)
    start = time.process_time()
    fitted = method(X, y[:, 0])
    seconds, y_test = time.process_time() - start, y_test[:, 0]
    return fitted.log_density(X_test, y_test).mean() - np.log(unit), unit * fitted.crps(X_test, y_test), seconds


def on_tables(paths, n_splits, methods):
    print(f"{'data':14s} split " + " ".join(f"{name:>9s} {'CRPS':>8s} {'s':>6s}" for name in methods))
    for path in paths:
        rows = []
        for split in range(n_splits):
            rows.append([evaluate(method, path, split) for method in methods.values()])
            line(path.stem, str(split), rows[-1])
        line(path.stem, "mean", np.mean(rows, axis=0))
        line(path.stem, "std", np.std(rows, axis=0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--splits", type=int, default=3, help="splits of the tables, or seeds of what is generated")
    parser.add_argument("--rows", type=int, default=2800, help="generated rows to train on")
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of constructor parameters")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=[])
    parser.add_argument("--rivals-only", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = {} if arguments.rivals_only else {"ours": ours(arguments.params)}
    methods |= {name: RIVALS[name] for name in arguments.rivals}
    if arguments.data is None:
        on_generated(arguments.params, arguments.splits, arguments.rows)
        return
    paths = sorted(p for p in arguments.data.glob("*.npz") if not arguments.only or p.stem in arguments.only)
    on_tables(paths, arguments.splits, methods)


if __name__ == "__main__":
    main()
