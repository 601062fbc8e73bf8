"""Flows of tables, from their settings."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..bases import Base, PointMass, Product, StandardNormal
from ..bases.product import other_columns
from ..combine import Chain, Select
from ..flow import Flow
from ..layers import (
    AffineCoupling,
    BatchNorm,
    Coupling,
    LogisticToNormal,
    LULinear,
    NormalScores,
    Permute,
    Planar,
    SplineCoupling,
    Standardize,
    Unconstrain,
)
from ..networks import Conditioner
from ..transform import Transform
from .parts import MakeBase, MakeCoupling, coupling_maker, make_base, without_conditioner

CONSTANT_TOLERANCE = 8.0  # A number within this many rounding errors of a constant counts as the constant.

BEND_SCALE = 4.0  # The box of the splines that bend bounded columns is this many times as large as that of couplings.


def real_nvp(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    masks: Tensor,
    *,
    hidden_layer_sizes: Sequence[int] = (32, 32),
    activation: str = "silu",
    coupling: str | MakeCoupling = "spline",
    base: str | MakeBase = "normal",
    batch_norm: bool = False,
    n_context: int = 0,
    max_log_scale: float = AffineCoupling.MAX_LOG_SCALE,
    scores: tuple[Tensor, Tensor, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> Flow:
    """Build a Real NVP flow per member: it standardises, then applies couplings to the columns that vary.

    Parameters
    ----------
    loc, scale : Tensor of shape (n_features,)
        The location and the scale of the data, whose dtype the flow has.
    columns : Tensor of shape (n_varying,), dtype int64
        The columns that vary, to which couplings are applied. Every other column is constant: all its probability lies
        at its location.
    masks : Tensor of shape (n_members, n_layers, n_varying), dtype bool
        True where a column conditions; see `masks`. A single column has nothing to condition on. It is transformed in
        every layer, by splines if ``coupling`` is a name: scaling and shifting a normal column gives a normal one.
    hidden_layer_sizes : sequence of int, default=(32, 32)
        The widths of the hidden layers of each coupling's network.
    activation : {"elu", "leaky_relu", "relu", "silu", "tanh"}, default="silu"
        The function that follows each hidden layer.
    coupling : {"affine", "spline"} or callable, default="spline"
        The kind of the couplings: a name, a subclass of `Coupling`, or a function that makes one. An `LULinear` stands
        between every two spline couplings, as in the paper on them, since splines do not scale what lies outside their
        box.
    base : "normal" or callable, default="normal"
        The distribution of the noise: a name, or a subclass of `Base` or another function of the number of columns that
        makes one.
    batch_norm : bool, default=False
        Whether to put a `BatchNorm` between every two couplings.
    n_context : int, default=0
        The number of columns of the context that conditions every coupling.
    max_log_scale : float, default=2.0
        The bound of the logarithm by which an affine coupling scales a column. The less deep stacks may stretch in all,
        the less far they throw rows beside the data.
    scores : tuple (knots, scores, slopes) of Tensor, optional
        The splines that map the columns that vary to normal scores, for the last members; see `NormalScores`.
    generator : torch.Generator, optional
        The source of the initial weights.

    Examples
    --------
    >>> import torch
    >>> from sknvp.flows import masks, real_nvp
    >>> generator = torch.Generator().manual_seed(0)
    >>> keep = masks.random(n_members=4, n_layers=2, n_features=3, generator=generator)
    >>> flow = real_nvp(torch.zeros(3), torch.ones(3), torch.arange(3), keep, generator=generator)
    >>> x = torch.ones(10, 3)
    >>> flow.log_prob(x).shape  # (n_members, n_rows)
    torch.Size([4, 10])
    >>> z, log_det = flow.transform(x.expand(4, 10, 3))
    >>> z.shape, log_det.shape
    (torch.Size([4, 10, 3]), torch.Size([4, 10]))
    """
    if len(columns) == 1:
        coupling, masks = "spline" if isinstance(coupling, str) else coupling, torch.zeros_like(masks)
    make, kind = coupling_maker(coupling), without_conditioner(coupling)
    bound: dict[str, Any] = {"max_log_scale": max_log_scale} if make is AffineCoupling else {}

    def make_coupling(n_first: int, flip: bool) -> Coupling:
        n_rest = masks.shape[-1] - n_first
        n_inputs, n_transformed = (n_rest, n_first) if flip else (n_first, n_rest)
        n_outputs = kind.N_PARAMETERS * n_transformed
        conditioner = Conditioner(
            n_inputs + n_context, n_outputs, hidden_layer_sizes, activation, len(masks), generator
        )
        return make(conditioner, n_first, flip, **bound)

    def between() -> list[Transform]:
        shape = len(masks), len(columns)
        return [*([BatchNorm(*shape)] if batch_norm else []), *([LULinear(*shape)] if kind.LINEAR_BETWEEN else [])]

    margins = [] if scores is None else [NormalScores(len(masks), *scores)]
    body = Chain(*margins, *_couplings(masks, make_coupling, between))
    return standardized(loc, scale, columns, body, make_base(base, len(columns)), n_members=len(masks))


def bounded_real_nvp(low: Tensor, high: Tensor, **settings: Any) -> Flow:
    """Build a Real NVP flow of bounded columns, which makes them unbounded, then bends each of them, then couples all.

    `Unconstrain` and `LogisticToNormal` give a column with bounds the tails of a normal distribution. A trained spline
    bends it in between, since couplings do not bend a column that depends on no other. Columns without a bound meet
    none of these.

    Parameters
    ----------
    low, high : Tensor of shape (n_features,)
        The bounds, which may be infinite.
    **settings
        The settings of `real_nvp`. Location and scale are those of the unbounded columns.
    """
    flow = real_nvp(**settings)
    columns = (low.isfinite() | high.isfinite()).nonzero().flatten()
    to_normal = Chain(Unconstrain(low, high), Select(LogisticToNormal(), columns))
    standardize, body = flow.transform.get_submodule("transforms").children()
    bend = Select(_bend(flow.n_members, len(columns)), columns)
    transform = Chain(to_normal, standardize, bend, body)  # type: ignore[arg-type]
    return Flow(transform, flow.base, flow.n_members).to(low.dtype)


def _bend(n_members: int, n_features: int) -> Chain:
    """Build a spline for each column, which starts as the identity and acts between -20 and 20."""
    n_outputs = SplineCoupling.N_PARAMETERS * n_features
    spline = SplineCoupling(Conditioner(0, n_outputs, (), "silu", n_members, None), n_first=0)
    loc, scale = torch.zeros(n_features), torch.full((n_features,), BEND_SCALE)
    return Chain(Standardize(loc, scale), spline, Standardize(loc, 1 / scale))


def planar_flow(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    *,
    n_layers: int,
    n_members: int = 1,
    generator: torch.Generator | None = None,
) -> Flow:
    """Build a planar flow per member: it standardises, then applies planar layers to the columns that vary.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `real_nvp`.
    n_layers : int
        The number of planar layers.
    n_members : int, default=1
        The number of independent flows.
    generator : torch.Generator, optional
        The source of the initial weights.
    """
    body = Chain(*(Planar(n_members, len(columns), generator) for _ in range(n_layers)))
    return standardized(loc, scale, columns, body, StandardNormal(len(columns)), n_members)


def standardized(loc: Tensor, scale: Tensor, columns: Tensor, body: Transform, base: Base, n_members: int) -> Flow:
    """Build a flow that standardises, and then applies ``body`` and ``base`` to the chosen columns.

    All probability of the other columns lies at their locations, up to rounding errors.
    """
    if len(columns) < len(loc):
        others = other_columns(columns, len(loc))
        body, base = Select(body, columns), Product(base, columns, point_masses(loc[others], scale[others]))
    return Flow(Chain(Standardize(loc, scale), body), base, n_members).to(loc.dtype)


def point_masses(loc: Tensor, scale: Tensor) -> PointMass:
    """Return the distribution of constant columns in standardised units, with room for rounding errors."""
    return PointMass(CONSTANT_TOLERANCE * torch.finfo(loc.dtype).eps * loc.abs() / scale)


def without_standardization(flow: Flow) -> Flow:
    """Return the flow of rows that are standardised already; it shares its parts with ``flow``, which is built here."""
    _, body = flow.transform.get_submodule("transforms").children()
    return Flow(body, flow.base, flow.n_members)  # type: ignore[arg-type]


def _couplings(
    masks: Tensor, make_coupling: Callable[[int, bool], Coupling], between: Callable[[], list[Transform]]
) -> list[Transform]:
    """Make a coupling per mask, with the fewest permutations.

    No permutation is needed where a mask is the opposite of the one before it.
    """
    transforms: list[Transform] = []
    order = torch.arange(masks.shape[-1]).expand(len(masks), -1)  # Each number is that of the column at this place.
    previous, n_first, flip = None, 0, False
    for keep in masks.unbind(1):
        transforms += between() if transforms else []
        if previous is not None and torch.equal(keep, ~previous):
            flip = not flip
        else:
            wanted = torch.argsort(~keep, dim=-1, stable=True)  # The columns that condition come first.
            transforms += _rearrange(order, wanted)
            order, n_first, flip = wanted, int(keep[0].sum()), False
        transforms.append(make_coupling(n_first, flip))
        previous = keep
    return transforms + _rearrange(order, torch.arange(masks.shape[-1]).expand(len(masks), -1))


def _rearrange(order: Tensor, wanted: Tensor) -> list[Transform]:
    """Return the permutation from one order of the columns to another, or nothing if they agree."""
    return [] if torch.equal(order, wanted) else [Permute(torch.argsort(order, -1).gather(-1, wanted))]
