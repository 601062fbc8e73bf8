"""A grid search of 20 fits to 500 rows of 8 columns: in one process, and on two workers of loky, dask and Ray.

    python benchmarks/searches.py

Prints the seconds of each search, the first with the start of the engine and its workers, and whether all scores equal
those of one process in every bit. No environment variable is set, and no number of threads. Needs the extra "test".
"""

import time
import warnings
from contextlib import contextmanager

import joblib
import numpy as np
from sklearn.model_selection import GridSearchCV

from sknvp import RealNVPDensity

GRID = {"n_layers": [4, 6], "hidden_layer_sizes": [(16, 16), (32, 32)]}
N_SPLITS, N_REPETITIONS = 5, 3


def rows():
    """Curved and correlated columns: normal ones, each bent by the one before it."""
    noise = np.random.default_rng(0).standard_normal((500, 8))
    return noise + np.roll(noise, 1, axis=1) ** 2 / 2


@contextmanager
def in_one_process():
    yield


@contextmanager
def on_loky():
    with joblib.parallel_config(backend="loky", n_jobs=2):
        yield


@contextmanager
def on_dask():
    import distributed

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        yield


@contextmanager
def on_ray():
    import ray.util.joblib

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.util.joblib.register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=-1):
        yield
    ray.shutdown()


def main():
    warnings.simplefilter("ignore")
    X, expected = rows(), None
    for engine in (in_one_process, on_loky, on_dask, on_ray):
        seconds, start = [], time.perf_counter()
        with engine():
            for _ in range(N_REPETITIONS):
                search = GridSearchCV(RealNVPDensity(random_state=0), GRID, cv=N_SPLITS, refit=False).fit(X)
                seconds.append(time.perf_counter() - start)
                start = time.perf_counter()
        scores = [search.cv_results_[f"split{i}_test_score"] for i in range(N_SPLITS)]
        expected = scores if expected is None else expected
        equal = np.array_equal(scores, expected)
        shown = ", ".join(f"{number:.1f}" for number in seconds)
        print(f"{engine.__name__:14s} {shown} s; scores of one process: {equal}", flush=True)


if __name__ == "__main__":
    main()
