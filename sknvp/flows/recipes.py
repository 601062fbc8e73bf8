"""Settings to flows: the one place where a name becomes a part."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .base import Base, Beside, GaussianMixture, Kernels, StandardNormal, StudentT
from .conditioner import Conditioner
from .coupling import AffineCoupling, Coupling, SplineCoupling
from .elementwise import Bounded, Standardize
from .flow import Flow
from .linear import LULinear, Permute, Regression, Whiten
from .multiscale import image_real_nvp
from .normalization import BatchNorm
from .planar import Planar
from .transform import Chain, Select, Transform

COUPLINGS: dict[str, type[Coupling]] = {"affine": AffineCoupling, "spline": SplineCoupling}


def real_nvp(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    masks: Tensor,
    *,
    hidden_layer_sizes: Sequence[int] = (64, 64),
    activation: str = "silu",
    coupling: str = "affine",
    batch_norm: bool = False,
    n_context: int = 0,
    generator: torch.Generator | None = None,
) -> Flow:
    """A Real NVP flow per member: standardise, then couplings on the columns that vary.

    Parameters
    ----------
    loc, scale : Tensor of shape (n_features,)
        Location and scale of the data; the flow has their dtype.
    columns : Tensor of shape (n_varying,), dtype int64
        The columns that couplings act on; the others stay standard normal in standardised units.
    masks : Tensor of shape (n_members, n_layers, n_varying), dtype bool
        True where a column conditions. A single column has nothing to condition on: it is transformed in every layer,
        and always by splines, since nothing but a normal distribution could come from scaling and shifting it.
    hidden_layer_sizes, activation
        Of the conditioners.
    coupling : {"affine", "spline"}
        Kind of the coupling. Between every two splines stands an `LULinear`, as in the paper on them: splines leave
        what is outside their box as it is, and this scales it.
    batch_norm : bool, default=False
        Whether to put a `BatchNorm` between every two couplings.
    n_context : int, default=0
        Number of columns of the context that conditions every coupling.
    generator : torch.Generator, optional
        Source of the initial weights.
    """
    if len(columns) == 1:
        coupling, masks = "spline", torch.zeros_like(masks)
    layer = COUPLINGS[coupling]

    def make_coupling(n_first: int, flip: bool) -> Coupling:
        n_rest = masks.shape[-1] - n_first
        n_inputs, n_transformed = (n_rest, n_first) if flip else (n_first, n_rest)
        n_outputs = layer.N_PARAMETERS * n_transformed
        conditioner = Conditioner(
            n_inputs + n_context, n_outputs, hidden_layer_sizes, activation, len(masks), generator
        )
        return layer(conditioner, n_first, flip)

    def between() -> list[Transform]:
        shape = len(masks), len(columns)
        return [*([BatchNorm(*shape)] if batch_norm else []), *([LULinear(*shape)] if coupling == "spline" else [])]

    body = Chain(*_couplings(masks, make_coupling, between))
    return _flow(loc, scale, columns, body, StandardNormal(len(columns)), n_members=len(masks))


def bounded_real_nvp(low: Tensor, high: Tensor, **settings: Any) -> Flow:
    """`real_nvp`, of those settings, behind a `Bounded`: its location and scale are those of columns without bounds."""
    flow = real_nvp(**settings)
    return Flow(Chain(Bounded(low, high), flow.transform), flow.base, flow.n_members)


def planar_flow(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    *,
    n_layers: int,
    n_members: int = 1,
    generator: torch.Generator | None = None,
) -> Flow:
    """A planar flow per member: standardise, then planar layers on the columns that vary; see `real_nvp` for those."""
    body = Chain(*(Planar(n_members, len(columns), generator) for _ in range(n_layers)))
    return _flow(loc, scale, columns, body, StandardNormal(len(columns)), n_members)


def gaussian_mixture(
    loc: Tensor, scale: Tensor, columns: Tensor, log_weights: Tensor, means: Tensor, precisions_cholesky: Tensor
) -> Flow:
    """A Gaussian mixture per member, in standardised units; see `base.GaussianMixture` for the last three."""
    base = GaussianMixture(log_weights, means, precisions_cholesky)
    return _flow(loc, scale, columns, Chain(), base, n_members=len(means))


def kernels(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    mean: Tensor,
    precision_cholesky: Tensor,
    points: Tensor,
    log_weights: Tensor,
    bandwidth: float,
) -> Flow:
    """Normal kernels on points, all in the coordinates of `linear.Whiten`; the points have shape (n_points, d)."""
    whiten = Whiten(mean, precision_cholesky)
    base = Kernels(whiten(points.expand(len(mean), -1, -1))[0], log_weights, bandwidth)
    return _flow(loc, scale, columns, whiten, base, n_members=len(mean))


def student_t(
    loc: Tensor, scale: Tensor, columns: Tensor, mean: Tensor, precision_cholesky: Tensor, degrees_of_freedom: int
) -> Flow:
    """A multivariate t-distribution per member, in the coordinates of `linear.Whiten`."""
    base = StudentT(len(columns), degrees_of_freedom)
    return _flow(loc, scale, columns, Whiten(mean, precision_cholesky), base, n_members=len(mean))


def linear_regression(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    coefficients: Tensor,
    mean: Tensor,
    precision_cholesky: Tensor,
    degrees_of_freedom: int,
) -> Flow:
    """A multivariate t-distribution per member around a linear map of the context, see `linear.Regression`."""
    base = StudentT(len(columns), degrees_of_freedom)
    body = Chain(Regression(coefficients), Whiten(mean, precision_cholesky))
    return _flow(loc, scale, columns, body, base, n_members=len(mean))


def _flow(loc: Tensor, scale: Tensor, columns: Tensor, body: Transform, base: Base, n_members: int) -> Flow:
    """Standardise, then ``body`` and ``base`` on the chosen columns; the others are standard normal."""
    if len(columns) < len(loc):
        body, base = Select(body, columns), Beside(base, columns, len(loc))
    return Flow(Chain(Standardize(loc, scale), body), base, n_members).to(loc.dtype)


def of_standardised(flow: Flow) -> Flow:
    """The flow of rows that are standardised already; it shares its parts with that of rows, made here."""
    _, body = flow.transform.get_submodule("transforms").children()
    return Flow(body, flow.base, flow.n_members)  # type: ignore[arg-type]


def _couplings(
    masks: Tensor, make_coupling: Callable[[int, bool], Coupling], between: Callable[[], list[Transform]]
) -> list[Transform]:
    """A coupling per mask, with the fewest permutations: none where a layer takes turns with the one before it."""
    transforms: list[Transform] = []
    order = torch.arange(masks.shape[-1]).expand(len(masks), -1)  # which column now stands where
    previous, n_first, flip = None, 0, False
    for keep in masks.unbind(1):
        transforms += between() if transforms else []
        if previous is not None and torch.equal(keep, ~previous):
            flip = not flip
        else:
            wanted = torch.argsort(~keep, dim=-1, stable=True)  # those that condition first
            transforms += _rearrange(order, wanted)
            order, n_first, flip = wanted, int(keep[0].sum()), False
        transforms.append(make_coupling(n_first, flip))
        previous = keep
    return transforms + _rearrange(order, torch.arange(masks.shape[-1]).expand(len(masks), -1))


def _rearrange(order: Tensor, wanted: Tensor) -> list[Transform]:
    """The permutation from one order of the columns to another, or nothing if they agree."""
    return [] if torch.equal(order, wanted) else [Permute(torch.argsort(order, -1).gather(-1, wanted))]


FLOWS: dict[str, Callable[..., Flow]] = {
    "bounded_real_nvp": bounded_real_nvp,
    "image_real_nvp": image_real_nvp,
    "planar_flow": planar_flow,
    "real_nvp": real_nvp,
}
EXPERTS: dict[str, Callable[..., Flow]] = {
    "gaussian_mixture": gaussian_mixture,
    "kernels": kernels,
    "linear_regression": linear_regression,
    "student_t": student_t,
}
