"""Gaussian mixtures given the known cells of rows: their weights, means and covariances, draws from them.

A component with mean m and covariance S gives, for the known cells K and the unknown cells U of a row x,

    x_U | x_K  ~  N(m_U + S_UK S_KK^-1 (x_K - m_K),  S_UU - S_UK S_KK^-1 S_KU),

with a weight in proportion to its own weight and its density at x_K.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from .patterns import blocks

Array = NDArray[Any]

N_LIKELIEST = 16  # Draws come from at most this many components, the likeliest ones given the known cells.
MIN_LIKELIEST_SHARE = 0.99  # Draws come from all components if the likeliest ones have a smaller share of the weight.
# This share of the draws of a component comes from a wider one with its mean, so that importance weights stay bounded.
WIDE_SHARE = 0.1
LEAST_WIDTH = 2.0  # The wider components are at least this many times as wide.
# Given known cells far out, the wider components are as wide as a t-distribution with these degrees of freedom.
DEGREES_OF_FREEDOM = 4
NEAR_SHARE = 0.25  # This share of the draws lies near given values.
NEAR_WIDTHS = (1 / 2, 1 / 8, 1 / 32, 1 / 128)  # The widths near given values, in widths of the likeliest component.
MAX_SUMMED_CELLS = 4  # Vectors of at most this many cells are multiplied column by column.
LOG_2_PI = math.log(2 * math.pi)

Mixture = tuple[Tensor, ...]  # The log-weights, the means and the covariances of the components.


class ConditionalMixture(NamedTuple):
    """The mixtures of the unknown cells given the known ones, of rows with equally many unknown cells."""

    shares: Tensor  # The weights of the components, of shape (n_rows, n_components).
    means: Tensor  # shape (n_rows, n_components, n_unknown)
    factors: Tensor  # Factors F of the covariances F F^T, of shape (n_rows, n_components, n_unknown, n_unknown).
    precision: Tensor  # The inverses of the factors F, of shape (n_rows, n_components, n_unknown, n_unknown).
    width: Tensor  # How many times as wide the wider components are, of shape (n_rows, n_components).

    def draw(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return draws of shape (n_rows, n_draws, n_unknown) and their log-densities, shape (n_rows, n_draws).

        The first number of each draw chooses the component. Where it lies among the numbers that choose this component
        is uniform again and serves as a new number. So as many numbers as unknown cells are enough.
        """
        rows = torch.arange(len(self.shares)).unsqueeze(1)
        chosen, rest = _choose(self.shares.unsqueeze(1), uniform[..., 0])
        shares = torch.tensor([1 - WIDE_SHARE, WIDE_SHARE], dtype=torch.float64)
        wide, rest = _choose(shares, rest)
        numbers = torch.cat([rest.unsqueeze(-1), uniform[..., 1:]], -1).clamp(1e-12, 1 - 1e-12)
        noise = torch.special.ndtri(numbers) * torch.where(wide == 1, self.width[rows, chosen], 1.0).unsqueeze(-1)
        drawn = self.means[rows, chosen] + _product(self.factors[rows, chosen], noise)
        return drawn, self._log_prob(drawn)

    def also_near(self, cells: Tensor) -> "ConditionalMixture":
        """Add components of several widths around values of the unknown cells, shape (n_rows, n_unknown)."""
        n_near = len(NEAR_WIDTHS)
        factor = torch.tensor(NEAR_WIDTHS, dtype=torch.float64).view(1, n_near, 1, 1)
        equal = torch.full((len(cells), n_near), NEAR_SHARE / n_near, dtype=torch.float64)
        likeliest = torch.arange(len(cells)).unsqueeze(1), self.shares.argmax(1, keepdim=True)
        return ConditionalMixture(
            torch.cat([self.shares * (1 - NEAR_SHARE), equal], 1),
            torch.cat([self.means, cells.unsqueeze(1).expand(-1, n_near, -1)], 1),
            torch.cat([self.factors, self.factors[likeliest] * factor], 1),
            torch.cat([self.precision, self.precision[likeliest] / factor], 1),
            torch.cat([self.width, torch.full_like(equal, LEAST_WIDTH)], 1),
        )

    def _log_prob(self, cells: Tensor) -> Tensor:
        """Return the log-density of cells, shape (n_rows, n_draws)."""
        n_unknown = cells.shape[-1]
        difference = cells.unsqueeze(1) - self.means.unsqueeze(2)  # shape (n_rows, n_components, n_draws, n_unknown)
        squares = _squares(difference @ self.precision.mT)
        log_det = self.precision.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = (self.shares.log() + log_det - 0.5 * n_unknown * LOG_2_PI).unsqueeze(-1)
        width = self.width.unsqueeze(-1)
        narrow = math.log1p(-WIDE_SHARE) - 0.5 * squares
        wide = math.log(WIDE_SHARE) - n_unknown * width.log() - 0.5 * squares / width.square()
        return torch.logsumexp(torch.cat([constant + narrow, constant + wide], 1), 1)


class ConditionalComponents(NamedTuple):
    """All components given the known cells of rows, which have equally many known cells."""

    log_joint: Tensor  # Log-weights plus log-densities of the known cells, of shape (n_rows, n_components).
    squares: Tensor  # Squared Mahalanobis distances of the known cells, of shape (n_rows, n_components).
    centres: Tensor  # The means of the unknown cells, of shape (n_rows, n_components, n_unknown).
    factors: Tensor  # The factors of `ConditionalMixture`, of shape (n_patterns, n_components, n_unknown, n_unknown).
    precision: Tensor  # The inverses of the factors, of shape (n_patterns, n_components, n_unknown, n_unknown).
    pattern: Tensor  # The number of the pattern of each row, of shape (n_rows,).
    n_known: int  # The number of known cells of each row.

    def parts(self) -> Iterator[tuple[Array, ConditionalMixture]]:
        """Yield rows with their likeliest components where these are enough, and the other rows with all components."""
        n_components, log_shares = self.log_joint.shape[1], self.log_joint.log_softmax(1)
        top = log_shares.topk(min(N_LIKELIEST, n_components), -1)
        enough = top.values.exp().sum(-1) >= MIN_LIKELIEST_SHARE
        rows, others = enough.nonzero()[:, 0], (~enough).nonzero()[:, 0]
        for some, chosen in ((rows, top.indices[rows]), (others, torch.arange(n_components).expand(len(others), -1))):
            if len(some):
                yield some.numpy(), self._given(some.unsqueeze(1), chosen)

    def _given(self, rows: Tensor, chosen: Tensor) -> ConditionalMixture:
        """Return chosen components, shape (n_rows, n_chosen), of some rows, shape (n_rows, 1)."""
        own = self.pattern[rows]
        far = (DEGREES_OF_FREEDOM + self.squares[rows, chosen]) / (DEGREES_OF_FREEDOM + self.n_known)
        return ConditionalMixture(
            torch.softmax(self.log_joint[rows, chosen], -1),
            self.centres[rows, chosen],
            self.factors[own, chosen],
            self.precision[own, chosen],
            far.sqrt().clamp(min=LEAST_WIDTH),
        )


def condition(mixture: Mixture, z: Tensor, unknown: Array, pattern: Tensor) -> ConditionalComponents:
    """Condition a mixture on the known cells of rows ``z``, shape (n_rows, n_features).

    The numbers ``unknown`` are those of the unknown columns of each pattern. Let P be the inverse of a covariance, and
    U the unknown cells. Given the known cells, their covariance is P_UU^-1, and their mean is -P_UU^-1 (P (x - m))_U,
    where x is zero in U.
    """
    log_weights, means, covariances = mixture
    n_unknown = unknown.shape[1]
    inverse = torch.linalg.inv(covariances)
    precision = torch.linalg.cholesky(blocks(inverse, unknown, unknown).transpose(0, 1)).mT.contiguous()
    identity = torch.eye(n_unknown).to(precision).expand_as(precision)
    factors = torch.linalg.solve_triangular(precision, identity, upper=True)
    columns = torch.tensor(unknown)[pattern].unsqueeze(1)
    z = z.scatter(1, columns[:, 0], 0.0)
    shift = (inverse @ means.unsqueeze(-1)).squeeze(-1)
    products = (z @ inverse.transpose(0, 1).flatten(1)).view(len(z), *means.shape) - shift
    own = factors[pattern]
    half = _product(own.mT, products.gather(2, columns.expand(-1, len(means), -1)))
    whole = (products @ z.unsqueeze(-1)).squeeze(-1) - (z @ shift.mT) + (shift * means).sum(-1)
    squares = (whole - _squares(half)).clamp(min=0)
    log_det = precision.diagonal(dim1=-2, dim2=-1).log().sum(-1) + torch.linalg.slogdet(covariances)[1] / 2
    n_known = z.shape[1] - n_unknown
    log_joint = log_weights - log_det[pattern] - 0.5 * (squares + n_known * LOG_2_PI)
    return ConditionalComponents(log_joint, squares, -_product(own, half), factors, precision, pattern, n_known)


def _product(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply matrices by vectors; for very short vectors sums of columns are faster than a product of matrices."""
    if vectors.shape[-1] > MAX_SUMMED_CELLS:
        return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)
    total = matrices.new_zeros(matrices.shape[:-1])
    for i in range(vectors.shape[-1]):
        total = total.addcmul(matrices[..., i], vectors[..., i : i + 1])
    return total


def _squares(vectors: Tensor) -> Tensor:
    """Return the squared lengths of vectors."""
    return _product(vectors.unsqueeze(-2), vectors).squeeze(-1)


def _choose(shares: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Choose an index by each number between 0 and 1, with these shares; return also where in its share each lies."""
    ends = shares.cumsum(-1)
    chosen = (ends < uniform.unsqueeze(-1)).sum(-1).clamp(max=shares.shape[-1] - 1)
    share, end = (
        part.expand(*chosen.shape, -1).gather(-1, chosen.unsqueeze(-1)).squeeze(-1) for part in (shares, ends)
    )
    return chosen, (1 - (end - uniform) / share.clamp(min=1e-300)).clamp(0, 1)
