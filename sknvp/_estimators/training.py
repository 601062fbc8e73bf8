"""Training as functions: a flow, rows and settings go in, a trained flow and its history come out."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..flows import Flow
from ..flows.builders.specification import ImageSpecification, Scaling, Specification, TabularSpecification
from ..flows.builders.tabular import point_masses, without_standardization
from ..flows.train import EVALUATION_STEPS, History, advance, train
from ..flows.train.completions import Completions
from ..flows.train.course import Progress
from ..flows.train.data_parallel import DataParallel
from ..flows.train.dequantization import Dequantized, DequantizedColumns
from ..flows.train.objectives import NegativeLogLikelihood, heavy_tail
from .evaluation import to_tensor
from .groups import validation_rows
from .rows import Draws, Rows
from .scaling import WHOLE_TABLE, WholeTable, location_and_scale
from .state import learned_tensors

MAX_STEPS = 3000  # the largest number of gradient steps where max_iter is "auto"
BATCH_SIZE = 128  # where batch_size is "auto" and there are few rows
PENALIZED_ROWS = 2_000  # with more, the penalty falls
FEW_ROWS = 10_000  # with more, if batch_size and max_iter are "auto", batches grow
MANY_ROWS = 500_000  # with more, if both are "auto", an even choice keeps so many
MAX_STANDARDIZED = 1e4  # standard deviations; a row farther away teaches a flow nothing and is moved there


@dataclass(frozen=True)
class TrainingSettings:
    """The course of training. Every field has the meaning of the estimator's parameter of that name.

    The penalty falls as one over the number of rows beyond `PENALIZED_ROWS`, since a prior counts less the more rows
    there are. Where ``batch_size`` and ``max_iter`` are "auto", so that the number of steps does not grow with that of
    the rows, batches grow with the square root of the number of rows beyond `FEW_ROWS`.
    """

    alpha: float
    batch_size: int
    learning_rate_init: float
    max_iter: int | str
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float

    @classmethod
    def of(cls, estimator: Any, n_rows: int | None) -> Self:
        """Take them from an estimator that is fitted to so many distinct rows; None for those of a stream."""
        given = cls(**{field.name: getattr(estimator, field.name) for field in fields(cls)})
        alpha = float(given.alpha) / max(1.0, (n_rows or 0) / PENALIZED_ROWS)
        batch_size: float | str = given.batch_size
        if isinstance(batch_size, str):
            n_seen = min(n_rows or 0, MANY_ROWS) if isinstance(given.max_iter, str) else 0
            batch_size = BATCH_SIZE * math.sqrt(max(1.0, n_seen / FEW_ROWS))
        return replace(given, alpha=alpha, batch_size=int(batch_size))

    def max_steps(self, n_batches: int) -> int:
        """Return the largest number of gradient steps, where an epoch has so many batches."""
        return MAX_STEPS if isinstance(self.max_iter, str) else int(self.max_iter) * n_batches

    def max_evaluations(self, n_batches: int) -> int:
        """Return how often the loss is evaluated at most."""
        return -(-self.max_steps(n_batches) // EVALUATION_STEPS)


def max_rows(estimator: Any) -> int | None:
    """Return how many rows an estimator keeps, with those held out; training can see all of them. None for all rows."""
    if not isinstance(estimator.max_iter, str):
        return None
    if isinstance(estimator.batch_size, str):
        return MANY_ROWS
    share = 1 - estimator.validation_fraction if estimator.early_stopping else 1.0
    return int(np.ceil(MAX_STEPS * estimator.batch_size / share))


class Start(NamedTuple):
    """Where a training begins."""

    specification: Specification
    flow: Flow  # with its initial or its earlier weights
    generator: torch.Generator  # the source of batches and noise
    split_seed: int  # decides which rows each member holds out
    n_continued: int  # how often the flow has been trained before

    def needs_one_thread(self, settings: TrainingSettings, objective: NegativeLogLikelihood) -> bool:
        """Return whether one thread of PyTorch is enough: where a batch fits the cache, or the native library works."""
        if self.flow.reference.device.type != "cpu" or not isinstance(self.specification, TabularSpecification):
            return False
        return settings.batch_size <= self.flow.chunk_size or objective.program() is not None


class FittedFlow(NamedTuple):
    """A trained flow, and what happened in its training."""

    flow: Flow
    history: History
    n_batches: int  # in an epoch
    validation: NDArray[np.bool_]  # shape (n_members, n_rows), True for the rows that a member was validated on


OnEvaluation = Callable[[History, Callable[[], Flow]], bool]


def fit_flow(
    start: Start,
    objective: NegativeLogLikelihood | DataParallel,
    validation: NDArray[np.bool_],
    settings: TrainingSettings,
    on_evaluation: OnEvaluation,
    progress: Progress | None = None,
) -> FittedFlow:
    """Train a flow until its loss on the rows held out has settled.

    Parameters
    ----------
    start : Start
        The flow, which stays as it is.
    objective : NegativeLogLikelihood or DataParallel
        It holds the rows and a copy of what is to be trained of the flow.
    validation : ndarray of shape (n_members, n_rows), dtype bool
        The rows that each member holds out, as in the objective.
    settings : TrainingSettings
    on_evaluation : callable
        It is called whenever the loss is evaluated, with the history and a function that returns the flow as trained
        so far, and says whether training is to end.
    progress : Progress, optional
        Where training keeps its course.
    """
    history = train(
        objective.flow,
        objective,
        learning_rate=float(settings.learning_rate_init),
        alpha=settings.alpha,
        max_steps=settings.max_steps(objective.n_batches),
        n_iter_no_change=settings.n_iter_no_change,
        tol=settings.tol,
        on_evaluation=lambda history: on_evaluation(history, lambda: with_learned(start.flow, objective.flow)),
        progress=progress,
    )
    return FittedFlow(with_learned(start.flow, objective.flow), history, objective.n_batches, validation)


def advance_flow(
    start: Start,
    objective: NegativeLogLikelihood,
    settings: TrainingSettings,
    moments: dict[str, NDArray[Any]],
) -> tuple[Flow, float, dict[str, NDArray[Any]]]:
    """Train a flow for one epoch.

    Returns the trained copy of the flow, the mean loss, and the moments with which the optimiser can go on.
    """
    state = {name: torch.tensor(array, device=start.flow.reference.device) for name, array in moments.items()}
    loss = advance(
        objective.flow,
        objective,
        learning_rate=float(settings.learning_rate_init),
        alpha=settings.alpha,
        n_steps=objective.n_batches,
        moments=state,
    )
    flow = with_learned(start.flow, objective.flow)
    return flow, loss, {name: value.cpu().numpy().copy() for name, value in state.items()}


def held_out_rows(rows: Rows, settings: TrainingSettings, start: Start) -> NDArray[np.bool_]:
    """Choose the rows that each member holds out, shape (n_members, n_rows); equal at every fit to equal rows."""
    n_members = start.flow.n_members
    if not settings.early_stopping:
        return np.zeros((n_members, len(rows.x)), dtype=bool)
    rng = np.random.RandomState(start.split_seed)
    return validation_rows(rows.groups, rows.weights, n_members, settings.validation_fraction, rng)


def maximum_likelihood(
    start: Start,
    rows: Rows,
    validation: NDArray[np.bool_],
    batch_size: int,
    *,
    standardize: bool = True,
    given: NDArray[Any] | None = None,
    table: WholeTable = WHOLE_TABLE,
) -> NegativeLogLikelihood:
    """Make the objective of a flow of tables: the part behind the standardisation learns from standardised rows.

    It learns in single precision, which takes half the time of double, unless nothing is standardised.

    Parameters
    ----------
    standardize : bool, default=True
        Whether the specification's scaling was measured; otherwise it is zero and one.
    given : ndarray of shape (n_rows, n_context), default=None
        The standardised columns that the density is conditioned on.
    table : WholeTable
        What location and scale are measured in, if the rows are a shard of it.
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
    objective.context = None if given is None else to_tensor(given, part.reference)
    if rows.draws is not None:
        objective.completions = _completions(rows.draws, specification, standardize, part, len(rows.x))
    return objective


def _log_measure(rows: Rows) -> NDArray[np.float64]:
    """Return what is added to the log-density of each row for its cells; draws carry it in their weights already."""
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

    A row beyond `MAX_STANDARDIZED` is moved there, so that numbers stay far from overflow.
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
    constant = np.setdiff1d(np.arange(rows.x.shape[1]), columns)  # these columns count in the tail as in the flow
    masses = point_masses(*(to_tensor(array[constant], reference) for array in (loc, scale)))
    return x, tail + masses.log_prob(x[:, constant])


def with_learned(flow: Flow, trained: Flow) -> Flow:
    """Copy a flow and give the copy the numbers that another flow, with equal parts, has learned."""
    flow = copy.deepcopy(flow)
    with torch.no_grad():
        for mine, theirs in zip(learned_tensors(flow), learned_tensors(trained), strict=True):
            mine.copy_(theirs)
    return flow.eval()


def report(history: History) -> None:
    """Print an evaluation of the loss as scikit-learn's `MLPRegressor` does."""
    print(f"Step {history.n_steps}, loss = {history.losses[-1]:.8f}")
    if history.validation_losses:
        print(f"Validation score: {-history.validation_losses[-1]:f}")
