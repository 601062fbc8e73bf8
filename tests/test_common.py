"""The laws that all estimators of flows keep: a table of estimators, and each law once.

A new estimator is one entry in `CASES`.
"""

import copy
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

import sknvp

from .own_parts import AdditiveCoupling, Logistic
from .small import moons, normal_rows

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:The flows are far from log_density"
)
BRIEF: dict[str, Any] = {"n_layers": 2, "hidden_layer_sizes": (8,), "n_estimators": 2, "max_iter": 3, "random_state": 0}
HOLED = np.where(np.arange(120).reshape(60, 2) % 7 == 3, np.nan, moons(60))
AMOUNTS = np.maximum(moons(60), 0.0)
X, Y, DIGITS = moons(60), normal_rows(60, 1)[:, 0], load_digits().data[:40, :16]


class Case(NamedTuple):
    """An estimator, what it is fitted to, and everything that is asked of it once it is fitted."""

    make: Callable[..., Any]
    data: tuple[Any, ...]
    answers: Callable[[Any], list[Any]]
    bad: dict[str, Any]  # a value that breaks the rule, for some parameters


def case(cls, data, answers, settings=BRIEF, bad=None):
    return Case(lambda **changed: cls(**{**settings, **changed}), data, answers, {"tol": -1, **(bad or {})})


def without(*names):
    return {name: value for name, value in BRIEF.items() if name not in names}


def log_density(x):
    return -x.square().sum(1) / 2


CASES = {
    "density": case(sknvp.RealNVPDensity, (X,), lambda e: [e.score_samples(X), e.sample(5, 0), e.score(X)]),
    "whole numbers": case(
        sknvp.RealNVPDensity,
        (np.round(4 * X),),
        lambda e: [e.score_samples(np.round(4 * X)), e.sample(5, 0), e.score(np.round(4 * X))],
    ),
    "missing cells": case(
        sknvp.RealNVPDensity,
        (HOLED,),
        lambda e: [e.score_samples(HOLED), e.sample(5, 0), e.impute(HOLED[:9], 2, 0), e.score_cells(HOLED[:9])],
    ),
    "bounds and zeros": case(
        sknvp.RealNVPDensity,
        (AMOUNTS,),
        lambda e: [e.score_samples(AMOUNTS), e.sample(5, 0)],
        {**BRIEF, "bounds": (0, np.inf)},
        {"discrete_features": "all"},
    ),
    "periods": case(
        sknvp.RealNVPDensity,
        (X,),
        lambda e: [e.score_samples(X), e.sample(5, 0)],
        {**BRIEF, "periods": 3.0},
        {"periods": -1},
    ),
    "flows alone": case(
        sknvp.RealNVPDensity,
        (X,),
        lambda e: [e.score_samples(X), e.sample(5, 0)],
        {**BRIEF, "stacking": False, "batch_norm": True, "coupling": "affine"},
        {"stacking": "no", "coupling": "Spline", "mask": "even", "activation": "gelu"},
    ),
    "parts of a user": case(
        sknvp.RealNVPDensity,
        (X,),
        lambda e: [e.score_samples(X), e.sample(5, 0)],
        {**BRIEF, "coupling": AdditiveCoupling, "base": Logistic},
        {"coupling": Logistic, "base": AdditiveCoupling},
    ),
    "outliers": case(
        sknvp.RealNVPOutlierDetector,
        (X,),
        lambda e: [e.decision_function(X), e.predict(X), e.sample(5, 0)],
        bad={"contamination": 0.9},
    ),
    "transformer": case(
        sknvp.RealNVPTransformer,
        (X,),
        lambda e: [e.transform(X), e.inverse_transform(X), e.score_samples(X)],
        without("n_estimators"),
    ),
    "planar": case(
        sknvp.PlanarFlowDensity,
        (X,),
        lambda e: [e.score_samples(X), e.sample(5, 0)],
        without("hidden_layer_sizes"),
        {"n_layers": 0, "n_estimators": 1.5},
    ),
    "images": case(
        sknvp.RealNVPImageDensity,
        (DIGITS,),
        lambda e: [e.score_samples(DIGITS), e.sample(3, 0), e.transform(DIGITS)],
        {"n_levels": 17, "n_filters": 4, "n_blocks": 0, "max_iter": 2, "random_state": 0},
        {"n_levels": 1, "image_shape": (1, 2), "flip": 2},
    ),
    "conditional": case(
        sknvp.ConditionalRealNVPDensity,
        (X, Y),
        lambda e: [e.score_samples(X, Y), e.predict(X), e.predict_quantile(X, 0.2), e.sample(X, 2, 0)],
        bad={"stacking": "yes"},
    ),
    "conditional, an angle": case(
        sknvp.ConditionalRealNVPDensity,
        (X, Y),
        lambda e: [e.score_samples(X, Y), e.predict(X), e.sample(X, 2, 0)],
        {**BRIEF, "periods": 3.0},
        {"periods": -1},
    ),
    "conditional, two targets": case(
        sknvp.ConditionalRealNVPDensity,
        (Y[:, None], X),
        lambda e: [e.score_samples(Y[:, None], X), e.sample(Y[:, None], 2, 0), e.predict(Y[:, None])],
    ),
    "variational": case(
        sknvp.VariationalRealNVP,
        (log_density, 2),
        lambda e: [e.score_samples(X), e.sample(5, 0), e.resample(5, 0), e.log_evidence_],
        bad={"annealing": 1.0, "max_iter": "auto"},
    ),
}
every_estimator = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def assert_equal_answers(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@cache
def fit_of(name):
    """The fit of a case; who changes it takes a copy."""
    return CASES[name].make().fit(*CASES[name].data)


@pytest.fixture(scope="module", params=CASES)
def fitted_case(request):
    return CASES[request.param], fit_of(request.param)


def test_copies_answer_with_the_same_bits_and_hold_no_torch(fitted_case, tmp_path):
    case, fitted = fitted_case
    assert b"torch" not in pickle.dumps(fitted)
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    copies = [
        pickle.loads(pickle.dumps(fitted)),
        pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(fitted)))),
        copy.deepcopy(fitted),
        joblib.load(tmp_path / "fitted.joblib", mmap_mode="r"),
    ]
    for twin in copies:
        assert_equal_answers(case.answers(twin), case.answers(fitted))


def test_pickles_open_in_a_fresh_interpreter(tmp_path):
    fits = {name: fit_of(name) for name in CASES}
    rows = {name: (X,) if name == "variational" else CASES[name].data for name in CASES}
    expected = {name: fits[name].score(*rows[name]) for name in fits}
    (tmp_path / "fits.pkl").write_bytes(pickle.dumps((fits, rows)))
    code = (
        "import json, pickle, sys; fits, rows = pickle.load(open(sys.argv[1], 'rb'));"
        "print(json.dumps({name: fits[name].score(*rows[name]) for name in fits}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "fits.pkl"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == expected


def test_a_weight_in_score_is_a_repetition(fitted_case):
    """A row of weight zero adds nothing, however unlikely it is."""
    case, fitted = fitted_case
    rows = case.data if isinstance(case.data[0], np.ndarray) else (X,)
    counts = np.arange(len(rows[0])) % 3
    assert fitted.score(*rows, sample_weight=np.ones(len(counts))) == fitted.score(*rows)
    repeated = fitted.score(*(np.repeat(part, counts, axis=0) for part in rows))
    if rows[0] is not DIGITS:
        rows = (*rows[:-1], np.where((counts == 0).reshape(-1, *[1] * (rows[-1].ndim - 1)), 1e200, rows[-1]))
    assert fitted.score(*rows, sample_weight=counts) == pytest.approx(repeated, rel=1e-8)
    assert fitted.score(*rows, sample_weight=2.0 * counts) == pytest.approx(2 * repeated, rel=1e-8)
    assert fitted.score(*rows, sample_weight=0 * counts) == 0


def test_a_seed_decides_every_bit(fitted_case):
    case, a = fitted_case
    b, c = (case.make(random_state=seed).fit(*case.data) for seed in (0, 1))
    assert_equal_answers(case.answers(a), case.answers(b))
    assert not np.array_equal(case.answers(a)[0], case.answers(c)[0])


@every_estimator
def test_no_global_state_is_touched(case):
    numpy_state, torch_state = str(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    settings = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    case.answers(copy.deepcopy(case.make().fit(*case.data)))
    assert str(np.random.get_state()) == numpy_state  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == settings


def test_torchs_global_modes_change_nothing(fitted_case):
    """Two at a time, of which neither sets what the other does."""
    case, fitted = fitted_case
    expected = case.answers(fitted)
    for a, b in ((torch.no_grad(), torch.device("meta")), (torch.inference_mode(), torch.autocast("cpu"))):
        with a, b:
            assert_equal_answers(case.answers(copy.deepcopy(case.make().fit(*case.data))), expected)


def state_of(estimator):
    """All attributes in a form that can be compared."""
    values = {
        **vars(estimator),
        "_flow": estimator.flow_.state_dict(),
        "_specification": vars(estimator._specification),
    }
    return {name: str(value) for name, value in values.items() if name not in ("_density", "_experts")}


def test_a_failed_fit_loses_nothing(fitted_case, monkeypatch):
    """It fails in training, or while the density is put together, on data of another dtype and with another seed."""

    def broken(*args, **kwargs):
        raise RuntimeError("in the midst")

    case, fitted = fitted_case[0], copy.deepcopy(fitted_case[1]).set_params(random_state=1)
    before, state = case.answers(fitted), state_of(fitted)
    training = "sknvp.variational" if isinstance(fitted, sknvp.VariationalRealNVP) else "sknvp._estimators.training"
    other = [part.astype(np.float32) if isinstance(part, np.ndarray) else part for part in case.data]
    for part in (f"{training}.train", "sknvp._experts.weighted.Ensemble"):
        with monkeypatch.context() as patch:
            patch.setattr(part, broken)
            with pytest.raises(RuntimeError, match="in the midst"):
                fitted.fit(*other)
        assert state_of(fitted) == state
        assert_equal_answers(case.answers(fitted), before)


def test_a_bad_parameter_gets_an_error_that_names_it_and_loses_nothing(fitted_case):
    case, fitted = fitted_case[0], copy.deepcopy(fitted_case[1])
    before = case.answers(fitted)
    for name, value in {**case.bad, "device": "gpu9", "batch_size": 0, "verbose": "yes"}.items():
        own = fitted.get_params()[name]
        with pytest.raises(ValueError, match=rf"^{name} must .*got "):
            fitted.set_params(**{name: value}).fit(*case.data)
        fitted.set_params(**{name: own})
        assert_equal_answers(case.answers(fitted), before)


def test_clones_are_unfitted_and_keep_the_parameters(fitted_case):
    case, fitted = fitted_case
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    assert not hasattr(twin, "flow_")
    with pytest.raises(NotFittedError, match="not fitted"):
        case.answers(twin)
    with pytest.raises(TypeError):
        type(fitted)(3)


def test_the_fitted_flow_can_be_seen_and_not_replaced(fitted_case):
    _, fitted = fitted_case
    assert isinstance(fitted.flow_, sknvp.flows.Flow)
    assert "(transform): Chain" in str(fitted.flow_)
    with pytest.raises(AttributeError):
        fitted.flow_ = None


def test_fits_leave_their_inputs_alone_in_any_layout(fitted_case):
    """Arrays in C or Fortran order, read-only or not."""
    case, expected = fitted_case[0], fitted_case[0].answers(fitted_case[1])
    for order in "CF":
        given = [np.array(part, order=order) if isinstance(part, np.ndarray) else part for part in case.data]
        for part in given:
            if isinstance(part, np.ndarray):
                part.flags.writeable = False
        fitted = case.make().fit(*given)
        assert_equal_answers(case.answers(fitted), expected)
        if isinstance(given[0], np.ndarray):
            np.testing.assert_array_equal(fitted.score_samples(*given), fitted.score_samples(*case.data))
        for part, original in zip(given, case.data, strict=True):
            if isinstance(part, np.ndarray):
                np.testing.assert_array_equal(part, original)


def test_pickles_name_only_what_stays():
    """Pickles refer to these names outside of NumPy, so that a change of them needs another format."""
    text = b"".join(pickle.dumps(fit_of(name)) for name in CASES)
    names = set(re.findall(rb"sknvp\.[a-z_.]*", text))
    classes = {b"density", b"outlier", b"transformer", b"planar", b"image", b"conditional", b"variational"}
    columns = {b"sknvp._columns." + name for name in (b"kinds", b"cells", b"circle", b"margins", b"mixed")}
    parts = {b"sknvp._experts.weighted", b"sknvp._missing.proposal"}
    parts |= {b"sknvp._outliers.pooling", b"sknvp._variational.diagnostics"}
    builders = {b"sknvp.flows.builders." + name for name in (b"specification", b"expert_specification")}
    assert names == {b"sknvp." + name for name in classes} | builders | columns | parts
