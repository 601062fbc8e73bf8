"""The training loop, which takes gradient steps, validates, lowers the learning rate, and keeps the best weights."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ..._warn import warn_caller
from ..layers.normalization import statistics
from .adamw import AdamW
from .buffer import flatten
from .course import Course, History, Progress
from .descent import descend
from .early_stopping import N_RATES, RATE_FACTOR, Checkpoint, PlateauSchedule
from .objectives import Objective

EVALUATION_STEPS = 25  # There are this many gradient steps between two evaluations of the loss.
MAX_GRADIENT_NORM = 5.0  # The gradient of each member is clipped to this norm.
WARM_UP_STEPS = 20  # The learning rate of `advance` rises during this many steps.


def train(
    flow: nn.Module,
    objective: Objective,
    *,
    learning_rate: float,
    alpha: float,
    max_steps: int,
    n_iter_no_change: int,
    tol: float,
    min_steps: int = 0,
    on_evaluation: Callable[[History], bool] | None = None,
    progress: Progress | None = None,
) -> History:
    """Train all members of a flow at once, in place.

    AdamW takes the steps; the gradient of each member is clipped by its norm. The loss is evaluated every
    `EVALUATION_STEPS` steps: the validation loss if rows are held out, else the training loss. At each plateau of the
    loss the learning rate is lowered, and training ends at the plateau of the last of `N_RATES` rates. With
    validation, each member returns at every plateau, and at the end, to the weights that had its lowest loss so far;
    these may be the untrained ones. Without validation, the last weights stay.

    If the loss of a member since the last evaluation is not finite, the member returns to the weights it had at the
    last evaluation, with a warning, and the learning rate is lowered for all members. A KeyboardInterrupt ends
    training, and what was learned so far is kept; with ``progress`` it is raised, since training can go on later.

    Parameters
    ----------
    flow : Module
        The flow to train.
    objective : Objective
        The function to minimise.
    learning_rate : float
        The first learning rate, which also falls linearly to zero at ``max_steps``.
    alpha : float
        The weight decay.
    max_steps : int
        The number of gradient steps at most.
    n_iter_no_change : int
        The number of evaluations without an improvement that make a plateau.
    tol : float
        An improvement lowers the loss by more than this, in nats per row.
    min_steps : int, default=0
        Evaluations during the first ``min_steps`` steps do not count towards a plateau.
    on_evaluation : callable, optional
        A function that is called at every evaluation; if it returns True, training ends.
    progress : Progress, optional
        It may know the course of an earlier training, from which this one goes on to the same bits, and it is told of
        the course after every evaluation. The objective must yield the same batches again.

    Returns
    -------
    history : History
    """
    flat = flatten(flow)
    history = History(converged=not flat.numel())
    losses = objective.validate()
    learned = [flat, *statistics(flow)]
    best = None if losses is None else Checkpoint(learned, losses)
    last = Checkpoint(learned, torch.zeros(len(flat)))
    optimizer = AdamW(flat, _decay(alpha, learning_rate), max_norm=MAX_GRADIENT_NORM)
    schedule = PlateauSchedule(tol, n_iter_no_change)
    course = Course(history, optimizer, schedule, last, best)
    if progress is not None and (state := progress.load()):
        course.go_on_from(state)
    batches = _counted(islice(objective.batches(), history.n_steps, None), history)
    try:
        while not (history.n_steps >= max_steps or history.converged or history.interrupted):
            n_steps = min(EVALUATION_STEPS, max_steps - history.n_steps)
            left = 1 - history.n_steps / max_steps
            rate = learning_rate * RATE_FACTOR**schedule.n_plateaus * left
            losses = descend(flow, flat, objective, islice(batches, n_steps), optimizer, rate)
            finite = losses.isfinite()
            if not finite.all():
                _go_back(last, ~finite, schedule)
                if not finite.any():
                    continue
            last.keep()
            loss = float(losses[finite].mean())
            history.losses.append(loss)
            if best is not None:
                history.validation_losses.append(best.update(objective.validate()))
            if on_evaluation is not None:
                history.interrupted = on_evaluation(history)
            if history.n_steps > min_steps and schedule.reached_plateau(loss if best is None else best.mean_loss):
                history.converged = schedule.n_plateaus >= N_RATES and math.isfinite(schedule.best)
                if best is not None:
                    best.restore()
            if progress is not None:
                progress.save(course, done=False)
    except KeyboardInterrupt:
        if progress is not None:
            raise
        flow.eval()
        history.interrupted = True
        if best is not None:
            best.update(objective.validate())
        else:
            last.restore(~flat.isfinite().all(1))
        warn_caller("Training interrupted by user; what was learned so far is kept.")
    if progress is not None:
        progress.save(course, done=True)
    if best is not None:
        best.restore()
        history.best_validation_loss = best.mean_loss
    return history


def advance(
    flow: nn.Module,
    objective: Objective,
    *,
    learning_rate: float,
    alpha: float,
    n_steps: int,
    moments: dict[str, Tensor],
) -> float:
    """Train a flow for a number of steps, in place, and return the mean loss in nats per row.

    ``moments`` holds the moments of AdamW, so that the next call continues as if training had never stopped. It is
    empty before the first call, and is changed in place. During the first `WARM_UP_STEPS` steps the learning rate rises
    linearly: an optimiser that has seen few gradients moves every weight by about the learning rate, however small its
    gradient is, and would spoil a flow that is trained already (Ma and Yarats, "On the Adequacy of Untuned Warmup for
    Adaptive Optimization", AAAI 2021, arXiv:1910.04209).
    """
    flat = flatten(flow)
    if not flat.numel():
        return 0.0
    optimizer = AdamW(flat, _decay(alpha, learning_rate), moments, MAX_GRADIENT_NORM)
    last = Checkpoint([flat, *statistics(flow)], torch.zeros(len(flat)))
    batches, total = islice(objective.batches(), n_steps), flat.new_zeros(len(flat))
    for n_equal, share in _warm_up(optimizer.n_steps, n_steps):
        equal = islice(batches, n_equal)
        total += n_equal * descend(flow, flat, objective, equal, optimizer, share * learning_rate)
    losses = total / n_steps
    if losses.isfinite().all():
        moments.update(optimizer.moments)
    else:
        last.restore()
        warn_caller(
            "The loss was not finite, so these rows were not learned from. Lower learning_rate_init.",
            RuntimeWarning,
        )
    return float(losses.mean())


def _warm_up(n_taken: int, n_steps: int) -> Iterator[tuple[int, float]]:
    """Split the steps after the first ``n_taken`` into groups; yield the size of each, and its share of the rate."""
    n_rising = min(n_steps, max(0, WARM_UP_STEPS - n_taken))
    yield from ((1, (n_taken + i) / WARM_UP_STEPS) for i in range(1, n_rising + 1))
    if n_steps > n_rising:
        yield n_steps - n_rising, 1.0


def _decay(alpha: float, learning_rate: float) -> float:
    """Limit the weight decay, so that no step moves a parameter beyond zero."""
    return min(alpha, 1 / learning_rate)


def _counted(batches: Iterable[tuple[Any, ...]], history: History) -> Iterator[tuple[Any, ...]]:
    """Yield the batches, and count each of them as a step."""
    for batch in batches:
        history.n_steps += 1
        yield batch


def _go_back(last: "Checkpoint", members: Tensor, schedule: "PlateauSchedule") -> None:
    """Undo the steps of some members since the last evaluation, and lower the learning rate."""
    last.restore(members)
    schedule.n_plateaus = min(schedule.n_plateaus + 1, N_RATES - 1)
    warn_caller(
        "The loss was not finite; training went back to the weights before and goes on with a smaller learning rate.",
        RuntimeWarning,
    )
