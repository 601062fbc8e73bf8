"""Tables with missing cells: the density of known cells, and what is filled in, beside what else does that.

    python benchmarks/missing.py --data FOLDER [--only wine iris] [--seeds 3] [--share 0.2]

FOLDER holds .npz files with an array X. For each seed 30 percent of the rows are held out, at most 4,000 train, and a
share of all cells is removed at random. Columns have variance one. Printed for each table, means over the seeds:

- nats: mean log-density of the known cells of rows held out, a row: the default density fitted to incomplete rows, the
  one fitted to the complete rows, and a normal distribution and a Gaussian mixture fitted to incomplete rows by
  expectation-maximization;
- rmse: root-mean-square error of what `RealNVPImputer`, `IterativeImputer` (BayesianRidge), `KNNImputer` and means fill
  into the held-out rows;
- crps: continuous ranked probability score of ten draws for each missing cell, of `impute` and of `IterativeImputer`
  with `sample_posterior`, and the share of missing cells within the central 90 percent of 100 draws of `impute`;
- the CPU time of the fit to incomplete rows over that to complete rows.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split

from sknvp import RealNVPDensity, RealNVPImputer
from sknvp._missing import proposal
from sknvp._missing.proposal import Proposal

MAX_TRAIN, MAX_TEST, N_DRAWS = 4_000, 1_000, 10


def with_holes(X, share, rng):
    holes = rng.uniform(size=X.shape) < share
    holes[np.arange(len(X)), rng.integers(0, X.shape[1], len(X))] = False
    return np.where(holes, np.nan, X)


def mixture_score(train, test, components):
    """Mean log-density of known cells under a mixture by expectation-maximization."""
    proposal.N_COMPONENTS = components
    fitted = Proposal.fit(train, np.ones(len(train)), np.random.RandomState(0))
    parts = tuple(torch.tensor(part) for part in (fitted.log_weights, fitted.means, fitted.covariances))
    known = torch.tensor(~np.isnan(test))
    z = torch.tensor((test - fitted.loc) / fitted.scale).nan_to_num(0.0)
    scores = proposal._log_marginal(parts, z, known) - (known * torch.tensor(fitted.scale).log()).sum(1)
    return float(scores.mean())


def crps(draws, truth):
    """Continuous ranked probability score of draws, shape (n_cells, n_draws)."""
    spread = np.abs(draws[:, :, None] - draws[:, None]).mean((1, 2))
    return float((np.abs(draws - truth[:, None]).mean(1) - spread / 2).mean())


def one(X, share, seed):
    rng = np.random.default_rng(seed)
    train, test = (
        part[:n]
        for part, n in zip(train_test_split(X, test_size=0.3, random_state=seed), (MAX_TRAIN, MAX_TEST), strict=True)
    )
    scale = train.std(0)
    train, test = train / scale, test / scale
    holed, asked = with_holes(train, share, rng), with_holes(test, share, rng)
    start = time.process_time()
    imputer = RealNVPImputer(random_state=seed).fit(holed)
    density, seconds = imputer.density_, time.process_time() - start
    start = time.process_time()
    complete = RealNVPDensity(random_state=seed).fit(train)
    ratio = seconds / (time.process_time() - start)
    out = {"nats": density.score(asked) / len(asked), "complete": complete.score(asked) / len(asked)}
    out["normal"] = mixture_score(holed, asked, (1,))
    out["mixture"] = mixture_score(holed, asked, (1, 2, 4, 8, 16))
    missing = np.isnan(asked)
    rivals = {
        "rmse": imputer,
        "iterative": IterativeImputer(random_state=seed).fit(holed),
        "knn": KNNImputer().fit(holed),
        "mean": SimpleImputer().fit(holed),
    }
    for name, rival in rivals.items():
        out[name] = float(np.sqrt(np.mean((rival.transform(asked) - test)[missing] ** 2)))
    drawn = density.impute(asked, 100, seed).transpose(0, 2, 1)[missing]
    out["crps"] = crps(drawn[:, :N_DRAWS], test[missing])
    sampler = IterativeImputer(random_state=seed, sample_posterior=True).fit(holed)
    theirs = np.stack([sampler.transform(asked)[missing] for _ in range(N_DRAWS)], 1)
    out["their crps"] = crps(theirs, test[missing])
    low, high = np.quantile(drawn, [0.05, 0.95], axis=1)
    out["coverage"] = float(((low <= test[missing]) & (test[missing] <= high)).mean())
    return {**out, "fit ratio": ratio}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for path in sorted(arguments.data.glob("*.npz")):
        if arguments.only and path.stem not in arguments.only:
            continue
        X = np.load(path)["X"].astype(np.float64)
        results = [one(X, arguments.share, seed) for seed in range(arguments.seeds)]
        means = {name: np.mean([result[name] for result in results]) for name in results[0]}
        spread = np.std([result["nats"] - result["mixture"] for result in results])
        print(path.stem, {name: round(float(value), 3) for name, value in means.items()}, f"± {spread:.3f}", flush=True)


if __name__ == "__main__":
    main()
