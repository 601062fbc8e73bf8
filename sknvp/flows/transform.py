"""The contract that every transform keeps, and the ways to combine transforms."""

from collections.abc import Iterator
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
    rows. Whoever writes them changes no argument in place, and gives gradients of the parameters in the order of
    ``parameters()``.
    """

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        """Image and log-determinant in the direction asked for, and whatever `gradients` needs.

        ``x`` has shape (n_members, n_features, n_rows) and ``context`` (n_members, n_context, n_rows). The
        log-determinant has shape (n_members, n_rows), or one in the place of a number that it does not vary with.
        """
        raise NotImplementedError

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Gradients of ``x``, of ``context`` (None if that is not used) and of each parameter.

        ``tape`` is the last thing that `record` returned; ``grad`` and ``grad_log_det``, of shape (n_members, n_rows),
        are the gradients of the image and of the log-determinant.
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
        columns, parameters = None if context is None else context.mT, tuple(self.parameters())
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, context, *parameters)):
            image, log_det = _Recorded.apply(self, inverse, x.mT, columns, *parameters)  # type: ignore[no-untyped-call]
        else:
            image, log_det = self.evaluate(x.mT, columns, inverse)
        return image.mT, log_det.expand(x.shape[:-1])


class Chain(Transform):
    """Transforms one after the other; their log-determinants add up. An empty chain is the identity.

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

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        log_det, tapes = x.new_zeros(len(x), x.shape[-1]), []
        for transform in self._in_turn(inverse):
            x, term, tape = transform.record(x, context, inverse)
            log_det = log_det + term
            tapes.append((transform, tape))
        return x, log_det, tapes

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        grad_context, of_parameters = None, {}
        for transform, own in reversed(tape):
            grad, term, of_parameters[transform] = transform.gradients(own, grad, grad_log_det)
            if term is not None:
                grad_context = term if grad_context is None else grad_context + term
        return grad, grad_context, [part for transform in self.transforms for part in of_parameters[transform]]

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x), x.shape[-1])
        for transform in self._in_turn(inverse):
            x, term = transform.evaluate(x, context, inverse)
            log_det = log_det + term
        return x, log_det

    def _in_turn(self, inverse: bool) -> Iterator[Transform]:
        return reversed(self.transforms) if inverse else iter(self.transforms)  # type: ignore[arg-type]


class Inverse(Transform):
    """A transform with its two directions exchanged."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        return self.transform.record(x, context, not inverse)

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        return self.transform.gradients(tape, grad, grad_log_det)

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

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        chosen = grad.index_select(1, self.columns)
        grad_chosen, grad_context, of_parameters = self.transform.gradients(tape, chosen, grad_log_det)
        return grad.index_copy(1, self.columns, grad_chosen), grad_context, of_parameters

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
        ctx.saved_tensors  # noqa: B018  raises an error if a parameter has changed since, or the graph was freed
        grad_x, grad_context, of_parameters = ctx.transform.gradients(ctx.tape, grad, grad_log_det)
        return None, None, grad_x, grad_context, *of_parameters
