"""Settings to flows: the one place where a name becomes a part."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .base import StandardNormal
from .conditioner import Conditioner
from .coupling import AffineCoupling, Coupling, SplineCoupling
from .elementwise import Standardize
from .flow import Flow
from .linear import Permute
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
        Kind of the coupling.
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

    body: Transform = Chain(*_couplings(masks, make_coupling))
    if len(columns) < len(loc):
        body = Select(body, columns)
    flow = Flow(Chain(Standardize(loc, scale), body), StandardNormal(len(loc)), n_members=len(masks))
    return flow.to(loc.dtype)


def _couplings(masks: Tensor, make_coupling: Callable[[int, bool], Coupling]) -> list[Transform]:
    """A coupling per mask, with the fewest permutations: none where a layer takes turns with the one before it."""
    transforms: list[Transform] = []
    order = torch.arange(masks.shape[-1]).expand(len(masks), -1)  # which column now stands where
    previous, n_first, flip = None, 0, False
    for keep in masks.unbind(1):
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
