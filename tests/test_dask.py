"""Searches and scores on dask's engines: two processes of `dask.distributed`, arrays and DataFrames in partitions."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from .small import moons, stacked
from .test_large_data import recipe

pytestmark = [
    pytest.mark.dask,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
SCORED = {"drop_axis": 1, "dtype": np.float64, "meta": np.empty(0)}  # as on the page on large data


@pytest.fixture(scope="module")
def cluster():
    import distributed

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.mark.usefixtures("cluster")
def test_searches_on_two_workers_equal_those_in_one_process():
    """The search is the recipe of the page on large data."""
    X, scores = moons(), cross_val_score(stacked(max_iter=3), moons(), cv=2)
    names = {"X": X, "RealNVPDensity": lambda random_state: stacked(max_iter=3)}
    exec(recipe('backend="dask"'), names)
    shared = names["search"]
    alone = clone(shared).fit(X)
    with joblib.parallel_config(backend="dask"):
        np.testing.assert_array_equal(cross_val_score(stacked(max_iter=3), X, cv=2), scores)
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(shared.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(shared.best_estimator_.score_samples(X), alone.best_estimator_.score_samples(X))


def threads_of_a_fit():
    import torch

    before = torch.get_num_threads()
    stacked(max_iter=2).fit(moons()).score(moons())
    return before, torch.get_num_threads()


def test_a_worker_keeps_its_number_of_threads(cluster):
    before, after = cluster.submit(threads_of_a_fit).result()
    assert before == after


@pytest.mark.usefixtures("cluster")
def test_scores_of_partitions_are_those_of_the_array_in_memory():
    from dask import array

    X, density = moons(1000), stacked(max_iter=3).fit(moons())
    rows = array.from_array(X, chunks=(300, 2))
    scores = rows.map_blocks(density.score_samples, **SCORED)
    assert (scores.shape, scores.dtype, scores.chunks) == ((1000,), np.float64, ((300, 300, 300, 100),))
    np.testing.assert_allclose(scores.compute(), density.score_samples(X), rtol=1e-12)


@pytest.fixture
def in_threads():
    import dask

    with dask.config.set(scheduler="threads", num_workers=2):
        yield


@pytest.mark.usefixtures("in_threads")
def test_chunks_may_be_unknown():
    from dask import array

    X, density = moons(1000), stacked(max_iter=3).fit(moons())
    rows = array.from_array(X, chunks=(300, 2))
    rows = rows[rows[:, 0] > 0.5]
    scores = rows.map_blocks(density.score_samples, **SCORED)
    assert np.isnan(scores.shape[0])
    expected = density.score_samples(X[X[:, 0] > 0.5])
    np.testing.assert_allclose(scores.compute(), expected, rtol=1e-12)
    np.testing.assert_allclose(density.score_samples(rows), expected, rtol=1e-12)


@pytest.mark.usefixtures("in_threads")
def test_a_chunk_without_rows_is_an_error_with_the_cure_of_the_page():
    from dask import array

    X, density = np.sort(moons(1000), axis=0), stacked(max_iter=3).fit(moons())
    rows = array.from_array(X, chunks=(300, 2))
    rows = rows[rows[:, 0] > X[500, 0]]
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        rows.map_blocks(density.score_samples, **SCORED).compute()
    rows = rows.compute_chunk_sizes().rechunk((300, -1))
    scores = rows.map_blocks(density.score_samples, **SCORED)
    np.testing.assert_allclose(scores.compute(), density.score_samples(X[501:]), rtol=1e-12)
