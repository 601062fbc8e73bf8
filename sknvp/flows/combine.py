"""Ways to combine transforms: one after the other, the other way round, on some columns, in another precision."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from .native import Tape, program_for
from .transform import Transform


class Link(NamedTuple):
    """The residuals of one transform in a chain."""

    transform: Transform
    own: slice  # The places of the parameters of the transform among those of the chain.
    residuals: Any  # The residuals of the transform itself.


class Chain(Transform):
    """Apply transforms one after the other; their log-determinants add up. An empty chain is the identity.

    Where all of them are couplings, LU layers, permutations, standardisations and chains of these, the native library
    does the work, if there is one. A chain must not be changed after it was made: to change it, make another one from
    its ``transforms``.

    Parameters
    ----------
    *transforms : Transform
        The transforms, in the order from data to noise. No two of them share parameters.

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
        self._places = [slice(*place) for place in pairwise(ends)]  # The places of the parameters of each transform.

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        program = None if inverse else program_for(self, x, context)
        if program is not None:
            return program.evaluate_with_tape(x, context)
        log_det, links = x.new_zeros(len(x), x.shape[-1]), []
        for transform, own in self._in_order(inverse):
            x, term, residuals = transform.evaluate_with_residuals(x, context, inverse)
            log_det += term
            links.append(Link(transform, own, residuals))
        return x, log_det, links

    def vjp(
        self, residuals: list[Link] | Tape, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        if isinstance(residuals, Tape):
            return residuals.program.vjp(residuals, grad_image, grad_log_det, out)
        grad, grad_context = grad_image, None
        for link in reversed(residuals):
            grad, term = link.transform.vjp(link.residuals, grad, grad_log_det, out[link.own])
            if term is not None:
                grad_context = term if grad_context is None else grad_context + term
        return grad, grad_context

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        program = program_for(self, x, context)
        if program is not None:
            return program.evaluate(x, context, inverse)
        log_det = x.new_zeros(len(x), x.shape[-1])
        for transform, _ in self._in_order(inverse):
            x, term = transform.evaluate(x, context, inverse)
            log_det = log_det + term
        return x, log_det

    def flat(self) -> list[Transform]:
        """Return the transforms, in which each inner chain is replaced by its own transforms."""
        parts = (part.flat() if type(part) is Chain else [part] for part in self.transforms)
        return [transform for some in parts for transform in some]  # type: ignore[misc]

    def _in_order(self, inverse: bool) -> list[tuple[Transform, slice]]:
        """Return the transforms in the order of a direction, each with the places of its parameters."""
        parts = list(zip(self.transforms, self._places, strict=True))
        return parts[::-1] if inverse else parts  # type: ignore[return-value]


class Inverse(Transform):
    """Exchange the two directions of a transform.

    Parameters
    ----------
    transform : Transform
        The transform whose inverse maps data to noise.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        return self.transform.evaluate_with_residuals(x, context, not inverse)

    def vjp(
        self, residuals: Any, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        return self.transform.vjp(residuals, grad_image, grad_log_det, out)

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        return self.transform.evaluate(x, context, not inverse)


class Select(Transform):
    """Apply a transform to some of the columns; the others neither change nor influence it.

    Parameters
    ----------
    transform : Transform
        The transform of the chosen columns.
    columns : Tensor of shape (n_chosen,), dtype int64
        The numbers of the chosen columns.
    """

    columns: Tensor

    def __init__(self, transform: Transform, columns: Tensor) -> None:
        super().__init__()
        self.transform = transform
        self.register_buffer("columns", columns)

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        chosen = x.index_select(1, self.columns)
        image, log_det, residuals = self.transform.evaluate_with_residuals(chosen, context, inverse)
        return x.index_copy(1, self.columns, image), log_det, residuals

    def vjp(
        self, residuals: Any, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        chosen = grad_image.index_select(1, self.columns)
        grad_chosen, grad_context = self.transform.vjp(residuals, chosen, grad_log_det, out)
        return grad_image.index_copy(1, self.columns, grad_chosen), grad_context

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        chosen, log_det = self.transform.evaluate(x.index_select(1, self.columns), context, inverse)
        return x.index_copy(1, self.columns, chosen), log_det

    def extra_repr(self) -> str:
        return f"n_columns={len(self.columns)}"


class InSinglePrecision(Transform):
    """Evaluate a copy of a transform in float32, between inputs and results in the dtype that they come in.

    Parameters
    ----------
    transform : Transform
        The transform, which stays as it is.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = deepcopy(transform).float()

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        image, log_det = self.transform.evaluate(x.float(), None if context is None else context.float(), inverse)
        return image.to(x), log_det.to(x)
