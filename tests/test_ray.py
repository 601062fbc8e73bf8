"""Searches on Ray: two workers of a local cluster."""

from importlib import import_module

import numpy as np
import pytest
from sklearn.base import clone

from sknvp import RealNVPDensity

from .small import moons, stacked
from .test_large_data import recipe

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # tests send nothing to anybody
        ray = import_module("ray")
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture
def fits_here(monkeypatch):
    """The fits in this process, not in those of the workers."""
    fits, fit = [], RealNVPDensity.fit
    monkeypatch.setattr(RealNVPDensity, "fit", lambda self, X, y=None: fits.append(self) or fit(self, X, y))
    return fits


@pytest.mark.usefixtures("cluster")
def test_a_search_on_two_workers_equals_that_in_one_process(fits_here):
    """The search is the recipe of the page on large data; this process fits to all rows, and nothing else."""
    X = moons()
    names = {"X": X, "RealNVPDensity": lambda random_state: stacked(max_iter=3)}
    exec(recipe("register_ray"), names)
    assert len(fits_here) == 1
    shared = names["search"]
    alone = clone(shared).fit(X)
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(shared.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(shared.best_estimator_.score_samples(X), alone.best_estimator_.score_samples(X))
