"""Draws from fitted densities, whether of this library or not."""

import inspect
from copy import copy
from typing import Any

from .seeds import RandomState, new_seed


def seeded_draws(estimator: Any, n_samples: int, random_state: RandomState) -> Any:
    """Draw rows from a density by its `sample`, with a seed even where that method takes none.

    scikit-learn's ``GaussianMixture`` draws by a parameter of the estimator, and returns the components too.
    """
    seed = new_seed(random_state)
    if "random_state" in inspect.signature(estimator.sample).parameters:
        drawn = estimator.sample(n_samples, random_state=seed)
    else:
        drawn = _seeded(estimator, seed).sample(n_samples)
    return drawn[0] if isinstance(drawn, tuple) else drawn


def _seeded(estimator: Any, seed: int) -> Any:
    """Return a copy of a fitted estimator with this ``random_state``, or itself if it has no such parameter."""
    has_parameter = "random_state" in getattr(estimator, "get_params", dict)()
    return copy(estimator).set_params(random_state=seed) if has_parameter else estimator
