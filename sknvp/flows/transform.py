"""The contract that every transform keeps, and the ways to combine transforms."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Transform(nn.Module):
    """An invertible map between data ``x`` and noise ``z``, one per member.

    Both directions return the image and the logarithm of the absolute determinant of their own Jacobian::

        forward(x, context)  ->  z, log|det dz/dx|        data to noise
        inverse(z, context)  ->  x, log|det dx/dz|        noise to data

    ``x`` and ``z`` have shape (n_members, n_rows, n_features), a log-determinant (n_members, n_rows) and ``context``
    (n_members, n_rows, n_context) or None.

    A transform says itself what its gradients are, since to have autograd record every operation costs more than most
    of them: subclasses give `record` and `gradients`, of which the two directions are made. There columns come first
    and rows last, so that operations run along contiguous rows.
    """

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        """Image, log-determinant and what `gradients` needs, in either direction.

        ``x`` has shape (n_members, n_features, n_rows) and ``context`` (n_members, n_context, n_rows); the
        log-determinant has (n_members, n_rows), with 1 for what it does not depend on.
        """
        raise NotImplementedError

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """From those of the image and of the log-determinant, the gradients of ``x``, ``context`` and `parameters`.

        ``grad_log_det`` has shape (n_members, n_rows).
        """
        raise NotImplementedError

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._run(x, context, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._run(z, context, inverse=True)

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        z, log_det = _Recorded.apply(self, inverse, x, context, *self._parts)  # type: ignore[no-untyped-call]
        return z, log_det

    @cached_property
    def _parts(self) -> tuple[nn.Parameter, ...]:
        """The parameters, which take a while to collect."""
        return tuple(self.parameters())


class Chain(Transform):
    """Transforms one after the other; their log-determinants add up. An empty chain is the identity."""

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        log_det, tapes = x.new_zeros(len(x), x.shape[-1]), []
        for transform in reversed(self._order) if inverse else self._order:
            x, term, tape = transform.record(x, context, inverse)
            log_det += term
            tapes.append((transform, tape))
        return x, log_det, tapes

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        grad_context, found = None, {}
        for transform, own in reversed(tape):
            grad, term, found[transform] = transform.gradients(own, grad, grad_log_det)
            if term is not None:
                grad_context = term if grad_context is None else grad_context + term
        return grad, grad_context, [part for transform in self._order for part in found[transform]]

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            return super()._run(x, context, inverse)
        log_det = x.new_zeros(x.shape[:-1])  # without gradients there is no need to keep what they take
        for transform in reversed(self._order) if inverse else self._order:
            x, term = transform._run(x, context, inverse)
            log_det += term
        return x, log_det

    @cached_property
    def _order(self) -> tuple[Transform, ...]:
        return tuple(self.transforms)  # type: ignore[arg-type]


class Inverse(Transform):
    """A transform with its two directions exchanged."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        return self.transform.record(x, context, not inverse)

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        return self.transform.gradients(tape, grad, grad_log_det)


class Select(Transform):
    """A transform applied to some of the columns; the others pass through untouched and unseen.

    Parameters
    ----------
    transform : Transform
        Acts on the chosen columns alone.
    columns : Tensor of shape (n_chosen,), dtype int64
        Which columns they are.
    """

    columns: Tensor

    def __init__(self, transform: Transform, columns: Tensor) -> None:
        super().__init__()
        self.transform = transform
        self.register_buffer("columns", columns)

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        chosen, log_det, tape = self.transform.record(x.index_select(1, self.columns), context, inverse)
        return x.index_copy(1, self.columns, chosen), log_det, tape

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        chosen = grad.index_select(1, self.columns)
        grad_chosen, grad_context, of_parameters = self.transform.gradients(tape, chosen, grad_log_det)
        return grad.index_copy(1, self.columns, grad_chosen), grad_context, of_parameters


class _Recorded(torch.autograd.Function):
    """A transform, in one of its directions, as a single operation of autograd; out here rows come before columns."""

    @staticmethod
    def forward(
        ctx: Any, transform: Transform, inverse: bool, x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        z, log_det, ctx.tape = transform.record(x.mT, None if context is None else context.mT, inverse)
        ctx.transform = transform
        return z.mT, log_det.expand(x.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor | None, ...]:
        grad_x, grad_context, of_parameters = ctx.transform.gradients(ctx.tape, grad.mT, grad_log_det)
        return None, None, grad_x.mT, None if grad_context is None else grad_context.mT, *of_parameters
