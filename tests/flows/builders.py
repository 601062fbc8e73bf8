"""Transforms and flows with random weights, for the tests to try laws on."""

import math

import torch

from sknvp.flows import (
    AffineCoupling,
    BatchNorm,
    Bounded,
    Chain,
    Conditioner,
    Flow,
    Inverse,
    LULinear,
    Permute,
    Planar,
    Select,
    SplineCoupling,
    Standardize,
    Whiten,
    masks,
    planar_flow,
    real_nvp,
)

DTYPE = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=DTYPE, generator=generator(seed))


def gradients_of(source, *args, **kwargs):
    """What the ``gradients`` of a flow or an objective return, and the gradients that they find."""
    out = [torch.full_like(part, torch.nan) for part in getattr(source, "flow", source).parameters()]
    return source.gradients(out, *args, **kwargs), out


def shaken(module, size=1.0, seed=0):
    """The module with normal noise of standard deviation `size` / sqrt(fan in) as its parameters."""
    source = generator(seed)
    with torch.no_grad():
        for part in module.parameters():
            fan_in = max(1, part.shape[-2])
            part.copy_(torch.randn(part.shape, dtype=DTYPE, generator=source) * size / fan_in**0.5)
    return module


def coupling(kind, n_members, n_features, n_first=None, flip=False, n_context=0, hidden=(8,)):
    n_first = (n_features + 1) // 2 if n_first is None else n_first
    n_rest = n_features - n_first
    n_inputs, n_transformed = (n_rest, n_first) if flip else (n_first, n_rest)
    conditioner = Conditioner(
        n_inputs + n_context, kind.N_PARAMETERS * n_transformed, hidden, "tanh", n_members, generator()
    )
    return kind(conditioner, n_first, flip)


def permutation(n_members, n_features):
    return Permute(torch.rand(n_members, n_features, generator=generator()).argsort(-1))


def whole_flow(
    n_members,
    n_features,
    kind="affine",
    mask="random",
    n_layers=4,
    hidden=(8,),
    activation="tanh",
    n_context=0,
    batch_norm=False,
    columns=None,
) -> Flow:
    loc = torch.linspace(-1, 2, n_features, dtype=DTYPE)
    scale = torch.linspace(0.5, 3, n_features, dtype=DTYPE)
    columns = torch.arange(n_features) if columns is None else torch.tensor(columns)
    keep = masks.MASKS[mask](n_members, n_layers, len(columns), generator())
    return real_nvp(
        loc,
        scale,
        columns,
        keep,
        hidden_layer_sizes=hidden,
        activation=activation,
        coupling=kind,
        batch_norm=batch_norm,
        n_context=n_context,
        generator=generator(),
    )


def whitening(n_members, n_features):
    upper = torch.triu(randn(n_members, n_features, n_features), 1)
    return Whiten(randn(n_members, n_features), upper + torch.diag_embed(randn(n_members, n_features, seed=1).exp()))


def bounded(n_features):
    """Columns in turn bounded on both sides, below, above and not at all; near enough to the bounds to bend."""
    low, high = torch.tensor([[-20, -15, -math.inf, -math.inf], [25, math.inf, 20, math.inf]], dtype=DTYPE)
    turn = torch.arange(n_features) % 4
    return Bounded(low[turn], high[turn])


def batch_norm(n_members, n_features):
    """As it is after training on some batches."""
    layer = BatchNorm(n_members, n_features)
    for seed in range(9):
        layer(randn(n_members, 20, n_features, seed=seed) * 3 + 1)
    return layer.eval()


def planar(n_members, n_features, w, u, b=0.5):
    """A planar layer with the same w, u and b for all members; numbers stand for columns of them."""
    layer = Planar(n_members, n_features)
    with torch.no_grad():
        for part, value in zip((layer.w, layer.u, layer.b), (w, u, b), strict=True):
            part.copy_(torch.as_tensor(value, dtype=DTYPE))
    return layer


def planar_layers(n_members, n_features, n_layers=4) -> Flow:
    loc, scale = torch.zeros(n_features, dtype=DTYPE), torch.ones(n_features, dtype=DTYPE)
    columns = torch.arange(n_features)
    return planar_flow(loc, scale, columns, n_layers=n_layers, n_members=n_members, generator=generator())


# Each takes n_members and n_features and gives a transform whose contract the tests check.
TRANSFORMS = {
    "standardize": lambda m, d: Standardize(randn(d), randn(d).exp()),
    "bounded": lambda m, d: bounded(d),
    "permute": permutation,
    "LU linear": LULinear,
    "whiten, one a member": whitening,
    "whiten, one for all": lambda m, d: whitening(1, d),
    "batch norm": batch_norm,
    "affine coupling": lambda m, d: coupling(AffineCoupling, m, d),
    "affine coupling, flipped": lambda m, d: coupling(AffineCoupling, m, d, flip=True),
    "affine coupling, nothing conditions": lambda m, d: coupling(AffineCoupling, m, d, n_first=0),
    "affine coupling, nothing transformed": lambda m, d: coupling(AffineCoupling, m, d, n_first=d),
    "spline coupling": lambda m, d: coupling(SplineCoupling, m, d),
    "spline coupling, flipped": lambda m, d: coupling(SplineCoupling, m, d, flip=True),
    "spline coupling, nothing conditions": lambda m, d: coupling(SplineCoupling, m, d, n_first=0),
    "chain": lambda m, d: Chain(permutation(m, d), coupling(AffineCoupling, m, d), coupling(SplineCoupling, m, d)),
    "empty chain": lambda m, d: Chain(),
    "inverse": lambda m, d: Inverse(coupling(AffineCoupling, m, d)),
    "select": lambda m, d: Select(coupling(AffineCoupling, m, (d + 1) // 2), torch.arange(0, d, 2)),
    "real nvp, affine": lambda m, d: whole_flow(m, d).transform,
    "real nvp, spline": lambda m, d: whole_flow(m, d, kind="spline").transform,
    "real nvp, batch norm": lambda m, d: whole_flow(m, d, batch_norm=True).transform.eval(),
    "real nvp, alternating": lambda m, d: whole_flow(m, d, mask="alternating").transform,
    "real nvp, first column only": lambda m, d: whole_flow(m, d, columns=[0]).transform,
    "real nvp, half": lambda m, d: whole_flow(m, d, mask="half").transform,
    "planar": Planar,
    "planar flow": lambda m, d: planar_layers(m, d).transform,
}

# The same, with weights that the tests leave as they are.
WITH_WEIGHTS = {
    "planar, weights times 20": lambda m, d: shaken(Planar(m, d), size=10),
    "planar, u along w": lambda m, d: planar(m, d, w=2.0, u=3.0),
    "planar, u against w": lambda m, d: planar(m, d, w=1.0, u=-1.0),
    "planar, u far against w": lambda m, d: planar(m, d, w=20.0, u=-20.0),
    "planar, w zero": lambda m, d: planar(m, d, w=0.0, u=1.0, b=0.0),
    "planar, u zero": lambda m, d: planar(m, d, w=1.0, u=0.0),
    "planar, w tiny": lambda m, d: planar(m, d, w=1e-200, u=1.0, b=0.0),
}
