"""Fits and scores in several processes and threads: equal to those in one, without any setting of threads changed."""

import threading

import numpy as np
import pytest
import torch
from joblib import parallel_config
from joblib._parallel_backends import ThreadingBackend
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from sklearn.neighbors import NearestNeighbors

from sknvp import ConditionalRealNVPDensity, DensityClassifier, RealNVPImageDensity, RealNVPOutlierDetector
from sknvp._estimators import evaluation, threads
from sknvp._estimators.threads import threads_for
from sknvp.flows.native import loader

from .small import moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
GRID = {"n_layers": [2, 4]}


def searched(kind, n_jobs, **settings):
    found = kind(stacked(max_iter=3), GRID, cv=2, n_jobs=n_jobs, **settings).fit(moons())
    return found.cv_results_["mean_test_score"], found.best_estimator_.score_samples(moons())


@pytest.mark.parametrize(
    ("kind", "settings"), [(GridSearchCV, {}), (HalvingGridSearchCV, {"min_resources": 100, "random_state": 0})]
)
def test_searches_in_two_processes_equal_those_in_one(kind, settings):
    for alone, shared in zip(searched(kind, 1, **settings), searched(kind, 2, **settings), strict=True):
        np.testing.assert_array_equal(shared, alone)


def test_scores_and_classifiers_of_two_processes_equal_those_of_one():
    X, y = moons(), (moons()[:, 0] > 0.5).astype(int)
    alone, shared = (cross_val_score(stacked(max_iter=3), X, cv=2, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(shared, alone)
    one, two = (DensityClassifier(stacked(max_iter=3), n_jobs=n, random_state=0).fit(X, y) for n in (1, 2))
    np.testing.assert_array_equal(two.predict_log_proba(X), one.predict_log_proba(X))


class Counted(ThreadingBackend):
    """A backend of joblib that notes how often it is asked for several jobs."""

    n_asked = 0

    def configure(self, n_jobs=1, **settings):
        Counted.n_asked += n_jobs != 1
        return super().configure(n_jobs=n_jobs, **settings)


def test_a_fit_sends_no_parts_of_itself_to_the_workers_of_others(monkeypatch):
    monkeypatch.setattr(Counted, "n_asked", 0)
    X = normal_rows(300, 3)
    with parallel_config(backend=Counted(), n_jobs=2):
        NearestNeighbors(algorithm="kd_tree").fit(X).kneighbors(X)
        assert Counted.n_asked == 1
        density = stacked(max_iter=3).fit(X)
        density.score(X)
        density.sample(5)
        RealNVPOutlierDetector(**small(max_iter=3).get_params()).fit(X).predict(X)
        ConditionalRealNVPDensity(n_estimators=2, max_iter=3).fit(X[:, :1], X[:, 1]).predict(X[:, :1])
    assert Counted.n_asked == 1


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch):
    """The numbers of threads, PyTorch's and the library's, wherever a tensor is made of rows."""
    numbers, to_tensor = set(), evaluation.to_tensor

    def observed(*arguments):
        numbers.add((torch.get_num_threads(), loader.n_threads(10**12, 10**6)))
        return to_tensor(*arguments)

    monkeypatch.setattr(evaluation, "to_tensor", observed)
    return numbers


def with_holes(X):
    X = X.copy()
    X[::3, 1] = np.nan
    return X


@pytest.mark.usefixtures("three_threads")
def test_scores_and_draws_leave_the_number_of_threads_as_it_was(seen, monkeypatch):
    """PyTorch uses one thread, and the native library as many as the caller wants."""
    monkeypatch.setattr(threads, "library", lambda: "it is there")
    X = moons()
    density = stacked(max_iter=3).fit(X)
    of_targets = ConditionalRealNVPDensity(n_estimators=1, n_layers=2, max_iter=3).fit(X[:, :1], X[:, 1])
    seen.clear()
    for call in (
        lambda: density.score_samples(X),
        lambda: density.sample(10),
        lambda: density.score_samples(with_holes(X[:20])),
        lambda: density.impute(with_holes(X[:20])),
        lambda: of_targets.predict(X[:, :1]),
        lambda: of_targets.predict_quantile(X[:, :1]),
    ):
        call()
        assert torch.get_num_threads() == 3
    assert seen == {(1, 3)}
    with pytest.raises(RuntimeError, match="stop"), threads_for(density._density, 1):
        raise RuntimeError("stop")
    assert torch.get_num_threads() == 3
    torch.set_num_threads(2)  # the library follows again
    assert loader.n_threads(10**12, 10**6) == 2


@pytest.mark.usefixtures("three_threads")
def test_pytorch_keeps_its_threads_where_it_does_the_work(seen, monkeypatch):
    images = RealNVPImageDensity(image_shape=(1, 4, 4), n_filters=4, n_blocks=1, max_iter=1, random_state=0)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16))
    images.fit(pixels)
    density = small(max_iter=3).fit(moons())
    seen.clear()
    images.score_samples(pixels)
    assert seen == {(3, 3)}
    monkeypatch.setattr(threads, "library", lambda: None)
    for n_rows, n_threads in ((threads.MAX_ONE_THREAD_ROWS, 1), (threads.MAX_ONE_THREAD_ROWS + 1, 3)):
        seen.clear()
        density.score_samples(normal_rows(n_rows, 2))
        assert seen == {(n_threads, 3)}


@pytest.mark.usefixtures("three_threads")
def test_the_number_of_threads_changes_no_score_and_no_draw(monkeypatch):
    """Threads share the batches, of which each is drawn from a generator of its own."""
    density, X, used = stacked(max_iter=3).fit(moons()), normal_rows(30_000, 2), set()
    monkeypatch.setattr(type(density._density), "chunk_size", 7_000)
    finite = evaluation._draw_finite
    monkeypatch.setattr(
        evaluation, "_draw_finite", lambda *arguments: used.add(threading.get_ident()) or finite(*arguments)
    )
    scores, rows = density.score_samples(X), density.sample(len(X), random_state=0)
    is_shared = loader.library() is not None  # otherwise PyTorch's own threads share the work
    assert (len(used) > 1) == is_shared
    assert len(np.unique(rows, axis=0)) == len(rows)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(density.score_samples(X), scores)
    np.testing.assert_array_equal(density.sample(len(X), random_state=0), rows)


def test_an_error_in_a_batch_reaches_the_caller():
    def fail(batch):
        raise RuntimeError(f"batch {batch}")

    with threads.one_thread(), loader.native_threads(2), pytest.raises(RuntimeError, match="batch 0"):
        list(threads.map_in_threads(fail, [0, 1, 2]))
