"""An ensemble: several flows as one density."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .bases.base import sample_categorical
from .flow import Flow


class Ensemble(nn.Module):
    """A mixture of densities: ``p(x) = sum_f w_f sum_m s_fm p_fm(x)`` over flows f and their members m.

    Parameters
    ----------
    flows : iterable of Flow
        Flows with the same number of columns. All of them may be conditioned on a context.
    log_weights : Tensor of shape (n_flows,)
        The logarithms of the w_f, whose exponentials add up to one.
    log_shares : Tensor of shape (n_members,), optional
        The logarithms of the shares s_fm of the members of the first flow, whose exponentials add up to one. Without
        them, and in the other flows, all members have equal shares.

    Raises
    ------
    ValueError
        If ``log_shares`` has another shape.

    Examples
    --------
    >>> import torch
    >>> from sknvp.flows import Ensemble, Flow, StandardNormal, Standardize
    >>> narrow, wide = (
    ...     Flow(Standardize(torch.zeros(2), torch.full((2,), size)), StandardNormal(2)) for size in (1.0, 9.0)
    ... )
    >>> density = Ensemble([narrow, wide], torch.tensor([0.9, 0.1]).log())
    >>> density.log_prob(torch.zeros(4, 2)).shape
    torch.Size([4])
    >>> density.sample(5, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([5, 2])
    """

    log_weights: Tensor
    log_shares: Tensor | None

    def __init__(self, flows: Iterable[Flow], log_weights: Tensor, log_shares: Tensor | None = None) -> None:
        super().__init__()
        self.flows: Iterable[Flow] = nn.ModuleList(flows)  # type: ignore[assignment]
        n_members = next(iter(self.flows)).n_members
        if log_shares is not None and log_shares.shape != (n_members,):
            raise ValueError(
                f"log_shares must have one number for each of the {n_members} members of the first flow, got shape "
                f"{tuple(log_shares.shape)}."
            )
        self.register_buffer("log_weights", log_weights)
        self.register_buffer("log_shares", log_shares)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of each row.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            The rows.
        context : Tensor of shape (n_rows, n_context), optional
            The context of each row.

        Returns
        -------
        log_prob : Tensor of shape (n_rows,), dtype float64
            In nats.
        """
        return torch.logsumexp(self.weighted_log_probs(x, context), 0)

    def weighted_log_probs(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of each row under each flow, plus the log-weight of the flow.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            The rows.
        context : Tensor of shape (n_rows, n_context), optional
            The context of each row.

        Returns
        -------
        weighted_log_probs : Tensor of shape (n_flows, n_rows), dtype float64
            In nats. A flow whose log-density overflows counts as zero density.
        """
        weighted = (log_densities(flow, x, context) + weights.unsqueeze(1) for flow, weights in self.parts())
        return torch.stack([torch.logsumexp(members, 0) for members in weighted])

    def sample(self, n_rows: int, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw independent rows, each from a member that is drawn at random.

        Parameters
        ----------
        n_rows : int
            The number of rows.
        context : Tensor of shape (n_rows, n_context), optional
            The context of each row.
        generator : torch.Generator, optional
            The source of the noise.

        Returns
        -------
        x : Tensor of shape (n_rows, n_features)
        """
        log_weights = torch.cat([log_weights for _, log_weights in self.parts()])
        members = sample_categorical(log_weights.unsqueeze(0), n_rows, generator)[0]
        x = self.reference.new_empty(n_rows, next(iter(self.flows)).base.n_features)
        for flow in self.flows:
            for rows, drawn in _sample_members(flow, members, context, generator):
                x.index_copy_(0, rows, drawn.to(x).contiguous())
            members = members - flow.n_members
        return x

    @property
    def reference(self) -> Tensor:
        """A tensor with the dtype and the device of the flows."""
        return next(iter(self.flows)).reference

    @property
    def chunk_size(self) -> int:
        """The number of rows to evaluate at once, so that memory does not grow with the number of all rows."""
        return max(flow.chunk_size for flow in self.flows)

    def parts(self) -> list[tuple[Flow, Tensor]]:
        """Return the flows, each with the log-weights of its members, shape (n_members,)."""
        pairs = zip(self.flows, self.log_weights, strict=True)
        parts = [(flow, weight.expand(flow.n_members) - math.log(flow.n_members)) for flow, weight in pairs]
        if self.log_shares is not None:
            parts[0] = parts[0][0], self.log_weights[0] + self.log_shares
        return parts

    def extra_repr(self) -> str:
        weights = ", ".join(f"{weight:.3g}" for weight in self.log_weights.exp().tolist())
        return f"weights=[{weights}]"


def log_densities(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Return the log-densities of rows under each member, shape (n_members, n_rows), dtype float64.

    A member whose log-density overflows counts as zero density.
    """
    chunks = [torch.split(t.to(flow.reference), flow.chunk_size) for t in (x, context) if t is not None]
    parts = [flow.log_prob(*rows).double() for rows in zip(*chunks, strict=True)]
    return zero_if_not_finite(torch.cat(parts, 1))


def zero_if_not_finite(log_density: Tensor) -> Tensor:
    """Replace log-densities that overflowed by minus infinity."""
    return torch.where(log_density.isfinite(), log_density, -math.inf)


def _sample_members(
    flow: Flow, members: Tensor, context: Tensor | None, generator: torch.Generator | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, chunk by chunk, the indices of rows that belong to one member of the flow, and draws from that member."""
    own = [(members == member).nonzero().squeeze(1) for member in range(flow.n_members)]
    for start in range(0, max(map(len, own)), flow.chunk_size):
        rows = [each[start : start + flow.chunk_size] for each in own]
        padded = pad_sequence(rows, batch_first=True)
        x = flow.sample(padded.shape[1], None if context is None else context[padded].to(flow.reference), generator)
        yield from ((each, drawn[: len(each)]) for each, drawn in zip(rows, x, strict=True))
