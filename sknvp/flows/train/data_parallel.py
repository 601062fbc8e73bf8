"""The objective of a training that several processes share, each with rows of its own."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .buffer import views
from .objectives import NegativeLogLikelihood
from .ranks import Ranks


class DataParallel:
    """The weighted mean negative log-likelihood of the rows of all processes, which take every step together.

    The batch of a step is made of one batch of each process. Losses and gradients are sums over all of these, so that
    every process takes the step that a single one with all rows would take, and decides to stop when it would.

    Parameters
    ----------
    local : NegativeLogLikelihood
        The objective of the rows of this process, which is changed. Its batch size is that of the batches of all
        processes together. The flows of all processes are equal, and their generators differ.
    weights : Tensor of shape (n_rows,), dtype float64
        The weights of its rows, comparable between the processes.
    validation : Tensor of shape (n_members, n_rows), dtype bool
        True for the validation rows of a member.
    ranks : Ranks
        The processes.
    """

    def __init__(self, local: NegativeLogLikelihood, weights: Tensor, validation: Tensor, ranks: Ranks) -> None:
        self.local, self.flow, self.ranks = local, local.flow, ranks
        validated, trained = (weights * validation).sum(1), (weights * ~validation).sum(1)
        local.train_weights, sizes = _with_mean_one(local.train_weights, trained, ranks)
        local.validation_weights, validation_sizes = _with_mean_one(local.validation_weights, validated, ranks)
        self.n_validated = sum(validation_sizes)
        self.n_batches = -(-sum(sizes) // local.batch_size)
        self.batch_sizes = [
            sum(size // self.n_batches + (batch < size % self.n_batches) for size in sizes)
            for batch in range(self.n_batches)
        ]
        parameters = list(self.flow.parameters())
        n_members, n_numbers = self.flow.n_members, sum(part[0].numel() for part in parameters)
        self.sums = torch.zeros(n_members * (n_numbers + 1), dtype=local.x.dtype, device=local.x.device)
        self.gradients = views(self.sums[:-n_members].view(n_members, n_numbers), self.flow)
        self.losses = self.sums[-n_members:]

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rows of this process and their weights, both of shape (n_members, n_batch); there may be none."""
        for step, (rows, weights) in enumerate(self.local.batches(self.n_batches)):
            yield rows, weights * (rows.shape[1] / self.batch_sizes[step % self.n_batches])

    def loss_and_gradients(self, out: Sequence[Tensor], rows: Tensor, weights: Tensor) -> Tensor:
        """Return the loss of the batch of all processes, and write its gradients to ``out``."""
        if rows.shape[1]:
            self.losses.copy_(self.local.loss_and_gradients(self.gradients, rows, weights))
        else:
            self.sums.zero_()
        self.ranks.add(self.sums)
        for place, gradient in zip(out, self.gradients, strict=True):
            place.copy_(gradient)
        return self.losses.clone()

    def validate(self) -> Tensor | None:
        """Return the loss of each member on the validation rows of all processes; None if there are no such rows."""
        if not self.n_validated:
            return None
        loss, n_rows = self.local.validate(), self.local.validation_rows.shape[1]
        if loss is None:
            loss = self.losses.new_zeros(self.losses.shape)
        return self.ranks.add(loss.double() * (n_rows / self.n_validated))


def _with_mean_one(weights: Tensor, total: Tensor, ranks: Ranks) -> tuple[Tensor, list[int]]:
    """Give weights, shape (n_members, n_rows), a mean of one over all processes instead of over this one.

    ``total`` is the weight of all rows of each member, comparable between the processes. The second result holds the
    numbers of rows of all processes.
    """
    sizes = ranks.gather(lambda: weights.shape[1])
    mean = ranks.add(total.clone()) / max(1, sum(sizes))
    ratio = (total / max(1, weights.shape[1]) / mean).nan_to_num(0.0)
    return weights.nan_to_num(0.0) * ratio.unsqueeze(1).to(weights), sizes
