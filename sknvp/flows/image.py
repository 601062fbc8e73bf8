"""Couplings of images: residual networks of convolutions choose how pixels are scaled and shifted."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .squash import squash
from .transform import Transform

BOUND = 8.0  # of what a network sees, in standardised units


class ByAutograd(Transform):
    """A transform whose gradients autograd finds: for those beside whose work the recording of it is nothing.

    Subclasses give `evaluate`, of operations that autograd knows.
    """

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        with torch.inference_mode(False), torch.enable_grad():
            x = x.clone().detach().requires_grad_()
            image, log_det = self.evaluate(x, context, inverse)
        return image.detach(), log_det.detach(), (x, image, log_det)

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        x, *results = tape
        inputs = (x, *self.parameters())
        grad_x, *of_parameters = torch.autograd.grad(results, inputs, (grad, grad_log_det), retain_graph=True)
        for place, gradient in zip(out, of_parameters, strict=True):
            place.copy_(gradient)
        return grad_x, None


class ImageCoupling(ByAutograd):
    """``z = m x + (1 - m) (x exp(s(m x)) + t(m x))``: where the mask m is one, pixels condition the others.

    ``s = scale tanh(.)``, with a learned scale for each channel that stays below ``MAX_LOG_SCALE``. A row is an image,
    flattened. There is one member only.

    Parameters
    ----------
    mask : Tensor of shape (n_channels, height, width), dtype bool
        True where a pixel conditions.
    network : ResidualNetwork
        Of ``n_channels`` channels in and twice as many out, s and t.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017, sections 3.4 and 4.1,
    arXiv:1605.08803.
    """

    MAX_LOG_SCALE = 4.0

    mask: Tensor

    def __init__(self, mask: Tensor, network: "ResidualNetwork") -> None:
        super().__init__()
        self.network = network
        self.scale = nn.Parameter(torch.ones(1, len(mask), 1, 1, dtype=torch.float64))
        self.register_buffer("mask", mask.double())

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        (rows,) = x.mT  # of the only member
        image, free = rows.unflatten(1, self.mask.shape), 1 - self.mask
        s, t = self.network(self.mask * squash(image, BOUND)[0]).chunk(2, 1)
        s = free * squash(self.scale, self.MAX_LOG_SCALE)[0] * s.tanh()
        t = free * t
        image = (image - t) * (-s).exp() if inverse else image * s.exp() + t
        log_det = s.flatten(1).sum(1)
        return image.flatten(1).mT.unsqueeze(0), (-log_det if inverse else log_det).unsqueeze(0)


class Convolution(nn.Module):
    """A convolution with a bias and weights ``gain v / |v|`` (weight normalisation), which keeps height and width.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    size : int
        Height and width of the kernel; odd.
    gain : float
        Length of the weights of each channel out, to begin with.
    generator : torch.Generator, optional
        Source of the initial directions v.

    References
    ----------
    Salimans and Kingma, "Weight Normalization", NeurIPS 2016, arXiv:1602.07868.
    """

    def __init__(self, n_in: int, n_out: int, size: int, gain: float, generator: torch.Generator | None) -> None:
        super().__init__()
        fan_in = n_in * size**2
        v = torch.randn(1, n_out, n_in, size, size, dtype=torch.float64, generator=generator) / math.sqrt(fan_in)
        self.v = nn.Parameter(v)
        self.gain = nn.Parameter(torch.full((1, n_out), gain, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(1, n_out, dtype=torch.float64))

    def forward(self, h: Tensor) -> Tensor:
        v = self.v[0]
        weight = v * (self.gain[0] * v.flatten(1).square().sum(1).rsqrt()).view(-1, 1, 1, 1)
        return functional.conv2d(h, weight, self.bias[0], padding="same")


class ResidualNetwork(nn.Module):
    """``h + conv(relu(conv(relu(h))))``, again and again, between a convolution in and one out that starts at zero.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    n_filters : int
        Channels of h.
    n_blocks : int
        How often.
    patch : int, default=1
        Side of the square patches that are one position of h; where it is 2 there are a quarter as many of them.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        n_filters: int,
        n_blocks: int,
        patch: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.first = Convolution(patch**2 * n_in, n_filters, 3, 1.0, generator)
        self.inner = nn.ModuleList(Convolution(n_filters, n_filters, 3, 1.0, generator) for _ in range(2 * n_blocks))
        self.last = Convolution(n_filters, patch**2 * n_out, 1, 0.0, generator)

    def forward(self, x: Tensor) -> Tensor:
        with self._precision(x):
            h = self.first(_patches(x, self.patch).contiguous(memory_format=torch.channels_last))
            for first, second in zip(self.inner[::2], self.inner[1::2], strict=True):
                h = h + second(first(h.relu()).relu())
            h = _pixels(self.last(h.relu()), self.patch)
        return h.to(x.dtype)

    def _precision(self, x: Tensor) -> AbstractContextManager[Any]:
        """Half of it on GPUs, in training; both directions must agree to the last digits of what is computed else."""
        halved = self.training and x.is_cuda and x.dtype == torch.float32
        return torch.autocast("cuda", torch.bfloat16) if halved else nullcontext()


def _patches(x: Tensor, side: int) -> Tensor:
    """Shape (n, c, h, w) -> (n, c side^2, h / side, w / side)."""
    n, c, h, w = x.shape
    parts = x.view(n, c, h // side, side, w // side, side).permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(n, c * side**2, h // side, w // side)


def _pixels(h: Tensor, side: int) -> Tensor:
    """The inverse of `_patches`."""
    n, c, height, width = h.shape
    parts = h.reshape(n, c // side**2, side, side, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // side**2, height * side, width * side)
