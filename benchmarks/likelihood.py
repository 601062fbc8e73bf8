"""Mean held-out log-likelihood of the defaults, or of other settings, on a folder of tables.

    python benchmarks/likelihood.py --data FOLDER [--only moons glass] [--splits 3] [--alone] [--params JSON]
    python benchmarks/likelihood.py --data FOLDER --rivals vine nsf rbig

FOLDER holds .npz files with an array X. Figures are nats a row in units where the training columns have variance one,
beside a normal distribution and a Gaussian mixture with its number of components chosen by BIC, or alone; and beside
the rivals of `likelihood_rivals.py`, which need pyvinecopulib and zuko.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from likelihood_rivals import RIVALS
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sknvp import RealNVPDensity

MAX_TRAIN, MAX_TEST = 10_000, 5_000


def mixture(rows, n_components):
    return GaussianMixture(n_components, reg_covar=1e-4, random_state=0).fit(rows)


def evaluate(path, split, settings, alone, rivals):
    """Name, split, our seconds of fit, our figure, unless alone the normal's and the mixture's, and the rivals'."""
    warnings.simplefilter("ignore")
    X = np.load(path)["X"].astype(np.float64)
    train, test = train_test_split(X, test_size=0.3, random_state=split)
    train, test = train[:MAX_TRAIN], test[:MAX_TEST]
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    start = time.perf_counter()
    ours = RealNVPDensity(**{"random_state": 0, **settings}).fit(train)
    seconds = time.perf_counter() - start
    compared = [ours]
    if not alone:
        mixtures = [mixture(train, k) for k in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if 3 * k <= len(train)]
        compared += [mixtures[0], min(mixtures, key=lambda fit: fit.bic(train))]
    scores = [fit.score_samples for fit in compared] + [RIVALS[name](train) for name in rivals]
    return path.stem, split, seconds, *(score(test).mean() for score in scores)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of constructor parameters")
    parser.add_argument("--alone", action="store_true", help="our figures alone, without baselines")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=[])
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    paths = [p for p in sorted(arguments.data.glob("*.npz")) if not arguments.only or p.stem in arguments.only]
    if not paths:
        parser.error(f"--data must be a folder with .npz files, found none in {arguments.data}")
    settings = arguments.params, arguments.alone, arguments.rivals
    tasks = (delayed(evaluate)(path, split, *settings) for path in paths for split in range(arguments.splits))
    rows, names = [], ["seconds", "ours"] + ["normal", "mixture"] * (not arguments.alone) + arguments.rivals
    print(f"{'data':18s} split " + " ".join(f"{name:>9s}" for name in names))
    for name, split, *figures in Parallel(n_jobs=arguments.jobs, return_as="generator")(tasks):
        rows.append(figures)
        print(f"{name:18s} {split:5d} " + " ".join(f"{figure:9.3f}" for figure in figures), flush=True)
    print(f"{'mean':24s} " + " ".join(f"{figure:9.3f}" for figure in np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
