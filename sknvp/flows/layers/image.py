"""Couplings of images: residual networks of convolutions choose how pixels are scaled and shifted."""

import torch
from torch import Tensor, nn

from ..networks.residual import ResidualNetwork
from ..networks.soft_clip import soft_clip
from ..transform import Transform

INPUT_BOUND = 8.0  # The inputs of a network stay within this bound, in standardised units.


class ImageCoupling(Transform):
    """Map ``z = m x + (1 - m) (x exp(s(m x)) + t(m x))``: pixels at which the mask m is one condition the others.

    The logarithm of the scale is ``s = scale tanh(.)``. Each channel has a learned ``scale``, which stays below
    ``MAX_LOG_SCALE``. A row is an image, flattened. There is only one member.

    Parameters
    ----------
    mask : Tensor of shape (n_channels, height, width), dtype bool
        True where a pixel conditions.
    network : ResidualNetwork
        A network with ``n_channels`` channels of inputs and twice as many channels of outputs, s and t.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017, sections 3.4 and 4.1,
    arXiv:1605.08803.
    """

    MAX_LOG_SCALE = 4.0

    mask: Tensor

    def __init__(self, mask: Tensor, network: ResidualNetwork) -> None:
        super().__init__()
        self.network = network
        self.scale = nn.Parameter(torch.ones(1, len(mask), 1, 1, dtype=torch.float64))
        self.register_buffer("mask", mask.double())

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        (rows,) = x.mT  # Take the rows of the only member.
        image, free = rows.unflatten(1, self.mask.shape), 1 - self.mask
        s, t = self.network(self.mask * soft_clip(image, INPUT_BOUND)[0]).chunk(2, 1)
        s = free * soft_clip(self.scale, self.MAX_LOG_SCALE)[0] * s.tanh()
        t = free * t
        image = (image - t) * (-s).exp() if inverse else image * s.exp() + t
        log_det = s.flatten(1).sum(1)
        return image.flatten(1).mT.unsqueeze(0), (-log_det if inverse else log_det).unsqueeze(0)

    def extra_repr(self) -> str:
        return f"image_shape={tuple(self.mask.shape)}, max_log_scale={self.MAX_LOG_SCALE}"
