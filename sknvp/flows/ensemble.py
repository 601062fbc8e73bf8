"""Several flows as one density."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .base import draw
from .flow import Flow


class Ensemble(nn.Module):
    """A mixture of densities: ``p(x) = sum_f w_f mean_m p_fm(x)`` over flows f and their members m.

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

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats of each row, shape (n_rows, n_features) -> (n_rows,), float64."""
        parts = [log_mean(flow, x) + log_weight for flow, log_weight in self._parts()]
        return torch.logsumexp(torch.stack(parts), 0)

    def sample(self, n_rows: int, generator: torch.Generator | None = None) -> Tensor:
        """``n_rows`` independent rows, shape (n_rows, n_features), each from a member drawn at random."""
        weights = [w.expand(f.n_members) - math.log(f.n_members) for f, w in self._parts()]
        members = draw(torch.cat(weights).unsqueeze(0), n_rows, generator)[0]
        counts = torch.split(members.bincount(minlength=sum(map(len, weights))), [len(w) for w in weights])
        pairs = zip(self.flows, counts, strict=True)
        x = torch.cat([part.to(self.like) for flow, count in pairs for part in _rows(flow, count, generator)])
        device = "cpu" if generator is None else generator.device
        return x[torch.randperm(n_rows, generator=generator, device=device).to(x.device)]

    @property
    def like(self) -> Tensor:
        """One of the tensors of the flows, for their dtype and device."""
        return next(iter(self.flows)).like

    @property
    def chunk_size(self) -> int:
        """How many rows should pass through at once, so that memory does not grow with their number."""
        return max(flow.chunk_size for flow in self.flows)

    def _parts(self) -> list[tuple[Flow, Tensor]]:
        return list(zip(self.flows, self.log_weights, strict=True))


def log_mean(flow: Flow, x: Tensor) -> Tensor:
    """Logarithm of the members' mean density, shape (n_rows,), float64; a member that overflows counts as zero."""
    parts = [flow.log_prob(rows).double() for rows in torch.split(x.to(flow.like), flow.chunk_size)]
    return torch.logsumexp(zero_if_not_finite(torch.cat(parts, 1)), 0) - math.log(flow.n_members)


def zero_if_not_finite(log_density: Tensor) -> Tensor:
    """Minus infinity in the place of what overflowed."""
    return torch.where(log_density.isfinite(), log_density, -math.inf)


def _rows(flow: Flow, counts: Tensor, generator: torch.Generator | None) -> list[Tensor]:
    """So many rows from each member, drawn in chunks."""
    parts = []
    while counts.any():
        drawn = flow.sample(min(int(counts.max()), flow.chunk_size), generator=generator)
        parts += [each[:count] for each, count in zip(drawn, counts.tolist(), strict=True)]
        counts = (counts - flow.chunk_size).clamp(min=0)
    return parts
