"""Densities of one column whose truth is known, and whole numbers, beside a normal distribution, kernels and mixtures.

    python benchmarks/one_column.py [--rows 100 200 1000] [--seeds 3] [--only claw comb] [--params JSON]
    python benchmarks/one_column.py --whole [--seeds 20]

The fifteen normal mixtures of Marron and Wand (Exact mean integrated squared error, Annals of Statistics 20, 1992),
and five more. What is printed are Kullback-Leibler divergences from the truth, in nats: the mean of log p(x) - log q(x)
over evenly spaced quantiles of the truth, or of each part of a mixture. Kernels have the bandwidth that five folds like
best, mixtures the number of components that BIC does, the normal distribution mean and variance of the rows. With
--whole: ages of 306 of scikit-learn's diabetes patients, and generated whole numbers, as mean log-probabilities of the
third of the rows that is held out; a normal distribution gives a whole number what lies within a half of it.
"""

import argparse
import json
import warnings

import numpy as np
from scipy import stats
from sklearn.datasets import load_diabetes
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity

from sknvp import RealNVPDensity

N_POINTS = 2_000  # quantiles at which truth and estimate are compared; a quarter of them for each part of a mixture


def even(n):
    """Return probabilities in the middles of n equal parts of (0, 1)."""
    return (np.arange(n) + 0.5) / n


class Mixture:
    """A mixture of normal distributions."""

    def __init__(self, *parts):
        """Each part is a weight, a mean and a standard deviation."""
        self.weights, means, scales = np.array(parts).T
        self.parts = stats.norm(means, scales)
        n_points = N_POINTS // 4
        self.points = self.parts.ppf(even(n_points)[:, None]).ravel()
        self.shares = np.tile(self.weights, n_points) / n_points

    def logpdf(self, x):
        return np.log(self.parts.pdf(x[:, None]) @ self.weights)

    def rvs(self, n, rng):
        part = rng.choice(len(self.weights), n, p=self.weights)
        return self.parts.mean()[part] + self.parts.std()[part] * rng.standard_normal(n)


class Known:
    """A distribution of SciPy."""

    def __init__(self, distribution):
        self.logpdf = distribution.logpdf
        self.points, self.shares = distribution.ppf(even(N_POINTS)), np.full(N_POINTS, 1 / N_POINTS)
        self.rvs = lambda n, rng: distribution.rvs(n, random_state=rng)


TRUTHS = {
    "normal": Mixture((1, 0, 1)),
    "skewed": Mixture((1 / 5, 0, 1), (1 / 5, 1 / 2, 2 / 3), (3 / 5, 13 / 12, 5 / 9)),
    "strongly skewed": Mixture(*((1 / 8, 3 * ((2 / 3) ** k - 1), (2 / 3) ** k) for k in range(8))),
    "kurtotic": Mixture((2 / 3, 0, 1), (1 / 3, 0, 1 / 10)),
    "outlier": Mixture((1 / 10, 0, 1), (9 / 10, 0, 1 / 10)),
    "bimodal": Mixture((1 / 2, -1, 2 / 3), (1 / 2, 1, 2 / 3)),
    "separated bimodal": Mixture((1 / 2, -3 / 2, 1 / 2), (1 / 2, 3 / 2, 1 / 2)),
    "skewed bimodal": Mixture((3 / 4, 0, 1), (1 / 4, 3 / 2, 1 / 3)),
    "trimodal": Mixture((9 / 20, -6 / 5, 3 / 5), (9 / 20, 6 / 5, 3 / 5), (1 / 10, 0, 1 / 4)),
    "claw": Mixture((1 / 2, 0, 1), *((1 / 10, k / 2 - 1, 1 / 10) for k in range(5))),
    "double claw": Mixture(
        (49 / 100, -1, 2 / 3), (49 / 100, 1, 2 / 3), *((1 / 350, (k - 3) / 2, 1 / 100) for k in range(7))
    ),
    "asymmetric claw": Mixture((1 / 2, 0, 1), *((2 ** (1 - k) / 31, k + 1 / 2, 2**-k / 10) for k in range(-2, 3))),
    "asymmetric double claw": Mixture(
        *((46 / 100, 2 * k - 1, 2 / 3) for k in range(2)),
        *((1 / 300, -k / 2, 1 / 100) for k in range(1, 4)),
        *((7 / 300, k / 2, 7 / 100) for k in range(1, 4)),
    ),
    "smooth comb": Mixture(*((2 ** (5 - k) / 63, (65 - 96 / 2**k) / 21, 32 / 63 / 2**k) for k in range(6))),
    "discrete comb": Mixture(
        *((2 / 7, (12 * k - 15) / 7, 2 / 7) for k in range(3)), *((1 / 21, 2 * k / 7, 1 / 21) for k in range(8, 11))
    ),
    "exponential": Known(stats.expon()),
    "uniform": Known(stats.uniform()),
    "t, 3 degrees": Known(stats.t(3)),
    "lognormal": Known(stats.lognorm(1)),
    "beta, a half": Known(stats.beta(0.5, 0.5)),
}


def kernels(x):
    widths = x.std() * np.logspace(-2.5, 0.5, 31)
    return GridSearchCV(KernelDensity(), {"bandwidth": widths}, cv=5).fit(x).best_estimator_


def mixture(x):
    fits = [GaussianMixture(k, random_state=0).fit(x) for k in range(1, 11)]
    return min(fits, key=lambda fit: fit.bic(x))


def methods(settings, seed):
    return {
        "ours": lambda x: RealNVPDensity(**{"random_state": seed, **settings}).fit(x),
        "normal": lambda x: GaussianMixture(1).fit(x),
        "kernels": kernels,
        "mixture": mixture,
    }


def divergences(truth, n_rows, seed, settings):
    """Nats between the truth and each method's estimate by the same rows."""
    x = truth.rvs(n_rows, np.random.default_rng(seed))[:, None]
    expected = truth.logpdf(truth.points)
    fits = (fit(x) for fit in methods(settings, seed).values())
    return [truth.shares @ (expected - fit.score_samples(truth.points[:, None])) for fit in fits]


def on_known(arguments):
    print(f"{'truth':23s}{'rows':>6s}" + "".join(f"{name:>17s}" for name in methods({}, 0)))
    for n_rows in arguments.rows:
        means = []
        for name in arguments.only:
            found = [divergences(TRUTHS[name], n_rows, seed, arguments.params) for seed in range(arguments.seeds)]
            means.append(np.mean(found, axis=0))
            cells = (
                f"{mean:8.4f} +- {spread:.4f}" for mean, spread in zip(means[-1], np.std(found, axis=0), strict=True)
            )
            print(f"{name:23s}{n_rows:6d} " + " ".join(cells), flush=True)
        behind = np.array(means)[:, 0] - np.min(np.array(means)[:, 1:], axis=1)
        print(f"{'mean':23s}{n_rows:6d} " + " ".join(f"{mean:8.4f}          " for mean in np.mean(means, axis=0)))
        print(
            f"first on {(behind <= 0).sum()}, within 0.01 nats on {(behind <= 0.01).sum()} of {len(behind)}", flush=True
        )


def ages(rng):
    return rng.permutation(load_diabetes(scaled=False).data[:, 0])[:306]


WHOLE = {
    "ages": ages,
    "beta from 30 to 83": lambda rng: np.round(30 + 53 * rng.beta(2.2, 2.9, 306)),
    "normal, deviation 10": lambda rng: np.round(50 + 10 * rng.standard_normal(306)),
}


def normal_log_probability(train, test):
    normal = stats.norm(train.mean(), train.std())
    return np.log(normal.cdf(test + 0.5) - normal.cdf(test - 0.5)).mean()


def on_whole(arguments):
    for name, draw in WHOLE.items():
        gains = []
        for seed in range(arguments.seeds):
            train, test = train_test_split(draw(np.random.default_rng(seed)), test_size=0.3, random_state=seed)
            fitted = RealNVPDensity(**{"random_state": seed, **arguments.params}).fit(train[:, None])
            gains.append(fitted.score_samples(test[:, None]).mean() - normal_log_probability(train, test))
        mean, spread, least = np.mean(gains), np.std(gains), np.min(gains)
        print(f"{name:23s} above the normal by {mean:.4f} +- {spread:.4f} nats, least {least:.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 200, 1000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TRUTHS, default=list(TRUTHS))
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of constructor parameters")
    parser.add_argument("--whole", action="store_true", help="whole numbers, held out, beside the normal distribution")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    (on_whole if arguments.whole else on_known)(arguments)


if __name__ == "__main__":
    main()
