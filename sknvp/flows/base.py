"""Base distributions: the noise that a flow starts from."""

import math

import torch
from torch import Tensor, nn


class StandardNormal(nn.Module):
    """Independent normals of mean zero and variance one.

    Parameters
    ----------
    n_features : int
        The number of columns of the noise.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats of each row of ``z``, shape (..., n_features) -> (...)."""
        return -0.5 * (z.square().sum(-1) + self.n_features * math.log(2 * math.pi))

    def sample(self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noise of shape (*shape, n_features), of the dtype and on the device of ``like``.

        The numbers are drawn on the generator's own device, so that a seed means the same everywhere.
        """
        device = "cpu" if generator is None else generator.device
        noise = torch.randn(*shape, self.n_features, dtype=like.dtype, device=device, generator=generator)
        return noise.to(like.device)
