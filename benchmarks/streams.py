"""Streams whose source moves: `partial_fit` after a `fit` to the first rows, beside a fit to the last rows.

    python benchmarks/streams.py [--chunks 100] [--rows 100]

A banana of two columns jumps by four of its units, drifts by three, or begins with a fifth of its spread. The figures
are mean log-densities of 5,000 new rows from where the source has arrived, in nats: of the stream, of its flows alone,
of a fit to the last 1,000 rows; then the weights of flows and experts in the stream.
"""

import argparse
import math
import warnings

import numpy as np
import torch

from sknvp import RealNVPDensity


def banana(n, rng):
    x, e = rng.standard_normal((2, n))
    return np.c_[x, 0.5 * x**2 + 0.3 * e]


STREAMS = {
    "a jump": lambda t, n, rng: banana(n, rng) + np.array([4.0, 2.0]) * (t > 0),
    "a drift": lambda t, n, rng: banana(n, rng) + np.array([3.0, 1.0]) * t,
    "a warm-up": lambda t, n, rng: banana(n, rng) * (0.2 if t == 0 else 1.0),
}


def flows_alone(density, rows):
    each = density.flow_.log_prob(torch.tensor(rows)).detach()
    return float(torch.logsumexp(each, 0).mean()) - math.log(len(each))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--rows", type=int, default=100)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, source in STREAMS.items():
        rng = np.random.default_rng(0)
        density = RealNVPDensity(random_state=0).fit(source(0, 1000, rng))
        chunks = [source((t + 1) / arguments.chunks, arguments.rows, rng) for t in range(arguments.chunks)]
        for chunk in chunks:
            density.partial_fit(chunk)
        new = source(1, 5000, rng)
        anew = RealNVPDensity(random_state=0).fit(np.concatenate(chunks)[-1000:])
        figures = density.score_samples(new).mean(), flows_alone(density, new), anew.score_samples(new).mean()
        weights = {part: round(weight, 3) for part, weight in density.stacking_weights_.items()}
        print(f"{name:12}" + "".join(f"{figure:9.3f}" for figure in figures), weights, flush=True)


if __name__ == "__main__":
    main()
