"""Specifications of flows from the parameters of estimators."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..flows.builders.masks import MASKS
from ..flows.builders.parts import MakeBase, MakeCoupling, try_base, try_coupling
from ..flows.builders.specification import Array, RealNVPSpecification, Scaling
from ..flows.layers import AffineCoupling
from .rows import Rows
from .scaling import WHOLE_TABLE, WholeTable, scaling_of

# The density of a row is a sum over two places in each column with a period, and over three in each target with one.
MAX_PERIODIC_COLUMNS = 8  # At most this many columns have a period.
MAX_PERIODIC_TARGETS = 5  # At most this many targets have a period.
# The bounds of the log-scales of all affine couplings add up to at most this; up to eight layers keep their own bound.
MAX_TOTAL_LOG_SCALE = 16.0


def real_nvp_specification(
    scaling: Scaling,
    dtype: str,
    generator: torch.Generator,
    *,
    n_layers: int,
    n_estimators: int,
    hidden_layer_sizes: int | Sequence[int],
    activation: str,
    coupling: str | MakeCoupling,
    base: str | MakeBase = "normal",
    mask: str | ArrayLike = "random",
    batch_norm: bool = False,
    context: Scaling | None = None,
    bounds: tuple[Array, Array] | None = None,
) -> RealNVPSpecification:
    """Specify a Real NVP flow by the parameters that estimators have; random masks come from the generator."""
    if not isinstance(coupling, str):
        try_coupling(coupling)
    if not isinstance(base, str):
        try_base(base, len(scaling.columns))
    if isinstance(mask, str):
        masks = MASKS[mask](n_estimators, n_layers, len(scaling.columns), generator).numpy()
    else:
        own = check_mask(mask, (n_layers, len(scaling.loc)))[:, scaling.columns]
        masks = np.repeat(own[None], n_estimators, axis=0)
    return RealNVPSpecification(
        dtype=dtype,
        scaling=scaling,
        masks=masks,
        hidden_layer_sizes=tuple(np.atleast_1d(hidden_layer_sizes).tolist()),
        activation=activation,
        coupling=coupling,
        base=base,
        batch_norm=bool(batch_norm),
        context=context,
        bounds=bounds,
        max_log_scale=min(AffineCoupling.MAX_LOG_SCALE, MAX_TOTAL_LOG_SCALE / n_layers),
    )


def specify_real_nvp(
    estimator: Any, rows: Rows, generator: torch.Generator, n_estimators: int, table: WholeTable = WHOLE_TABLE
) -> RealNVPSpecification:
    """Specify the flow of an estimator with the parameters of `RealNVPDensity`, for the rows that it learns from."""
    return real_nvp_specification(
        scaling_of(rows.x, rows.weights, estimator.standardize, table),
        rows.x.dtype.name,
        generator,
        n_layers=estimator.n_layers,
        n_estimators=n_estimators,
        hidden_layer_sizes=estimator.hidden_layer_sizes,
        activation=estimator.activation,
        coupling=estimator.coupling,
        base=estimator.base,
        mask=estimator.mask,
        batch_norm=estimator.batch_norm,
    )


def check_mask(mask: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Check a user's mask and return it as booleans; each layer of several columns must have columns of both kinds."""
    array = np.asarray(mask)
    if array.shape != shape:
        raise ValueError(f"mask must have shape (n_layers, n_features) = {shape}, got {array.shape}.")
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"mask must hold zeros and ones (or False and True) only, got {np.unique(array)}.")
    keep = array.astype(bool)
    idle = np.flatnonzero(keep.all(1) | ~keep.any(1))
    if shape[1] > 1 and len(idle):
        raise ValueError(
            f"mask must have a one (conditions) and a zero (is transformed) in every layer, got {array[idle[0]]} "
            f"in layer {idle[0]}."
        )
    return keep


def checked_bounds(bounds: Any, n_features: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check the bounds of columns, and return a number for each column."""
    if not (isinstance(bounds, (tuple, list)) and len(bounds) == 2):
        raise ValueError(f"bounds must be None or a tuple (low, high), got {bounds!r}.")
    low, high = (per_column("bounds", edge, n_features) for edge in bounds)
    with np.errstate(over="ignore", invalid="ignore"):
        overflows = np.isfinite(low) & np.isfinite(high) & np.isinf(high - low)
        if overflows.any() or not (np.nextafter(low, high) < high).all():
            raise ValueError(
                "bounds must have low below high in every column, with numbers between them and a difference below "
                f"{np.finfo(np.float64).max:.1e}, got {bounds!r}. Infinity stands for no bound."
            )
    return low, high


def per_column(name: str, values: ArrayLike, n_features: int) -> NDArray[np.float64]:
    """Return a number for each column."""
    try:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), n_features).copy()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers of shape () or ({n_features},), got {values!r}.") from error


def checked_periods(periods: Any, labels: list[Any], table: str = "X") -> NDArray[np.float64]:
    """Check the periods of the columns with these labels of a table, and return a number for each, NaN without one."""
    if isinstance(periods, dict):
        lengths = np.full(len(labels), np.nan)
        for column, period in periods.items():
            place = labels.index(column) if column in labels else column
            if place not in range(len(labels)):
                raise ValueError(
                    f"periods must name columns of {table} or hold their numbers, of {labels}, got {column!r}."
                )
            lengths[place] = per_column("periods", period, 1)[0]
    else:
        lengths = per_column("periods", periods, len(labels))
    given, most = lengths[~np.isnan(lengths)], MAX_PERIODIC_COLUMNS if table == "X" else MAX_PERIODIC_TARGETS
    if not ((given > 0) & np.isfinite(given)).all() or len(given) > most:
        raise ValueError(
            f"periods must be finite numbers greater than 0, of {most} columns at most, got {periods!r}. None "
            "or NaN stands for no period."
        )
    return lengths
