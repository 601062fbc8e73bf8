"""Multilayer perceptrons."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .soft_clip import soft_clip

INPUT_BOUND = 8.0  # The inputs stay within this bound, in standardised units.
LEAKY_SLOPE = 0.2  # The activation "leaky_relu" has this slope below zero.
LARGE_BATCH = 2048  # From this many rows on, another layout in memory is used; see `_is_large`.


class Activation(NamedTuple):
    """An activation function ``y = f(x)`` and its gradient."""

    value: Callable[[Tensor], Tensor]  # The function from x to y.
    in_place: Callable[[Tensor], Tensor]  # The function from x to y, which overwrites x.
    # The function from grad_y, x and y to grad_x, which overwrites grad_y.
    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]


aten = torch.ops.aten
ACTIVATIONS = {
    "elu": Activation(
        nn.functional.elu,
        partial(nn.functional.elu, inplace=True),
        lambda grad, x, y: aten.elu_backward.grad_input(grad, 1, 1, 1, True, y, grad_input=grad),
    ),
    "leaky_relu": Activation(
        partial(nn.functional.leaky_relu, negative_slope=LEAKY_SLOPE),
        partial(nn.functional.leaky_relu, negative_slope=LEAKY_SLOPE, inplace=True),
        lambda grad, x, y: aten.leaky_relu_backward.grad_input(grad, y, LEAKY_SLOPE, True, grad_input=grad),
    ),
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


class Residuals(NamedTuple):
    """The residuals of `Conditioner`."""

    r: Tensor  # The second result of `soft_clip` for the inputs of the network.
    inputs: list[Tensor]  # The inputs of each layer.
    sums: list[Tensor]  # The numbers to which the activation of each hidden layer was applied.


class Conditioner(nn.Module):
    """A multilayer perceptron per member, which computes the parameters of a coupling.

    The last layer starts at zero, so that every coupling starts as the identity. Inputs are bounded by `soft_clip`:
    near the data this changes little, and far outside it keeps the output, and so the log-density, from growing with
    the input. Gradients are written by hand.

    Parameters
    ----------
    n_inputs, n_outputs : int
        The number of inputs, including those of the context, and of outputs. Without inputs the network is a bias.
    hidden_layer_sizes : sequence of int, default=(32, 32)
        The widths of the hidden layers.
    activation : {"elu", "leaky_relu", "relu", "silu", "tanh"}, default="silu"
        The function that follows each hidden layer.
    n_members : int, default=1
        The number of independent networks.
    generator : torch.Generator, optional
        The source of the initial weights.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int] = (32, 32),
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

    def forward_with_residuals(self, x: Tensor) -> tuple[Tensor, Residuals]:
        """Compute the output and the residuals that `vjp` needs; the shapes are those of `forward`."""
        activation = ACTIVATIONS[self.activation].value
        h, r = soft_clip(x, INPUT_BOUND)
        residuals = Residuals(r, [h], [])
        *hidden, (last, bias_of_last) = self._layers
        for weight, bias in hidden:
            total = _affine(weight, bias, h)
            h = activation(total)
            residuals.sums.append(total)
            residuals.inputs.append(h)
        return torch.baddbmm(bias_of_last, last, h), residuals

    def vjp(self, residuals: Residuals, grad_output: Tensor, out: Sequence[Tensor]) -> Tensor:
        """Compute the gradient of the input from the gradient of the output.

        Parameters
        ----------
        residuals : Residuals
            The last result of `forward_with_residuals`.
        grad_output : Tensor of shape (n_members, n_outputs, n_rows)
            The gradient of the output.
        out : sequence of Tensor
            One tensor for each of ``parameters()``, which is overwritten by the gradient of that parameter.

        Returns
        -------
        grad_input : Tensor of shape (n_members, n_inputs, n_rows)
        """
        gradient = ACTIVATIONS[self.activation].gradient
        n_layers, grad = len(residuals.inputs), grad_output
        for i, (weight, _) in reversed(list(enumerate(self._layers))):
            h = residuals.inputs[i]
            _write_product(h, grad.mT, out[i].mT)  # This order of factors is faster where outputs outnumber inputs.
            torch.sum(grad, -1, keepdim=True, out=out[n_layers + i])
            grad = torch.bmm(grad.mT, weight).mT if i and _is_large(h) else torch.bmm(weight.mT, grad)
            if i:
                grad = gradient(grad, residuals.sums[i - 1], h)
        return grad.mul_(residuals.r.pow(3))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output.

        Parameters
        ----------
        x : Tensor of shape (n_members, n_inputs, n_rows)
            The input; features come before rows, as in every transform.

        Returns
        -------
        output : Tensor of shape (n_members, n_outputs, n_rows)
        """
        activation = ACTIVATIONS[self.activation].in_place
        h, _ = soft_clip(x, INPUT_BOUND)
        *hidden, (last, bias_of_last) = self._layers
        for weight, bias in hidden:
            h = activation(_affine(weight, bias, h))
        return torch.baddbmm(bias_of_last, last, h)

    def extra_repr(self) -> str:
        weights = [weight for weight, _ in self._layers]
        sizes = [weights[0].shape[2], *(weight.shape[1] for weight in weights)]
        return f"n_members={len(weights[0])}, sizes={sizes}, activation={self.activation!r}"

    @property
    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        """The weights and the bias of each layer."""
        weights_and_biases: list[Tensor] = list(self._parameters.values())  # type: ignore[arg-type]
        n_layers = len(weights_and_biases) // 2
        return list(zip(weights_and_biases[:n_layers], weights_and_biases[n_layers:], strict=True))


def _affine(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """Compute ``weight h + bias``."""
    if _is_large(h):
        return torch.baddbmm(bias.mT, h.mT, weight.mT).mT
    return torch.baddbmm(bias, weight, h)


def _is_large(h: Tensor) -> bool:
    """Return whether the hidden numbers of a row should lie together in memory.

    Many rows of a single network in single precision then pass faster on some processors.
    """
    return h.shape[-1] >= LARGE_BATCH and len(h) == 1 and h.dtype == torch.float32 and h.device.type == "cpu"


def _write_product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write the matrix product ``a b`` to ``out``."""
    if a.shape[0] == 1:
        torch.bmm(a, b, out=out)
    else:  # The matrices of several members lie apart in the buffer of all parameters, where a copy is faster.
        out.copy_(torch.bmm(a, b))


def _uniform(shape: tuple[int, int, int], generator: torch.Generator | None) -> Tensor:
    """Draw weights with variance 1 / (3 fan_in), as PyTorch does for linear layers."""
    bound = 1 / math.sqrt(shape[2])
    return (2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1) * bound
