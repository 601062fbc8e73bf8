"""Inputs: rows of any type, layout or container mean what their numbers mean."""

import warnings
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ._tools import ensure, ensure_close, ensure_finite, ensure_raises, ensure_same, fitted, optional, scores, table


def check_dtypes_in_fit(estimator: Any) -> None:
    """Lists, Fortran order, integers and booleans are fitted as the same numbers in float64 are."""
    X, rows = table(), table(50, seed=1)
    whole = np.round(X * 127 / np.abs(X).max())
    for plain, given in (
        (X, [X.tolist(), np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]]),
        (whole, [whole.astype(np.int64), whole.astype(np.int8)]),
        ((X > 0).astype(np.float64), [X > 0]),
    ):
        expected = scores(estimator, plain, rows)
        for like in given:
            ensure_close(scores(estimator, like, rows), expected, f"fitted to {_words(like)}", 1e-8)


def check_float32(estimator: Any) -> None:
    """Scores of float32 and float64 rows agree to 1e-4, and after a fit to float32 rows to a tenth of a nat per row."""
    X, rows = table(), table(50, seed=1)
    density, single = fitted(estimator, X), fitted(estimator, X.astype(np.float32))
    log_density, few = density.score_samples(rows), rows.astype(np.float32)
    ensure_close(density.score_samples(few), log_density, "scores of float32 rows", 1e-4)
    for found in (density.score_samples(few), single.score_samples(rows), single.score_samples(few)):
        ensure(found.dtype == np.float64, f"score_samples must be float64, got {found.dtype}.")
        ensure_finite(found, "score_samples")
        gap = abs(np.mean(found - log_density))
        ensure(gap < 0.1, f"scores in float32 and float64 must be within 0.1 nats per row, are {gap:.3g} apart.")


def check_dtypes_in_scoring(estimator: Any) -> None:
    """Lists, Fortran order, integers and booleans are scored as the same numbers in float64 are."""
    density, rows = fitted(estimator, table()), table(50, seed=1)
    for given in (
        rows.tolist(),
        np.asfortranarray(rows),
        np.repeat(rows, 2, axis=0)[::2],
        np.round(rows).astype(np.int64),
        np.round(rows).astype(np.int8),
        rows > 0,
    ):
        plain = np.array(given, dtype=np.float64, order="C")
        ensure_close(density.score_samples(given), density.score_samples(plain), f"scores of {_words(given)}", 1e-8)


def _words(rows: Any) -> str:
    """Describe a table, for messages."""
    array = np.asarray(rows)
    return f"a {type(rows).__name__} of {array.dtype}, strides {array.strides}"


def check_memory_maps(estimator: Any) -> None:
    """Read-only memory maps are fitted and scored as arrays in memory are."""
    X = table()
    density = fitted(estimator, X)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        np.save(Path(folder, "X.npy"), X)
        mapped = np.load(Path(folder, "X.npy"), mmap_mode="r")
        ensure_same(density.score_samples(mapped), density.score_samples(X), "score_samples of a memory map")
        ensure_same(scores(estimator, mapped, X), density.score_samples(X), "fitted to a memory map")
        del mapped


def check_data_frames(estimator: Any) -> None:
    """A pandas DataFrame, of any numeric dtypes and index, is fitted and scored as its values are."""
    pandas = optional("pandas")
    X = table()
    X[:, 1] = np.round(X[:, 1] * 5)
    frame = pandas.DataFrame(X, columns=["width", "height"], index=range(500, 380, -1)).astype({"height": "int32"})
    density, plain = fitted(estimator, frame), fitted(estimator, X)
    ensure_close(density.score_samples(frame), plain.score_samples(X), "of a DataFrame", 1e-8)


def check_feature_names(estimator: Any) -> None:
    """``feature_names_in_`` keeps a DataFrame's names; others, or another order, raise, and none at all warn."""
    pandas = optional("pandas")
    X = table()
    frame = pandas.DataFrame(X, columns=["width", "height"])
    density = fitted(estimator, frame)
    ensure_same(density.feature_names_in_, np.array(["width", "height"], dtype=object), "feature_names_in_")
    for method in (density.score_samples, density.score):
        wrong = {"columns in another order": frame[["height", "width"]], "other names": frame.add_suffix("_2")}
        for what, given in wrong.items():
            ensure_raises(partial(method, given), what, match="feature names")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            method(X)
        ensure(any("feature names" in str(warning.message) for warning in caught), "rows without names must warn.")
    density.fit(X)
    ensure(not hasattr(density, "feature_names_in_"), "a fit without names must forget feature_names_in_.")
