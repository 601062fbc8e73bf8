"""The course of a training: all that it needs to go on as if it had never stopped."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .adamw import AdamW
from .early_stopping import Checkpoint, PlateauSchedule


@dataclass
class History:
    """What happened in training. Losses are means over the members, in nats per row.

    Attributes
    ----------
    n_steps : int
        The number of gradient steps.
    losses : list of float
        The training loss of each evaluation, a mean over the steps since the evaluation before.
    validation_losses : list of float
        The validation loss of each evaluation.
    best_validation_loss : float or None
        The mean of the lowest validation losses of the members; None without validation.
    converged : bool
        Whether training ended because the loss had stopped falling.
    interrupted : bool
        Whether the user or `on_evaluation` ended training.
    """

    n_steps: int = 0
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_validation_loss: float | None = None
    converged: bool = False
    interrupted: bool = False


class Course(NamedTuple):
    """Everything that changes in training, apart from the source of the batches."""

    history: History
    optimizer: AdamW
    schedule: PlateauSchedule
    last: Checkpoint
    best: Checkpoint | None

    def state(self) -> dict[str, Tensor]:
        """Return all numbers by name; those that training changes in place are not copied."""
        history, schedule = self.history, self.schedule
        numbers = {
            "n_steps": [history.n_steps],
            "converged": [history.converged],
            "losses": history.losses,
            "validation_losses": history.validation_losses,
            "schedule": [schedule.best, schedule.n_waited, schedule.n_plateaus],
        }
        state = {name: torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()}
        return {**state, **self.optimizer.moments, **self._tensors()}

    def go_on_from(self, state: dict[str, Tensor]) -> None:
        """Take over the numbers that `state` returned, in a training with equal settings."""
        history, schedule = self.history, self.schedule
        history.n_steps, history.converged = int(state["n_steps"]), bool(state["converged"])
        history.losses, history.validation_losses = state["losses"].tolist(), state["validation_losses"].tolist()
        schedule.best, n_waited, n_plateaus = state["schedule"].tolist()
        schedule.n_waited, schedule.n_plateaus = int(n_waited), int(n_plateaus)
        self.optimizer.go_on_from(state)
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(state[name])

    def _tensors(self) -> dict[str, Tensor]:
        """Return the weights, and the copies of them that training keeps, by name."""
        named = {"learned": self.last.learned, "last": self.last.kept}
        if self.best is not None:
            named |= {"best": self.best.kept, "best_losses": [self.best.losses]}
        return {f"{name}_{i}": tensor.detach() for name, tensors in named.items() for i, tensor in enumerate(tensors)}


class Progress(Protocol):
    """Where a training keeps its course, so that it can go on after a crash."""

    def load(self) -> dict[str, Tensor]:
        """Return the state that training goes on from, or an empty dict if it is new."""

    def save(self, course: Course, done: bool) -> None:
        """Take note of the course after an evaluation, and once more when training is done."""
