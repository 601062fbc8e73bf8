"""A flow: a transform that carries data to the noise of a base distribution."""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn

from .bases import Base, StandardNormal
from .bases.base import MAX_CHUNK_NUMBERS
from .combine import Chain
from .native import Inputs, Program, program_for
from .transform import Transform

# The GNU C library serves large allocations by mmap and returns them to the system when they are freed. Fetching the
# same memory again, page by page, takes as long as a flow. Freeing a block of almost 32 MiB, the most that its dynamic
# mmap threshold (M_MMAP_THRESHOLD in mallopt(3)) can rise to, raises that threshold for the rest of the process.
torch.empty(31 * 2**20, dtype=torch.uint8, device="cpu")


class Flow(nn.Module):
    """The density ``p(x) = base(z) |det dz/dx|`` with ``z = transform(x)``, for each of ``n_members`` members.

    A member is one of several independent flows of the same shape, which are evaluated and trained in the same
    operations.

    Parameters
    ----------
    transform : Transform
        The map from data to noise.
    base : Base
        The distribution of the noise.
    n_members : int, default=1
        The number of members that ``transform`` and ``base`` hold.

    Examples
    --------
    >>> import torch
    >>> from sknvp.flows import Flow, StandardNormal, Standardize
    >>> transform = Standardize(loc=torch.tensor([1.0, 2.0]), scale=torch.tensor([0.5, 3.0]))
    >>> flow = Flow(transform, StandardNormal(2))
    >>> flow
    Flow(
      n_members=1
      (transform): Standardize(n_features=2)
      (base): StandardNormal(n_features=2)
    )
    >>> flow.log_prob(torch.zeros(4, 2)).shape  # (n_members, n_rows)
    torch.Size([1, 4])
    >>> flow.sample(5, generator=torch.Generator().manual_seed(0)).shape  # (n_members, n_rows, n_features)
    torch.Size([1, 5, 2])

    A flow of parts that are chosen one by one, trained by an optimiser of PyTorch:

    >>> from sknvp.flows import AffineCoupling, Chain, Conditioner
    >>> couplings = [AffineCoupling(Conditioner(1, 2, (8,)), n_first=1, flip=bool(i % 2)) for i in range(2)]
    >>> flow = Flow(Chain(transform, *couplings), StandardNormal(2)).float()
    >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)).exp()
    >>> optimizer = torch.optim.Adam(flow.parameters(), 0.01)
    >>> before = flow.log_prob(x).mean().item()
    >>> for _ in range(50):
    ...     loss = -flow.log_prob(x).mean()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    >>> flow.log_prob(x).mean().item() > before
    True
    """

    def __init__(self, transform: Transform, base: Base, n_members: int = 1) -> None:
        super().__init__()
        self.transform = transform
        self.base = base
        self.n_members = n_members

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of each row under each member.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features) or (n_members, n_rows, n_features)
            The rows: the same rows for all members, or rows of their own.
        context : Tensor of shape (n_rows, n_context) or (n_members, n_rows, n_context), optional
            The context of each row.

        Returns
        -------
        log_prob : Tensor of shape (n_members, n_rows)
            In nats.
        """
        rows, context = self._per_member(x), None if context is None else self._per_member(context)
        program = self.program(rows, context)
        if program is not None:
            return program.log_prob(rows.mT, None if context is None else context.mT)
        x = x.mT.contiguous().mT  # The values of a column lie together, so that operations run along them.
        z, log_det = self.transform(self._per_member(x), context)
        log_prob: Tensor = self.base.log_prob(z) + log_det
        return log_prob

    @torch.inference_mode()
    def log_prob_and_gradients(
        self,
        out: Sequence[Tensor],
        x: Tensor,
        weights: Tensor,
        context: Tensor | None = None,
        tail: Tensor | None = None,
    ) -> Tensor:
        """Return the sum of weighted log-densities of each member, and write its gradients to ``out``.

        Autograd finds the same gradients from `log_prob`, more slowly. In training mode batch normalisation moves its
        statistics.

        Parameters
        ----------
        out : sequence of Tensor
            One tensor for each of ``parameters()``, which is overwritten by the gradient of that parameter.
        x : Tensor of shape (n_members, n_rows, n_features)
            The rows of each member.
        weights : Tensor of shape (n_members, n_rows)
            The weight of each row.
        context : Tensor of shape (n_members, n_rows, n_context), optional
            The context of each row.
        tail : Tensor of shape (n_members, n_rows), optional
            The log-density of each row under another distribution. If given, the sum of both densities takes the place
            of the density of the flow.

        Returns
        -------
        value : Tensor of shape (n_members,)
            In nats; a tensor of `torch.inference_mode`.
        """
        program = self.program(x, context)
        if program is not None:
            return program.log_prob_and_gradients(out, Inputs(x, weights, context, tail))
        context = None if context is None else context.mT
        z, log_det, residuals = self.transform.evaluate_with_residuals(x.mT.contiguous(), context, False)
        log_prob = self.base.log_prob(z.mT) + log_det
        value = (weights * (log_prob if tail is None else torch.logaddexp(log_prob, tail))).sum(-1)
        if tail is not None:
            weights = weights * torch.sigmoid(log_prob - tail)
        weights = weights.to(z.dtype)
        self.transform.vjp(residuals, self.base.grad_log_prob(z.mT).mT * weights.unsqueeze(1), weights, out)
        return value

    def program(self, x: Tensor, context: Tensor | None = None) -> Program | None:
        """Return the native program of `log_prob_and_gradients` with these arguments; None where there is none."""
        if type(self.transform) is not Chain or type(self.base) is not StandardNormal:
            return None
        return program_for(self.transform, x.mT, None if context is None else context.mT)

    def sample(self, n_rows: int, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw rows from every member.

        Parameters
        ----------
        n_rows : int
            The number of rows that each member draws.
        context : Tensor of shape (n_rows, n_context) or (n_members, n_rows, n_context), optional
            The context of each row.
        generator : torch.Generator, optional
            The source of the noise.

        Returns
        -------
        x : Tensor of shape (n_members, n_rows, n_features)
        """
        z = self.base.sample((self.n_members, n_rows), self.reference, generator)
        return self.transform.inverse(z, None if context is None else self._per_member(context))[0]

    @property
    def reference(self) -> Tensor:
        """A tensor with the dtype and the device of the flow; an empty one if no tensor of the flow holds numbers."""
        tensor = torch.empty(0, device="cpu")
        for tensor in chain(self.buffers(), self.parameters()):
            if tensor.is_floating_point():
                return tensor
        return torch.empty(0, device=tensor.device)

    @cached_property
    def chunk_size(self) -> int:
        """The number of rows to evaluate at once, so that memory does not grow with the number of all rows."""
        widest = max([1, self.base.n_features, *(part.shape[1] for part in self.parameters())])
        return max(1, MAX_CHUNK_NUMBERS // (widest * self.n_members))

    def _per_member(self, x: Tensor) -> Tensor:
        """Give rows that all members share the member axis."""
        return x if x.ndim == 3 else x.expand(self.n_members, *x.shape)

    def extra_repr(self) -> str:
        return f"n_members={self.n_members}"
