"""Early stopping: when to lower the learning rate and to stop, and which weights to keep."""

import torch
from torch import Tensor

N_RATES = 3  # Training tries this many learning rates in turn.
RATE_FACTOR = 0.3  # Each learning rate is this fraction of the one before.


class PlateauSchedule:
    """Count the plateaus of a loss: evaluations in a row without an improvement.

    Parameters
    ----------
    tol : float
        An improvement lowers the best loss so far by more than this.
    patience : int
        The number of evaluations without an improvement that make a plateau.

    Attributes
    ----------
    best : float
        The best loss so far.
    n_plateaus : int
        The number of plateaus so far; training lowers the learning rate after each.
    """

    def __init__(self, tol: float, patience: int) -> None:
        self.tol = tol
        self.patience = patience
        self.best = float("inf")
        self.n_waited = 0
        self.n_plateaus = 0

    def reached_plateau(self, loss: float) -> bool:
        """Take note of an evaluation; return whether it completes a plateau. Then the count starts again."""
        if loss < self.best - self.tol:
            self.best, self.n_waited = loss, 0
            return False
        self.n_waited += 1
        if self.n_waited < self.patience:
            return False
        self.n_waited = 0
        self.n_plateaus += 1
        return True


class Checkpoint:
    """A copy of the weights of each member, with the loss that each copy has.

    Parameters
    ----------
    learned : list of Tensor
        All tensors that training changes, each with the member axis first.
    losses : Tensor of shape (n_members,)
        The present losses.
    """

    def __init__(self, learned: list[Tensor], losses: Tensor) -> None:
        self.learned = learned
        self.losses = losses.nan_to_num(nan=torch.inf)
        self.kept = [tensor.detach().clone() for tensor in learned]

    @property
    def mean_loss(self) -> float:
        """The mean over the members of the losses of the copies."""
        return float(self.losses.mean())

    @torch.no_grad()
    def keep(self) -> None:
        """Copy the present weights of all members."""
        for kept, tensor in zip(self.kept, self.learned, strict=True):
            kept.copy_(tensor)

    @torch.no_grad()
    def update(self, losses: Tensor | None) -> float:
        """Copy the present weights of the members whose loss is their lowest; return the mean of the given losses."""
        assert losses is not None
        better = losses < self.losses
        self.losses = torch.where(better, losses, self.losses)
        for kept, tensor in zip(self.kept, self.learned, strict=True):
            kept[better] = tensor[better]
        return float(losses.mean())

    @torch.no_grad()
    def restore(self, members: Tensor | slice = slice(None)) -> None:
        """Put back the copies of some members."""
        for kept, tensor in zip(self.kept, self.learned, strict=True):
            tensor[members] = kept[members]
