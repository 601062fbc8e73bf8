"""Coupling layers: some columns choose an element-wise map for the others."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ..networks.perceptron import Conditioner
from ..networks.soft_clip import soft_clip
from ..transform import AnalyticTransform, gradients_of
from . import spline


class CouplingResiduals(NamedTuple):
    """The residuals of a coupling."""

    inverse: bool  # True for the direction from noise to data.
    log_slope: Tensor  # The logarithm of the slope of the element-wise map, in the direction evaluated.
    conditioner: Any  # The residuals of the conditioner.
    elementwise: Any  # The residuals of the element-wise map.


class ElementwiseGraph(NamedTuple):
    """The residuals of an element-wise map whose gradients come from autograd.

    They belong to ``f``, also if the inverse function was evaluated.
    """

    x: Tensor  # The argument of f, which is a leaf of the graph.
    theta: Tensor  # The parameters of f, which are a leaf of the graph too.
    z: Tensor  # The value f(x), with the graph that leads to it.
    log_slope: Tensor  # The log-slope log f'(x), with the graph that leads to it.


class Coupling(AnalyticTransform):
    """Map ``z_a = x_a`` and ``z_b = f(x_b; theta(x_a, context))``, with ``f`` element-wise and increasing.

    The Jacobian is triangular, so its log-determinant is the sum of ``log f'`` over the columns b, and the inverse
    needs no inverse of the network theta.

    Parameters
    ----------
    conditioner : Conditioner
        The network theta.
    n_first : int
        The coupling splits the columns into the first ``n_first`` columns and the rest.
    flip : bool, default=False
        If False, the first columns condition (a) and the rest is transformed (b); if True, the other way round.

    Notes
    -----
    To write a coupling, derive from this class and give:

    1. ``N_PARAMETERS``, the number of parameters that ``f`` has for each element: an attribute of the class, or one
       that its constructor sets.
    2. ``elementwise(x, theta, inverse)``, made of PyTorch's operations, which returns the image and the logarithm of
       the slope. Autograd finds the gradients, from ``f`` alone, so that its inverse function may be a search for the
       root. Let ``f`` be the identity where all parameters are zero, since flows start there. Nothing but the
       parameters is learned.
    3. ``LINEAR_BETWEEN = True`` if an `LULinear` is to stand between every two of these couplings. That helps where
       ``f`` cannot scale a column.

    Estimators take the class as ``coupling=MyCoupling``; so does `real_nvp`. They also take a function of
    ``(conditioner, n_first, flip)`` that returns a coupling, such as ``functools.partial(MyCoupling, setting=3)``. Put
    either in a module that can be imported, as pickles name it. Before a fit, ``elementwise`` is tried on a few
    numbers: its shapes, its inverse, and its slope against differences. The native library knows `AffineCoupling` and
    `SplineCoupling` alone; PyTorch does the work for others. Estimators call ``elementwise`` from several threads at
    once, so that it must not keep anything on ``self``. Where gradients by hand pay, define
    `elementwise_with_residuals` and `elementwise_vjp` too.

    References
    ----------
    Dinh, Krueger and Bengio, "NICE: Non-linear Independent Components Estimation", ICLR 2015 workshop, arXiv:1410.8516.
    Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", ICLR 2017, arXiv:1605.08803.

    Examples
    --------
    Additive coupling, the layer of NICE, which shifts columns:

    >>> import torch
    >>> from sknvp.flows import Coupling, masks, real_nvp
    >>> class AdditiveCoupling(Coupling):
    ...     N_PARAMETERS = 1
    ...     LINEAR_BETWEEN = True
    ...
    ...     def elementwise(self, x, theta, inverse):
    ...         (shift,) = theta.unbind(1)
    ...         return x - shift if inverse else x + shift, torch.zeros_like(x)
    >>> keep = masks.alternating(n_members=1, n_layers=2, n_features=3)
    >>> flow = real_nvp(torch.zeros(3), torch.ones(3), torch.arange(3), keep, coupling=AdditiveCoupling)
    >>> flow.log_prob(torch.ones(10, 3)).shape
    torch.Size([1, 10])
    """

    N_PARAMETERS: int  # The number of parameters of each element.
    LINEAR_BETWEEN: ClassVar[bool] = False  # Whether an `LULinear` stands between every two of these couplings.

    def __init__(self, conditioner: Conditioner, n_first: int, flip: bool = False) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.n_first = n_first
        self.flip = flip

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        a, b = self.split(x)
        theta, of_conditioner = self.conditioner.forward_with_residuals(_conditioner_input(a, context))
        z, log_slope, of_elementwise = self.elementwise_with_residuals(b, self._parameters_of(theta, b), inverse)
        residuals = CouplingResiduals(inverse, log_slope, of_conditioner, of_elementwise)
        return self.join(a, z), log_slope.sum(1), residuals

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        a, b = self.split(x)
        theta = self.conditioner(_conditioner_input(a, context))
        z, log_slope = self.elementwise(b, self._parameters_of(theta, b), inverse)
        return self.join(a, z), log_slope.sum(1)

    def vjp(
        self, residuals: CouplingResiduals, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        inverse, log_slope, of_conditioner, of_elementwise = residuals
        grad_a, grad_z = self.split(grad_image)
        grad_log_slope = grad_log_det.unsqueeze(1)  # The log-determinant is the sum of the log-slopes.
        if inverse:
            # By the implicit function theorem, x = f^-1(z) moves by (dz - df) / f' when z moves by dz and theta moves f
            # by df. The log-slope of the inverse is -log f'(x).
            grad_x = grad_z + self.elementwise_vjp(of_elementwise, torch.zeros_like(grad_z), -grad_log_slope)[0]
            grad_b = grad_x * log_slope.exp()
            _, grad_theta = self.elementwise_vjp(of_elementwise, -grad_b, -grad_log_slope)
        else:
            grad_b, grad_theta = self.elementwise_vjp(of_elementwise, grad_z, grad_log_slope)
        grad_inputs = self.conditioner.vjp(of_conditioner, grad_theta.flatten(1, 2), out)
        n_a = grad_a.shape[1]
        grad_context = grad_inputs[:, n_a:] if grad_inputs.shape[1] > n_a else None
        return self.join(grad_a + grad_inputs[:, :n_a], grad_b), grad_context

    def elementwise(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Evaluate ``f`` or its inverse function.

        Parameters
        ----------
        x : Tensor of shape (n_members, n_columns, n_rows)
            Where to evaluate.
        theta : Tensor of shape (n_members, N_PARAMETERS, n_columns, n_rows)
            The parameters of ``f`` for each element.
        inverse : bool
            Whether to evaluate the inverse function.

        Returns
        -------
        image, log_slope : Tensor of shape (n_members, n_columns, n_rows)
            The value of the function evaluated and the logarithm of its slope.
        """
        raise NotImplementedError

    def elementwise_with_residuals(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        """Return the results of `elementwise`, and the residuals that `elementwise_vjp` needs."""
        if inverse:
            with torch.no_grad():
                x, _ = self.elementwise(x, theta, True)
        with torch.inference_mode(False), torch.enable_grad():
            x, theta = (part.clone().detach().requires_grad_() for part in (x, theta))
            z, log_slope = self.elementwise(x, theta, False)
        graph = ElementwiseGraph(x, theta, z, log_slope)
        return (x.detach(), -log_slope.detach(), graph) if inverse else (z.detach(), log_slope.detach(), graph)

    def elementwise_vjp(self, residuals: Any, grad_z: Tensor, grad_log_slope: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients of ``x`` and ``theta`` from the gradients of ``f(x)`` and ``log f'(x)``.

        It is the vector-Jacobian product of ``f`` even if `elementwise` has evaluated the inverse function.
        """
        x, theta, z, log_slope = residuals
        grad_x, grad_theta = gradients_of((z, log_slope), (grad_z, grad_log_slope), (x, theta))
        return grad_x, grad_theta

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split the columns into those that condition and those that are transformed."""
        first, rest = x[:, : self.n_first], x[:, self.n_first :]
        return (rest, first) if self.flip else (first, rest)

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        """Put the two parts of `split` together again."""
        return torch.cat([b, a] if self.flip else [a, b], 1)

    def _parameters_of(self, theta: Tensor, b: Tensor) -> Tensor:
        """Arrange the output of the conditioner as (n_members, N_PARAMETERS, n_columns, n_rows)."""
        return theta.view(b.shape[0], self.N_PARAMETERS, *b.shape[1:])

    def extra_repr(self) -> str:
        return f"n_first={self.n_first}, flip={self.flip}"


class AffineResiduals(NamedTuple):
    """The residuals of an affine map."""

    x: Tensor  # The argument of f.
    scale: Tensor  # The scale exp(s).
    r: Tensor  # The second result of `soft_clip` for s.


class AffineCoupling(Coupling):
    """Map ``z_b = x_b * exp(s(x_a)) + t(x_a)``, the coupling of Real NVP; one network computes s and t together.

    Parameters
    ----------
    conditioner, n_first, flip
        See `Coupling`.
    max_log_scale : float, default=2.0
        The bound of ``|s|``. With 2 no layer stretches or shrinks a column by more than a factor of about seven, so
        that a row far outside the data still has a finite log-density.
    """

    N_PARAMETERS = 2
    MAX_LOG_SCALE = 2.0

    def __init__(
        self, conditioner: Conditioner, n_first: int, flip: bool = False, max_log_scale: float = MAX_LOG_SCALE
    ) -> None:
        super().__init__(conditioner, n_first, flip)
        self.max_log_scale = max_log_scale

    def elementwise(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        image, log_slope, _ = self.elementwise_with_residuals(x, theta, inverse)
        return image, log_slope

    def elementwise_with_residuals(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        s, t = theta.unbind(1)
        s, r = soft_clip(s, self.max_log_scale)
        scale = s.exp()
        if inverse:
            x = (x - t) / scale
            return x, -s, AffineResiduals(x, scale, r)
        return torch.addcmul(t, x, scale), s, AffineResiduals(x, scale, r)

    def elementwise_vjp(
        self, residuals: AffineResiduals, grad_z: Tensor, grad_log_slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, scale, r = residuals
        grad_x = grad_z * scale
        grad_s = torch.addcmul(grad_log_slope, grad_x, x) * r.pow(3)
        return grad_x, torch.stack([grad_s, grad_z], 1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, max_log_scale={self.max_log_scale:.3g}"


class SplineCoupling(Coupling):
    """Transform by monotone rational-quadratic splines, as in neural spline flows; their slope outside a box is one.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows", NeurIPS 2019, arXiv:1906.04032.
    """

    N_BINS = 8
    N_PARAMETERS = 3 * N_BINS - 1  # These are the widths, the heights and the slopes at the inner knots.
    LINEAR_BETWEEN = True  # Splines do not scale what lies outside their box.
    BOX = 5.0  # The spline acts on [-BOX, BOX], in standardised units.

    def elementwise(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        image, log_slope, _ = self.elementwise_with_residuals(x, theta, inverse)
        return image, log_slope

    def elementwise_with_residuals(self, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        return spline.rational_quadratic_spline(x, theta, self.BOX, inverse)

    def elementwise_vjp(self, residuals: Any, grad_z: Tensor, grad_log_slope: Tensor) -> tuple[Tensor, Tensor]:
        return spline.vjp(residuals, grad_z, grad_log_slope)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, n_bins={self.N_BINS}, box={self.BOX}"


def _conditioner_input(a: Tensor, context: Tensor | None) -> Tensor:
    """Return the inputs of the conditioner: the columns that condition, and the context."""
    return a if context is None else torch.cat([a, context], 1)
