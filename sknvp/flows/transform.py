"""The contract that every transform keeps, and the ways to combine transforms."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
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

    Subclasses give `record` and `gradients`, of which both directions are made: to have autograd record every operation
    costs more than most of them. In these two the columns come before the rows, so that operations run along contiguous
    rows. Whoever writes them changes no argument in place but ``out``. Training runs them in `torch.inference_mode`.
    """

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        """Image and log-determinant in the direction asked for, and whatever `gradients` needs.

        ``x`` has shape (n_members, n_features, n_rows) and ``context`` (n_members, n_context, n_rows). The
        log-determinant has shape (n_members, n_rows), or one in the place of a number that it does not vary with.
        """
        raise NotImplementedError

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Gradients of ``x`` and of ``context`` (None if that is not used); those of the parameters go into ``out``.

        ``tape`` is the last thing that `record` returned; ``grad`` and ``grad_log_det``, of shape (n_members, n_rows),
        are the gradients of the image and of the log-determinant. ``out`` has a tensor for each of ``parameters()``,
        whatever it holds.
        """
        raise NotImplementedError

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        """What `record` gives, without keeping anything for `gradients`."""
        image, log_det, _ = self.record(x, context, inverse)
        return image, log_det

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._run(x, context, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._run(z, context, inverse=True)

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        inputs = x.mT, None if context is None else context.mT
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, context, *self.parameters())):
            image, log_det = _Recorded.apply(self, inverse, *inputs, *self.parameters())  # type: ignore[no-untyped-call]
        else:
            image, log_det = self.evaluate(*inputs, inverse)
        return image.mT, log_det.expand(x.shape[:-1])


class Chain(Transform):
    """Transforms one after the other; their log-determinants add up. An empty chain is the identity.

    It stays as it was made: to change it, make another of its ``transforms``. No two of these share parameters.

    Raises
    ------
    ValueError
        If a transform occurs twice.
    """

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        if len(set(transforms)) < len(transforms):
            raise ValueError("transforms must differ, got one of them twice. Put a copy.deepcopy in its second place.")
        self.transforms = nn.ModuleList(transforms)
        ends = accumulate((len(list(transform.parameters())) for transform in transforms), initial=0)
        self._places = [slice(*place) for place in pairwise(ends)]  # of each one's parameters among all of them

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        log_det, tapes = x.new_zeros(len(x), x.shape[-1]), []
        for transform, own in self._in_turn(inverse):
            x, term, tape = transform.record(x, context, inverse)
            log_det += term
            tapes.append((transform, own, tape))
        return x, log_det, tapes

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        grad_context = None
        for transform, own, of_transform in reversed(tape):
            grad, term = transform.gradients(of_transform, grad, grad_log_det, out[own])
            if term is not None:
                grad_context = term if grad_context is None else grad_context + term
        return grad, grad_context

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x), x.shape[-1])
        for transform, _ in self._in_turn(inverse):
            x, term = transform.evaluate(x, context, inverse)
            log_det = log_det + term
        return x, log_det

    def _in_turn(self, inverse: bool) -> list[tuple[Transform, slice]]:
        parts = list(zip(self.transforms, self._places, strict=True))
        return parts[::-1] if inverse else parts  # type: ignore[return-value]


class Inverse(Transform):
    """A transform with its two directions exchanged."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        return self.transform.record(x, context, not inverse)

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        return self.transform.gradients(tape, grad, grad_log_det, out)

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        return self.transform.evaluate(x, context, not inverse)


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

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        chosen = grad.index_select(1, self.columns)
        grad_chosen, grad_context = self.transform.gradients(tape, chosen, grad_log_det, out)
        return grad.index_copy(1, self.columns, grad_chosen), grad_context

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        chosen, log_det = self.transform.evaluate(x.index_select(1, self.columns), context, inverse)
        return x.index_copy(1, self.columns, chosen), log_det


class _Recorded(torch.autograd.Function):
    """A transform, in one of its directions, as a single operation of autograd."""

    @staticmethod
    def forward(
        ctx: Any, transform: Transform, inverse: bool, x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        image, log_det, ctx.tape = transform.record(x, context, inverse)
        ctx.transform = transform
        ctx.save_for_backward(*parameters)
        return image, log_det.expand(len(x), x.shape[-1]).clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor | None, ...]:
        out = [torch.empty_like(part) for part in ctx.saved_tensors]  # which may not have changed since
        grad_x, grad_context = ctx.transform.gradients(ctx.tape, grad, grad_log_det, out)
        return None, None, grad_x, grad_context, *out
