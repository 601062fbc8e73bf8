"""Products of independent distributions."""

import torch
from torch import Tensor

from .base import Base


class Product(Base):
    """The product of two distributions, one of some columns and one of all other columns, which are independent.

    Parameters
    ----------
    base : Base
        The base distribution of the chosen columns.
    columns : Tensor of shape (n_chosen,), dtype int64
        The numbers of the chosen columns.
    rest : Base
        The distribution of the other columns, in the order of their numbers.
    """

    columns: Tensor
    others: Tensor

    def __init__(self, base: Base, columns: Tensor, rest: Base) -> None:
        super().__init__()
        self.base = base
        self.rest = rest
        self.n_features = len(columns) + rest.n_features
        self.register_buffer("columns", columns)
        self.register_buffer("others", other_columns(columns, self.n_features))

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


def other_columns(columns: Tensor, n_features: int) -> Tensor:
    """Return the numbers of the columns that are not among the given ones, in rising order."""
    other = torch.ones(n_features, dtype=torch.bool, device=columns.device)
    other[columns] = False
    return other.nonzero()[:, 0]
