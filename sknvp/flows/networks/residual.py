"""Residual networks of convolutions."""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolution(nn.Module):
    """A convolution with a bias and weights ``gain v / |v|`` (weight normalisation), which keeps height and width.

    Parameters
    ----------
    n_in, n_out : int
        The number of channels of the input and of the output.
    size : int
        The height and the width of the kernel, an odd number.
    gain : float
        The initial length of the weights of each output channel.
    generator : torch.Generator, optional
        The source of the initial directions v.

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

    def extra_repr(self) -> str:
        _, n_out, n_in, size, _ = self.v.shape
        return f"{n_in}, {n_out}, kernel_size={size}"


class ResidualNetwork(nn.Module):
    """A convolution, blocks ``h + conv(elu(conv(elu(h))))``, and a last convolution that starts at zero.

    Parameters
    ----------
    n_in, n_out : int
        The number of channels of the input and of the output.
    n_filters : int
        The number of channels of h.
    n_blocks : int
        The number of blocks.
    patch : int, default=1
        The side of the square patches of pixels that become one position of h. With 2, h has a quarter as many
        positions as the image.
    generator : torch.Generator, optional
        The source of the initial weights.
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
        """Map images (n_rows, n_in, height, width) to images (n_rows, n_out, height, width)."""
        with self._autocast(x):
            h = self.first(_pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
            for first, second in zip(self.inner[::2], self.inner[1::2], strict=True):
                h = h + second(functional.elu(first(functional.elu(h))))
            h = _pixel_shuffle(self.last(functional.elu(h)), self.patch)
        return h.to(x.dtype)

    def _autocast(self, x: Tensor) -> AbstractContextManager[Any]:
        """Choose bfloat16 for training on GPUs, and on CPUs that have units for products of its matrices (Intel AMX).

        Everything else is computed in full precision, since both directions of a flow must agree to the last digits.
        """
        has_units = x.is_cuda or (x.device.type == "cpu" and _cpu_has_bfloat16_units())
        halved = self.training and x.dtype == torch.float32 and has_units
        return torch.autocast(x.device.type, torch.bfloat16) if halved else nullcontext()

    def extra_repr(self) -> str:
        return f"patch={self.patch}"


@cache
def _cpu_has_bfloat16_units() -> bool:
    """Return whether the CPU has units for products of bfloat16 matrices; False if the version of torch cannot tell."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def _pixel_unshuffle(x: Tensor, side: int) -> Tensor:
    """Turn images (n, c, h, w) into (n, c side^2, h / side, w / side).

    The result is that of `torch.nn.functional.pixel_unshuffle`, which however does not reshape an empty batch.
    """
    n, c, h, w = x.shape
    parts = x.view(n, c, h // side, side, w // side, side).permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(n, c * side**2, h // side, w // side)


def _pixel_shuffle(h: Tensor, side: int) -> Tensor:
    """Invert `_pixel_unshuffle`."""
    n, c, height, width = h.shape
    parts = h.reshape(n, c // side**2, side, side, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // side**2, height * side, width * side)
