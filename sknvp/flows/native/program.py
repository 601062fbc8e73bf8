"""Programs: chains of transforms as the native library runs them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from ctypes import c_int64
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .description import BUFFERS, describe
from .loader import library, n_threads
from .optimizer import Step
from .structures import Addresses, Call, Columns, Layer, Layers, plain_dtype

if TYPE_CHECKING:
    from ..combine import Chain


class Tape(NamedTuple):
    """The residuals of a program."""

    program: Program
    numbers: Tensor
    has_context: bool


class Inputs(NamedTuple):
    """What the likelihood of a batch is computed from; the shapes are those of `Flow.log_prob_and_gradients`."""

    x: Tensor
    weights: Tensor
    context: Tensor | None
    tail: Tensor | None


class Program:
    """A chain in the form that the native library reads.

    Parameters
    ----------
    native : CDLL
        The native library.
    transforms : iterable of Module
        The transforms of the chain.
    n_members, n_features, n_context : int
        The number of members, and the numbers of columns of the rows and of the context that they take.

    Raises
    ------
    ValueError
        If the library cannot run the chain.
    """

    def __init__(
        self, native: ctypes.CDLL, transforms: Iterable[nn.Module], n_members: int, n_features: int, n_context: int
    ) -> None:
        self.native, self.n_members, transforms = native, n_members, list(transforms)
        described = [describe(transform, n_members, n_features, n_context) for transform in transforms]
        if not any(layer.n_parts or layer.n_knots for layer in described):
            raise ValueError("PyTorch does so little as fast")
        self.layers = (Layer * len(described))(*described)
        links = zip(self.layers, transforms, strict=True)
        self.fixed = [(layer, transform) for layer, transform in links if type(transform) in BUFFERS]
        self.shapes = [[buffer.shape for buffer in transform.buffers()] for _, transform in self.fixed]
        n_parts = sum(layer.n_parts for layer in described)
        self.chain = Layers(len(described), n_parts, n_features, n_context, self.layers)
        self.holders = [part for transform in transforms for part in transform.modules() if part._parameters]
        self.n_numbers = sum(part.numel() for part in self.parts)
        self.addresses = self.grad_addresses = Addresses([])

    def takes(self, x: Tensor, context: Tensor | None) -> bool:
        """Return whether the library can evaluate the chain as it is, with these arguments."""
        parts = self.parts
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, context, *parts)):
            return False
        try:
            self.addresses = self.addresses.renewed(parts)
            return self._knows(x.dtype)
        except RuntimeError:  # The parameters are those of a function of `torch.func`.
            return False

    def _knows(self, dtype: torch.dtype) -> bool:
        """Return whether the library can read all parameters and buffers, with that dtype."""
        return (self.addresses.dtype == dtype or not self.holders) and self._finds_buffers(dtype)

    def _finds_buffers(self, dtype: torch.dtype) -> bool:
        """Note where the buffers of layers lie; return whether the library can read them."""
        for (layer, transform), shapes in zip(self.fixed, self.shapes, strict=True):
            if [buffer.shape for buffer in transform.buffers()] != shapes:
                return False
            for name in BUFFERS[type(transform)]:
                buffer = transform._buffers[name]
                assert buffer is not None
                known = buffer.dtype == (torch.int64 if name == "rows" else dtype)
                if not known or buffer.device.type != "cpu" or not buffer.is_contiguous() or buffer.requires_grad:
                    return False
                setattr(layer, name, buffer.data_ptr())
        return True

    @property
    def parts(self) -> list[Tensor]:
        """The parameters, which may lie elsewhere than before: training moves them to a buffer."""
        return [part for holder in self.holders for part in holder._parameters.values() if part is not None]

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        """Return the image and its log-determinant."""
        return self._evaluate(x, context, inverse, None)

    def log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Return the log-density of each row under a standard normal base, shape (n_members, n_rows), dtype float64."""
        value = torch.empty(len(x), x.shape[-1], dtype=torch.float64, device="cpu")
        self._run(self._call(x, context, value=value))
        return value

    def evaluate_with_tape(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tape]:
        """Return the image, its log-determinant, and what `vjp` needs."""
        size = self.native.sknvp_tape_size(ctypes.byref(self.chain), c_int64(x.shape[-1]), x.dtype == torch.float64)
        numbers = x.new_empty(self.n_members * size)
        return *self._evaluate(x, context, False, numbers), Tape(self, numbers, context is not None)

    def vjp(
        self, tape: Tape, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the gradients of all inputs, as `Transform.vjp` does."""
        self.addresses = self.addresses.renewed(self.parts)
        assert self._knows(grad_image.dtype), "parameters changed their precision after they were used"
        n_members, _, n_rows = grad_image.shape
        grad_log_det = grad_log_det.contiguous()
        grad_x = grad_image.new_empty(grad_image.shape)
        grad_context = grad_x.new_empty(n_members, self.chain.n_context, n_rows) if tape.has_context else None
        call = self._call(grad_image, tape=tape.numbers, image=grad_x, log_det=grad_log_det, grad_context=grad_context)
        self._call_with_gradients("sknvp_vjp", call, out)
        return grad_x, grad_context

    def log_prob_and_gradients(self, out: Sequence[Tensor], inputs: Inputs) -> Tensor:
        """Compute what `Flow.log_prob_and_gradients` does, under a standard normal base."""
        value = torch.empty(self.n_members, dtype=torch.float64, device="cpu")
        self._call_with_gradients("sknvp_log_prob_and_gradients", self._likelihood(inputs, value), out)
        return value

    def descend(self, out: Sequence[Tensor], batches: Sequence[Inputs], steps: Sequence[Step]) -> Tensor:
        """Take a step of AdamW for each batch; return the sums of weighted log-densities, shape (n_steps, n_members).

        ``out`` has views of the gradient that the steps read.
        """
        values = torch.empty(len(steps), self.n_members, dtype=torch.float64, device="cpu")
        calls = [self._likelihood(inputs, value) for inputs, value in zip(batches, values, strict=True)]
        self.grad_addresses = self.grad_addresses.renewed(out)
        for call in calls:
            call.grad_parts = self.grad_addresses.parts
        calls[0].n_threads = n_threads(self.n_numbers * sum(call.n_rows for call in calls), self.n_members)
        arrays = (Call * len(calls))(*calls), (Step * len(calls))(*steps)
        self.native.sknvp_descend(ctypes.byref(self.chain), *arrays, c_int64(len(calls)))
        return values

    def _likelihood(self, inputs: Inputs, value: Tensor) -> Call:
        """Return the arguments of a call that writes the sum of weighted log-densities of each member to ``value``."""
        context = None if inputs.context is None else inputs.context.mT
        both = {"weights": inputs.weights, "tail": inputs.tail}
        shape = inputs.x.shape[:2]
        of_rows = {name: t.to(torch.float64).expand(shape).contiguous() for name, t in both.items() if t is not None}
        return self._call(inputs.x.mT, context, value=value, **of_rows)

    def _evaluate(self, x: Tensor, context: Tensor | None, inverse: bool, tape: Tensor | None) -> tuple[Tensor, Tensor]:
        image, log_det = x.new_empty(x.shape), x.new_empty(len(x), x.shape[-1])
        call = self._call(x, context, image=image, log_det=log_det, tape=tape)
        call.inverse = inverse
        self._run(call)
        return image, log_det

    def _run(self, call: Call) -> None:
        if not call.tape:  # With a tape, the rows of a member stay in one thread.
            call.n_threads = n_threads(self.n_numbers * call.n_rows, call.n_rows)
        self.native.sknvp_evaluate(ctypes.byref(self.chain), ctypes.byref(call))

    def _call_with_gradients(self, function: str, call: Call, out: Sequence[Tensor]) -> None:
        """Make a call that writes the gradients of the parameters to ``out``."""
        self.grad_addresses = addresses = self.grad_addresses.renewed(out)
        own = out if addresses.dtype else [part.new_empty(part.shape) for part in out]
        call.grad_parts = (addresses if addresses.dtype else Addresses(own)).parts
        self.native[function](ctypes.byref(self.chain), ctypes.byref(call))
        if own is not out:
            for part, numbers in zip(out, own, strict=True):
                part.copy_(numbers)

    def _call(self, x: Tensor, context: Tensor | None = None, **tensors: Tensor | None) -> Call:
        """Return the arguments of a call; ``tensors`` hold what lies together in memory."""
        pointers = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
        call = Call(
            is_double=x.dtype == torch.float64,
            n_members=self.n_members,
            n_threads=n_threads(self.n_numbers * x.shape[-1], self.n_members),
            n_rows=x.shape[-1],
            x=Columns.of(x),
            context=Columns.of(context),
            parts=self.addresses.parts,
            **pointers,
        )
        call.tensors = x, context, tensors  # The tensors must live as long as the call.
        return call


def program_for(chain: Chain, x: Tensor, context: Tensor | None) -> Program | None:
    """Return the program that evaluates a chain at x, or None where PyTorch has to do it.

    PyTorch does it where there is no library, on GPUs, in half precision, for other transforms than couplings, LU
    layers, permutations and standardisations, and where autograd or `torch.func` records.
    """
    native, inputs = library(), (x,) if context is None else (x, context)
    if native is None or not x.numel() or not plain_dtype(*inputs) or x.ndim != 3:
        return None
    if context is not None and (context.ndim != 3 or context.shape[::2] != x.shape[::2]):
        return None
    shape = len(x), x.shape[1], 0 if context is None else context.shape[1]
    programs = _PROGRAMS.setdefault(chain, {})
    if shape not in programs:
        try:
            programs[shape] = Program(native, chain.flat(), *shape)
        except ValueError:
            programs[shape] = None
    program = programs[shape]
    return program if program is not None and program.takes(x, context) else None


_PROGRAMS: WeakKeyDictionary[Chain, dict[tuple[int, int, int], Program | None]] = WeakKeyDictionary()
