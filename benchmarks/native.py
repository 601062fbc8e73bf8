"""The native library beside PyTorch's operations, in turn in one process and on one thread: CPU seconds and scores.

    python benchmarks/native.py steps                                      # a step of training, and scoring by flows
    python benchmarks/native.py experts                                    # expectation steps, mixtures and kernels
    python benchmarks/native.py fits --data FOLDER --tables moons concrete --seeds 0 1 2
    python benchmarks/native.py scores                                     # 100,000 rows of 8 columns, default density
    python benchmarks/native.py gradients --cases 1000                     # errors in flows of random shapes

`fits` takes .npz files with an array X, 70 percent of the rows (at most 10,000) to fit and 30 percent held out, and
prints held-out log-likelihoods in nats a row, in units where the training columns have variance one.
"""

import argparse
import statistics
import sys
import time
import warnings
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import train_test_split

import sknvp
from sknvp import RealNVPDensity
from sknvp.flows import real_nvp
from sknvp.flows.bases import GaussianMixture, Kernels
from sknvp.flows.bases.expectation_maximization import _expected
from sknvp.flows.builders import masks
from sknvp.flows.builders.tabular import without_standardization
from sknvp.flows.native import torch_only
from sknvp.flows.train.adamw import AdamW
from sknvp.flows.train.buffer import flatten
from sknvp.flows.train.descent import descend
from sknvp.flows.train.objectives import NegativeLogLikelihood

PATHS = {"native": nullcontext, "torch": torch_only}
N_STEPS = 10
# columns, members, layers, widths, coupling, rows in a batch
STEPS = [
    *((d, 4, 6, (32, 32), coupling, 128) for coupling in ("spline", "affine") for d in (2, 8, 30)),
    *((8, 1, 8, (64, 64), "affine", n) for n in (256, 1024)),
]


def in_turn(functions, n_turns):
    """Return the median of the CPU seconds of each function, called in turn by each path."""
    seconds = {key: [] for key in functions}
    for turn in range(n_turns + 1):
        for key, function in functions.items():
            start = time.thread_time()
            with PATHS[key[1]]():
                function()
            if turn:  # the first turn warms up
                seconds[key].append(time.thread_time() - start)
    return {key: statistics.median(values) for key, values in seconds.items()}


def report(label, seconds, names, per=1):
    parts = []
    for name in names:
        native, pure = (seconds[name, path] / per * 1e3 for path in PATHS)
        parts.append(f"{name} {pure:9.3f} -> {native:8.3f} ms, {pure / native:5.2f} times")
    print(f"{label:42}" + "; ".join(parts), flush=True)


def steps(arguments):
    for d, n_members, n_layers, widths, coupling, n_batch in STEPS:
        functions = {}
        for path in PATHS:
            source = torch.Generator().manual_seed(0)
            keep = masks.random(n_members, n_layers, d, source)
            settings = {"hidden_layer_sizes": widths, "coupling": coupling, "generator": source}
            flow = real_nvp(torch.zeros(d), torch.ones(d), torch.arange(d), keep, **settings)
            flow, x = without_standardization(flow).float(), torch.randn(5000, d, generator=source)
            flat, none = flatten(flow), torch.zeros(n_members, 5000, dtype=torch.bool)
            tail = torch.full((5000,), -80.0)
            objective = NegativeLogLikelihood(flow, x, torch.ones(5000), tail, none, n_batch, source)
            training = flow, flat, objective, objective.batches(), AdamW(flat, 0.1, max_norm=5.0)
            functions["step", path] = lambda training=training: step(*training)
            functions["scoring", path] = lambda flow=flow, x=x: score(flow, x)
        seconds = in_turn(functions, arguments.turns)
        label = f"{coupling}, {d} columns, {n_members} members, batch {n_batch}:"
        report(
            label, {key: s / (N_STEPS if key[0] == "step" else 1) for key, s in seconds.items()}, ["step", "scoring"]
        )


def step(flow, flat, objective, batches, optimizer):
    descend(flow, flat, objective, islice(batches, N_STEPS), optimizer, 1e-3)


@torch.no_grad()
def score(flow, x):
    flow.log_prob(x)


def experts(arguments):
    for n, d, k in [(2800, 2, 64), (5700, 9, 32), (10_000, 9, 64), (10_000, 30, 16)]:
        source = torch.Generator().manual_seed(0)
        x = torch.randn(n, d, generator=source).double()
        weights = (torch.rand(4, n, generator=source) < 0.75).double()
        weights /= weights.sum(1, keepdim=True)
        unit = torch.eye(d).double().expand(4, k, d, d)
        mixture = GaussianMixture(torch.full((4, k), -np.log(k)).double(), x[: 4 * k].view(4, k, d), unit)
        kernels = Kernels(x.expand(4, n, d).contiguous(), weights.log(), 0.3)
        many, few = (x[:n_rows].expand(4, -1, -1) for n_rows in (2500, 250))
        functions = {}
        for path in PATHS:
            functions["expectation", path] = lambda m=mixture, x=x, w=weights: _expected(m, x, w, x[:, :0])
            functions["mixture", path] = lambda m=mixture, z=many: m.log_prob(z)
            functions["kernels", path] = lambda m=kernels, z=few: m.log_prob(z)
        names = ["expectation", "mixture", "kernels"]
        report(f"{n} x {d}, {k} components:", in_turn(functions, arguments.turns), names)


def fits(arguments):
    for name in arguments.tables:
        X = np.load(Path(arguments.data) / f"{name}.npz")["X"]
        rows, held_out = train_test_split(X, test_size=0.3, random_state=0)
        rows, held_out = rows[:10_000], held_out[:5_000]
        unit = np.log(rows.std(0)).sum()
        for seed in arguments.seeds:
            seconds, scores = {}, {}
            for path, mode in PATHS.items():
                start = time.process_time()
                with mode():
                    density = RealNVPDensity(random_state=seed).fit(rows)
                    seconds["fit", path] = time.process_time() - start
                    scores[path] = density.score(held_out) / len(held_out) + unit
            nats = f"; {scores['native']:.3f} nats, torch {scores['torch']:.3f}, {np.subtract(*scores.values()):+.3f}"
            report(f"{name}, {rows.shape[0]} x {rows.shape[1]}, seed {seed}{nats}:", seconds, ["fit"])


def scores(arguments):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100_000, 8)).astype(np.float32)
    X[:, 1:] += X[:, :-1] ** 2 / 2
    X[::3] += 4
    density = RealNVPDensity(random_state=0).fit(X[:5000])
    print({name: round(weight, 3) for name, weight in density.stacking_weights_.items()}, flush=True)
    functions = {}
    for path in PATHS:
        functions["100,000 rows in single precision", path] = lambda: density.score_samples(X)
        functions["100,000 draws", path] = lambda: density.sample(100_000, random_state=0)
    for name, other in {
        "IsolationForest": IsolationForest(random_state=0),
        "GaussianMixture(64)": SklearnMixture(64),
    }.items():
        fitted = other.fit(X[:5000])
        functions[name, "native"] = functions[name, "torch"] = lambda fitted=fitted: fitted.score_samples(X)
    seconds = in_turn(functions, min(arguments.turns, 3))
    for name in dict.fromkeys(name for name, _ in functions):
        report("", seconds, [name])


def gradients(arguments):
    """Print errors of log-densities and gradients, and each case in which they are not those of rounding."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.flows.native_cases import QUANTITIES, compare, faults, random_case

    found = []
    for seed in range(arguments.cases):
        flow, inputs, about = random_case(seed)
        found.append(compare(flow, inputs))
        if said := faults(found[-1]):
            print(f"case {seed}: {'; '.join(said)} ({about})", flush=True)
    for name in found[0]:
        for i, what in enumerate(QUANTITIES):
            numbers = torch.cat([errors[name][i] for errors in found])
            finite = numbers[numbers.isfinite()]
            parts = ", ".join(f"{q:.0%} {np.quantile(finite, q):.1e}" for q in (0.5, 0.9, 0.99))
            print(f"{name:14} {what:12} {parts}; not finite {len(numbers) - len(finite)} of {len(numbers)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["steps", "experts", "fits", "scores", "gradients"])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--data")
    parser.add_argument("--tables", nargs="+", default=["moons", "concrete", "pima"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    sknvp.show_versions()
    commands = {"steps": steps, "experts": experts, "fits": fits, "scores": scores, "gradients": gradients}
    commands[arguments.what](arguments)


if __name__ == "__main__":
    main()
