"""Coupling layers: some columns choose an element-wise map for the others."""

from typing import ClassVar

import torch
from torch import Tensor

from .conditioner import Conditioner
from .spline import rational_quadratic_spline
from .transform import Transform


class Coupling(Transform):
    """``z_a = x_a`` and ``z_b = f(x_b; theta(x_a, context))``, with ``f`` element-wise and increasing.

    The Jacobian is triangular, so its log-determinant is the sum of ``log f'`` over the columns b, and the inverse
    needs no inverse of the network theta. Subclasses give ``f`` and its number of parameters a column.

    Parameters
    ----------
    conditioner : Conditioner
        The network theta.
    n_first : int
        The columns fall into the first ``n_first`` and the rest.
    flip : bool, default=False
        False: the first columns condition (a) and the rest are transformed (b). True: the other way round.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017, arXiv:1605.08803.
    """

    N_PARAMETERS: ClassVar[int]  # that theta gives for each transformed column

    def __init__(self, conditioner: Conditioner, n_first: int, flip: bool = False) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.n_first = n_first
        self.flip = flip

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a, b = self._split(x)
        b, log_slope = self.elementwise(b, self.conditioner(a, context))
        return self._join(a, b), log_slope.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a, b = self._split(z)
        b, log_slope = self.elementwise_inverse(b, self.conditioner(a, context))
        return self._join(a, b), log_slope.sum(-1)

    def elementwise(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """``f(x)`` and ``log f'(x)``, both of the shape of ``x``."""
        raise NotImplementedError

    def elementwise_inverse(self, z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` with ``f(x) = z`` and ``-log f'(x)``, both of the shape of ``z``."""
        raise NotImplementedError

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, rest = x[..., : self.n_first], x[..., self.n_first :]
        return (rest, first) if self.flip else (first, rest)

    def _join(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([b, a] if self.flip else [a, b], -1)


class AffineCoupling(Coupling):
    """Real NVP's coupling, ``z_b = x_b * exp(s(x_a)) + t(x_a)``; one network computes s and t together.

    ``|s|`` stays below ``MAX_LOG_SCALE`` by a tanh, so that no layer can stretch or shrink a column by more than a
    factor of about seven and a row far outside the data still gets a finite log-density.
    """

    N_PARAMETERS = 2
    MAX_LOG_SCALE = 2.0

    def elementwise(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._scale_and_shift(theta)
        return x * s.exp() + t, s

    def elementwise_inverse(self, z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._scale_and_shift(theta)
        return (z - t) * (-s).exp(), -s

    def _scale_and_shift(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        s, t = theta.chunk(2, -1)
        return self.MAX_LOG_SCALE * torch.tanh(s / self.MAX_LOG_SCALE), t


class SplineCoupling(Coupling):
    """The neural spline flow's coupling: ``f`` is a monotone rational-quadratic spline, linear outside a box.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows", NeurIPS 2019, arXiv:1906.04032.
    """

    N_BINS = 8
    N_PARAMETERS = 3 * N_BINS - 1  # widths, heights and the slopes at the inner knots
    BOX = 5.0  # the spline acts on [-BOX, BOX], in standardised units

    def elementwise(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic_spline(x, self._per_column(theta), self.BOX)

    def elementwise_inverse(self, z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic_spline(z, self._per_column(theta), self.BOX, inverse=True)

    def _per_column(self, theta: Tensor) -> Tensor:
        return torch.unflatten(theta, -1, (-1, self.N_PARAMETERS))
