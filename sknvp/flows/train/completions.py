"""Draws of unknown cells, from which training completes the rows of each batch."""

import math

import torch
from torch import Tensor

from ..flow import Flow

MAX_VALIDATION_DRAWS = 4  # Validation averages over at most this many draws of each row.
EVALUATIONS_PER_WEIGHING = 4  # Draws are weighed once in this many evaluations of the loss.
MAX_WEIGHED_DRAWS = 8_192  # At most about this many draws are weighed at once.


class Completions:
    """Several draws of the unknown cells of each incomplete row.

    The gradient of the log-density of the known cells is the mean of the gradient of the log-density of the whole row
    over the unknown cells given the known ones. So a batch completes each row by one of its draws, which is chosen with
    a probability in proportion to the density under the present flow divided by the density that it was drawn with.

    Parameters
    ----------
    place : Tensor of shape (n_rows,), dtype int64
        The place of each row among the incomplete rows, or -1.
    points : Tensor of shape (n_incomplete, n_draws, n_features)
        The rows, completed.
    log_weights : Tensor of shape (n_incomplete, n_draws)
        Minus the logarithm of the density that the cells were drawn with, up to a constant of each row.
    n_members : int
        The number of members of the flow.

    References
    ----------
    G. Celeux and J. Diebolt, "The SEM algorithm: a probabilistic teacher algorithm derived from the EM algorithm for
    the mixture problem", Computational Statistics Quarterly 2, 1985.
    """

    def __init__(self, place: Tensor, points: Tensor, log_weights: Tensor, n_members: int) -> None:
        self.place = place
        self.points = points
        self.log_weights = log_weights
        n_draws = log_weights.shape[1]
        even = torch.arange(1, n_draws + 1, dtype=points.dtype, device=points.device) / n_draws
        self.cumulative = even.expand(n_members, len(points), n_draws).clone()
        self.n_evaluations = 0

    def drawn(self, x: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Complete rows of each member, shape (n_members, n_batch, n_features), by draws chosen at random."""
        place = self.place[rows]
        uniform = torch.rand(rows.shape, generator=generator, device=generator.device).to(x)
        members = torch.arange(len(rows), device=x.device).unsqueeze(1)
        cumulative = self.cumulative[members, place.clamp(min=0)]
        chosen = (cumulative < uniform.unsqueeze(-1)).sum(-1).clamp(max=cumulative.shape[-1] - 1)
        return torch.where((place < 0).unsqueeze(-1), x, self.points[place.clamp(min=0), chosen])

    def log_prob(self, flow: Flow, x: Tensor, rows: Tensor, context: Tensor | None) -> Tensor:
        """Estimate the log-density of the known cells of rows, shape (n_members, n_batch), up to constants of rows."""
        place = self.place[rows]
        complete, place = (place < 0), place.clamp(min=0)
        n_draws = min(MAX_VALIDATION_DRAWS, self.log_weights.shape[1])
        parts = []
        for draw in range(n_draws):
            points = torch.where(complete.unsqueeze(-1), x, self.points[place, draw])
            weights = torch.where(complete, 0.0, self.log_weights[place, draw])
            parts.append(flow.log_prob(points, context) + weights)
        return torch.logsumexp(torch.stack(parts), 0) - math.log(n_draws)

    @torch.no_grad()
    def weigh(self, flow: Flow, generator: torch.Generator, context: Tensor | None = None) -> None:
        """Weigh the draws of some rows by the present flow, once in a few evaluations of the loss.

        If the flow has a context, ``context`` is that of all rows, shape (n_rows, n_context).
        """
        self.n_evaluations += 1
        if self.n_evaluations % EVALUATIONS_PER_WEIGHING:
            return
        n_rows, n_draws = self.log_weights.shape
        # This is the context of the incomplete rows, in their order.
        given = None if context is None else context[self.place >= 0]
        some = torch.randperm(n_rows, generator=generator, device=generator.device).to(self.place.device)
        for part in torch.split(some[: max(1, MAX_WEIGHED_DRAWS // n_draws)], max(1, flow.chunk_size // n_draws)):
            points = self.points[part].flatten(0, 1).expand(flow.n_members, -1, -1)
            repeated = None if given is None else given[part].repeat_interleave(n_draws, 0).expand(len(points), -1, -1)
            log_prob = flow.log_prob(points, repeated).view(-1, len(part), n_draws)
            shares = torch.softmax((log_prob + self.log_weights[part]).nan_to_num(-torch.inf), -1)
            self.cumulative[:, part] = shares.nan_to_num(1 / n_draws).cumsum(-1).to(self.cumulative)
