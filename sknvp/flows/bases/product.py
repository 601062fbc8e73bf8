"""Products of independent distributions."""

import torch
from torch import Tensor

from .base import Base
from .normal import StandardNormal


class Product(Base):
    """The product of a base distribution of some columns and of standard normals for all other columns.

    The chosen columns and the other columns are independent.

    Parameters
    ----------
    base : Base
        The base distribution of the chosen columns.
    columns : Tensor of shape (n_chosen,), dtype int64
        The numbers of the chosen columns.
    n_features : int
        The number of all columns.
    """

    columns: Tensor
    others: Tensor

    def __init__(self, base: Base, columns: Tensor, n_features: int) -> None:
        super().__init__()
        self.base = base
        self.rest = StandardNormal(n_features - len(columns))
        self.register_buffer("columns", columns)
        self.register_buffer("others", torch.tensor([j for j in range(n_features) if j not in columns.tolist()]).long())
        self.n_features = n_features

    @property
    def width(self) -> int:
        return self.base.width

    def log_prob(self, z: Tensor) -> Tensor:
        return self.base.log_prob(z[..., self.columns]) + self.rest.log_prob(z[..., self.others])

    def cdf(self, z: Tensor) -> Tensor:
        return self._joined(z, self.base.cdf(z[..., self.columns]), self.rest.cdf(z[..., self.others]))

    def sample(self, shape: tuple[int, int], reference: Tensor, generator: torch.Generator | None = None) -> Tensor:
        z = torch.empty(*shape, self.n_features, dtype=reference.dtype, device=reference.device)
        return self._joined(
            z, self.base.sample(shape, reference, generator), self.rest.sample(shape, reference, generator)
        )

    def _joined(self, z: Tensor, chosen: Tensor, rest: Tensor) -> Tensor:
        """Return a tensor like ``z`` with the given numbers in the chosen columns and in the others."""
        joined = torch.empty_like(z)
        joined[..., self.columns] = chosen
        joined[..., self.others] = rest
        return joined
