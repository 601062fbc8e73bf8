"""Time fitting, scoring and sampling beside other libraries, all with a flow of the same shape.

    python benchmarks/compare.py [--columns 8] [--rows 1000 10000 100000] [--batch 256] [--threads 2] [--plot FILE.png]

The flow is Real NVP with 8 couplings, in single precision; the networks have 64 x 64 units with their library's usual
activation, one for scale and shift together (normflows: one for each), trained by Adam. KernelDensity stands on 10,000
rows at most. Every figure is a median over repeats taken in turn (ours, theirs, ours, ...), so that a machine whose
speed drifts does not decide. The floor is the matrix products of the networks alone. What took longer than --limit
seconds is left out at more rows.
"""

import argparse
import statistics
import time
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import normflows
import numpy as np
import torch
import zuko
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.nn.nets import MLP
from nflows.transforms import AffineCouplingTransform, CompositeTransform
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KernelDensity

from sknvp import RealNVPDensity

N_LAYERS, WIDTHS, EPOCHS, CHUNK = 8, (64, 64), 2, 4096


class Ours:
    """RealNVPDensity as a plain Real NVP."""

    def __init__(self, n_columns, batch_size):
        self.density = RealNVPDensity(
            n_layers=N_LAYERS,
            hidden_layer_sizes=WIDTHS,
            coupling="affine",
            n_estimators=1,
            stacking=False,
            batch_size=batch_size,
            max_iter=EPOCHS,
            early_stopping=False,
            random_state=0,
        )

    def fit(self, X):
        self.density.fit(X)

    def score(self, X):
        self.density.score_samples(X)

    def sample(self, X):
        self.density.sample(len(X), random_state=0)


class Theirs:
    """A flow of another library: Adam on the mean negative log-likelihood, scoring and sampling in chunks."""

    def __init__(self, n_columns, batch_size):
        self.batch_size = batch_size
        self.flow = self.build(n_columns)

    def fit(self, X):
        rows, optimizer = torch.tensor(X), torch.optim.Adam(self.flow.parameters(), 1e-3)
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(rows)).split(self.batch_size):
                optimizer.zero_grad()
                (-self.log_prob(rows[batch]).mean()).backward()
                optimizer.step()

    @torch.no_grad()
    def score(self, X):
        for rows in torch.tensor(X).split(CHUNK):
            self.log_prob(rows)

    @torch.no_grad()
    def sample(self, X):
        for start in range(0, len(X), CHUNK):
            self.draw(min(CHUNK, len(X) - start))

    def log_prob(self, rows):
        return self.flow.log_prob(rows)

    def draw(self, n_rows):
        return self.flow.sample(n_rows)


class Zuko(Theirs):
    def build(self, n_columns):
        return zuko.flows.RealNVP(n_columns, transforms=N_LAYERS, hidden_features=list(WIDTHS))

    def log_prob(self, rows):
        return self.flow().log_prob(rows)

    def draw(self, n_rows):
        return self.flow().sample((n_rows,))


class Normflows(Theirs):
    def build(self, n_columns):
        def network():
            return normflows.nets.MLP([n_columns, *WIDTHS, n_columns], init_zeros=True)

        even = (torch.arange(n_columns) % 2).float()
        masks = [even if layer % 2 else 1 - even for layer in range(N_LAYERS)]
        layers = [normflows.flows.MaskedAffineFlow(mask, network(), network()) for mask in masks]
        return normflows.NormalizingFlow(normflows.distributions.DiagGaussian(n_columns), layers)


class Nflows(Theirs):
    def build(self, n_columns):
        class Network(MLP):
            def __init__(self, n_inputs, n_outputs):
                super().__init__([n_inputs], [n_outputs], list(WIDTHS))

            def forward(self, inputs, context=None):
                return super().forward(inputs)

        even = torch.arange(n_columns) % 2
        layers = [AffineCouplingTransform(even if i % 2 else 1 - even, Network) for i in range(N_LAYERS)]
        return Flow(CompositeTransform(layers), StandardNormal([n_columns]))


class Kernels:
    """scikit-learn's KernelDensity over at most 10,000 rows."""

    def __init__(self, n_columns, batch_size):
        self.density = KernelDensity(bandwidth=0.3)

    def fit(self, X):
        self.density.fit(X[:10_000])

    def score(self, X):
        self.density.score_samples(X)

    def sample(self, X):
        self.density.sample(len(X), random_state=0)


class Floor:
    """The matrix products of the networks, forward or (in a fit) both ways, at a size that suits the cache."""

    def __init__(self, n_columns, batch_size):
        n_first = n_columns // 2 or 1
        sizes = [n_first, *WIDTHS, 2 * (n_columns - n_first or 1)]
        self.weights = [torch.randn(n_in, n_out) for n_in, n_out in pairwise(sizes)]
        self.batch_size = batch_size

    def fit(self, X):
        for _ in range(EPOCHS):
            self.products(len(X), self.batch_size, backward=True)

    def score(self, X):
        self.products(len(X), CHUNK, backward=False)

    sample = score

    def products(self, n_rows, chunk, backward):
        chunk = min(n_rows, chunk)
        blocks = [(torch.randn(chunk, w.shape[0]), w, torch.randn(chunk, w.shape[1])) for w in self.weights]
        for _ in range(-(-n_rows // chunk) * N_LAYERS):
            for x, weight, y in blocks:
                torch.mm(x, weight)
                if backward:
                    torch.mm(y, weight.T)
                    torch.mm(x.T, y)


LIBRARIES = {
    "sknvp": Ours,
    "zuko": Zuko,
    "normflows": Normflows,
    "nflows": Nflows,
    "KernelDensity": Kernels,
    "floor": Floor,
}


def medians_in_turn(functions, repeats, limit):
    """Median seconds of each function; the first run warms up, and one that takes longer than the limit is the last."""
    seconds = {name: [] for name in functions}
    slow = {name for name, function in functions.items() if timed(function, seconds[name]) > limit}
    for name in functions.keys() - slow:
        seconds[name].clear()
    for _ in range(repeats):
        for name, function in functions.items():
            if name not in slow:
                timed(function, seconds[name])
    return {name: statistics.median(values) for name, values in seconds.items()}, slow


def timed(function, seconds):
    start = time.perf_counter()
    function()
    seconds.append(time.perf_counter() - start)
    return seconds[-1]


def measure(arguments):
    """Seconds by task and library: for each a dict from number of rows to median."""
    tasks = ("fit", "score", "sample")
    times = {task: {name: {} for name in LIBRARIES} for task in tasks}
    models = {name: library(arguments.columns, arguments.batch) for name, library in LIBRARIES.items()}
    slow = {task: set() for task in tasks}
    for n_rows in arguments.rows:
        X = np.random.default_rng(0).standard_normal((n_rows, arguments.columns)).astype(np.float32)
        for task in tasks:
            ready = [name for name in models if name not in slow[task]]
            functions = {name: partial(getattr(models[name], task), X) for name in ready}
            medians, too_slow = medians_in_turn(functions, arguments.repeats, arguments.limit)
            slow[task] |= too_slow
            for name, seconds in medians.items():
                times[task][name][n_rows] = seconds
    return times


def show(times, arguments):
    table = Table(title=f"{arguments.columns} columns, batches of {arguments.batch}: ms, and times sknvp's")
    for heading in ("task", "rows", *LIBRARIES):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for task, of_library in times.items():
        for n_rows in arguments.rows:
            ours = of_library["sknvp"].get(n_rows, float("nan"))
            cells = [of_library[name].get(n_rows) for name in LIBRARIES]
            table.add_row(
                f"{task}, {EPOCHS} epochs" if task == "fit" else task,
                f"{n_rows:,}",
                *("" if s is None else f"{s * 1e3:.1f} ({s / ours:.2f}x)" for s in cells),
            )
    Console(width=150).print(table)


def plot(times, path):
    figure, panels = plt.subplots(1, len(times), figsize=(12, 4), sharey=True, layout="constrained")
    for panel, (task, of_library) in zip(panels, times.items(), strict=True):
        for name, seconds in of_library.items():
            style = {"color": "grey", "linestyle": "--"} if name == "floor" else {"marker": "o", "markersize": 4}
            panel.loglog(list(seconds), list(seconds.values()), label=name, **style)
        panel.set(title=f"fit, {EPOCHS} epochs" if task == "fit" else task, xlabel="rows")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds")
    panels[0].legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    for name, default in (("columns", 8), ("batch", 256), ("repeats", 5), ("threads", 2), ("limit", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--plot", type=Path, help="write a log-log picture of seconds by rows")
    arguments = parser.parse_args()
    if arguments.columns < 2:
        parser.error("--columns must be at least 2: a coupling needs a column to condition on")
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    times = measure(arguments)
    show(times, arguments)
    if arguments.plot:
        plot(times, arguments.plot)


if __name__ == "__main__":
    main()
