"""Small estimators and data for the tests."""

import numpy as np
from sklearn.datasets import make_moons

from sknvp import RealNVPDensity


def small(**settings):
    """A flow that fits in a fraction of a second; deterministic unless told otherwise."""
    defaults = {
        "n_layers": 4,
        "hidden_layer_sizes": (16,),
        "coupling": "affine",
        "n_estimators": 2,
        "stacking": False,
        "learning_rate_init": 1e-2,
        "max_iter": 100,
        "random_state": 0,
    }
    return RealNVPDensity(**{**defaults, **settings})


def stacked(**settings):
    """A small flow with all that stands beside it."""
    return small(**{"stacking": True, "max_iter": 20, **settings})


def full_batch(**settings):
    """Every step sees every row: what remains is independent of their order and of how repeats are written."""
    return small(**{"batch_size": 10**9, "early_stopping": False, "max_iter": 30, "tol": 0.0, **settings})


def moons(n=400, seed=0):
    return make_moons(n, noise=0.1, random_state=seed)[0]


def normal_rows(n, n_features, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n_features))
