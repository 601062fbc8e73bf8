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
        return torch.logsumexp(torch.stack([log_mean(flow, x) + log_weight for flow, log_weight in self._parts()]), 0)

    def sample(self, n_rows: int, generator: torch.Generator | None = None) -> Tensor:
        """``n_rows`` independent rows, shape (n_rows, n_features), each from a member drawn at random."""
        weights = [w.expand(f.n_members) - math.log(f.n_members) for f, w in self._parts()]
        members = draw(torch.cat(weights).unsqueeze(0), n_rows, generator)[0]
        counts = torch.split(members.bincount(minlength=sum(map(len, weights))), [len(w) for w in weights])
        x = torch.cat([_rows(flow, count, generator) for (flow, _), count in zip(self._parts(), counts, strict=True)])
        device = "cpu" if generator is None else generator.device
        return x[torch.randperm(n_rows, generator=generator, device=device).to(x.device)]

    @property
    def like(self) -> Tensor:
        """One of the tensors of the flows, for their dtype and device."""
        return next(iter(self.flows)).like

    @property
    def chunk_size(self) -> int:
        """How many rows should pass through at once, so that memory does not grow with their number."""
        return min(flow.chunk_size for flow in self.flows)

    def _parts(self) -> list[tuple[Flow, Tensor]]:
        return list(zip(self.flows, self.log_weights, strict=True))


def log_mean(flow: Flow, x: Tensor) -> Tensor:
    """Logarithm of the members' mean density, shape (n_rows,), float64; a member that overflows counts as zero."""
    each = flow.log_prob(x).double().nan_to_num(nan=-math.inf)
    return torch.logsumexp(each, 0) - math.log(flow.n_members)


def _rows(flow: Flow, counts: Tensor, generator: torch.Generator | None) -> Tensor:
    """So many rows from each member, one below the other."""
    if not counts.any():
        return flow.like.new_empty(0, flow.base.n_features)
    drawn = flow.sample(int(counts.max()), generator=generator)
    return torch.cat([each[:count] for each, count in zip(drawn, counts.tolist(), strict=True)])
