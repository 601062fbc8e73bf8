"""Transforms that treat every column by itself."""

from typing import Any

from torch import Tensor

from .transform import Transform


class Standardize(Transform):
    """``z = (x - loc) / scale``, with fixed location and scale.

    Being the first transform of a flow it puts the units of the data into every log-density: its log-determinant is
    ``-sum(log(scale))``.

    Parameters
    ----------
    loc, scale : Tensor of shape (n_features,)
        Subtracted and divided by; buffers, never trained. Every scale is positive.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("loc", loc)
        self.register_buffer("scale", scale)

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        loc, scale = self.loc.unsqueeze(-1), self.scale.unsqueeze(-1)
        log_scale = scale.log().sum().view(1, 1)
        if inverse:
            return x * scale + loc, log_scale, inverse
        return (x - loc) / scale, -log_scale, inverse

    def gradients(self, tape: Any, grad: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        scale = self.scale.unsqueeze(-1)
        return grad * scale if tape else grad / scale, None, []
