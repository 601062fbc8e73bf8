"""A citizen of scikit-learn: its own checks, pipelines, searches, clones, pickles, tables."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknvp import RealNVPDensity
from sknvp._estimators.base import FORMAT

from .small import full_batch, moons, normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@parametrize_with_checks(
    [
        small(max_iter=5, random_state=None),
        full_batch(max_iter=5),
        stacked(max_iter=5),
        small(coupling="spline", mask="half", n_estimators=1, max_iter=3, activation="silu"),
        small(mask="alternating", standardize=False, max_iter=3, hidden_layer_sizes=8, activation="tanh"),
    ]
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_grammar_is_kernel_densitys():
    ours, theirs = small(max_iter=3).fit(moons()), KernelDensity().fit(moons())
    assert type(ours.score(moons())) is float
    assert isinstance(theirs.score(moons()), float)
    assert ours.score(moons()) == pytest.approx(ours.score_samples(moons()).sum())
    assert ours.score_samples(moons()).shape == theirs.score_samples(moons()).shape == (400,)
    assert ours.sample().shape == theirs.sample().shape == (1, 2)
    assert ours.sample(7, random_state=1).shape == theirs.sample(7, random_state=1).shape
    assert ours.__sklearn_tags__().estimator_type == "density_estimator"


def test_pipeline_and_grid_search_in_parallel_as_in_series():
    pipe = make_pipeline(PCA(2), small(max_iter=5))
    grid = {"realnvpdensity__n_layers": [2, 4], "pca__n_components": [1, 2]}
    X = normal_rows(80, 3)
    series = GridSearchCV(pipe, grid, cv=2, n_jobs=1).fit(X)
    parallel = GridSearchCV(pipe, grid, cv=2, n_jobs=2).fit(X)
    np.testing.assert_array_equal(series.cv_results_["mean_test_score"], parallel.cv_results_["mean_test_score"])
    assert series.best_params_ == parallel.best_params_
    assert np.isfinite(cross_val_score(pipe, X, cv=2)).all()


def test_clone_and_set_params():
    estimator = small(max_iter=3, mask=[[1, 0], [0, 1]] * 2).fit(moons())
    twin = clone(estimator)
    assert not hasattr(twin, "n_iter_")
    assert twin.set_params(n_layers=3).n_layers == 3
    assert estimator.n_layers == 4


def test_every_parameter_is_keyword_only_and_stored_as_given():
    with pytest.raises(TypeError):
        RealNVPDensity(3)
    sizes = [8, 8]
    assert RealNVPDensity(hidden_layer_sizes=sizes).hidden_layer_sizes is sizes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("settings", [{}, {"batch_norm": True}, {"stacking": True}], ids=str)
def test_copies_score_and_sample_the_same_bits(tmp_path, dtype, settings):
    estimator = small(max_iter=3, **settings).fit(moons().astype(dtype))
    joblib.dump(estimator, tmp_path / "density.joblib")
    twins = [
        pickle.loads(pickle.dumps(estimator)),
        pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(estimator)))),
        copy.deepcopy(estimator),
        joblib.load(tmp_path / "density.joblib"),
        joblib.load(tmp_path / "density.joblib", mmap_mode="r"),
    ]
    for twin in twins:
        np.testing.assert_array_equal(twin.score_samples(moons()), estimator.score_samples(moons()))
        np.testing.assert_array_equal(twin.sample(5, random_state=0), estimator.sample(5, random_state=0))


def test_a_pickle_of_another_format_is_refused(monkeypatch):
    pickled = pickle.dumps(small(max_iter=3).fit(moons()))
    monkeypatch.setattr("sknvp._estimators.base.FORMAT", 99)
    with pytest.raises(
        ValueError, match=rf"must have format 99, .* got format {FORMAT}, written by sknvp 0\..* Fit anew"
    ):
        pickle.loads(pickled)
    monkeypatch.setattr("sknvp._estimators.base.__version__", "99")
    with pytest.raises(ValueError, match="Open it with that version, or fit anew"):
        pickle.loads(pickled)
    assert pickle.loads(pickle.dumps(small())).n_layers == 4


@pytest.mark.parametrize("make", [small, stacked])
def test_random_state_decides_every_bit(make):
    a, b, c = (make(max_iter=3, random_state=seed).fit(moons()).score_samples(moons()) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    estimator = make(max_iter=3).fit(moons())
    np.testing.assert_array_equal(estimator.sample(9, random_state=3), estimator.sample(9, random_state=3))
    assert not np.array_equal(estimator.sample(9, random_state=3), estimator.sample(9, random_state=4))


def test_random_state_decides_initial_weights_and_batches():
    """Where nothing is held out and masks are fixed, nothing else is random."""
    settings = {"early_stopping": False, "mask": "half", "max_iter": 3}
    for batch_size in (10**9, 50):
        a, b = (small(**settings, batch_size=batch_size, random_state=seed).fit(moons()) for seed in (0, 1))
        assert not np.array_equal(a.score_samples(moons()), b.score_samples(moons()))


def test_a_random_state_instance_moves_on():
    rng = np.random.RandomState(0)
    a, b = (small(max_iter=3, random_state=rng).fit(moons()).score(moons()) for _ in range(2))
    assert a != b


def test_a_global_default_dtype_changes_nothing():
    expected = stacked(max_iter=3).fit(moons()).score_samples(moons())
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(stacked(max_iter=3).fit(moons()).score_samples(moons()), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_computation_follows_the_dtype_of_the_rows():
    X = moons()
    assert stacked(max_iter=3).fit(X).sample(2).dtype == np.float64
    assert stacked(max_iter=3).fit(X.astype(np.float32)).sample(2).dtype == np.float32
    single = small(max_iter=3).fit(X.astype(np.float32))
    assert single.sample(2).dtype == np.float32
    assert single.score_samples(X).dtype == np.float64
    np.testing.assert_allclose(single.score_samples(X), small(max_iter=3).fit(X).score_samples(X), atol=1e-3)
    whole = np.random.default_rng(0).integers(0, 50, (60, 2))
    np.testing.assert_array_equal(
        small(max_iter=3).fit(whole).score_samples(whole),
        small(max_iter=3).fit(whole.astype(float)).score_samples(whole),
    )


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_tables_with_named_columns(frame):
    X = moons()
    table = frame({"width": X[:, 0], "height": X[:, 1]})
    estimator = small(max_iter=3).fit(table)
    assert estimator.feature_names_in_.tolist() == ["width", "height"]
    np.testing.assert_array_equal(estimator.score_samples(table), small(max_iter=3).fit(X).score_samples(X))
    with pytest.raises(ValueError, match="feature names"):
        estimator.score_samples(frame({"height": X[:, 1], "width": X[:, 0]}))
    with pytest.warns(UserWarning, match="feature names"):
        estimator.score_samples(X)


def test_read_only_memory_maps(tmp_path):
    np.save(tmp_path / "X.npy", moons())
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    estimator = small(max_iter=3).fit(X, sample_weight=np.ones(len(X)))
    np.testing.assert_array_equal(estimator.score_samples(X), small(max_iter=3).fit(moons()).score_samples(moons()))


def test_fit_leaves_its_inputs_alone():
    X, weights = moons(), np.ones(400)
    X.flags.writeable = weights.flags.writeable = False
    before = small().get_params()
    assert small(max_iter=3).fit(X, sample_weight=weights).get_params() == {**before, "max_iter": 3}


def test_two_rows_and_more_columns_than_rows():
    for X in (normal_rows(2, 2), normal_rows(3, 40), normal_rows(2, 1)):
        estimator = small().fit(X)
        assert np.isfinite(estimator.score_samples(X)).all()
        assert estimator.sample(4).shape == (4, X.shape[1])


def test_rows_are_scored_in_chunks_as_at_once():
    estimator = small(max_iter=3).fit(moons())
    rows = normal_rows(10_000, 2)
    parts = [estimator.score_samples(part) for part in np.array_split(rows, 7)]
    np.testing.assert_allclose(estimator.score_samples(rows), np.concatenate(parts), rtol=1e-12)
    drawn = estimator.sample(9000, random_state=0)
    assert len(np.unique(drawn, axis=0)) == 9000


@pytest.mark.parametrize(
    ("mask", "transformed"), [("alternating", [1, 3]), ("half", [2, 3]), ([[0, 1, 1, 0], [0, 1, 1, 1]], [0, 3])]
)
def test_masks_say_which_columns_are_transformed(mask, transformed):
    """The others pass from standardised rows to noise as they are."""
    X = normal_rows(300, 4) + 5 * (np.arange(300) % 2)[:, None]
    estimator = small(mask=mask, n_layers=len(mask) if isinstance(mask, list) else 1, n_estimators=1).fit(X)
    noise = estimator.flow_.transform(torch.tensor(X).unsqueeze(0))[0].detach().numpy()
    standardised = (X - estimator.loc_) / estimator.scale_
    unchanged = [np.allclose(noise[..., j], standardised[:, j]) for j in range(4)]
    assert unchanged == [j not in transformed for j in range(4)]


# What each parameter must change: the number of parameters of the flow, or else the course of training.
ARCHITECTURE = {"n_layers": 3, "hidden_layer_sizes": (8, 8), "coupling": "spline", "n_estimators": 3}
COURSE = {
    "activation": "relu",
    "mask": "half",
    "batch_norm": True,
    "standardize": False,
    "alpha": 5.0,
    "batch_size": 50,
    "learning_rate_init": 1e-3,
    "early_stopping": False,
    "validation_fraction": 0.4,
    "n_iter_no_change": 1,
    "tol": 5.0,
    "max_iter": 2,
    "random_state": 1,
}


@pytest.mark.parametrize("name", ARCHITECTURE)
def test_a_parameter_of_the_architecture_changes_the_flow(name):
    X = normal_rows(50, 4)
    sizes = [
        sum(part.numel() for part in small(max_iter=1, **settings).fit(X).flow_.parameters())
        for settings in ({}, {name: ARCHITECTURE[name]})
    ]
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize(
    ("settings", "shown", "not_shown"),
    [
        ({"batch_norm": True}, "BatchNorm", "SplineCoupling"),
        ({"coupling": "spline"}, "SplineCoupling", "BatchNorm"),
        ({"activation": "tanh"}, "activation='tanh'", "silu"),
        ({"hidden_layer_sizes": (5, 7)}, ", 5, 7, ", "BatchNorm"),
    ],
    ids=str,
)
def test_the_printed_flow_shows_what_was_asked_for(settings, shown, not_shown):
    text = str(small(max_iter=1, **settings).fit(normal_rows(50, 3)).flow_)
    assert shown in text
    assert not_shown not in text


def course(**changed):
    X = np.exp(normal_rows(200, 4)) * 2
    return small(**{"n_layers": 2, "max_iter": 300, "mask": "alternating", **changed}).fit(X).loss_curve_


@pytest.fixture(scope="module")
def unchanged():
    return course()


@pytest.mark.parametrize("name", COURSE)
def test_a_parameter_of_training_changes_its_course(name, unchanged):
    assert course(**{name: COURSE[name]}) != unchanged


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": np.uint8(50), "n_layers": np.int8(2), "n_estimators": np.int16(2), "max_iter": np.int8(2)},
        {"alpha": np.float32(0.1), "learning_rate_init": Fraction(1, 100), "tol": np.float32(0.1)},
        {"hidden_layer_sizes": np.array([8, 8]), "early_stopping": np.bool_(True), "verbose": np.bool_(False)},
    ],
    ids=str,
)
def test_numbers_of_any_type_will_do(settings):
    assert np.isfinite(small(**{"max_iter": 2, **settings}).fit(moons()).score(moons()))


def test_rows_in_any_layout():
    X = moons()
    estimator = small(max_iter=3).fit(X)
    expected = dict(zip(map(tuple, X), estimator.score_samples(X), strict=True))
    for rows in (X[::-1], X[::2], np.asfortranarray(X), X[:, ::-1].copy()[:, ::-1], X.tolist()):
        np.testing.assert_allclose(estimator.score_samples(rows), [expected[tuple(row)] for row in rows])
    np.testing.assert_allclose(small(max_iter=3).fit(X[::-1][::-1]).score_samples(X), list(expected.values()))


def test_what_a_user_does_to_attributes_stays_there():
    estimator = stacked(max_iter=3).fit(moons())
    expected = estimator.score_samples(moons())
    estimator.loc_[:] = estimator.scale_[:] = 9
    estimator.stacking_weights_["flows"] = 9
    np.testing.assert_array_equal(estimator.score_samples(moons()), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(estimator)).score_samples(moons()), expected)


def test_threads_do_not_disturb_each_other():
    expected = [small(max_iter=5, random_state=seed).fit(moons()).score_samples(moons()) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        fits = [pool.submit(small(max_iter=5, random_state=seed).fit, moons()) for seed in range(2)]
        for fit, scores in zip(fits, expected, strict=True):
            np.testing.assert_array_equal(fit.result().score_samples(moons()), scores)


def test_a_fit_leaves_the_number_of_threads_as_it_was():
    """Small batches are trained on one thread; several fits at once all put back what was before the first of them."""
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(2) as pool:
            for fit in [pool.submit(small(max_iter=5, random_state=seed).fit, moons()) for seed in range(4)]:
                fit.result()
        assert torch.get_num_threads() == 3
        density = small(max_iter=2)
        density._fit_experts = lambda *args: seen.append(torch.get_num_threads()) or 1 / 0
        with pytest.raises(ZeroDivisionError):
            density.fit(moons())
        assert (seen, torch.get_num_threads()) == ([1], 3)
    finally:
        torch.set_num_threads(before)


def test_curves_and_convergence():
    estimator = small(max_iter=1000).fit(normal_rows(200, 2))
    assert len(estimator.loss_curve_) == len(estimator.validation_scores_)
    assert estimator.n_iter_ == -(-len(estimator.loss_curve_) * 25 // 2) < 1000  # two batches an epoch
    assert estimator.best_validation_score_ >= max(estimator.validation_scores_) - 1e-12
    without = small(max_iter=4, early_stopping=False).fit(moons())
    assert without.validation_scores_ is without.best_validation_score_ is None
    assert without.n_iter_ == 4
    assert len(without.loss_curve_) == 1  # 4 epochs of 4 batches are fewer than 25 steps
    by_itself = small(max_iter="auto", tol=10, n_iter_no_change=1).fit(moons())
    assert len(by_itself.loss_curve_) == 3 + 1  # one that improves on nothing, then a stall at each of three rates


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_too_few_epochs_warn():
    with pytest.warns(ConvergenceWarning, match="max_iter=2") as caught:
        small(max_iter=2).fit(moons())
    assert caught[0].filename == __file__


@pytest.mark.parametrize("early_stopping", [True, False])
def test_curves_go_on_under_warm_start_as_those_of_scikit_learns_networks(early_stopping):
    """Of MLPRegressor as well, the curves go on, and n_iter_ counts the epochs of the last fit."""
    settings = {"max_iter": 12, "warm_start": True, "early_stopping": early_stopping, "random_state": 0}
    for estimator in (small(**settings), MLPRegressor(**settings)):
        X, y = moons().T
        args = (moons(),) if isinstance(estimator, RealNVPDensity) else (X[:, None], y)
        losses, scores = estimator.fit(*args).loss_curve_[:], estimator.validation_scores_
        scores = scores and scores[:]
        estimator.set_params(max_iter=9).fit(*args)
        assert len(estimator.loss_curve_) > len(losses)
        assert estimator.loss_curve_[: len(losses)] == losses
        assert estimator.n_iter_ == 9
        assert (estimator.validation_scores_ is not None) == early_stopping
        if early_stopping:
            assert len(estimator.validation_scores_) == len(estimator.loss_curve_)
            assert estimator.validation_scores_[: len(scores)] == scores
        estimator.set_params(warm_start=False).fit(*args)
        assert len(estimator.loss_curve_) < 2 * len(losses)
    streamed = small(**settings).fit(moons()).partial_fit(moons())
    n_before = len(streamed.loss_curve_)
    assert (streamed.n_iter_, streamed.validation_scores_) == (13, None)
    assert len(streamed.fit(moons()).loss_curve_) > n_before


def test_warm_start_continues():
    estimator = small(max_iter=5, warm_start=True).fit(moons())
    first = estimator.score(moons())
    loc = estimator.loc_
    estimator.set_params(max_iter=50).fit(moons()[:300])
    assert estimator.score(moons()) > first
    np.testing.assert_array_equal(estimator.loc_, loc)
    assert estimator.fit(moons().astype(np.float32)).sample().dtype == np.float32
    with pytest.raises(ValueError, match="3 features, but RealNVPDensity is expecting 2"):
        estimator.fit(normal_rows(20, 3))
    changes = {
        "n_layers": 5,
        "mask": "half",
        "batch_norm": True,
        "standardize": False,
        "n_estimators": 3,
        "hidden_layer_sizes": 16,
    }
    for name, value in changes.items():
        before = getattr(estimator, name)
        with pytest.raises(ValueError, match=rf"{name} must stay .* got .*warm_start=False"):
            estimator.set_params(**{name: value}).fit(moons())
        estimator.set_params(**{name: before})
    assert len(estimator.set_params(warm_start=False).fit(normal_rows(20, 3)).loc_) == 3


def test_verbose_prints_as_scikit_learn_does(capsys):
    small(max_iter=20, verbose=True).fit(moons())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Step", "Validation"] * 3
    small(max_iter=2).fit(moons())
    assert not capsys.readouterr().out


def test_an_unfitted_estimator_says_so():
    for call in (lambda e: e.score_samples(moons()), lambda e: e.score(moons()), lambda e: e.sample()):
        with pytest.raises(NotFittedError, match="not fitted"):
            call(RealNVPDensity())


def test_the_package_loads_torch_when_something_is_asked_of_it_and_a_fit_does_not_load_its_compiler():
    """The compiler, which `torch.optim` would load, takes longer to load than most fits take."""
    code = (
        "import sys, warnings, sknvp; assert 'torch' not in sys.modules; warnings.simplefilter('ignore');"
        "assert {'RealNVPDensity', 'flows'} <= set(dir(sknvp));"
        "X = [[0.0, 1.0], [1.0, 0.5], [2.0, 2.0]]; density = sknvp.RealNVPDensity(n_layers=2, max_iter=1).fit(X);"
        "density.partial_fit(X).score(X); assert 'torch' in sys.modules; assert 'torch._dynamo' not in sys.modules;"
        "sknvp.flows.Flow, sknvp.DensityDisplay; sknvp.Nothing"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1].startswith("AttributeError: module 'sknvp' has no attribute 'Nothing'")


def test_what_was_written_where_there_is_a_gpu_opens_where_there_is_none():
    """Its pickle says "cuda" of where the flow was, which is all that tells it from one of a CPU."""
    estimator = small().fit(moons())
    state = {**estimator.__getstate__(), "device": "cuda:99"}
    state["_flow"] = {**state["_flow"], "device": "cuda:99"}
    twin = small()
    twin.__setstate__(state)
    np.testing.assert_array_equal(twin.score_samples(moons()), estimator.score_samples(moons()))
    with pytest.raises(ValueError, match="device"):
        twin.partial_fit(moons())
    twin.set_params(device="cpu").partial_fit(moons())
    assert np.isfinite(twin.score_samples(moons())).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_density():
    on_gpu, on_cpu = small(device="cuda").fit(moons()), small().fit(moons())
    np.testing.assert_allclose(on_gpu.score_samples(moons()), on_cpu.score_samples(moons()), atol=0.05)
    assert on_gpu.sample(3, random_state=0).shape == (3, 2)
