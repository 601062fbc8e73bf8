"""A flow: a transform that carries data to a base distribution's noise."""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn

from .base import Base
from .transform import Transform

CHUNK_NUMBERS = 2**20  # what one layer may put out at once: little enough to stay near the processor

# The GNU C library returns freed memory to the system, and takes as long as a flow to fetch it again, page by page,
# until once in the life of the process a larger piece was freed.
torch.empty(31 * 2**20, dtype=torch.uint8, device="cpu")


class Flow(nn.Module):
    """The density ``p(x) = base(z) |det dz/dx|`` with ``z = transform(x)``, for each of ``n_members`` flows.

    Parameters
    ----------
    transform : Transform
        From data to noise.
    base : Base
        The distribution of the noise.
    n_members : int, default=1
        Number of independent flows in ``transform``.
    """

    def __init__(self, transform: Transform, base: Base, n_members: int = 1) -> None:
        super().__init__()
        self.transform = transform
        self.base = base
        self.n_members = n_members

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in nats of each row under each member, shape (n_members, n_rows).

        ``x`` has shape (n_rows, n_features), the same rows for all, or (n_members, n_rows, n_features); so has
        ``context``, with its own number of columns.
        """
        x = x.mT.contiguous().mT  # the values of a column lie together, so that operations run along them
        z, log_det = self.transform(self._per_member(x), self._per_member(context))
        log_prob: Tensor = self.base.log_prob(z) + log_det
        return log_prob

    @torch.inference_mode()
    def gradients(
        self,
        out: Sequence[Tensor],
        x: Tensor,
        weights: Tensor,
        context: Tensor | None = None,
        tail: Tensor | None = None,
    ) -> Tensor:
        """Each member's sum of weighted log-densities, shape (n_members,); its gradients go into ``out``.

        ``x`` has shape (n_members, n_rows, n_features) and ``weights`` (n_members, n_rows). With a ``tail`` of that
        shape, logarithms of another density, they are those of the two densities' sum. ``out`` has a tensor for each of
        ``parameters()``. Autograd finds the same from `log_prob`, more slowly. In training mode batch normalisation
        moves its statistics. What is returned is a tensor of `torch.inference_mode`.
        """
        z, log_det, tape = self.transform.record(x.mT.contiguous(), None if context is None else context.mT, False)
        log_prob = self.base.log_prob(z.mT) + log_det
        value = (weights * (log_prob if tail is None else torch.logaddexp(log_prob, tail))).sum(-1)
        if tail is not None:
            weights = weights * torch.sigmoid(log_prob - tail)
        weights = weights.to(z.dtype)
        self.transform.gradients(tape, self.base.gradient(z.mT).mT * weights.unsqueeze(1), weights, out)
        return value

    def sample(self, n_rows: int, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """``n_rows`` rows from every member, shape (n_members, n_rows, n_features)."""
        z = self.base.sample((self.n_members, n_rows), self.like, generator)
        return self.transform.inverse(z, self._per_member(context))[0]

    @property
    def like(self) -> Tensor:
        """One of the flow's tensors, for its dtype and device; an empty one if none has numbers."""
        tensor = torch.empty(0, device="cpu")
        for tensor in chain(self.buffers(), self.parameters()):
            if tensor.is_floating_point():
                return tensor
        return torch.empty(0, device=tensor.device)

    @cached_property
    def chunk_size(self) -> int:
        """How many rows should pass through at once, so that memory does not grow with their number."""
        widest = max([1, self.base.width, *(part.shape[1] for part in self.parameters())])
        return max(1, CHUNK_NUMBERS // (widest * self.n_members))

    def _per_member(self, x: Tensor | None) -> Tensor | None:
        return x if x is None or x.ndim == 3 else x.expand(self.n_members, *x.shape)
