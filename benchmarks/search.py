"""Grid searches on 500 rows of 8 columns, each in a process of its own: seconds, held-out scores and threads.

    python benchmarks/search.py [--jobs 1 2] [--repeats 3] [--rows 500]

Ours are 20 fits, four candidates by five folds, and the best one again to all rows; "in PyTorch" without the native
library (SKNVP_PURE_PYTHON=1). The others are searched as they usually are: `KernelDensity` over 20 bandwidths,
`GaussianMixture` over 1 to 10 components and all kinds of covariances, by five folds too. CPU seconds are those of all
processes; what joblib's processes take to start and to import is in both figures, what the first one takes in neither.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from sknvp import RealNVPDensity

GRIDS = {
    "RealNVPDensity": (RealNVPDensity(random_state=0), {"n_layers": [4, 6], "alpha": [0.1, 1.0]}),
    "KernelDensity": (KernelDensity(), {"bandwidth": np.logspace(-1.5, 0.5, 20)}),
    "GaussianMixture": (
        GaussianMixture(random_state=0),
        {"n_components": range(1, 11), "covariance_type": ["spherical", "diag", "tied", "full"]},
    ),
}
SEARCHES = {name: (name, {}) for name in GRIDS}
SEARCHES["RealNVPDensity in PyTorch"] = "RealNVPDensity", {"SKNVP_PURE_PYTHON": "1"}


def data(n_rows):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 8))
    X[:, 1:] += X[:, :-1] ** 2 / 2
    X[::3] += 4
    return X


def measured(estimator, X, y=None):
    """Score an estimator, with the number of threads that PyTorch would use here, if it is there."""
    torch = sys.modules.get("torch")
    return {"nats": np.mean(estimator.score_samples(X)), "threads": torch.get_num_threads() if torch else 0}


def cpu_seconds():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def search(name, n_jobs, n_rows):
    """Search once, and return what is to be known of it."""
    warnings.simplefilter("ignore")
    estimator, grid = GRIDS[name]
    X, wall, cpu = data(n_rows), time.perf_counter(), cpu_seconds()
    found = GridSearchCV(estimator, grid, scoring=measured, refit="nats", cv=5, n_jobs=n_jobs, error_score="raise").fit(
        X
    )
    wall = time.perf_counter() - wall
    get_reusable_executor().shutdown(wait=True)  # only then the seconds of its processes count
    results = found.cv_results_
    return {
        "wall": wall,
        "cpu": cpu_seconds() - cpu,
        "fits": 5 * len(results["params"]),
        "nats": results["mean_test_nats"].tolist(),
        "threads": int(max(results["mean_test_threads"])),
    }


def in_own_process(label, n_jobs, n_rows):
    name, environment = SEARCHES[label]
    command = [sys.executable, __file__, "--only", name, "--jobs", str(n_jobs), "--rows", str(n_rows)]
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--only", choices=GRIDS, help="search once in this process, and print JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(search(arguments.only, arguments.jobs[0], arguments.rows)))
        return
    found = {(label, n_jobs): [] for label in SEARCHES for n_jobs in arguments.jobs}
    for _ in range(arguments.repeats):
        for key, results in found.items():
            results.append(in_own_process(*key, arguments.rows))
            report(*key, results, found[key[0], arguments.jobs[0]])


def report(label, n_jobs, results, others):
    """Print medians of a search so far, and how far its scores are from those with another number of jobs."""
    wall, cpu = (statistics.median(result[what] for result in results) for what in ("wall", "cpu"))
    apart = max(np.abs(np.subtract(result["nats"], others[0]["nats"])).max() for result in results)
    said = f"{wall:6.1f} s, {cpu:6.1f} of CPU, {results[0]['fits']} fits, best {max(results[0]['nats']):.3f} nats"
    threads = results[0]["threads"]
    print(f"{label:26} n_jobs={n_jobs}: {said}, scores differ by {apart:.1e}, {threads} threads of PyTorch", flush=True)


if __name__ == "__main__":
    main()
