"""Several flows as one density."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .base import draw
from .flow import Flow


class Ensemble(nn.Module):
    """A mixture of densities: ``p(x) = sum_f w_f mean_m p_fm(x)`` over flows f and their members m.

    All may be conditioned on a ``context`` of shape (n_rows, n_context).

    Parameters
    ----------
    flows : iterable of Flow
        All of the same number of columns.
    log_weights : Tensor of shape (n_flows,)
        Logarithms of the w_f, whose exponentials add up to one.
    """

    log_weights: Tensor

    def __init__(self, flows: Iterable[Flow], log_weights: Tensor) -> None:
        super().__init__()
        self.flows: Iterable[Flow] = nn.ModuleList(flows)  # type: ignore[assignment]
        self.register_buffer("log_weights", log_weights)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats of each row, shape (n_rows, n_features) -> (n_rows,), float64."""
        parts = [log_mean(flow, x, context) + log_weight for flow, log_weight in self.parts()]
        return torch.logsumexp(torch.stack(parts), 0)

    def sample(self, n_rows: int, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """``n_rows`` independent rows, shape (n_rows, n_features), each from a member drawn at random."""
        weights = [w.expand(f.n_members) - math.log(f.n_members) for f, w in self.parts()]
        members = draw(torch.cat(weights).unsqueeze(0), n_rows, generator)[0]
        x = self.like.new_empty(n_rows, next(iter(self.flows)).base.n_features)
        for flow in self.flows:
            for rows, drawn in _draws(flow, members, generator, context):
                x[rows] = drawn.to(x)
            members = members - flow.n_members
        return x

    @property
    def like(self) -> Tensor:
        """One of the tensors of the flows, for their dtype and device."""
        return next(iter(self.flows)).like

    @property
    def chunk_size(self) -> int:
        """How many rows should pass through at once, so that memory does not grow with their number."""
        return max(flow.chunk_size for flow in self.flows)

    def parts(self) -> list[tuple[Flow, Tensor]]:
        """The flows, each with its log-weight."""
        return list(zip(self.flows, self.log_weights, strict=True))


def log_mean(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Logarithm of the members' mean density, shape (n_rows,), float64; a member that overflows counts as zero."""
    chunks = [torch.split(t.to(flow.like), flow.chunk_size) for t in (x, context) if t is not None]
    parts = [flow.log_prob(*rows).double() for rows in zip(*chunks, strict=True)]
    return torch.logsumexp(zero_if_not_finite(torch.cat(parts, 1)), 0) - math.log(flow.n_members)


def zero_if_not_finite(log_density: Tensor) -> Tensor:
    """Minus infinity in the place of what overflowed."""
    return torch.where(log_density.isfinite(), log_density, -math.inf)


def _draws(
    flow: Flow, members: Tensor, generator: torch.Generator | None, context: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices of rows that belong to the same member of the flow, and as many draws from that, in chunks."""
    own = [(members == member).nonzero().squeeze(1) for member in range(flow.n_members)]
    for start in range(0, max(map(len, own)), flow.chunk_size):
        rows = [each[start : start + flow.chunk_size] for each in own]
        padded = pad_sequence(rows, batch_first=True)
        x = flow.sample(padded.shape[1], None if context is None else context[padded].to(flow.like), generator)
        yield from ((each, drawn[: len(each)]) for each, drawn in zip(rows, x, strict=True))
