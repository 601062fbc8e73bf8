"""The networks that compute a coupling's parameters."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .squash import squash

BOUND = 8.0  # of the inputs, in standardised units
LARGE = 2048  # rows; see `_is_large`


class Activation(NamedTuple):
    """A function, itself in place, and its gradient: in place of that of its result, from its argument and result."""

    value: Callable[[Tensor], Tensor]
    in_place: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]


aten = torch.ops.aten
ACTIVATIONS = {
    "relu": Activation(
        torch.relu,
        torch.relu_,
        lambda grad, x, y: aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad),
    ),
    "silu": Activation(
        nn.functional.silu,
        partial(nn.functional.silu, inplace=True),
        lambda grad, x, y: aten.silu_backward.grad_input(grad, x, grad_input=grad),
    ),
    "tanh": Activation(
        torch.tanh,
        torch.tanh_,
        lambda grad, x, y: aten.tanh_backward.grad_input(grad, y, grad_input=grad),
    ),
}


class Tape(NamedTuple):
    """What `Conditioner.record` leaves for `Conditioner.gradients`."""

    r: Tensor  # of `squash`
    inputs: list[Tensor]  # of each layer
    sums: list[Tensor]  # that each hidden layer's activation was applied to


class Conditioner(nn.Module):
    """A multilayer perceptron per member, whose last layer starts at zero.

    Since its output starts at zero, every coupling built on it starts as the identity. Inputs are squashed first:
    near the data that changes little, and far outside it keeps the network's answer, and so the log-density, from
    running away with the input.

    Features come first and rows last, ``(n_members, n_features, n_rows)``, and gradients are written by hand, as in
    every transform.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Features in (context included) and out. Without inputs the network is a bias.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers.
    activation : {"relu", "silu", "tanh"}
        What follows each hidden layer.
    n_members : int
        Number of independent networks.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int] = (64, 64),
        activation: str = "silu",
        n_members: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = [n_inputs, *(hidden_layer_sizes if n_inputs else ()), n_outputs]
        shapes = [(n_members, n_out, n_in) for n_in, n_out in pairwise(sizes)]
        self.activation = activation
        weights = [*(_uniform(shape, generator) for shape in shapes[:-1]), torch.zeros(shapes[-1], dtype=torch.float64)]
        for i, weight in enumerate(weights):
            self.register_parameter(f"weight_{i}", nn.Parameter(weight))
        for i, (_, n_out, _) in enumerate(shapes):
            self.register_parameter(f"bias_{i}", nn.Parameter(torch.zeros(n_members, n_out, 1, dtype=torch.float64)))

    def record(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Shape (n_members, n_inputs, n_rows) -> (n_members, n_outputs, n_rows), and what `gradients` needs."""
        activation = ACTIVATIONS[self.activation].value
        h, r = squash(x, BOUND)
        tape = Tape(r, [h], [])
        *hidden, (last, bias_of_last) = self._layers
        for weight, bias in hidden:
            total = _affine(weight, bias, h)
            h = activation(total)
            tape.sums.append(total)
            tape.inputs.append(h)
        return torch.baddbmm(bias_of_last, last, h), tape

    def gradients(self, tape: Tape, grad: Tensor, out: Sequence[Tensor]) -> Tensor:
        """From the gradient of the output, that of the input; into ``out``, those of `parameters`."""
        gradient = ACTIVATIONS[self.activation].gradient
        n_layers = len(tape.inputs)
        for i, (weight, _) in reversed(list(enumerate(self._layers))):
            h = tape.inputs[i]
            _write_product(h, grad.mT, out[i].mT)  # fastest so where outputs outnumber inputs
            torch.sum(grad, -1, keepdim=True, out=out[n_layers + i])
            grad = torch.bmm(grad.mT, weight).mT if i and _is_large(h) else torch.bmm(weight.mT, grad)
            if i:
                grad = gradient(grad, tape.sums[i - 1], h)
        return grad.mul_(tape.r.pow(3))

    def evaluate(self, x: Tensor) -> Tensor:
        """What `record` gives, without keeping anything for `gradients`."""
        activation = ACTIVATIONS[self.activation].in_place
        h, _ = squash(x, BOUND)
        *hidden, (last, bias_of_last) = self._layers
        for weight, bias in hidden:
            h = activation(_affine(weight, bias, h))
        return torch.baddbmm(bias_of_last, last, h)

    @property
    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights and bias of each layer."""
        weights_and_biases: list[Tensor] = list(self._parameters.values())  # type: ignore[arg-type]
        n_layers = len(weights_and_biases) // 2
        return list(zip(weights_and_biases[:n_layers], weights_and_biases[n_layers:], strict=True))


def _affine(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """``weight h + bias``."""
    if _is_large(h):
        return torch.baddbmm(bias.mT, h.mT, weight.mT).mT
    return torch.baddbmm(bias, weight, h)


def _is_large(h: Tensor) -> bool:
    """Whether the hidden numbers of a row should lie together in memory: for many rows of one network on a CPU."""
    return h.shape[-1] >= LARGE and len(h) == 1 and h.dtype == torch.float32 and h.device.type == "cpu"


def _write_product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """``a b`` into ``out``; those of several members do not lie together there, and to copy them is faster."""
    if a.shape[0] == 1:
        torch.bmm(a, b, out=out)
    else:
        out.copy_(torch.bmm(a, b))


def _uniform(shape: tuple[int, int, int], generator: torch.Generator | None) -> Tensor:
    """Weights of variance 1 / (3 fan_in), PyTorch's own for linear layers."""
    bound = 1 / math.sqrt(shape[2])
    return (2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1) * bound
