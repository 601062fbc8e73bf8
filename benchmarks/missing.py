"""Tables with missing cells: the density of known cells, and what is filled in, beside what else does that.

    python benchmarks/missing.py --data FOLDER [--only wine iris] [--seeds 3] [--share 0.2] [--all]

FOLDER holds .npz files with an array X. For each seed 30 percent of the rows are held out, at most 4,000 train, and a
share of all cells is removed at random. Columns have variance one. Printed for each table, means over the seeds:

- nats: mean log-density of the known cells of rows held out, a row: the default density fitted to incomplete rows, the
  one fitted to the complete rows, and a normal distribution and a Gaussian mixture fitted to incomplete rows by
  expectation-maximization;
- rmse: root-mean-square error of what `RealNVPImputer`, `IterativeImputer` (BayesianRidge, and with --all random
  forests), `KNNImputer` and means fill into the held-out rows, and of the means of the draws of MICE;
- crps: continuous ranked probability score of ten draws for each missing cell, of `impute`, of `IterativeImputer`
  with `sample_posterior`, and of MICE;
- range: the share of missing cells between the least and the largest of these ten draws, which is 9/11 if the draws
  come from the distribution of the cell; and of `impute` the share within the central 90 percent of 100 draws;
- the CPU time of the fit to incomplete rows over that to complete rows; and with --all the CPU seconds of the
  imputations by `RealNVPImputer`, random forests and MICE, fits included.

MICE, with --all, is multiple imputation by chained equations, with LightGBM and predictive mean matching, five
iterations: `pip install miceforest "lightgbm<4.6"`. It gets the training and the held-out rows in one table, since it
filled new rows with draws that did not depend on their known cells (miceforest 6.0.5, pandas 3.1). "Together" is
`RealNVPImputer` fitted to that table.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split

from sknvp import RealNVPDensity, RealNVPImputer
from sknvp._missing import incomplete_mixture

MAX_TRAIN, MAX_TEST, N_DRAWS = 4_000, 1_000, 10
TABLES = ("california", "concrete", "iris", "moons", "phoneme", "pima", "stock", "wine")


def with_holes(X, share, rng):
    holes = rng.uniform(size=X.shape) < share
    holes[np.arange(len(X)), rng.integers(0, X.shape[1], len(X))] = False
    return np.where(holes, np.nan, X)


def mixture_score(train, test, components):
    """Mean log-density of known cells under a mixture by expectation-maximization."""
    incomplete_mixture.N_COMPONENTS = components
    fitted = incomplete_mixture.fit_mixture(train, np.ones(len(train)), np.random.RandomState(0))
    parts = tuple(torch.tensor(part) for part in (fitted.log_weights, fitted.means, fitted.covariances))
    known = torch.tensor(~np.isnan(test))
    z = torch.tensor((test - fitted.loc) / fitted.scale).nan_to_num(0.0)
    scores = incomplete_mixture._log_marginal(parts, z, known) - (known * torch.tensor(fitted.scale).log()).sum(1)
    return float(scores.mean())


def crps(draws, truth):
    """Continuous ranked probability score of draws, shape (n_cells, n_draws)."""
    spread = np.abs(draws[:, :, None] - draws[:, None]).mean((1, 2))
    return float((np.abs(draws - truth[:, None]).mean(1) - spread / 2).mean())


def timed(function, *arguments):
    start = time.process_time()
    return function(*arguments), time.process_time() - start


def split(X, share, seed):
    """Return complete training rows and held-out ones, and both with holes."""
    rng = np.random.default_rng(seed)
    train, test = train_test_split(X, test_size=0.3, random_state=seed)
    train, test = train[:MAX_TRAIN], test[:MAX_TEST]
    scale = train.std(0)
    train, test = train / scale, test / scale
    return train, test, with_holes(train, share, rng), with_holes(test, share, rng)


def forests(holed, asked, seed):
    forest = RandomForestRegressor(30, min_samples_leaf=5, random_state=seed)
    return IterativeImputer(forest, max_iter=5, random_state=seed).fit(holed).transform(asked)


def mice(holed, asked, seed):
    """Ten draws of the held-out rows, shape (n_draws, n_rows, n_features)."""
    import miceforest

    rows = pd.DataFrame(np.concatenate([holed, asked])).rename(columns=str)
    kernel = miceforest.ImputationKernel(rows, num_datasets=N_DRAWS, random_state=seed)
    kernel.mice(5, num_threads=1)
    return np.stack([kernel.complete_data(i).to_numpy()[len(holed) :] for i in range(N_DRAWS)])


def density_figures(imputer, seconds, train, holed, asked, seed):
    complete, complete_seconds = timed(RealNVPDensity(random_state=seed).fit, train)
    return {
        "nats": imputer.density_.score(asked) / len(asked),
        "complete": complete.score(asked) / len(asked),
        "normal": mixture_score(holed, asked, (1,)),
        "mixture": mixture_score(holed, asked, (1, 2, 4, 8, 16)),
        "fit ratio": seconds / complete_seconds,
    }


def draw_figures(name, draws, truth):
    """Figures of the first ten draws, shape (n_cells, n_draws)."""
    draws = draws[:, :N_DRAWS]
    inside = (draws.min(1) <= truth) & (truth <= draws.max(1))
    return {f"{name} crps": crps(draws, truth), f"{name} range": float(inside.mean())}


def one(X, share, seed, everything):
    train, test, holed, asked = split(X, share, seed)
    missing = np.isnan(asked)
    truth = test[missing]
    imputer, seconds = timed(RealNVPImputer(random_state=seed).fit, holed)
    filled, more_seconds = timed(imputer.transform, asked)
    out = density_figures(imputer, seconds, train, holed, asked, seed)
    means = {"ours": filled[missing]}
    for name, rival in {
        "iterative": IterativeImputer(random_state=seed),
        "knn": KNNImputer(),
        "mean": SimpleImputer(),
    }.items():
        means[name] = rival.fit(holed).transform(asked)[missing]
    drawn = imputer.density_.impute(asked, 100, seed).transpose(0, 2, 1)[missing]
    sampler = IterativeImputer(random_state=seed, sample_posterior=True).fit(holed)
    draws = {"ours": drawn, "iterative": np.stack([sampler.transform(asked)[missing] for _ in range(N_DRAWS)], 1)}
    if everything:
        grown, out["forest seconds"] = timed(forests, holed, asked, seed)
        chained, out["mice seconds"] = timed(mice, holed, asked, seed)
        out["seconds"] = seconds + more_seconds
        draws["mice"] = chained[:, missing].T
        together = RealNVPImputer(random_state=seed).fit(np.concatenate([holed, asked]))
        draws["together"] = together.density_.impute(asked, 100, seed).transpose(0, 2, 1)[missing]
        means["together"] = together.transform(asked)[missing]
        means |= {"forest": grown[missing], "mice": draws["mice"].mean(1)}
    low, high = np.quantile(drawn, [0.05, 0.95], axis=1)
    out["coverage"] = float(((low <= truth) & (truth <= high)).mean())
    for name, cells in means.items():
        out[f"{name} rmse"] = float(np.sqrt(np.mean((cells - truth) ** 2)))
    for name, cells in draws.items():
        out |= draw_figures(name, cells, truth)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=TABLES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--all", action="store_true", help="random forests and MICE too")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for table in arguments.only:
        X = np.load(arguments.data / f"{table}.npz")["X"].astype(np.float64)
        results = [one(X, arguments.share, seed, arguments.all) for seed in range(arguments.seeds)]
        means = {name: np.mean([result[name] for result in results]) for name in results[0]}
        spread = np.std([result["nats"] - result["mixture"] for result in results])
        print(table, {name: round(float(value), 3) for name, value in means.items()}, f"± {spread:.3f}", flush=True)


if __name__ == "__main__":
    main()
