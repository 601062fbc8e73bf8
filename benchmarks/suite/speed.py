"""Time, peak memory and throughput of RealNVPDensity; see asv.conf.json for how to run it."""

import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sknvp import RealNVPDensity

BATCH = 1024  # so that an epoch of a million rows is a thousand steps


class Density:
    """Rows and a density with the default architecture, trained for one epoch; each parameter is varied by itself."""

    DEFAULT = {"rows": 10_000, "columns": 8, "members": 4, "dtype": "float64", "threads": 2}
    VARIED = {
        "rows": (1_000, 10_000, 100_000, 1_000_000),
        "columns": (2, 8, 64, 256),
        "members": (1, 8),
        "dtype": ("float32", "float64"),
        "threads": (1, 2),
    }
    params = [f"{name}={value}" for name, values in VARIED.items() for value in values]
    param_names = ["varied"]
    timeout = 600

    def setup(self, varied):
        name, value = varied.split("=")
        case = {**self.DEFAULT, name: type(self.DEFAULT[name])(value)}
        warnings.simplefilter("ignore", ConvergenceWarning)
        torch.set_num_threads(case["threads"])
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((case["rows"], case["columns"])).astype(case["dtype"])
        self.density = RealNVPDensity(
            n_estimators=case["members"], stacking=False, batch_size=BATCH, max_iter=1, early_stopping=False, random_state=0
        )
        self.prepare()

    def prepare(self):
        self.density.fit(self.X[:BATCH])

    def time_it(self, varied):
        self.run()

    def peakmem_it(self, varied):
        self.run()

    def track_rows_a_second(self, varied):
        start = time.perf_counter()
        self.run()
        return len(self.X) / (time.perf_counter() - start)

    track_rows_a_second.unit = "rows/s"


class Fit(Density):
    def prepare(self):
        pass

    def run(self):
        self.density.fit(self.X)


class ScoreSamples(Density):
    def run(self):
        self.density.score_samples(self.X)


class Sample(Density):
    def run(self):
        self.density.sample(len(self.X), random_state=0)


del Density  # asv would run it too
