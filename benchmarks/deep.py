"""Deep stacks of affine couplings: the lowest of 5,000 held-out rows, with the bound of deep stacks and without it.

    python benchmarks/deep.py [--depths 2 8 16 32 64] [--seeds 5]

One flow, learning rate 0.003, 2,000 training rows: two moons, and 8 correlated columns with heavy tails. "alone" is the
flow by itself, "brief" the flow after ten epochs without early stopping, and "default" has the experts beside it, of
which the t-distribution says what a heavy tail says.
"""

import argparse
import math
import warnings

import numpy as np
from sklearn.datasets import make_moons

from sknvp import RealNVPDensity
from sknvp._estimators import specify

SETTINGS = {"brief": {"early_stopping": False, "max_iter": 10}, "alone": {"stacking": False}, "default": {}}


def moons(n_rows, seed):
    return make_moons(n_rows, noise=0.05, random_state=seed)[0]


def correlated(n_rows, seed):
    matrix, rng = np.random.default_rng(99).standard_normal((8, 8)), np.random.default_rng(seed)
    z = rng.standard_t(5, (n_rows, 8)) @ matrix
    return z + np.tanh(z / 3)


def held_out(make, depth, seed, settings):
    """Log-densities of 5,000 new rows, in nats, in units of the columns' standard deviations."""
    rows, new = make(2000, seed), make(5000, seed + 1000)
    common = {"coupling": "affine", "n_estimators": 1, "learning_rate_init": 0.003, "random_state": seed}
    density = RealNVPDensity(n_layers=depth, **common, **settings).fit((rows - rows.mean(0)) / rows.std(0))
    return density.score_samples((new - rows.mean(0)) / rows.std(0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", nargs="*", type=int, default=[2, 8, 16, 32, 64])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    bound = specify.MAX_TOTAL_LOG_SCALE
    for make in (moons, correlated):
        for kind, settings in SETTINGS.items():
            for depth in arguments.depths:
                cells = []
                for total in (math.inf, bound):
                    specify.MAX_TOTAL_LOG_SCALE = total
                    scores = [held_out(make, depth, seed, settings) for seed in range(arguments.seeds)]
                    cells.append(f"mean {np.mean(scores):8.3f}, lowest {np.min(scores):13.1f}")
                print(
                    f"{make.__name__:10s} {kind:7s} depth {depth:2d}: without {cells[0]}; with {cells[1]}", flush=True
                )


if __name__ == "__main__":
    main()
