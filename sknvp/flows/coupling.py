"""Coupling layers: some columns choose an element-wise map for the others."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from . import spline
from .conditioner import Conditioner
from .squash import squash
from .transform import Transform


class Coupling(Transform):
    """``z_a = x_a`` and ``z_b = f(x_b; theta(x_a, context))``, with ``f`` element-wise and increasing.

    The Jacobian is triangular, so its log-determinant is the sum of ``log f'`` over the columns b, and the inverse
    needs no inverse of the network theta. Subclasses give ``f``, its number of parameters a column, and its gradient.

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

    def record(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        a, b = self.split(x)
        theta, tape = self.conditioner.record(a if context is None else torch.cat([a, context], 1))
        theta = theta.view(x.shape[0], self.N_PARAMETERS, *b.shape[1:])
        z, log_slope, saved = self.elementwise(b, theta, inverse)
        return self.join(a, z), log_slope.sum(1), (inverse, log_slope, tape, saved)

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        a, b = self.split(x)
        theta = self.conditioner.evaluate(a if context is None else torch.cat([a, context], 1))
        z, log_slope, _ = self.elementwise(b, theta.view(x.shape[0], self.N_PARAMETERS, *b.shape[1:]), inverse)
        return self.join(a, z), log_slope.sum(1)

    def gradients(
        self, tape: Any, grad: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, log_slope, of_network, saved = tape
        grad_a, grad_z = self.split(grad)
        grad_log_slope = grad_log_det.unsqueeze(1)  # of all columns
        if inverse:
            # x = f^-1(z) moves by (dz - df) / f' when z moves by dz and theta moves f by df; its own log-slope is
            # -log f'(x).
            grad_x = grad_z + self.elementwise_gradients(saved, torch.zeros_like(grad_z), -grad_log_slope)[0]
            grad_b = grad_x * log_slope.exp()
            _, grad_theta = self.elementwise_gradients(saved, -grad_b, -grad_log_slope)
        else:
            grad_b, grad_theta = self.elementwise_gradients(saved, grad_z, grad_log_slope)
        grad_inputs = self.conditioner.gradients(of_network, grad_theta.flatten(1, 2), out)
        n_a = grad_a.shape[1]
        grad_context = grad_inputs[:, n_a:] if grad_inputs.shape[1] > n_a else None
        return self.join(grad_a + grad_inputs[:, :n_a], grad_b), grad_context

    def elementwise(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        """``f(x)`` and ``log f'(x)``, or those of the inverse function of ``f``, and what its gradients need.

        ``x`` has shape (n_members, n_columns, n_rows), ``theta`` (n_members, N_PARAMETERS, n_columns, n_rows).
        """
        raise NotImplementedError

    def elementwise_gradients(self, saved: Any, grad_z: Tensor, grad_log_slope: Tensor) -> tuple[Tensor, Tensor]:
        """From the gradients of ``f(x)`` and of ``log f'(x)``, those of ``x`` and ``theta``."""
        raise NotImplementedError

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, rest = x[:, : self.n_first], x[:, self.n_first :]
        return (rest, first) if self.flip else (first, rest)

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([b, a] if self.flip else [a, b], 1)


class AffineCoupling(Coupling):
    """Real NVP's coupling, ``z_b = x_b * exp(s(x_a)) + t(x_a)``; one network computes s and t together.

    ``|s|`` stays below ``MAX_LOG_SCALE``, so that no layer can stretch or shrink a column by more than a factor of
    about seven and a row far outside the data still gets a finite log-density.
    """

    N_PARAMETERS = 2
    MAX_LOG_SCALE = 2.0

    def elementwise(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        s, t = theta.unbind(1)
        s, r = squash(s, self.MAX_LOG_SCALE)
        scale = s.exp()
        if inverse:
            x = (x - t) / scale
            return x, -s, (x, scale, r)
        return torch.addcmul(t, x, scale), s, (x, scale, r)

    def elementwise_gradients(self, saved: Any, grad_z: Tensor, grad_log_slope: Tensor) -> tuple[Tensor, Tensor]:
        x, scale, r = saved
        grad_x = grad_z * scale
        grad_s = torch.addcmul(grad_log_slope, grad_x, x) * r.pow(3)
        return grad_x, torch.stack([grad_s, grad_z], 1)


class SplineCoupling(Coupling):
    """The neural spline flow's coupling: ``f`` is a monotone rational-quadratic spline, of slope one outside a box.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows", NeurIPS 2019, arXiv:1906.04032.
    """

    N_BINS = 8
    N_PARAMETERS = 3 * N_BINS - 1  # widths, heights and the slopes at the inner knots
    BOX = 5.0  # the spline acts on [-BOX, BOX], in standardised units

    def elementwise(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        return spline.rational_quadratic_spline(x, theta, self.BOX, inverse)

    def elementwise_gradients(self, saved: Any, grad_z: Tensor, grad_log_slope: Tensor) -> tuple[Tensor, Tensor]:
        return spline.gradients(saved, grad_z, grad_log_slope)
