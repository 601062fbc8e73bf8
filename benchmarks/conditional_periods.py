"""Angles given columns, with known log-density: targets with `periods`, without, cut elsewhere, as cosine and sine.

    python benchmarks/conditional_periods.py [--seeds 3] [--rows 1000]

Each angle has a von Mises distribution between -180 and 180 degrees. In "turn" its mean goes once around the circle
with a column, in "direction" it is the direction of two columns, which lies the closer the longer they are, and in
"back" it stays within 60 degrees of 180. For each seed: the true mean log-density of 4,000 new rows, in nats, and what
the fitted ones fall short of it. "moved" is a fit without a period to angles that are cut where the fewest lie. The
density of cosine and sine, two targets, is brought to the circle by dividing it by its integral over the circle for
each row, by quadrature. Then, with `periods` and without: the densities at both ends of the range, given a row whose
mean is 180 degrees, beside the true one, and the share of draws that lie off the circle.
"""

import argparse
import time
import warnings

import numpy as np
from scipy import stats

from sknvp import ConditionalRealNVPDensity
from sknvp._columns.circle import Circle

DEGREE = np.pi / 180
BLOCK = 200  # rows whose densities all around the circle are computed at once


def turn(n, rng):
    X = rng.uniform(-1, 1, (n, 1))
    return X, np.pi * (1 + X[:, 0]), np.full(n, 4.0)


def direction(n, rng):
    X = rng.normal(size=(n, 2))
    return X, np.arctan2(X[:, 1], X[:, 0]), 1 + 3 * np.hypot(X[:, 0], X[:, 1])


def back(n, rng):
    X = rng.normal(size=(n, 2))
    return X, np.pi + np.tanh(X[:, 0]) * np.pi / 3, np.exp(2 + X[:, 1])


TABLES = {"turn": (turn, [0.0]), "direction": (direction, [-1.0, 0.0]), "back": (back, [0.0, 0.0])}


def drawn(table, n, seed):
    """Draw rows and angles, and compute the true log-densities."""
    rng = np.random.default_rng(seed)
    X, mean, concentration = table(n, rng)
    angle = (rng.vonmises(mean, concentration) / DEGREE + 180) % 360 - 180
    return X, angle, stats.vonmises.logpdf(DEGREE * angle, concentration, mean) + np.log(DEGREE)


def fit(X, y, seed, **settings):
    return ConditionalRealNVPDensity(random_state=seed, **settings).fit(X, y)


def scores_moved(X, y, new, angles, seed):
    """Score angles without a period that are cut where the fewest of those fitted lie."""
    circle = Circle.of(y, np.ones(len(y)), 360)
    return fit(X, circle.unwrapped(y), seed).score_samples(new, circle.unwrapped(angles))


def scores_of_cosines(X, y, new, angles, seed):
    """Score angles by the density of cosine and sine, divided by its integral over the circle."""
    density, circle = fit(X, on_circle(y), seed), np.arange(0.5, 360)
    integrals = np.empty(len(new))
    for start in range(0, len(new), BLOCK):
        rows = new[start : start + BLOCK]
        around = density.score_samples(np.repeat(rows, 360, axis=0), np.tile(on_circle(circle), (len(rows), 1)))
        integrals[start : start + BLOCK] = np.exp(around).reshape(-1, 360).sum(1)
    return density.score_samples(new, on_circle(angles)) - np.log(integrals)


def on_circle(angle):
    return np.c_[np.cos(DEGREE * angle), np.sin(DEGREE * angle)]


def ends(density, row):
    at = np.exp(density.score_samples([row, row], [-179.9, 179.9]))
    drawn = density.sample([row], 100_000, random_state=0)
    return f"{at[0]:.5f} {at[1]:.5f}, off the circle {(np.abs(drawn) > 180).mean():.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, (table, row) in TABLES.items():
        for seed in range(arguments.seeds):
            X, y, _ = drawn(table, arguments.rows, seed)
            new, angles, truth = drawn(table, 4000, 1000 + seed)
            scores, parts, densities = {}, [], {}
            for way, settings in {"periods": {"periods": 360}, "none": {}}.items():
                start = time.process_time()
                densities[way] = fit(X, y, seed, **settings)
                scores[way] = densities[way].score_samples(new, angles)
                parts.append(f"{way} {time.process_time() - start:.1f} s")
            scores["moved"] = scores_moved(X, y, new, angles, seed)
            scores["cosine and sine"] = scores_of_cosines(X, y, new, angles, seed)
            short = ", ".join(f"{way} {truth.mean() - each.mean():.4f}" for way, each in scores.items())
            print(f"{name:9} truth {truth.mean():8.4f}, short of it: {short}; {', '.join(parts)}", flush=True)
            for way, density in densities.items():
                print(f"    {way}: at both ends {ends(density, row)}", flush=True)


if __name__ == "__main__":
    main()
