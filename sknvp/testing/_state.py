"""State: what fit, scoring and sampling change, and that they change nothing else, here or beside them."""

import random
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
from sklearn.model_selection import cross_val_score

from ._tools import draw, ensure, ensure_same, ensure_same_density, fitted, fresh, table


def check_fit_returns_self(estimator: Any) -> None:
    """``fit`` returns the estimator."""
    density = fresh(estimator)
    ensure(density.fit(table()) is density, "fit must return self.")


def check_y_is_ignored(estimator: Any) -> None:
    """``fit`` and ``score`` take a y, and ignore it."""
    y = np.arange(120) % 2
    density = fitted(estimator, table())
    ensure_same_density(fitted(estimator, table(), y=y), density, "fitted with y")
    ensure_same(density.score(table(), y), density.score(table()), "score with y")


def check_fit_is_repeatable(estimator: Any) -> None:
    """With an int or equal instances as ``random_state``, fits give the same bits, whatever was drawn elsewhere."""
    density = fitted(estimator, table())
    with _put_back():
        _seed_all(12345)
        ensure_same_density(fitted(estimator, table()), density, "of a second fit")
        ensure_same(draw(density, 9), draw(density, 9), "of a second sample")
    if "random_state" in density.get_params():
        once, again = (fresh(estimator).set_params(random_state=np.random.RandomState(7)) for _ in range(2))
        ensure_same_density(again.fit(table()), once.fit(table()), "of a second fit with RandomState(7)")


def check_refit_forgets(estimator: Any) -> None:
    """An estimator that was fitted to other tables, of as many columns or of more, forgets them in the next fit."""
    density, alone = fresh(estimator), fitted(estimator, table())
    for between in (table(80, 2, seed=1) * 5, table(80, 3, seed=1)):
        density.fit(table()).fit(between).fit(table())
        ensure_same_density(density, alone, f"fitted to A, B of shape {between.shape}, and A")


def check_fit_leaves_its_arguments_alone(estimator: Any) -> None:
    """``fit`` changes neither X nor y, and takes them read-only."""
    for read_only in (False, True):
        X, y = table(), np.arange(120) % 2
        X.flags.writeable = y.flags.writeable = not read_only
        fitted(estimator, X, y=y)
        ensure_same(X, table(), "X after fit")
        ensure_same(y, np.arange(120) % 2, "y after fit")


def check_fit_leaves_parameters_alone(estimator: Any) -> None:
    """``fit``, scoring and sampling leave every constructor parameter the object that it was, with the same value."""
    density = fresh(estimator)
    before = density.get_params()
    values = {name: joblib.hash(value) for name, value in before.items()}
    density.fit(table()).score_samples(table())
    density.score(table())
    draw(density, 3)
    for name, value in density.get_params().items():
        same = value is before[name] and joblib.hash(value) == values[name]
        ensure(same, f"{name} must stay as given, {before[name]!r}, got {value!r}.")


def check_scoring_and_sampling_change_nothing(estimator: Any) -> None:
    """``score_samples``, ``score`` and ``sample`` leave every attribute as it was, and the rows that they are given."""
    density, rows = fitted(estimator, table()), table(50, seed=1)
    before, names = joblib.hash(density), set(vars(density))
    density.score_samples(rows)
    density.score(rows)
    draw(density, 5)
    ensure(set(vars(density)) == names, f"attributes must stay, changed are {set(vars(density)) ^ names}.")
    ensure(joblib.hash(density) == before, "the values of attributes must stay as they were.")
    ensure_same(rows, table(50, seed=1), "rows that were scored")


def check_no_global_state(estimator: Any) -> None:
    """Random generators, warning filters, NumPy's error state and torch's settings stay as they were."""
    with _put_back():
        before = _global_state()
        density = fitted(estimator, table())
        density.score(table())
        draw(density, 5)
        for name, value in _global_state().items():
            if name in before:  # The fit may have imported torch.
                ensure(value == before[name], f"{name} must stay as it was.")


def check_processes(estimator: Any) -> None:
    """``cross_val_score`` in two processes, under loky, gives the same bits as in this one."""
    alone = cross_val_score(fresh(estimator), table(), cv=2, n_jobs=1)
    with joblib.parallel_config("loky"):
        ensure_same(cross_val_score(fresh(estimator), table(), cv=2, n_jobs=2), alone, "cross_val_score, n_jobs=2")


def check_threads(estimator: Any) -> None:
    """Two fits in threads at once give the same bits as one after the other."""
    tables = [table(seed=seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        at_once = list(pool.map(lambda X: fitted(estimator, X), tables))
    for density, X in zip(at_once, tables, strict=True):
        ensure_same_density(density, fitted(estimator, X), "of two fits in threads")


def _global_state() -> dict[str, Any]:
    """Return what a library must leave alone, as values that can be compared."""
    state = {
        "NumPy's global generator": joblib.hash(np.random.get_state()),  # noqa: NPY002
        "Python's global generator": random.getstate(),
        "warnings.filters": list(warnings.filters),
        "np.geterr()": np.geterr(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        state["torch's global generator"] = torch.get_rng_state().tolist()
        state["torch's default dtype"] = torch.get_default_dtype()
        state["torch's number of threads"] = torch.get_num_threads()
        state["torch's gradient mode"] = torch.is_grad_enabled()
    return state


@contextmanager
def _put_back() -> Iterator[None]:
    """Undo at the end of the body what it did to the global generators and to NumPy's error state."""
    torch = sys.modules.get("torch")
    of_numpy, of_python = np.random.get_state(), random.getstate()  # noqa: NPY002
    of_torch = None if torch is None else torch.get_rng_state()
    try:
        with np.errstate():
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)
        if torch is not None:
            torch.set_rng_state(of_torch)


def _seed_all(seed: int) -> None:
    """Seed every global generator."""
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
