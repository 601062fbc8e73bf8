"""Training as functions: a flow, rows and settings go in, a trained flow and its history come out."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..flows import Flow
from ..flows.builders.specification import NormalScoreMaps, RealNVPSpecification, Specification, TabularSpecification
from ..flows.train import History, advance, train
from ..flows.train.course import Progress
from ..flows.train.data_parallel import DataParallel
from ..flows.train.objectives import NegativeLogLikelihood
from .groups import validation_rows
from .rows import Rows
from .settings import TrainingSettings
from .state import learned_tensors, loaded_flow, saved_flow


class Start(NamedTuple):
    """Where a training begins."""

    specification: Specification
    flow: Flow  # The flow, with its initial or its earlier weights.
    generator: torch.Generator  # The source of batches and noise.
    split_seed: int  # The seed by which rows that members hold out are chosen.
    n_continued: int  # The number of trainings of the flow before this one.

    def needs_one_thread(self, settings: TrainingSettings, objective: NegativeLogLikelihood) -> bool:
        """Return whether one thread of PyTorch is enough: where a batch fits the cache, or the native library works."""
        if self.flow.reference.device.type != "cpu" or not isinstance(self.specification, TabularSpecification):
            return False
        return settings.batch_size <= self.flow.chunk_size or objective.program() is not None


class FittedFlow(NamedTuple):
    """A trained flow, and what happened in its training."""

    flow: Flow
    history: History
    n_batches: int  # The number of batches in an epoch.
    validation: NDArray[np.bool_]  # The rows that each member was validated on, of shape (n_members, n_rows).


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
    """Choose the rows that each member holds out, shape (n_members, n_rows); a fit to equal rows chooses equally."""
    n_members = start.flow.n_members
    if not settings.early_stopping:
        return np.zeros((n_members, len(rows.x)), dtype=bool)
    rng = np.random.RandomState(start.split_seed)
    return validation_rows(rows.groups, rows.weights, n_members, settings.validation_fraction, rng)


def with_normal_scores(start: Start, scores: NormalScoreMaps) -> Start:
    """Return a start whose flow sees normal scores, with the weights that it has."""
    assert isinstance(start.specification, RealNVPSpecification)
    specification = replace(start.specification, scores=scores)
    return start._replace(specification=specification, flow=loaded_flow(specification, saved_flow(start.flow)))


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
