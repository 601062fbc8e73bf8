"""Objectives of fits to rows: those of tables are standardised first, and images are dequantised."""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..flows import Flow
from ..flows.builders.specification import ImageSpecification, Scaling, TabularSpecification
from ..flows.builders.tabular import point_masses, without_standardization
from ..flows.train.completions import Completions
from ..flows.train.dequantization import Dequantized, DequantizedColumns
from ..flows.train.objectives import NegativeLogLikelihood, heavy_tail
from .evaluation import to_tensor
from .rows import Draws, Rows
from .scaling import WHOLE_TABLE, WholeTable, location_and_scale
from .training import Start

# A number that is more standard deviations away teaches a flow nothing, and is moved to this distance.
MAX_STANDARDIZED = 1e4


def maximum_likelihood(
    start: Start,
    rows: Rows,
    validation: NDArray[np.bool_],
    batch_size: int,
    *,
    standardize: bool = True,
    context: NDArray[Any] | None = None,
    table: WholeTable = WHOLE_TABLE,
) -> NegativeLogLikelihood:
    """Make the objective of a flow of tables: the part behind the standardisation learns from standardised rows.

    It learns in single precision, which takes half the time of double, unless nothing is standardised.

    Parameters
    ----------
    standardize : bool, default=True
        Whether the specification's scaling was measured; otherwise its location is zero and its scale one.
    context : ndarray of shape (n_rows, n_context), default=None
        The standardised columns that the density is conditioned on.
    table : WholeTable
        The table in which location and scale are measured, if the rows are a shard of it.
    """
    specification = start.specification
    assert isinstance(specification, TabularSpecification)
    dtype = torch.float32 if standardize else start.flow.reference.dtype
    part = copy.deepcopy(without_standardization(start.flow)).to(dtype)
    x, tail = standardized_rows(specification, rows, standardize, part.reference, table)
    arguments = part, x, to_tensor(rows.weights, part.reference), tail, torch.tensor(validation, device=x.device)
    log_det = -float(np.log(specification.scaling.scale).sum())
    settings: dict[str, Any] = {"batch_size": batch_size, "generator": start.generator, "log_det": log_det}
    if rows.cells is not None:
        settings["log_det"] += float(np.average(_log_measure(rows), weights=rows.weights))
    if rows.cells is None or not rows.cells.has_interval.any():
        objective = NegativeLogLikelihood(*arguments, **settings)
    else:
        objective = _dequantized(arguments, settings, rows, specification.scaling)
    objective.context = None if context is None else to_tensor(context, part.reference)
    if rows.draws is not None:
        objective.completions = _completions(rows.draws, specification, standardize, part, len(rows.x))
    return objective


def _log_measure(rows: Rows) -> NDArray[np.float64]:
    """Return what is added to the log-density of each row for its cells; the weights of draws contain it already."""
    assert rows.cells is not None
    log_measure: NDArray[np.float64] = rows.cells.log_measure_at(rows.x)
    if rows.draws is not None:
        log_measure[rows.draws.rows] = 0.0
    return log_measure


def _completions(
    draws: Draws, specification: TabularSpecification, standardize: bool, part: Flow, n_rows: int
) -> Completions:
    """Standardise the draws of unknown cells as the rows are standardised."""
    scaling, device = specification.scaling, part.reference.device
    points = (draws.points - scaling.loc) / scaling.scale
    if standardize:
        points = np.clip(points, -MAX_STANDARDIZED, MAX_STANDARDIZED)
    place = np.full(n_rows, -1)
    place[draws.rows] = np.arange(len(draws.rows))
    numbers, log_weights = to_tensor(points, part.reference), to_tensor(draws.log_weights, part.reference)
    return Completions(torch.tensor(place, device=device), numbers, log_weights, part.n_members)


def _dequantized(
    arguments: tuple[Any, ...], settings: dict[str, Any], rows: Rows, scaling: Scaling
) -> DequantizedColumns:
    """Make the objective of a flow of rows with discrete columns; its losses are those of probabilities on average."""
    assert rows.cells is not None
    cells, device = rows.cells, arguments[1].device
    interval = np.isnan(cells.point)
    some = interval.any(axis=0)
    mapped = cells.mapped[some]
    low, high, loc, scale = (
        torch.tensor(array, dtype=torch.float64, device=device)
        for array in (cells.low[:, some], cells.high[:, some], scaling.loc[mapped], scaling.scale[mapped])
    )
    columns, spread = torch.tensor(mapped, device=device), torch.tensor(interval[:, some], device=device)
    return DequantizedColumns(
        *arguments, columns=columns, spread=spread, low=low, high=high, loc=loc, scale=scale, **settings
    )


def dequantization(
    start: Start,
    rows: Rows,
    validation: NDArray[np.bool_],
    batch_size: int,
    *,
    flip: bool = False,
) -> Dequantized:
    """Make the objective of a flow of images; with ``flip`` half of the images of a batch are mirrored."""
    assert isinstance(start.specification, ImageSpecification)
    flow = copy.deepcopy(start.flow)
    mirrored = np.arange(rows.x.shape[1]).reshape(start.specification.image_shape)[..., ::-1].ravel()
    return Dequantized(
        flow,
        to_tensor(rows.x, flow.reference),
        to_tensor(rows.weights, flow.reference),
        torch.tensor(validation, device=flow.reference.device),
        batch_size=batch_size,
        generator=start.generator,
        mirrored=torch.tensor(mirrored.copy(), device=flow.reference.device) if flip else None,
    )


def standardized_rows(
    specification: TabularSpecification,
    rows: Rows,
    standardize: bool,
    reference: Tensor,
    table: WholeTable = WHOLE_TABLE,
) -> tuple[Tensor, Tensor]:
    """Standardise rows as the flow does, in double precision, and compute their `heavy_tail` in these units.

    A number beyond `MAX_STANDARDIZED` is moved to this distance, so that numbers stay far from overflow.
    """
    scaling, dtype = specification.scaling, specification.dtype
    loc, scale = (array.astype(dtype).astype(np.float64) for array in (scaling.loc, scaling.scale))
    centre, spread = np.zeros_like(loc), np.ones_like(scale)
    if not standardize:
        centre, spread, _ = location_and_scale(rows.x, rows.weights, table)
        centre -= loc
    with np.errstate(over="ignore"):
        z = np.clip((rows.x - loc) / scale, centre - MAX_STANDARDIZED * spread, centre + MAX_STANDARDIZED * spread)
    x, columns = to_tensor(z, reference), scaling.columns
    tail = heavy_tail(x[:, columns], to_tensor(centre[columns], reference), to_tensor(spread[columns], reference))
    # Constant columns count in the tail as they do in the flow.
    constant = np.setdiff1d(np.arange(rows.x.shape[1]), columns)
    masses = point_masses(*(to_tensor(array[constant], reference) for array in (loc, scale)))
    return x, tail + masses.log_prob(x[:, constant])
