"""The networks that compute a coupling's parameters."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {  # in place where autograd allows
    "relu": torch.relu_,
    "silu": nn.functional.silu,
    "tanh": torch.tanh_,
}


class Conditioner(nn.Module):
    """A multilayer perceptron per member, whose last layer starts at zero.

    Since its output starts at zero, every coupling built on it starts as the identity. Inputs pass through
    ``asinh`` first: near the data that is the identity, and far outside it keeps the network's answer, and so the
    log-density, from running away with the input.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Columns in (context included) and out. Without inputs the network is a bias.
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
        shapes = [(n_members, n_in, n_out) for n_in, n_out in pairwise(sizes)]
        self.activation = ACTIVATIONS[activation]
        self.weights = nn.ParameterList(_uniform(shape, generator) for shape in shapes[:-1])
        self.weights.append(nn.Parameter(torch.zeros(shapes[-1], dtype=torch.float64)))
        self.biases = nn.ParameterList(torch.zeros(n_members, 1, n, dtype=torch.float64) for _, _, n in shapes)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Shape (n_members, n_rows, n_inputs) -> (n_members, n_rows, n_outputs)."""
        h = torch.asinh(x if context is None else torch.cat([x, context], -1))
        *hidden, last = zip(self.biases, self.weights, strict=True)
        for bias, weight in hidden:
            h = self.activation(torch.bmm(h, weight).add_(bias))
        return torch.bmm(h, last[1]).add_(last[0])


def _uniform(shape: tuple[int, int, int], generator: torch.Generator | None) -> nn.Parameter:
    """Weights of variance 1 / (3 fan_in), PyTorch's own for linear layers."""
    bound = 1 / math.sqrt(shape[1])
    return nn.Parameter((2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1) * bound)
