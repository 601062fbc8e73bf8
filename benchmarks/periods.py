"""Generated rows with angles and known log-density, fitted with `periods`, without, and as cosines and sines.

    python benchmarks/periods.py [--seeds 3] [--rows 1000] [--zuko]

"ring" has an angle that is uniform and a number that depends on it, "peak" an angle around 180 degrees and such a
number, and "torus" two angles that are near each other, wherever they are. For each seed: the true mean log-density of
4,000 new rows, in nats, and what the fitted ones fall short of it. The density of cosines and sines is brought to the
circle by dividing it by its integral over the circle and the number, by quadrature. With --zuko its circular spline
flow is fitted too, which needs ``pip install zuko``; it has circles alone, and so is fitted to "torus".
"""

import argparse
import time
import warnings

import numpy as np
from scipy import stats

from sknvp import RealNVPDensity

DEGREE = np.pi / 180


def ring(n, rng):
    angle = rng.uniform(-180, 180, n)
    X = np.c_[angle, rng.normal(np.sin(DEGREE * angle), 0.2)]
    return X, stats.norm.logpdf(X[:, 1], np.sin(DEGREE * angle), 0.2) - np.log(360)


def peak(n, rng):
    angle = rng.vonmises(np.pi, 4, n) / DEGREE % 360
    X = np.c_[angle, rng.normal(np.cos(DEGREE * angle), 0.3)]
    number = stats.norm.logpdf(X[:, 1], np.cos(DEGREE * angle), 0.3)
    return X, stats.vonmises.logpdf(DEGREE * angle, 4, np.pi) + np.log(DEGREE) + number


def torus(n, rng):
    first = rng.uniform(0, 360, n)
    second = (first + rng.vonmises(0, 4, n) / DEGREE) % 360
    return np.c_[first, second], stats.vonmises.logpdf(DEGREE * (second - first), 4) + np.log(DEGREE) - np.log(360)


TABLES = {"ring": (ring, [0]), "peak": (peak, [0]), "torus": (torus, [0, 1])}


def with_cosines(X, angles):
    parts = [
        np.c_[np.cos(DEGREE * X[:, j]), np.sin(DEGREE * X[:, j])] if j in angles else X[:, [j]]
        for j in range(X.shape[1])
    ]
    return np.concatenate(parts, 1)


def scores_with_periods(X, new, angles, seed):
    density = RealNVPDensity(random_state=seed, periods=dict.fromkeys(angles, 360))
    return density.fit(X).score_samples(new)


def scores_without(X, new, angles, seed):
    return RealNVPDensity(random_state=seed).fit(X).score_samples(new)


def scores_of_cosines(X, new, angles, seed):
    """Score rows by a density of cosines and sines, divided by its integral over the angles and numbers."""
    density = RealNVPDensity(random_state=seed).fit(with_cosines(X, angles))
    axes = [np.arange(0.5, 360) if j in angles else np.linspace(-3, 3, 301) for j in range(X.shape[1])]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    step = np.prod([axis[1] - axis[0] for axis in axes])
    scores = density.score_samples(with_cosines(grid, angles))
    return density.score_samples(with_cosines(new, angles)) - np.log(np.exp(scores).sum() * step)


def scores_of_zuko(X, new, angles, seed):
    """Score rows by a circular spline flow, stopped early by a quarter of the rows."""
    import torch
    import zuko

    torch.manual_seed(seed)
    flow = zuko.flows.NCSF(2, transforms=3, hidden_features=(64, 64))
    radians = [torch.tensor((part * DEGREE + np.pi) % (2 * np.pi) - np.pi).float() for part in (X, new)]
    held_out, train = radians[0][: len(X) // 4], radians[0][len(X) // 4 :]
    optimizer, best, weights, stale = torch.optim.Adam(flow.parameters(), 1e-3), np.inf, None, 0
    while stale < 30:
        for batch in torch.randperm(len(train)).split(128):
            optimizer.zero_grad()
            (-flow().log_prob(train[batch]).mean()).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(-flow().log_prob(held_out).mean())
        stale = 0 if loss < best else stale + 1
        if loss < best:
            best, weights = loss, {name: value.clone() for name, value in flow.state_dict().items()}
    flow.load_state_dict(weights)
    with torch.no_grad():
        return flow().log_prob(radians[1]).numpy() + 2 * np.log(DEGREE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--zuko", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, (draw, angles) in TABLES.items():
        for seed in range(arguments.seeds):
            X, _ = draw(arguments.rows, np.random.default_rng(seed))
            new, truth = draw(4000, np.random.default_rng(1000 + seed))
            ways = {"periods": scores_with_periods, "none": scores_without, "cosine and sine": scores_of_cosines}
            if arguments.zuko and len(angles) == 2:
                ways["zuko"] = scores_of_zuko
            parts = []
            for way, scores in ways.items():
                start = time.process_time()
                short = truth.mean() - scores(X, new, angles, seed).mean()
                parts.append(f"{way} {short:.4f} ({time.process_time() - start:.1f} s)")
            print(f"{name:5} truth {truth.mean():8.4f}, short of it: " + ", ".join(parts), flush=True)


if __name__ == "__main__":
    main()
