"""The published tables of density estimation: POWER and BSDS300, with the MAF paper's preprocessing.

    python benchmarks/maf_tables.py --data FOLDER --table power --coupling affine [--epochs 20] [--rows 100000]
    python benchmarks/maf_tables.py --data FOLDER --table power --defaults --rows 20000 --seed 1

FOLDER holds maf.py, whose functions power() and bsds300() give training, validation and test rows. Fits one flow with
nothing beside it, so that the figure is a Real NVP's (or, with splines, a neural spline flow's), to training and
validation rows together, a few of which it holds out itself; with --defaults the whole density of the defaults instead.
--rows are drawn from them by the seed. Prints the mean test log-likelihood in nats with two
standard errors beside the published ones.

References: Papamakarios, Pavlakou and Murray, "Masked Autoregressive Flow for Density Estimation", NeurIPS 2017;
Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows", NeurIPS 2019.
"""

import argparse
import importlib.util
import json
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from sknvp import RealNVPDensity

PUBLISHED = {
    "power": {"Gaussian": -7.74, "Real NVP (10)": 0.17, "MAF (5)": 0.14, "Glow": 0.42, "RQ-NSF (C)": 0.64},
    "bsds300": {"Gaussian": 96.67, "Real NVP (10)": 153.28, "MAF (5)": 155.69, "Glow": 156.95, "RQ-NSF (C)": 157.54},
}
SETTINGS = {
    "n_layers": 10,
    "hidden_layer_sizes": (128, 128),
    "n_estimators": 1,
    "stacking": False,
    "alpha": 0.0,
    "batch_size": 512,
    "learning_rate_init": 1e-3,
    "validation_fraction": 0.01,
    "n_iter_no_change": 10**9,  # the learning rate falls linearly to the end of the last epoch
}


def load(folder, table):
    """Training rows (those for validation among them) and test rows."""
    spec = importlib.util.spec_from_file_location("maf", folder / "maf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    train, validation, test = getattr(module, table)()
    return np.concatenate([train, validation]), test


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", choices=PUBLISHED, required=True)
    parser.add_argument("--coupling", choices=("affine", "spline"), default="affine")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument(
        "--defaults", action="store_true", help="fit the default density; --coupling and --epochs are idle"
    )
    parser.add_argument("--rows", type=int, help="fit to so many rows only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of further constructor parameters")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    if not (arguments.data / "maf.py").exists():
        parser.error(f"--data must be a folder with maf.py, found none in {arguments.data}")
    train, test = load(arguments.data, arguments.table)
    if arguments.rows is not None:
        train = train[np.random.default_rng(arguments.seed).permutation(len(train))[: arguments.rows]]
    single = {**SETTINGS, "coupling": arguments.coupling, "max_iter": arguments.epochs}
    settings = {**({} if arguments.defaults else single), "random_state": arguments.seed, **arguments.params}
    density = RealNVPDensity(**settings, verbose=arguments.verbose)
    warnings.simplefilter("ignore")
    start, cpu = time.perf_counter(), time.process_time()
    density.fit(train)
    minutes, cpu = (time.perf_counter() - start) / 60, time.process_time() - cpu
    scores = density.score_samples(test)
    hardware = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {density.device}"
    print(f"{arguments.table}: {len(train)} rows x {train.shape[1]}, {settings}")
    print(f"{density.n_iter_} epochs in {minutes:.1f} minutes, {cpu:.0f} s of CPU, on {hardware}")
    error = 2 * scores.std() / np.sqrt(len(scores))
    print(f"test {scores.mean():.3f} +- {error:.3f} nats; published {PUBLISHED[arguments.table]}")


if __name__ == "__main__":
    main()
