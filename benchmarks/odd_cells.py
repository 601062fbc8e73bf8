"""Which cell is wrong: cells replaced by values of other rows, found by `score_cells` and by what else does that.

    python benchmarks/odd_cells.py --data FOLDER [--only wine moons] [--ways new same folds] [--seeds 3]

FOLDER holds .npz files with an array X. A share of the cells gets the value that another row has in that column.
Printed for each table is the AUROC of finding these cells among all, mean and standard deviation over the seeds:

- new: models are fitted to at most 2,000 clean rows, and find wrong cells in at most 500 rows that were held out, which
  are spoilt several times until 50 cells are wrong;
- same: they are fitted to at most 500 rows with wrong cells, or more where these have less than 2,500 cells, and find
  these;
- folds: the cells of each fifth of these rows are scored by models that were fitted to the other rows.

Ranked are all cells of all columns together, by

- ratio: the log-density of the cell by itself less that given its row, `score_samples` of a row in which nothing else
  is known less `score_cells`. Cells that come from other rows have the column's own density, so that this is the
  logarithm of the likelihood ratio of "wrong" and "right" if the rest of the row is right;
- raw: the negative of `score_cells`, columns in standard deviations;
- posterior: the probability that the cell is the only wrong one of its row, by the ratios of the row and the share of
  wrong cells;
- row: the negative of `score_samples` of the whole row, which all its cells share;
- iterative: the absolute residual of `IterativeImputer`, which predicts each cell from the others, over the standard
  deviation of the column's residuals;
- normal z: the absolute residual in the conditional normal distribution, over its standard deviation;
- normal ratio: the logarithm of the likelihood ratio under a normal distribution.
"""

import argparse
import math
import warnings
from pathlib import Path

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, train_test_split

from sknvp import RealNVPDensity

TABLES = ("moons", "wine", "concrete", "pima", "california", "phoneme")
MAX_TRAIN, MAX_NEW, LEAST_WRONG, MAX_SAME, MAX_CELLS, N_FOLDS = 2_000, 500, 50, 500, 2_500, 5


def with_wrong_cells(X, share, rng):
    """Replace a share of the cells by the values of other rows; return the rows and which cells were replaced."""
    wrong = rng.uniform(size=X.shape) < share
    row, column = np.nonzero(wrong)
    spoilt = X.copy()
    spoilt[row, column] = X[(row + rng.integers(1, len(X), len(row))) % len(X), column]
    return spoilt, wrong


def score_alone(density, X):
    """Log-density of each cell by itself."""
    scores = np.empty(X.shape)
    for j in range(X.shape[1]):
        values, places = np.unique(X[:, j], return_inverse=True)
        rows = np.full((len(values), X.shape[1]), np.nan)
        rows[:, j] = values
        scores[:, j] = density.score_samples(rows)[places]
    return scores


def log_posterior(ratio, share):
    """Logarithm of the probability that a cell is the only wrong one of its row, given the ratios of the row."""
    none = np.full((len(ratio), 1), math.log((1 - share) / share))
    return ratio - logsumexp(np.c_[none, ratio], axis=1, keepdims=True)


def normal_scores(train, X):
    """Absolute residuals in standard deviations, and log-ratios, under the normal distribution of the rows."""
    covariance = np.cov(train.T)
    precision = np.linalg.inv(covariance)
    scale = 1 / np.sqrt(np.diag(precision))
    z = (X - train.mean(0)) @ precision * scale
    alone = norm.logpdf(X, train.mean(0), np.sqrt(np.diag(covariance)))
    return np.abs(z), alone - norm.logpdf(z) + np.log(scale)


def iterative_scores(train, X, seed):
    imputer = IterativeImputer(random_state=seed).fit(train)

    def residuals(rows):
        out = np.empty(rows.shape)
        for j in range(rows.shape[1]):
            without = rows.copy()
            without[:, j] = np.nan
            out[:, j] = rows[:, j] - imputer.transform(without)[:, j]
        return out

    return np.abs(residuals(X)) / residuals(train).std(0)


def scores(train, X, share, seed):
    """Return what cells are ranked by, arrays of the shape of X; large values for wrong cells."""
    density = RealNVPDensity(random_state=seed).fit(train)
    cells = density.score_cells(X)
    ratio = score_alone(density, X) - cells
    z, normal_ratio = normal_scores(train, X)
    return {
        "ratio": ratio,
        "raw": -cells,
        "posterior": log_posterior(ratio, share),
        "row": np.broadcast_to(-density.score_samples(X)[:, None], X.shape),
        "iterative": iterative_scores(train, X, seed),
        "normal z": z,
        "normal ratio": normal_ratio,
    }


def new_rows(X, share, seed):
    rng = np.random.default_rng(seed)
    train, new = train_test_split(X, test_size=0.3, random_state=seed)
    train, new = train[:MAX_TRAIN], new[:MAX_NEW]
    train, new = train / train.std(0), new / train.std(0)
    drawn = [with_wrong_cells(new, share, rng) for _ in range(math.ceil(LEAST_WRONG / (share * new.size)))]
    spoilt, wrong = (np.concatenate(part) for part in zip(*drawn, strict=True))
    return scores(train, spoilt, share, seed), wrong


def spoilt_rows(X, share, seed):
    rng = np.random.default_rng(seed)
    n_rows = max(MAX_SAME, MAX_CELLS // X.shape[1])
    spoilt, wrong = with_wrong_cells(X[rng.permutation(len(X))[:n_rows]], share, rng)
    return spoilt / spoilt.std(0), wrong


def same_rows(X, share, seed):
    spoilt, wrong = spoilt_rows(X, share, seed)
    return scores(spoilt, spoilt, share, seed), wrong


def other_folds(X, share, seed):
    spoilt, wrong = spoilt_rows(X, share, seed)
    folds = list(KFold(N_FOLDS, shuffle=True, random_state=seed).split(spoilt))
    parts = [scores(spoilt[train], spoilt[test], share, seed) for train, test in folds]
    order = np.concatenate([test for _, test in folds])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, wrong[order]


WAYS = {"new": new_rows, "same": same_rows, "folds": other_folds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=TABLES)
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.01)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for way in arguments.ways:
        for name in arguments.only:
            X = np.load(arguments.data / f"{name}.npz")["X"].astype(np.float64)
            table = {}
            for seed in range(arguments.seeds):
                ranked, wrong = WAYS[way](X, arguments.share, seed)
                for key, score in ranked.items():
                    table.setdefault(key, []).append(roc_auc_score(wrong.ravel(), score.ravel()))
            print(way, name, {k: f"{np.mean(v):.3f} ± {np.std(v):.3f}" for k, v in table.items()}, flush=True)


if __name__ == "__main__":
    main()
