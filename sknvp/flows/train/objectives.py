"""What objectives are, and those of maximum likelihood: one loss per member, on batches and on validation rows."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..bases import StudentT
from ..flow import Flow
from ..layers import Standardize
from ..native import Inputs, Program
from .completions import Completions

MAX_VALIDATION_ROWS = 1000  # A member is validated on this many rows at most.

# In training, a t-distribution of this weight stands beside each flow. Only gross outliers are likelier under it.
TRAINING_TAIL_WEIGHT = 1e-30
TRAINING_TAIL_DEGREES_OF_FREEDOM = 4


class Objective(Protocol):
    """A function that training minimises; every loss has shape (n_members,)."""

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """Yield the arguments of `loss_and_gradients` for one batch after the other, without end."""

    def loss_and_gradients(self, out: Sequence[Tensor], *batch: Any) -> Tensor:
        """Return the loss, and write its gradients to ``out``, which has one tensor for each parameter."""

    def validate(self) -> Tensor | None:
        """Return the loss on held-out data, or None if nothing is held out."""


class NegativeLogLikelihood:
    """The weighted mean negative log-likelihood of a row, in nats.

    Every member has its own training and validation rows. The density of each row may be the sum of that of the flow
    and a `heavy_tail`, so that no single outlier decides the mean or the gradient: a row whose tail is far larger than
    its density under the flow has no influence on the flow.

    Parameters
    ----------
    flow : Flow
        The flow to train.
    x : Tensor of shape (n_rows, n_features)
        The data.
    weights : Tensor of shape (n_rows,)
        Positive weights of the rows.
    tail : Tensor of shape (n_rows,) or None
        The logarithm of a number that is added to the density of each row; None to add nothing.
    validation : Tensor of shape (n_members, n_rows), dtype bool
        True for the validation rows of a member, which trains on all others. If all are False, there is no validation.
    batch_size : int
        The largest number of rows in a batch. Batches have equal sizes, up to one row.
    generator : torch.Generator
        The source of the order of the rows.
    log_det : float, default=0.0
        The log-determinant of a map that was applied to the rows before; the loss counts it in.

    Attributes
    ----------
    context : Tensor of shape (n_rows, n_context) or None
        The context of each row, which may be set after construction; None at first.
    completions : Completions or None
        Draws of the cells of rows that are unknown, which may be set after construction; None at first.
    """

    def __init__(
        self,
        flow: Flow,
        x: Tensor,
        weights: Tensor,
        tail: Tensor | None,
        validation: Tensor,
        batch_size: int,
        generator: torch.Generator,
        log_det: float = 0.0,
    ) -> None:
        self.flow = flow
        self.log_det = log_det
        self.x = x
        self.tail = tail
        self.context: Tensor | None = None
        self.completions: Completions | None = None
        self.train_rows, self.train_weights = padded_member_rows(~validation, weights, len(weights), generator)
        self.validation_rows, self.validation_weights = padded_member_rows(
            validation, weights, MAX_VALIDATION_ROWS, generator
        )
        self.batch_size = batch_size
        self.generator = generator

    @property
    def n_batches(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.train_rows.shape[1] // self.batch_size)

    def batches(self, n_batches: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rows and weights of each batch, both of shape (n_members, n_batch).

        There is no end; every epoch has a new random order. It may have another number of batches than its own.
        """
        n_batches = n_batches or self.n_batches
        shape, device = self.train_rows.shape, self.generator.device
        while True:
            noise = torch.rand(shape, dtype=torch.float32, generator=self.generator, device=device)
            order = noise.argsort(1).to(self.x.device)
            for chosen in order.tensor_split(n_batches, 1):
                yield self.train_rows.gather(1, chosen), self.train_weights.gather(1, chosen)

    def loss(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Return the loss of each member on its own rows, shape (n_members,)."""
        x, context = self._rows(rows, training=False), self._of_rows(self.context, rows)
        if self.completions is None:
            log_prob = self.flow.log_prob(x, context)
        else:
            log_prob = self.completions.log_prob(self.flow, x, rows, context)
        if self.tail is not None:
            log_prob = torch.logaddexp(log_prob, self.tail[rows])
        return -(weights * (log_prob + self.log_det)).mean(-1)

    def loss_and_gradients(self, out: Sequence[Tensor], rows: Tensor, weights: Tensor) -> Tensor:
        """Return the loss in training mode, and write its gradients to ``out``, one tensor for each parameter."""
        inputs = self.inputs(rows, weights)
        return self.loss_of(self.flow.log_prob_and_gradients(out, *inputs), inputs)

    def inputs(self, rows: Tensor, weights: Tensor) -> Inputs:
        """Return what the loss of a batch is computed from in training mode, with weights whose sum is minus one."""
        x = self._rows(rows, training=True)
        if self.completions is not None:
            x = self.completions.drawn(x, rows, self.generator)
        return Inputs(x, weights / -rows.shape[1], self._of_rows(self.context, rows), self._of_rows(self.tail, rows))

    def loss_of(self, log_prob: Tensor, inputs: Inputs) -> Tensor:
        """Return the loss of each member on a batch, from its sum of weighted log-densities."""
        return log_prob + self.log_det * inputs.weights.sum(-1)

    @torch.inference_mode()
    def program(self) -> Program | None:
        """Return the native program of the flow, or None where PyTorch evaluates it."""
        shape = self.flow.n_members, -1, -1
        context = None if self.context is None else self.context[:1].expand(shape)
        return self.flow.program(self.x[:1].expand(shape), context)

    @torch.no_grad()
    def validate(self) -> Tensor | None:
        """Return the loss of each member on its validation rows, shape (n_members,); None if there are no such rows."""
        if self.completions is not None:
            self.completions.weigh(self.flow, self.generator, self.context)
        n_rows = self.validation_rows.shape[1]
        if not n_rows:
            return None
        validation = self.validation_rows, self.validation_weights
        chunks = zip(*(torch.split(part, self.flow.chunk_size, 1) for part in validation), strict=True)
        parts = [self.loss(rows, weights) * (rows.shape[1] / n_rows) for rows, weights in chunks]
        return torch.stack(parts).sum(0)

    def _rows(self, rows: Tensor, training: bool) -> Tensor:
        """Return the numbers of the given rows that the flow is evaluated at."""
        return self.x[rows]

    @staticmethod
    def _of_rows(values: Tensor | None, rows: Tensor) -> Tensor | None:
        """Return the values of the given rows, or None if there are no values."""
        return None if values is None else values[rows]


def heavy_tail(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Return the logarithm of the weighted density of each row under a t-distribution, shape (n_rows,).

    Location and scale are those of the t-distribution, for each column; its weight is `TRAINING_TAIL_WEIGHT`.
    """
    if not x.shape[1]:
        return x.new_zeros(len(x))
    flow = Flow(Standardize(loc, scale), StudentT(x.shape[1], TRAINING_TAIL_DEGREES_OF_FREEDOM))
    return flow.log_prob(x)[0] + math.log(TRAINING_TAIL_WEIGHT)


def padded_member_rows(
    chosen: Tensor, weights: Tensor, at_most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Arrange the chosen rows of all members as one rectangle.

    Parameters
    ----------
    chosen : Tensor of shape (n_members, n_rows), dtype bool
        The rows that a member chooses from.
    weights : Tensor of shape (n_rows,)
        The weight of each row.
    at_most : int
        The largest number of rows of a member; if there are more, it takes a random sample.
    generator : torch.Generator
        The source of the order.

    Returns
    -------
    rows, weights : Tensor of shape (n_members, n_longest)
        The numbers of the rows in random order, and weights with mean one for each member. A member with fewer rows
        than another repeats its own rows, with weight zero.
    """
    key = torch.rand(chosen.shape, dtype=torch.float32, generator=generator, device=generator.device)
    order = torch.argsort(key.to(chosen.device) + ~chosen, dim=1)  # The rows that are not chosen come last.
    counts = chosen.sum(1, keepdim=True).clamp(max=at_most)
    place = torch.arange(int(counts.max()), device=chosen.device).expand(len(chosen), -1)
    rows = order.gather(1, place % counts.clamp(min=1))
    padded = torch.where(place < counts, weights[rows], 0.0)
    return rows, padded * (rows.shape[1] / padded.sum(1, keepdim=True))
