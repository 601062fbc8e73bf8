"""The networks that compute a coupling's parameters."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .squash import squash

BOUND = 8.0  # of the inputs, in standardised units


class Activation(NamedTuple):
    """A function, and its gradient: from the gradient of its result, its argument and its result."""

    value: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]


ACTIVATIONS = {
    "relu": Activation(torch.relu, lambda grad, x, y: torch.ops.aten.threshold_backward(grad, y, 0)),
    "silu": Activation(nn.functional.silu, lambda grad, x, y: torch.ops.aten.silu_backward(grad, x)),
    "tanh": Activation(torch.tanh, lambda grad, x, y: torch.ops.aten.tanh_backward(grad, y)),
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
        self.weights = nn.ParameterList(_uniform(shape, generator) for shape in shapes[:-1])
        self.weights.append(nn.Parameter(torch.zeros(shapes[-1], dtype=torch.float64)))
        self.biases = nn.ParameterList(torch.zeros(n_members, n, 1, dtype=torch.float64) for _, n, _ in shapes)

    def record(self, x: Tensor) -> tuple[Tensor, Tape]:
        """Shape (n_members, n_inputs, n_rows) -> (n_members, n_outputs, n_rows), and what `gradients` needs."""
        activation = ACTIVATIONS[self.activation].value
        h, r = squash(x, BOUND)
        tape = Tape(r, [h], [])
        *hidden, last = self._layers
        for bias, weight in hidden:
            total = torch.baddbmm(bias.mT, h.mT, weight.mT).mT if _side_by_side(h) else torch.baddbmm(bias, weight, h)
            h = activation(total)
            tape.sums.append(total)
            tape.inputs.append(h)
        return torch.baddbmm(last[0], last[1], h), tape

    def gradients(self, tape: Tape, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
        """From the gradient of the output, those of the input and of the parameters, in the order of `parameters`."""
        gradient = ACTIVATIONS[self.activation].gradient
        of_weights, of_biases = [], []
        for i, (_, weight) in reversed(list(enumerate(self._layers))):
            of_weights.append(torch.bmm(tape.inputs[i], grad.mT).mT)  # fastest so where outputs outnumber inputs
            of_biases.append(grad.sum(-1, keepdim=True))
            grad = torch.bmm(grad.mT, weight).mT if i and _side_by_side(grad) else torch.bmm(weight.mT, grad)
            if i:
                grad = gradient(grad, tape.sums[i - 1], tape.inputs[i])
        return grad * tape.r.pow(3), [*reversed(of_weights), *reversed(of_biases)]

    @property
    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        """Biases and weights, from the dictionaries themselves, since to index a list of parameters takes long."""
        return list(zip(self.biases._parameters.values(), self.weights._parameters.values(), strict=True))  # type: ignore[arg-type]


def _side_by_side(h: Tensor) -> bool:
    """Whether the hidden numbers of a row should lie together in memory: for one network in single precision on a CPU.

    Its products are faster then, most with two threads.
    """
    return len(h) == 1 and h.dtype == torch.float32 and h.device.type == "cpu"


def _uniform(shape: tuple[int, int, int], generator: torch.Generator | None) -> nn.Parameter:
    """Weights of variance 1 / (3 fan_in), PyTorch's own for linear layers."""
    bound = 1 / math.sqrt(shape[2])
    return nn.Parameter((2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1) * bound)
