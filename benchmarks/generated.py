"""Generated densities whose entropy is known: how many nats a row the defaults, or other settings, fall short of it.

    python benchmarks/generated.py [--seeds 3] [--rows 2800] [--only banana] [--params '{"coupling": "spline"}']

Held-out rows score minus the entropy on average, and no density can do better. Eight Gaussians: standard deviation 0.15
on a circle of radius 2, so far apart that the entropy is log 8 more than one's. Banana: y = x^2 + e/2 with x and e
standard normal; bending a normal distribution this way changes no volume. The others are normal parts of equal share,
five apart, whose standard deviations are given column by column; ``--only`` chooses sets by name.
"""

import argparse
import json
import math
import warnings

import numpy as np

from sknvp import RealNVPDensity

NORMAL_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)


def eight_gaussians(n, rng):
    angle = rng.integers(8, size=n) * math.pi / 4
    return 2 * np.c_[np.cos(angle), np.sin(angle)] + 0.15 * rng.standard_normal((n, 2))


def banana(n, rng):
    x, e = rng.standard_normal((2, n))
    return np.c_[x, x**2 + e / 2]


def parts(*scales):
    """Return a function that draws from normal parts with these standard deviations, and the entropy."""
    scales = np.array(scales)

    def draw(n, rng):
        part = rng.permutation(n) % len(scales)
        return 5.0 * part[:, None] + scales[part] * rng.standard_normal((n, scales.shape[1]))

    return draw, math.log(len(scales)) + (NORMAL_ENTROPY + np.log(scales)).sum(1).mean()


SETS = {
    "eight Gaussians": (eight_gaussians, math.log(8) + 2 * (NORMAL_ENTROPY + math.log(0.15))),
    "banana": (banana, 2 * NORMAL_ENTROPY + math.log(0.5)),
    "two scales": parts([1.0], [1e-4]),
    "two nearer scales": parts([1.0], [1e-3]),
    "three scales": parts([1.0], [1e-2], [1e-4]),
    "two columns, narrow in one": parts([1.0, 1.0], [1e-4, 1.0]),
    "two columns, narrow in both": parts([1.0, 1.0], [1e-4, 1e-4]),
    "five columns, narrow in one": parts([1.0] * 5, [1e-4, 1.0, 1.0, 1.0, 1.0]),
    "five columns, narrow in all": parts([1.0] * 5, [1e-4] * 5),
    "five columns, three scales": parts([1.0] * 5, [1e-2] * 5, [1e-4] * 5),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2800)
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of constructor parameters")
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS), help="names of sets")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.only:
        draw, entropy = SETS[name]
        gaps = []
        for seed in range(arguments.seeds):
            rng = np.random.default_rng(seed)
            density = RealNVPDensity(**{"random_state": seed, **arguments.params}).fit(draw(arguments.rows, rng))
            gaps.append(-entropy - density.score_samples(draw(20_000, rng)).mean())
        print(f"{name:27s} entropy {entropy:.4f}, short of it by {np.mean(gaps):.4f} +- {np.std(gaps):.4f} nats a row")


if __name__ == "__main__":
    main()
