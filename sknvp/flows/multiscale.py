"""Real NVP's layout for images, from pixels to noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import StandardNormal
from .elementwise import Bounded
from .flow import Flow
from .image import ImageCoupling, ResidualNetwork
from .linear import Permute
from .normalization import BatchNorm
from .transform import Chain, Select, Transform

LEAST_SIDE = 8  # of an image that is halved
N_CHECKERBOARD, N_CHANNEL, N_LAST = 3, 3, 4  # couplings
MARGIN = 0.1  # of the logit, in levels


def image_real_nvp(
    image_shape: Sequence[int],
    n_levels: int,
    *,
    n_filters: int,
    n_blocks: int,
    batch_norm: bool = True,
    generator: torch.Generator | None = None,
) -> Flow:
    """A multi-scale Real NVP of images with pixels between 0 and ``n_levels``, as rows.

    Pixels become logits. Then, at every scale: three checkerboard couplings, `squeeze`, three couplings of channels,
    after which half of the channels are noise and the other half go on to the next scale. A scale of which height or
    width is odd or below 8 is the last, with four checkerboard couplings.

    Parameters
    ----------
    image_shape : (n_channels, height, width)
    n_levels : int
        Where pixels end.
    n_filters, n_blocks : int
        Of each coupling's `ResidualNetwork`.
    batch_norm : bool, default=True
        Whether a `BatchNorm` of channels follows every coupling.
    generator : torch.Generator, optional
        Source of the initial weights.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017, section 3.6, arXiv:1605.08803.
    """
    channels, height, width = (int(n) for n in image_shape)
    n_features = channels * height * width

    def coupling(mask: Tensor, patch: int) -> list[Transform]:
        network = ResidualNetwork(len(mask), 2 * len(mask), n_filters, n_blocks, patch, generator)
        norm = BatchNorm(1, len(mask), mask[0].numel())
        return [ImageCoupling(mask, network), *([norm] if batch_norm else [])]

    def scale(channels: int, height: int, width: int) -> Chain:
        even = height % 2 == width % 2 == 0
        is_last = not even or min(height, width) < LEAST_SIDE
        parts = []
        for i in range(N_LAST if is_last else N_CHECKERBOARD):
            parts += coupling(checkerboard(channels, height, width) ^ (i % 2 == 1), 2 if even else 1)
        if is_last:
            return Chain(*parts)
        parts.append(squeeze(channels, height, width))
        channels, height, width = 4 * channels, height // 2, width // 2
        for i in range(N_CHANNEL):
            parts += coupling(channel_half(channels, height, width) ^ (i % 2 == 1), 1)
        n_all = channels * height * width
        parts.append(Select(scale(channels // 2, height, width), torch.arange(n_all // 2, n_all)))
        return Chain(*parts)

    transform = Chain(logit(n_features, n_levels), scale(channels, height, width))
    return Flow(transform, StandardNormal(n_features))


def logit(n_features: int, n_levels: int) -> Bounded:
    """``z = logit((x + a) / (n_levels + 2 a))`` with ``a = MARGIN``, finite at both ends of the pixels' range."""
    low = torch.full((n_features,), -MARGIN, dtype=torch.float64)
    return Bounded(low, n_levels - low)


def squeeze(channels: int, height: int, width: int) -> Permute:
    """From (channels, height, width) to (4 channels, height / 2, width / 2), flattened.

    Of each square of four pixels the upper left ones of all channels come first, then the upper right, the lower left
    and the lower right ones.
    """
    place = torch.arange(channels * height * width).view(channels, height // 2, 2, width // 2, 2)
    return Permute(place.permute(2, 4, 0, 1, 3).reshape(1, -1))


def checkerboard(channels: int, height: int, width: int) -> Tensor:
    """True where row and column add up to an even number."""
    return ((torch.arange(height).unsqueeze(1) + torch.arange(width)) % 2 == 0).expand(channels, -1, -1)


def channel_half(channels: int, height: int, width: int) -> Tensor:
    """True in the first half of the channels."""
    return (torch.arange(channels) < channels // 2).view(-1, 1, 1).expand(-1, height, width)
