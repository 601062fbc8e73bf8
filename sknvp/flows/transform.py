"""The contract that every transform keeps, and the ways to combine transforms."""

import torch
from torch import Tensor, nn


class Transform(nn.Module):
    """An invertible map between data ``x`` and noise ``z``, one per member.

    Both directions return the image and the logarithm of the absolute determinant of their own Jacobian::

        forward(x, context)  ->  z, log|det dz/dx|        data to noise
        inverse(z, context)  ->  x, log|det dx/dz|        noise to data

    ``x`` and ``z`` have shape (n_members, n_rows, n_features), a log-determinant (n_members, n_rows) and ``context``
    (n_members, n_rows, n_context) or None.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Chain(Transform):
    """Transforms one after the other; their log-determinants add up. An empty chain is the identity."""

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[:-1])
        for transform in self.transforms:
            x, term = transform(x, context)
            log_det = log_det + term
        return x, log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = z.new_zeros(z.shape[:-1])
        for transform in reversed(self.transforms):
            z, term = transform.inverse(z, context)  # type: ignore[operator]
            log_det = log_det + term
        return z, log_det


class Inverse(Transform):
    """A transform with its two directions exchanged."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.transform(z, context)
        return z, log_det


class Select(Transform):
    """A transform applied to some of the columns; the others pass through untouched and unseen.

    Parameters
    ----------
    transform : Transform
        Acts on the chosen columns alone.
    columns : Tensor of shape (n_chosen,), dtype int64
        Which columns they are.
    """

    columns: Tensor

    def __init__(self, transform: Transform, columns: Tensor) -> None:
        super().__init__()
        self.transform = transform
        self.register_buffer("columns", columns)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        chosen, log_det = self.transform(x.index_select(-1, self.columns), context)
        return self._replaced(x, chosen), log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        chosen, log_det = self.transform.inverse(z.index_select(-1, self.columns), context)
        return self._replaced(z, chosen), log_det

    def _replaced(self, x: Tensor, chosen: Tensor) -> Tensor:
        return torch.index_copy(x, -1, self.columns, chosen)
