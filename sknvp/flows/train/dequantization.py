"""Objectives of maximum likelihood for whole numbers and discrete columns, which uniform noise makes continuous."""

from typing import Any

import torch
from torch import Tensor

from ..flow import Flow
from .objectives import NegativeLogLikelihood

MAX_UNIFORM = 1 - 2.0**-53  # This is the largest number below one in float64.


class Dequantized(NegativeLogLikelihood):
    """The mean of ``-log p(x + u)`` for rows x of whole numbers, with noise u that is uniform from 0 to 1.

    By Jensen's inequality this is at least the mean negative log-probability of the whole numbers. Every batch gets new
    noise; validation rows always get the same noise.

    Parameters
    ----------
    flow, x, weights, validation, batch_size, generator
        The arguments of `NegativeLogLikelihood`. There is no tail.
    mirrored : Tensor of shape (n_features,), dtype int64, optional
        An order of the columns. Half of the rows of each batch, drawn at random, are reordered by it.
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

    def _rows(self, rows: Tensor, training: bool) -> Tensor:
        x = self.x[rows]
        if training and self.mirrored is not None:
            turned = torch.rand(rows.shape, generator=self.generator).to(x.device) < 0.5
            x = torch.where(turned.unsqueeze(-1), x[..., self.mirrored], x)
        source = self.generator if training else self.still
        return x + torch.rand(x.shape, generator=source, device=source.device, dtype=torch.float32).to(x)


class DequantizedColumns(NegativeLogLikelihood):
    """The mean of ``-log p(x)`` with discrete columns at normal quantiles of uniform numbers in given intervals.

    Every batch gets new uniform numbers; validation rows always get the same ones.

    Parameters
    ----------
    flow, x, weights, tail, validation, batch_size, generator, log_det
        The arguments of `NegativeLogLikelihood`.
    columns : Tensor of shape (n_discrete,), dtype int64
        The numbers of the columns with intervals.
    spread : Tensor of shape (n_rows, n_discrete), dtype bool
        True where there is an interval. Elsewhere the number of ``x`` stays.
    low, high : Tensor of shape (n_rows, n_discrete), dtype float64
        The ends of the intervals, between 0 and 1.
    loc, scale : Tensor of shape (n_discrete,), dtype float64
        The location and the scale by which the quantiles are standardised.
    """

    def __init__(
        self,
        *arguments: Any,
        columns: Tensor,
        spread: Tensor,
        low: Tensor,
        high: Tensor,
        loc: Tensor,
        scale: Tensor,
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.columns = columns
        self.spread = None if spread.all() else spread
        self.low = low
        self.length = high - low
        self.loc = loc
        self.scale = scale
        self.still = torch.Generator(self.generator.device)

    def validate(self) -> Tensor | None:
        self.still.manual_seed(self.generator.initial_seed())
        return super().validate()

    def _rows(self, rows: Tensor, training: bool) -> Tensor:
        source = self.generator if training else self.still
        shape = *rows.shape, len(self.columns)
        uniform = torch.rand(shape, generator=source, device=source.device, dtype=torch.float64).to(self.low.device)
        inside = (self.low[rows] + self.length[rows] * uniform).clamp(torch.finfo(uniform.dtype).tiny, MAX_UNIFORM)
        x = self.x[rows]
        points = ((torch.special.ndtri(inside) - self.loc) / self.scale).to(x)
        if self.spread is not None:
            points = torch.where(self.spread[rows], points, x[..., self.columns])
        x[..., self.columns] = points
        return x
