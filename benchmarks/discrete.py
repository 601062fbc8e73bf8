"""Generated rows with whole numbers and known log-density: sex, age, number of children, income, a score.

    python benchmarks/discrete.py [--seeds 3] [--rows 2000]

No column but the score is negative, and bounds say so. For each seed: the true mean log-density of 10,000 new rows and
the fitted one, in nats; Spearman's correlation of the two over these rows; the share of draws that are possible rows;
and the total probability of sex, age and children, summed over all their values at a fixed income and score and divided
by the density of these.
"""

import argparse
import itertools
import warnings

import numpy as np
from scipy import stats

from sknvp import RealNVPDensity

AGES = np.arange(18, 90)


def draw(n, rng):
    sex = (rng.uniform(size=n) < 0.45).astype(float)
    age = np.floor(18 + 72 * rng.beta(2, 3, size=n))
    children = rng.poisson(births(sex, age)).astype(float)
    income = np.exp(rng.normal(9.5 + 0.01 * age + 0.2 * (1 - sex), 0.5))
    return np.c_[sex, age, children, income, rng.normal(50 + 5 * sex - 2 * children, 8)]


def births(sex, age):
    return np.exp(-1.2 + 0.03 * np.minimum(age, 45) + 0.2 * sex)


def log_density(X):
    sex, age, children, income, score = X.T
    years = stats.beta(2, 3, 18, 72)
    total = np.where(sex == 1, np.log(0.45), np.log(0.55)) + np.log(years.cdf(age + 1) - years.cdf(age))
    total += stats.poisson.logpmf(children, births(sex, age))
    total += stats.norm.logpdf(np.log(income), 9.5 + 0.01 * age + 0.2 * (1 - sex), 0.5) - np.log(income)
    return total + stats.norm.logpdf(score, 50 + 5 * sex - 2 * children, 8)


def possible(X):
    whole = (X[:, :3] == np.floor(X[:, :3])).all(1)
    return whole & np.isin(X[:, 0], (0, 1)) & (X[:, 1:4] >= 0).all(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    discrete = np.array(list(itertools.product((0, 1), range(150), range(40))), dtype=float)
    for seed in range(arguments.seeds):
        rng = np.random.default_rng(seed)
        X, new = draw(arguments.rows, rng), draw(10_000, rng)
        density = RealNVPDensity(random_state=seed, bounds=([0, 0, 0, 0, -np.inf], np.inf)).fit(X)
        scores, truth = density.score_samples(new), log_density(new)
        at = [30_000.0, 50.0]
        total = np.exp(density.score_samples(np.c_[discrete, np.tile(at, (len(discrete), 1))])).sum()
        drawn = density.sample(200_000, random_state=0)[:, 3:] / [5_000.0, 5.0]
        near = (np.abs(drawn - np.array(at) / [5_000.0, 5.0]) < 0.5).all(1).mean() / (5_000.0 * 5.0)
        print(
            f"truth {truth.mean():.3f}, fitted {scores.mean():.3f}, correlation "
            f"{stats.spearmanr(scores, truth).statistic:.4f}, possible {possible(density.sample(5000)).mean():.4f}, "
            f"total {total / near:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
