"""Flows of images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..bases import StandardNormal
from ..combine import Chain, Select
from ..flow import Flow
from ..layers import BatchNorm, ImageCoupling, Permute, Unconstrain
from ..networks import ResidualNetwork
from ..transform import Transform

MIN_SIDE = 8  # Images with a smaller height or width are not halved any more.
# These are the numbers of checkerboard and of channel couplings in a scale, and of checkerboard couplings in the last.
N_CHECKERBOARD, N_CHANNEL, N_LAST_CHECKERBOARD = 3, 3, 4
LOGIT_MARGIN = 0.1  # The interval of the logit is wider than the range of the pixels, by this many levels at both ends.


def image_real_nvp(
    image_shape: Sequence[int],
    n_levels: int,
    *,
    n_filters: int,
    n_blocks: int,
    batch_norm: bool = True,
    generator: torch.Generator | None = None,
) -> Flow:
    """Build a multi-scale Real NVP of images; a row is a flattened image with pixels between 0 and ``n_levels``.

    First, pixels become logits. Every scale consists of three checkerboard couplings, `squeeze`, and three couplings of
    channels. After these, half of the channels are noise, and the other half go on to the next scale. The last scale is
    the first one with an odd height or width, or with one below 8; it consists of four checkerboard couplings.

    Parameters
    ----------
    image_shape : (n_channels, height, width)
        The shape of the images.
    n_levels : int
        The upper end of the range of the pixels.
    n_filters, n_blocks : int
        The size of the network of each coupling; see `ResidualNetwork`.
    batch_norm : bool, default=True
        Whether a `BatchNorm` of channels follows every coupling.
    generator : torch.Generator, optional
        The source of the initial weights.

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
        is_last = not even or min(height, width) < MIN_SIDE
        parts = []
        for i in range(N_LAST_CHECKERBOARD if is_last else N_CHECKERBOARD):
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


def logit(n_features: int, n_levels: int) -> Unconstrain:
    """Build ``z = logit((x + a) / (n_levels + 2 a))`` with ``a = LOGIT_MARGIN``, which is finite for all pixels."""
    low = torch.full((n_features,), -LOGIT_MARGIN, dtype=torch.float64)
    return Unconstrain(low, n_levels - low)


def squeeze(channels: int, height: int, width: int) -> Permute:
    """Build a permutation that turns (channels, height, width) into (4 channels, height / 2, width / 2), flattened.

    The upper left pixels of all squares of four pixels come first, in all channels; then the upper right, the lower
    left and the lower right pixels follow.
    """
    place = torch.arange(channels * height * width).view(channels, height // 2, 2, width // 2, 2)
    return Permute(place.permute(2, 4, 0, 1, 3).reshape(1, -1))


def checkerboard(channels: int, height: int, width: int) -> Tensor:
    """Return a mask that is True where row and column add up to an even number."""
    return ((torch.arange(height).unsqueeze(1) + torch.arange(width)) % 2 == 0).expand(channels, -1, -1)


def channel_half(channels: int, height: int, width: int) -> Tensor:
    """Return a mask that is True in the first half of the channels."""
    return (torch.arange(channels) < channels // 2).view(-1, 1, 1).expand(-1, height, width)
