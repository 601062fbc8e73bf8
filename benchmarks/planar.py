"""Planar flows beside couplings: mean held-out nats a row on two moons and two circles.

    python benchmarks/planar.py [--seeds 3] [--rows 2000]

32 planar layers have 160 parameters, 8 affine couplings (networks of two hidden layers of 32) some 9,000. Both are
means of four flows, without experts beside them.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import make_circles, make_moons

from sknvp import PlanarFlowDensity, RealNVPDensity

SETS = {
    "two moons": lambda n, seed: make_moons(n, noise=0.1, random_state=seed)[0],
    "two circles": lambda n, seed: make_circles(n, noise=0.05, factor=0.5, random_state=seed)[0],
}
DENSITIES = {
    "planar, 32 layers": lambda seed: PlanarFlowDensity(random_state=seed),
    "affine, 8 layers": lambda seed: RealNVPDensity(n_layers=8, coupling="affine", stacking=False, random_state=seed),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for data, draw in SETS.items():
        for name, make in DENSITIES.items():
            scores, start = [], time.perf_counter()
            for seed in range(arguments.seeds):
                density = make(seed).fit(draw(arguments.rows, seed))
                scores.append(density.score_samples(draw(10_000, 1000 + seed)).mean())
            seconds = (time.perf_counter() - start) / arguments.seeds
            print(f"{data:12s} {name:18s} {np.mean(scores):7.3f} +- {np.std(scores):.3f}  {seconds:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
