"""The one training loop: optimise, validate, lower the learning rate, stop, keep the best."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .adam import Adam
from .caller import warn_caller
from .normalization import statistics

CHECK_STEPS = 25  # gradient steps between two looks at the loss
MAX_GRADIENT_NORM = 5.0
N_RATES = 3  # learning rates tried in turn, each ...
RATE_FACTOR = 0.3  # ... this fraction of the one before


class Objective(Protocol):
    """What to minimise; every loss has shape (n_members,)."""

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """The arguments of `gradients`, batch by batch, without end."""

    def gradients(self, out: Sequence[Tensor], *batch: Any) -> Tensor:
        """The loss; its gradients in the parameters go into ``out``, a tensor for each."""

    def validate(self) -> Tensor | None:
        """Loss on what is held out, or None if nothing is."""


@dataclass
class History:
    """What happened in training, noted every `CHECK_STEPS` steps; losses are averages over the members, in nats a row.

    ``losses`` are means over the steps since the note before.
    """

    n_steps: int = 0
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_validation_loss: float | None = None
    converged: bool = False
    interrupted: bool = False  # by the user or by `on_check`


def train(
    flow: nn.Module,
    objective: Objective,
    *,
    learning_rate: float,
    alpha: float,
    max_steps: int,
    n_iter_no_change: int,
    tol: float,
    n_sure: int = 0,
    on_check: Callable[[History], bool] | None = None,
) -> History:
    """Train all members of a flow at once, in place.

    Adam with decoupled weight decay `alpha`, the gradient of each member clipped by its norm. Every `CHECK_STEPS`
    steps a loss is looked at: that of validation if there is any, else of training. When it has not fallen by `tol`
    in `n_iter_no_change` looks the learning rate is lowered, and after `N_RATES` rates training ends; looks during the
    first `n_sure` steps do not count. With validation each member goes on, and ends, with the weights that did best so
    far, its untrained ones included; without, the last weights stay.

    A member whose loss since the last look is not finite gets back the weights before it, with a warning and a lower
    learning rate for all. Training ends early, and keeps what there is, if ``on_check``, called at every look, says
    so, and by a KeyboardInterrupt.
    """
    flat = flatten(flow)
    history = History(converged=not flat.numel())
    losses = objective.validate()
    learned = [flat, *statistics(flow)]
    best = None if losses is None else Best(learned, losses)
    last = Best(learned, torch.zeros(len(flat)))
    optimizer = Adam(flat, _decay(alpha, learning_rate))
    watch, batches = Watch(tol, n_iter_no_change), _counted(objective.batches(), history)
    try:
        while not (history.n_steps >= max_steps or history.converged or history.interrupted):
            n_steps = min(CHECK_STEPS, max_steps - history.n_steps)
            left = 1 - history.n_steps / max_steps
            rate = learning_rate * RATE_FACTOR**watch.n_stalls * left
            losses = _descend(flow, flat, objective, islice(batches, n_steps), optimizer, rate)
            finite = losses.isfinite()
            if not finite.all():
                _go_back(last, ~finite, watch)
                if not finite.any():
                    continue
            last.keep()
            loss = float(losses[finite].mean())
            history.losses.append(loss)
            if best is not None:
                history.validation_losses.append(best.update(objective.validate()))
            if on_check is not None:
                history.interrupted = on_check(history)
            if history.n_steps > n_sure and watch.stalled(loss if best is None else best.mean_loss):
                history.converged = watch.n_stalls == N_RATES and math.isfinite(watch.best)
                if best is not None:
                    best.restore()
    except KeyboardInterrupt:
        flow.eval()
        history.interrupted = True
        if best is not None:
            best.update(objective.validate())
        warn_caller("Training interrupted by user; what was learned so far is kept.")
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
    """Train a flow for so many steps, in place, and return the mean loss.

    ``moments`` are those of Adam, by which training goes on as if it had never stopped; empty at first, changed here.
    """
    flat = flatten(flow)
    if not flat.numel():
        return 0.0
    optimizer = Adam(flat, _decay(alpha, learning_rate), moments)
    last = Best([flat, *statistics(flow)], torch.zeros(len(flat)))
    losses = _descend(flow, flat, objective, islice(objective.batches(), n_steps), optimizer, learning_rate)
    if losses.isfinite().all():
        moments.update(optimizer.moments)
    else:
        last.restore()
        warn_caller(
            "The loss was not finite, so these rows were not learned from. Lower learning_rate_init.",
            RuntimeWarning,
        )
    return float(losses.mean())


def _decay(alpha: float, learning_rate: float) -> float:
    """The weight decay, which must not overshoot zero."""
    return min(alpha, 1 / learning_rate)


def flatten(module: nn.Module) -> nn.Parameter:
    """Move the parameters of all members into one buffer (n_members, n_parameters), of which each becomes a view."""
    parts = list(module.parameters())
    if not parts:
        return nn.Parameter(torch.zeros(0))
    flat = nn.Parameter(torch.cat([part.detach().flatten(1) for part in parts], 1))
    for part, view in zip(parts, _views(flat.data, module), strict=True):
        part.data = view
    return flat


def _views(flat: Tensor, module: nn.Module) -> list[Tensor]:
    """Of numbers (n_members, n_parameters) those that belong to each parameter, in its shape."""
    parts = list(module.parameters())
    own = torch.split(flat, [part[0].numel() for part in parts], 1)
    return [numbers.view(part.shape) for numbers, part in zip(own, parts, strict=True)]


def _counted(batches: Iterable[tuple[Any, ...]], history: History) -> Iterator[tuple[Any, ...]]:
    """The batches, each of them counted as a step."""
    for batch in batches:
        history.n_steps += 1
        yield batch


def _descend(
    flow: nn.Module,
    flat: nn.Parameter,
    objective: Objective,
    batches: Iterable[tuple[Any, ...]],
    optimizer: Adam,
    learning_rate: float,
) -> Tensor:
    """A step down the gradient for each batch; returns the mean loss of each member."""
    losses = []
    gradient = torch.zeros_like(flat)
    of_parts = _views(gradient, flow)
    flow.train()
    for batch in batches:
        losses.append(objective.gradients(of_parts, *batch))
        gradient.nan_to_num_(0.0, 0.0, 0.0)  # one overflow must not spoil the weights
        norm = gradient.norm(dim=1, keepdim=True)
        gradient.mul_((MAX_GRADIENT_NORM / norm).clamp(max=1.0))
        optimizer.step(gradient, learning_rate)
    flow.eval()
    return torch.stack(losses).mean(0)


def _go_back(last: "Best", members: Tensor, watch: "Watch") -> None:
    """Undo some members' steps since the last look, and lower the learning rate."""
    last.restore(members)
    watch.n_stalls = min(watch.n_stalls + 1, N_RATES - 1)
    warn_caller(
        "The loss was not finite; training went back to the weights before and goes on with a smaller learning rate.",
        RuntimeWarning,
    )


class Best:
    """The best weights of each member so far, by validation loss.

    Parameters
    ----------
    learned : list of Tensor
        What training changes, each with the member axis first.
    losses : Tensor of shape (n_members,)
        The loss now.
    """

    def __init__(self, learned: list[Tensor], losses: Tensor) -> None:
        self.learned = learned
        self.losses = losses.nan_to_num(nan=torch.inf)
        self.kept = [tensor.detach().clone() for tensor in learned]

    @property
    def mean_loss(self) -> float:
        return float(self.losses.mean())

    @torch.no_grad()
    def keep(self) -> None:
        """Keep the present weights of all members."""
        for kept, tensor in zip(self.kept, self.learned, strict=True):
            kept.copy_(tensor)

    @torch.no_grad()
    def update(self, losses: Tensor | None) -> float:
        """Keep the present weights of the members whose loss is their lowest; return the mean of the losses given."""
        assert losses is not None
        better = losses < self.losses
        self.losses = torch.where(better, losses, self.losses)
        for kept, tensor in zip(self.kept, self.learned, strict=True):
            kept[better] = tensor[better]
        return float(losses.mean())

    @torch.no_grad()
    def restore(self, members: Tensor | slice = slice(None)) -> None:
        """Put back what was kept of some members."""
        for kept, tensor in zip(self.kept, self.learned, strict=True):
            tensor[members] = kept[members]


class Watch:
    """Counts looks at the loss without an improvement of at least `tol`."""

    def __init__(self, tol: float, patience: int) -> None:
        self.tol = tol
        self.patience = patience
        self.best = float("inf")
        self.n_waited = 0
        self.n_stalls = 0

    def stalled(self, loss: float) -> bool:
        """Whether `patience` looks have now brought no improvement; then the count starts anew."""
        if loss < self.best - self.tol:
            self.best, self.n_waited = loss, 0
            return False
        self.n_waited += 1
        if self.n_waited < self.patience:
            return False
        self.n_waited = 0
        self.n_stalls += 1
        return True
