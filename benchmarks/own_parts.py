"""Couplings and noise of one's own: additive couplings and logistic noise (NICE), and noise with heavy tails.

    python benchmarks/own_parts.py [--seeds 3]

Mean log-densities of new rows in nats, for each seed, and the lowest of them.
"""

import argparse
import math
import time
from functools import partial

import numpy as np
import torch
from scipy import stats
from sklearn.datasets import make_moons

from sknvp import RealNVPDensity
from sknvp.flows import Base, Coupling, StudentT


class Additive(Coupling):
    N_PARAMETERS = 1

    def elementwise(self, x, theta, inverse):
        (shift,) = theta.unbind(1)
        return x - shift if inverse else x + shift, torch.zeros_like(x)


class AdditiveAndLinear(Additive):
    LINEAR_BETWEEN = True


class Logistic(Base):
    SCALE = math.sqrt(3) / math.pi  # for a variance of one

    def __init__(self, n_features):
        super().__init__()
        self.n_features = n_features

    def log_prob(self, z):
        z = z / self.SCALE
        return -(z + 2 * torch.nn.functional.softplus(-z) + math.log(self.SCALE)).sum(-1)

    def sample(self, shape, reference, generator=None):
        uniform = torch.rand(*shape, self.n_features, generator=generator, dtype=torch.float64)
        return (self.SCALE * torch.logit(uniform, eps=1e-12)).to(reference)


def moons(n, seed):
    return make_moons(n, noise=0.1, random_state=seed)[0]


def heavy(n, seed):
    z = stats.multivariate_t(np.zeros(3), df=3, seed=np.random.default_rng(seed)).rvs(n)
    return np.c_[z[:, 0], z[:, 1] + 0.3 * np.abs(z[:, 0]), z[:, 2] * np.exp(0.3 * np.tanh(z[:, 0]))]


T4 = partial(StudentT, degrees_of_freedom=4)
TABLES = {  # rows, how many to fit to and to score, settings of all, and of each
    "moons": (
        *(moons, 1000, 1000, {"n_layers": 8, "stacking": False}),
        {
            "additive, logistic": {"coupling": Additive, "base": Logistic},
            "additive and linear, logistic (NICE)": {"coupling": AdditiveAndLinear, "base": Logistic},
            "additive and linear, normal": {"coupling": AdditiveAndLinear},
            "affine, normal": {"coupling": "affine"},
            "spline, normal": {},
        },
    ),
    "heavy tails": (
        *(heavy, 1500, 4000, {"stacking": False}),
        {
            "spline, normal": {},
            "spline, t": {"base": T4},
            "affine, normal": {"coupling": "affine"},
            "affine, t": {"coupling": "affine", "base": T4},
            "spline, normal, with experts": {"stacking": True},
        },
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    for table, (draw, n, n_new, common, kinds) in TABLES.items():
        for name, settings in kinds.items():
            scores, start = [], time.process_time()
            for seed in seeds:
                density = RealNVPDensity(**{"n_estimators": 2, "random_state": seed, **common, **settings})
                scores.append(density.fit(draw(n, seed)).score_samples(draw(n_new, 100 + seed)))
            means, lowest = np.array([s.mean() for s in scores]), [f"{s.min():.1f}" for s in scores]
            seconds = (time.process_time() - start) / len(seeds)
            print(f"{table}: {name}: {means.round(3)}, mean {means.mean():.3f}, lowest {lowest}, {seconds:.1f} CPU s")


if __name__ == "__main__":
    main()
