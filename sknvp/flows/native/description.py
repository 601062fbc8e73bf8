"""Descriptions of the layers that the native library knows."""

from torch import nn

from ..layers.coupling import AffineCoupling, Coupling, SplineCoupling
from ..layers.elementwise import Standardize
from ..layers.linear import LULinear, Permute
from ..layers.normal_scores import NormalScores
from ..networks.perceptron import Conditioner
from .structures import MAX_DENSE, Layer

KINDS: dict[type, int] = {
    kind: number
    for number, kind in enumerate((Standardize, NormalScores, Permute, LULinear, AffineCoupling, SplineCoupling))
}
BUFFERS: dict[type, tuple[str, ...]] = {
    Standardize: ("loc", "scale"),
    NormalScores: ("knots", "scores", "slopes"),
    Permute: ("rows",),
}
ACTIVATIONS = {"relu": 0, "silu": 1, "tanh": 2, "elu": 3, "leaky_relu": 4}
N_BINS = 8  # The library knows only splines with this many bins.


def describe(transform: nn.Module, n_members: int, n_features: int, n_context: int) -> Layer:
    """Describe a transform; raise a ValueError if the library does not know it."""
    layer = Layer(kind=KINDS.get(type(transform), -1), n_parts=len(list(transform.parameters())))
    if isinstance(transform, Standardize):
        known = transform.loc.shape == transform.scale.shape == (n_features,)
    elif isinstance(transform, NormalScores):
        layer.n_plain, layer.n_knots = transform.n_plain, transform.knots.shape[2]
        shape = n_members - layer.n_plain, n_features, layer.n_knots
        known = all(table.shape == shape for table in transform.buffers()) and layer.n_plain >= 0 and layer.n_knots > 1
    elif isinstance(transform, Permute):
        known = (transform.n_members, transform.n_features) == (n_members, n_features)
    elif isinstance(transform, LULinear):
        known = transform.weight.shape == (n_members, n_features, n_features)
        layer.bound = transform.MAX_LOG_SCALE
    elif isinstance(transform, AffineCoupling | SplineCoupling):
        known = _describe_coupling(layer, transform, n_members, n_features, n_context)
    if layer.kind < 0 or not known:
        raise ValueError(f"the native library does not know {transform}")
    return layer


def _describe_coupling(layer: Layer, coupling: Coupling, n_members: int, n_features: int, n_context: int) -> bool:
    """Describe a coupling; return whether the library knows it."""
    conditioner = coupling.conditioner
    if type(conditioner) is not Conditioner or getattr(coupling, "N_BINS", N_BINS) != N_BINS:
        return False
    weights = list(conditioner.parameters())[: layer.n_parts // 2]
    if len(weights) > MAX_DENSE:
        return False
    sizes = [weights[0].shape[2], *(weight.shape[1] for weight in weights)]
    n_b = coupling.n_first if coupling.flip else n_features - coupling.n_first
    layer.n_first, layer.flip, layer.n_dense = coupling.n_first, coupling.flip, len(weights)
    layer.activation = ACTIVATIONS[conditioner.activation]
    layer.bound = coupling.BOX if isinstance(coupling, SplineCoupling) else coupling.max_log_scale
    layer.sizes[: len(sizes)] = sizes
    fits = (sizes[0], sizes[-1]) == (n_features - n_b + n_context, coupling.N_PARAMETERS * n_b)
    return fits and len(weights[0]) == n_members
