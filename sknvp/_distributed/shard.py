"""The shard of a table that one process of a data-parallel fit holds, checked and compared with those of the others."""

import json
import math
import zlib
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _num_samples

from .. import __version__
from .._columns.kinds import Column
from .._estimators.rows import Rows
from .._estimators.settings import max_rows
from .._estimators.weights import check_weights, count_rows
from ..density import RealNVPDensity
from ..flows.train.ranks import Ranks

OWN = "device", "verbose"  # These parameters may differ between processes.


class Shard(NamedTuple):
    """The rows of this process, and what the fit of all processes is."""

    rows: Rows  # The rows, with weights that are comparable between the processes.
    device: torch.device
    total: float  # The weight of the rows.
    description: dict[str, Any]  # A description of the fit and of the rows of all processes, by plain values.

    @classmethod
    def of(cls, ranks: Ranks, density: RealNVPDensity, X: ArrayLike, sample_weight: ArrayLike | None) -> Self:
        """Check the parameters and the rows of each process, and whether all agree; otherwise all raise an error."""
        given: list[CheckedRows] = []

        def checked() -> tuple[dict[str, Any], int, float]:
            _check_supported(density)
            given.append(_checked_rows(density, X, sample_weight))
            return _described(density, given[0].table), given[0].exponent, float(given[0].weights.sum())

        descriptions, exponents, sums = zip(*ranks.gather(checked), strict=True)
        _check_agreement(descriptions)
        totals = np.maximum(np.ldexp(sums, np.array(exponents) - max(exponents)), np.finfo(np.float64).tiny)
        rows = _merged(density, given[0], totals[ranks.number] / totals.sum())
        rows = rows._replace(weights=rows.weights * (totals[ranks.number] / rows.weights.sum()))
        contents = ranks.gather(lambda: f"{len(rows.x)} rows, checksum {_checksum(rows)}")
        processes = {"number of processes": ranks.size, "version of sknvp": __version__}
        table = {f"that of rank {number},": content for number, content in enumerate(contents)}
        return cls(rows, given[0].device, float(totals[ranks.number]), {**processes, **descriptions[0], "table": table})


class CheckedRows(NamedTuple):
    """What a process was given, checked."""

    table: NDArray[Any]
    weights: NDArray[np.float64]
    n_rows: float  # The number of rows that the weights stand for.
    exponent: int  # The exponent of the power of two that the weights were divided by.
    device: torch.device


def _check_supported(density: RealNVPDensity) -> None:
    """Raise a ValueError for an estimator or a parameter that asks for what a data-parallel fit cannot do."""
    if type(density) is not RealNVPDensity:
        raise ValueError(f"density must be a RealNVPDensity, got {type(density).__name__}. Fit it in one process.")
    for name, supported in {"bounds": None, "periods": None, "batch_norm": False, "warm_start": False}.items():
        value = getattr(density, name)
        if not any(value is other for other in (None, False, np.False_)):
            raise ValueError(f"{name} must be {supported} in a data-parallel fit, got {value!r}. Fit in one process.")


def check_continuous(columns: Iterable[Column]) -> None:
    """Raise a ValueError if a column is not continuous."""
    mapped = [column.name for column in columns if column.is_mapped]
    if mapped:
        raise ValueError(
            f"X must have continuous columns alone in a data-parallel fit, got others: {', '.join(mapped)}. Fit in one "
            "process, or set discrete_features=None, which takes numbers as continuous."
        )


def _checked_rows(density: RealNVPDensity, X: ArrayLike, sample_weight: ArrayLike | None) -> CheckedRows:
    """Check what a process was given."""
    device = density._check_parameters()
    if not _num_samples(X):
        raise ValueError("X must hold a row in every process, got none here. Share rows out, or start fewer processes.")
    table = density._check_rows(X, reset=True, n_least=1)
    if np.isnan(table.min()):
        raise ValueError("X must have no missing cells in a data-parallel fit, got NaN. Fit in one process.")
    weights, n_rows = check_weights(sample_weight, table, n_least=1), count_rows(sample_weight, table)
    table = density._described_anew(X, table, weights, n_rows)
    check_continuous(density._columns)
    exponent = 0 if sample_weight is None else int(np.frexp(np.max(np.asarray(sample_weight, dtype=np.float64)))[1])
    return CheckedRows(table, weights, n_rows, exponent, device)


def _merged(density: RealNVPDensity, given: CheckedRows, share: float) -> Rows:
    """Merge equal rows; if training cannot see all rows, keep this share of those that it can see."""
    most = max_rows(density)
    at_most = None if most is None else math.ceil(most * share)
    rows = density._merge(given.table, given.weights, at_most=at_most)
    return density._with_cells(rows, given.n_rows, continues=False)


def _described(density: RealNVPDensity, table: NDArray[Any]) -> dict[str, Any]:
    """Describe what must be equal in all processes, by plain values that JSON carries."""
    parameters = {name: _plain(value) for name, value in density.get_params().items() if name not in OWN}
    names = [str(name) for name in getattr(density, "feature_names_in_", range(table.shape[1]))]
    dtypes = sorted({str(column.dtype) for column in density._columns if column.dtype is not None})
    return {
        "class": type(density).__name__,
        "parameter": parameters,
        "number of columns of X": table.shape[1],
        "list of columns of X": names,
        "dtype of X": [table.dtype.name, *dtypes],
        "kind of X": density._library or "array",
    }


def _plain(value: Any) -> Any:
    """Return a parameter as a value that JSON carries."""
    value = np.asarray(value).tolist() if isinstance(value, list | tuple | np.ndarray | np.generic) else value
    return json.loads(json.dumps(value, default=_description))


def _description(value: Any) -> Any:
    """Describe a parameter that JSON does not carry: a class or a function by its name, a partial by its parts."""
    if isinstance(value, partial):
        return [_plain(part) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__name__)}"


def _check_agreement(descriptions: tuple[dict[str, Any], ...]) -> None:
    """Raise a ValueError for the first thing in which a process differs from the first one."""
    for name, first in descriptions[0].items():
        for number, other in enumerate(descriptions):
            if other[name] != first:
                raise ValueError(
                    f"All processes must fit with the same {name}: {told_apart(first, other[name])} "
                    f"on ranks 0 and {number}. Give all of them equal estimators and equal columns."
                )


def told_apart(one: Any, other: Any) -> str:
    """Show two values that differ; of dictionaries, the first entry in which they differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        name = next(name for name in {**one, **other} if one.get(name) != other.get(name))
        return f"{name}: {told_apart(one.get(name), other.get(name))}"
    return f"{one!r} and {other!r}"


def _checksum(rows: Rows) -> int:
    """Return a number that changes with any bit of the rows."""
    return zlib.crc32(np.ascontiguousarray(rows.weights).data, zlib.crc32(np.ascontiguousarray(rows.x).data))
