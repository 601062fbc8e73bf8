"""What training minimises: one loss per member, on batches and on validation rows."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .base import StudentT
from .elementwise import Standardize
from .flow import Flow

N_VALID = 1000  # rows that a member is validated on at most
TAIL_WEIGHT = 1e-30  # of the t-distribution beside a flow in training: gross outliers alone are likelier under it
DEGREES_OF_FREEDOM = 4  # of the t-distribution


class NegativeLogLikelihood:
    """Mean negative log-likelihood a row, in nats, weighted; every member has its own training and validation rows.

    A `heavy_tail` stands beside the flow, so that no single outlier decides the mean or the gradient: a row that the
    flow finds far less likely pulls on it no more.

    Parameters
    ----------
    flow : Flow
        What to train.
    x : Tensor of shape (n_rows, n_features)
        The data.
    weights : Tensor of shape (n_rows,)
        Positive weights of the rows.
    tail : Tensor of shape (n_rows,) or None
        Logarithms of what is added to the density of each row; None for nothing.
    validation : Tensor of shape (n_members, n_rows), dtype bool
        The rows that a member is validated on; it trains on the others. All False: no validation.
    batch_size : int
        Rows in a batch; batches are made equally large, so this is their largest size.
    generator : torch.Generator
        Source of the order of the rows.
    log_det : float, default=0.0
        What is added to every log-density, in the loss alone: for what was done to the rows before.

    Attributes
    ----------
    context : Tensor of shape (n_rows, n_context) or None
        What the density of each row is conditioned on; None to begin with.
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
        self.train_rows, self.train_weights = _ragged(~validation, weights, len(weights), generator)
        self.valid_rows, self.valid_weights = _ragged(validation, weights, N_VALID, generator)
        self.batch_size = batch_size
        self.generator = generator

    @property
    def n_batches(self) -> int:
        """Batches in an epoch."""
        return -(-self.train_rows.shape[1] // self.batch_size)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Epoch after epoch, each in a new random order: indices and weights, both (n_members, n_batch)."""
        shape, device = self.train_rows.shape, self.generator.device
        while True:
            noise = torch.rand(shape, dtype=torch.float32, generator=self.generator, device=device)
            order = noise.argsort(1).to(self.x.device)
            for chosen in order.tensor_split(self.n_batches, 1):
                yield self.train_rows.gather(1, chosen), self.train_weights.gather(1, chosen)

    def loss(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Loss of each member on its own rows, shape (n_members,)."""
        log_prob = self.flow.log_prob(self._inputs(rows, training=False), self._of_rows(self.context, rows))
        if self.tail is not None:
            log_prob = torch.logaddexp(log_prob, self.tail[rows])
        return -(weights * (log_prob + self.log_det)).mean(-1)

    def gradients(self, out: Sequence[Tensor], rows: Tensor, weights: Tensor) -> Tensor:
        """That loss; its gradients in the parameters of the flow go into ``out``."""
        context, tail = self._of_rows(self.context, rows), self._of_rows(self.tail, rows)
        weights = weights / -rows.shape[1]
        log_prob = self.flow.gradients(out, self._inputs(rows, training=True), weights, context, tail)
        return log_prob + self.log_det * weights.sum(-1)

    @torch.no_grad()
    def validate(self) -> Tensor | None:
        """Loss of each member on its validation rows, shape (n_members,); None if there are no such rows."""
        n_rows = self.valid_rows.shape[1]
        if not n_rows:
            return None
        chunks = zip(
            *(torch.split(v, self.flow.chunk_size, 1) for v in (self.valid_rows, self.valid_weights)), strict=True
        )
        parts = [self.loss(rows, weights) * (rows.shape[1] / n_rows) for rows, weights in chunks]
        return torch.stack(parts).sum(0)

    def _inputs(self, rows: Tensor, training: bool) -> Tensor:
        """What the flow sees of rows."""
        return self.x[rows]

    @staticmethod
    def _of_rows(values: Tensor | None, rows: Tensor) -> Tensor | None:
        return None if values is None else values[rows]


class Dequantized(NegativeLogLikelihood):
    """The same for rows of whole numbers x: the mean of ``-log p(x + u)``, with noise u uniform from 0 to 1.

    By Jensen's inequality that is no less than the mean negative log-probability of the numbers.

    Every batch gets noise of its own, from 0 to 1; validation rows always get the same.

    Parameters
    ----------
    flow, x, weights, validation, batch_size, generator
        As above; there is no tail.
    mirrored : Tensor of shape (n_features,), dtype int64, optional
        An order of the columns in which half of the rows of a batch come, drawn at random.
    """

    def __init__(
        self,
        flow: Flow,
        x: Tensor,
        weights: Tensor,
        validation: Tensor,
        batch_size: int,
        generator: torch.Generator,
        mirrored: Tensor | None = None,
    ) -> None:
        super().__init__(flow, x, weights, None, validation, batch_size, generator)
        self.mirrored = mirrored
        self.still = torch.Generator(generator.device)

    def validate(self) -> Tensor | None:
        self.still.manual_seed(self.generator.initial_seed())
        return super().validate()

    def _inputs(self, rows: Tensor, training: bool) -> Tensor:
        x = self.x[rows]
        if training and self.mirrored is not None:
            turned = torch.rand(rows.shape, generator=self.generator).to(x.device) < 0.5
            x = torch.where(turned.unsqueeze(-1), x[..., self.mirrored], x)
        source = self.generator if training else self.still
        return x + torch.rand(x.shape, generator=source, device=source.device, dtype=torch.float32).to(x)


def heavy_tail(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Log-density of each row under a t-distribution, times its small weight, shape (n_rows,)."""
    if not x.shape[1]:
        return x.new_zeros(len(x))
    flow = Flow(Standardize(loc, scale), StudentT(x.shape[1], DEGREES_OF_FREEDOM))
    return flow.log_prob(x)[0] + math.log(TAIL_WEIGHT)


def _ragged(chosen: Tensor, weights: Tensor, at_most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some of each member's chosen rows, in random order, and weights of mean one; shapes (n_members, n_longest).

    A member with fewer than the longest has its own rows again, with weight zero.
    """
    key = torch.rand(chosen.shape, dtype=torch.float32, generator=generator, device=generator.device)
    order = torch.argsort(key.to(chosen.device) + ~chosen, dim=1)  # those not chosen come last
    counts = chosen.sum(1, keepdim=True).clamp(max=at_most)
    place = torch.arange(int(counts.max()), device=chosen.device).expand(len(chosen), -1)
    rows = order.gather(1, place % counts.clamp(min=1))
    padded = torch.where(place < counts, weights[rows], 0.0)
    return rows, padded * (rows.shape[1] / padded.sum(1, keepdim=True))
