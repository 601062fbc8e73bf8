"""Time and peak memory of RealNVPDensity's flows; asv.conf.json tells how to run it.

One thing is varied at a time. Rows a second are the rows divided by the time.
"""

import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sknvp import RealNVPDensity

DEFAULT = {"rows": 10_000, "columns": 8, "members": 4, "dtype": "float64", "threads": 2}
VARIED = {
    "rows": (1_000, 100_000, 1_000_000),
    "columns": (2, 64, 256),
    "members": (1, 8),
    "dtype": ("float32",),
    "threads": (1,),
}
CASES = {"default": DEFAULT} | {
    f"{name}={value}": {**DEFAULT, name: value} for name, values in VARIED.items() for value in values
}
BATCH = 1024  # so that an epoch of a million rows is a thousand steps


def table(case, n_rows):
    return np.random.default_rng(0).standard_normal((n_rows, CASES[case]["columns"])).astype(CASES[case]["dtype"])


def density(case):
    return RealNVPDensity(
        n_estimators=CASES[case]["members"],
        stacking=False,
        batch_size=BATCH,
        max_iter=1,
        early_stopping=False,
        random_state=0,
    )


def prepare(case):
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(CASES[case]["threads"])


class Fit:
    """An epoch."""

    params, param_names, timeout = tuple(CASES), ("case",), 600

    def setup(self, case):
        prepare(case)
        self.X = table(case, CASES[case]["rows"])

    def time_fit(self, case):
        density(case).fit(self.X)

    def peakmem_fit(self, case):
        density(case).fit(self.X)


class Fitted:
    """Scoring and sampling as many rows; fitted beforehand, so that the peaks of memory are their own."""

    params, param_names, timeout = tuple(CASES), ("case",), 600

    def setup_cache(self):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return {case: density(case).fit(table(case, BATCH)) for case in CASES}

    def setup(self, fitted, case):
        prepare(case)
        self.X = table(case, CASES[case]["rows"])

    def time_score_samples(self, fitted, case):
        fitted[case].score_samples(self.X)

    def peakmem_score_samples(self, fitted, case):
        fitted[case].score_samples(self.X)

    def time_sample(self, fitted, case):
        fitted[case].sample(CASES[case]["rows"], random_state=0)

    def peakmem_sample(self, fitted, case):
        fitted[case].sample(CASES[case]["rows"], random_state=0)
