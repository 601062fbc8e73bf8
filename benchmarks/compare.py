"""Time a training epoch, scoring and sampling of one plain Real NVP, beside zuko's of the same shape and KDE.

    python benchmarks/compare.py [--columns 8] [--rows 4096] [--repeats 5] [--threads 2]

Each figure is a median over repeats taken in turn (ours, zuko's, ours, ...), so that a machine whose speed drifts
does not decide.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
import torch
import zuko
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KernelDensity

from sknvp import RealNVPDensity

N_LAYERS, WIDTHS, BATCH, EPOCHS = 8, (64, 64), 256, 2


def medians_in_turn(functions, repeats):
    """Median seconds of each function, after one run to warm up."""
    seconds = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def zukos_flow(n_features):
    return zuko.flows.RealNVP(n_features, transforms=N_LAYERS, hidden_features=list(WIDTHS))


def zukos_fit(rows):
    flow = zukos_flow(rows.shape[1])
    optimizer = torch.optim.Adam(flow.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(rows)).split(BATCH):
            optimizer.zero_grad()
            (-flow().log_prob(rows[batch]).mean()).backward()
            optimizer.step()
    return flow


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("columns", 8), ("rows", 4096), ("repeats", 5), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)

    X = np.random.default_rng(0).standard_normal((arguments.rows, arguments.columns)).astype(np.float32)
    rows = torch.tensor(X)
    ours = RealNVPDensity(
        n_layers=N_LAYERS,
        hidden_layer_sizes=WIDTHS,
        n_estimators=1,
        batch_size=BATCH,
        max_iter=EPOCHS,
        early_stopping=False,
        random_state=0,
    ).fit(X)
    theirs, kernel = zukos_fit(rows), KernelDensity().fit(X)

    def without_gradients(function):
        def run():
            with torch.no_grad():
                function()

        return run

    tasks = {
        f"fit, {EPOCHS} epochs": {"sknvp": lambda: ours.fit(X), "zuko": lambda: zukos_fit(rows)},
        "score_samples": {
            "sknvp": lambda: ours.score_samples(X),
            "zuko": without_gradients(lambda: theirs().log_prob(rows)),
            "KernelDensity": lambda: kernel.score_samples(X),
        },
        "sample": {
            "sknvp": lambda: ours.sample(len(X), random_state=0),
            "zuko": without_gradients(lambda: theirs().sample((len(rows),))),
        },
    }
    table = Table(title=f"{arguments.rows} rows, {arguments.columns} columns: milliseconds, and times sknvp's")
    for heading in ("task", "sknvp", "zuko", "KernelDensity"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for task, functions in tasks.items():
        seconds = medians_in_turn(functions, arguments.repeats)
        others = [
            f"{seconds[name] * 1e3:.0f} ({seconds[name] / seconds['sknvp']:.1f}x)" if name in seconds else ""
            for name in ("zuko", "KernelDensity")
        ]
        table.add_row(task, f"{seconds['sknvp'] * 1e3:.0f}", *others)
    Console().print(table)


if __name__ == "__main__":
    main()
