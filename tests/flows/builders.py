"""Transforms and flows with random weights, which the tests check laws on."""

import math

import torch

from sknvp.flows import (
    AffineCoupling,
    BatchNorm,
    Chain,
    Conditioner,
    Coupling,
    Flow,
    GaussianMixture,
    Inverse,
    Kernels,
    LogisticToNormal,
    LULinear,
    Permute,
    Planar,
    Select,
    SplineCoupling,
    Standardize,
    Transform,
    Unconstrain,
    Whiten,
    bounded_real_nvp,
    planar_flow,
    real_nvp,
)
from sknvp.flows.bases.expectation_maximization import precision_cholesky
from sknvp.flows.builders import masks
from sknvp.flows.layers import LowRankWhiten, NormalScores

DTYPE = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=DTYPE, generator=generator(seed))


def gradients_of(source, *args, **kwargs):
    """Return the log-density of a flow, or the loss of an objective, and the gradients that it writes."""
    out = [torch.full_like(part, torch.nan) for part in getattr(source, "flow", source).parameters()]
    function = source.log_prob_and_gradients if isinstance(source, Flow) else source.loss_and_gradients
    return function(out, *args, **kwargs), out


def shaken(module, size=1.0, seed=0):
    """Set the parameters of a module to normal noise of standard deviation `size` / sqrt(fan in), and return it."""
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


class SinhArcsinh(Transform):
    """A transform written the short way, ``z = sinh(asinh(x) exp(a) + b + sum(context))``; autograd does the rest."""

    def __init__(self, n_members, n_features):
        super().__init__()
        self.a = torch.nn.Parameter(torch.zeros(n_members, n_features, 1, dtype=DTYPE))
        self.b = torch.nn.Parameter(torch.zeros(n_members, n_features, 1, dtype=DTYPE))

    def evaluate(self, x, context, inverse):
        shift = self.b if context is None else self.b + context.sum(1, keepdim=True)
        if inverse:
            z, u = x, x.asinh()
            x = ((u - shift) * (-self.a).exp()).sinh()
        else:
            u = x.asinh() * self.a.exp() + shift
            z = u.sinh()
        log_det = (u.cosh().log() + self.a - 0.5 * x.square().log1p()).sum(1)
        return (x, -log_det) if inverse else (z, log_det)

    def extra_repr(self):
        return f"n_features={self.a.shape[1]}"


class StepCoupling(Coupling):
    """A coupling written the short way, ``z = x + a tanh(x) + t`` with ``|a| < 0.9``; its inverse is a bisection."""

    N_PARAMETERS = 2

    def elementwise(self, x, theta, inverse):
        size, shift = theta.unbind(1)
        size = 0.9 * size.tanh()
        if inverse:
            z, low, high = x, x - shift - 1, x - shift + 1
            for _ in range(50):
                x = (low + high) / 2
                above = x + size * x.tanh() + shift > z
                low, high = torch.where(above, low, x), torch.where(above, x, high)
            return x, -(1 + size / x.cosh().square()).log()
        return x + size * x.tanh() + shift, (1 + size / x.cosh().square()).log()


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
    max_log_scale=2.0,
    n_scored=0,
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
        max_log_scale=max_log_scale,
        scores=splines_to_scores(n_scored, len(columns)) if n_scored else None,
        generator=generator(),
    )


def splines_to_scores(n_mapped, n_features, n_knots=7):
    """Return the knots, scores and slopes of monotone splines that bend much."""
    knots, scores = (randn(n_mapped, n_features, n_knots, seed=seed).exp().cumsum(2) - 4 for seed in (1, 2))
    return knots, scores, randn(n_mapped, n_features, n_knots, seed=3).exp()


def whitening(n_members, n_features):
    upper = torch.triu(randn(n_members, n_features, n_features), 1)
    return Whiten(randn(n_members, n_features), upper + torch.diag_embed(randn(n_members, n_features, seed=1).exp()))


def low_rank_whitening(n_members, n_features):
    """Return a map of less than full rank; with a single column, of rank zero."""
    rank = n_features // 2
    directions = torch.linalg.qr(randn(n_members, n_features, n_features))[0][..., :rank]
    return LowRankWhiten(randn(n_members, n_features), directions, randn(n_members, rank, seed=1).exp(), 3.0)


def some_bounds(n_features):
    """Return bounds on both sides, below, above and on no side, column by column, near enough to matter."""
    low, high = torch.tensor([[-20, -15, -math.inf, -math.inf], [25, math.inf, 20, math.inf]], dtype=DTYPE)
    turn = torch.arange(n_features) % 4
    return low[turn], high[turn]


def bounded_flow(n_members, n_features, bounds=None, n_layers=3):
    loc, scale, columns = torch.zeros(n_features).to(DTYPE), torch.ones(n_features).to(DTYPE), torch.arange(n_features)
    keep = masks.random(n_members, 3, n_features, generator())[:, :n_layers]
    settings = {"hidden_layer_sizes": (8,), "coupling": "affine", "generator": generator()}
    bounds = some_bounds(n_features) if bounds is None else bounds
    return bounded_real_nvp(*bounds, loc=loc, scale=scale, columns=columns, masks=keep, **settings)


def batch_norm(n_members, n_features):
    """Return a layer that was trained on some batches."""
    layer = BatchNorm(n_members, n_features)
    for seed in range(9):
        layer(randn(n_members, 20, n_features, seed=seed) * 3 + 1)
    return layer.eval()


def planar(n_members, n_features, w, u, b=0.5):
    """Return a planar layer with the same w, u and b for all members; a number fills a whole column."""
    layer = Planar(n_members, n_features)
    with torch.no_grad():
        for part, value in zip((layer.w, layer.u, layer.b), (w, u, b), strict=True):
            part.copy_(torch.as_tensor(value, dtype=DTYPE))
    return layer


def planar_layers(n_members, n_features, n_layers=4) -> Flow:
    loc, scale = torch.zeros(n_features, dtype=DTYPE), torch.ones(n_features, dtype=DTYPE)
    columns = torch.arange(n_features)
    return planar_flow(loc, scale, columns, n_layers=n_layers, n_members=n_members, generator=generator())


def random_mixture(n_members, n_components, n_features):
    factors = randn(n_members, n_components, n_features, n_features, seed=1)
    p = precision_cholesky(factors @ factors.mT, 0.1)
    log_weights = torch.log_softmax(randn(n_members, n_components, seed=2), -1)
    return GaussianMixture(log_weights, 3 * randn(n_members, n_components, n_features), p)


def random_kernels(n_members, n_features):
    log_weights = randn(n_members, 30, seed=3)
    log_weights[:, 4] = -torch.inf
    return Kernels(randn(n_members, 30, n_features), torch.log_softmax(log_weights, -1), 0.4)


# Each function takes n_members and n_features, and returns a transform whose contract the tests check.
TRANSFORMS = {
    "standardize": lambda m, d: Standardize(randn(d), randn(d).exp()),
    "unconstrain": lambda m, d: Unconstrain(*some_bounds(d)),
    "logistic to normal": lambda m, d: LogisticToNormal(),
    "normal scores": lambda m, d: NormalScores(m, *splines_to_scores(m, d)),
    "normal scores of half of the members": lambda m, d: NormalScores(m, *splines_to_scores(m // 2, d)),
    "permute": permutation,
    "LU linear": LULinear,
    "whiten, one a member": whitening,
    "whiten, one for all": lambda m, d: whitening(1, d),
    "low-rank whiten, one a member": low_rank_whitening,
    "low-rank whiten, one for all": lambda m, d: low_rank_whitening(1, d),
    "batch norm": batch_norm,
    "affine coupling": lambda m, d: coupling(AffineCoupling, m, d),
    "affine coupling, flipped": lambda m, d: coupling(AffineCoupling, m, d, flip=True),
    "affine coupling, nothing conditions": lambda m, d: coupling(AffineCoupling, m, d, n_first=0),
    "affine coupling, nothing transformed": lambda m, d: coupling(AffineCoupling, m, d, n_first=d),
    "spline coupling": lambda m, d: coupling(SplineCoupling, m, d),
    "spline coupling, flipped": lambda m, d: coupling(SplineCoupling, m, d, flip=True),
    "spline coupling, nothing conditions": lambda m, d: coupling(SplineCoupling, m, d, n_first=0),
    "coupling by autograd, inverse by a search": lambda m, d: coupling(StepCoupling, m, d),
    "chain": lambda m, d: Chain(permutation(m, d), coupling(AffineCoupling, m, d), coupling(SplineCoupling, m, d)),
    "empty chain": lambda m, d: Chain(),
    "inverse": lambda m, d: Inverse(coupling(AffineCoupling, m, d)),
    "select": lambda m, d: Select(coupling(AffineCoupling, m, (d + 1) // 2), torch.arange(0, d, 2)),
    "real nvp, affine": lambda m, d: whole_flow(m, d).transform,
    "real nvp, spline": lambda m, d: whole_flow(m, d, kind="spline").transform,
    "real nvp, batch norm": lambda m, d: whole_flow(m, d, batch_norm=True).transform.eval(),
    "real nvp, normal scores": lambda m, d: whole_flow(m, d, n_scored=(m + 1) // 2).transform,
    "real nvp, alternating": lambda m, d: whole_flow(m, d, mask="alternating").transform,
    "real nvp, first column only": lambda m, d: whole_flow(m, d, columns=[0]).transform,
    "real nvp, half": lambda m, d: whole_flow(m, d, mask="half").transform,
    "by autograd": SinhArcsinh,
    "by autograd, in a chain": lambda m, d: Chain(permutation(m, d), SinhArcsinh(m, d), LULinear(m, d)),
    "by autograd, inverse": lambda m, d: Inverse(SinhArcsinh(m, d)),
    "planar": Planar,
    "planar flow": lambda m, d: planar_layers(m, d).transform,
}

# These functions return transforms with weights that the tests do not change.
WITH_WEIGHTS = {
    "planar, weights times 20": lambda m, d: shaken(Planar(m, d), size=10),
    "planar, u along w": lambda m, d: planar(m, d, w=2.0, u=3.0),
    "planar, u against w": lambda m, d: planar(m, d, w=1.0, u=-1.0),
    "planar, u far against w": lambda m, d: planar(m, d, w=20.0, u=-20.0),
    "planar, w zero": lambda m, d: planar(m, d, w=0.0, u=1.0, b=0.0),
    "planar, u zero": lambda m, d: planar(m, d, w=1.0, u=0.0),
    "planar, w tiny": lambda m, d: planar(m, d, w=1e-200, u=1.0, b=0.0),
}
