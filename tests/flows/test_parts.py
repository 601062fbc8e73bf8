"""What single parts promise beyond the contract."""

import math

import pytest
import torch
from scipy import stats
from torch.autograd.functional import jacobian

from sknvp.flows import (
    AffineCoupling,
    BatchNorm,
    Conditioner,
    LULinear,
    Permute,
    SplineCoupling,
    StandardNormal,
    masks,
)
from sknvp.flows.conditioner import ACTIVATIONS
from sknvp.flows.flow import CHUNK_NUMBERS
from sknvp.flows.recipes import COUPLINGS
from sknvp.flows.spline import rational_quadratic_spline
from sknvp.flows.squash import squash

from .builders import coupling, generator, randn, shaken, whole_flow


@pytest.mark.parametrize("kind", [AffineCoupling, SplineCoupling])
def test_a_fresh_coupling_is_the_identity(kind):
    x = randn(2, 50, 4) * 4
    z, log_det = coupling(kind, 2, 4)(x)
    torch.testing.assert_close(z, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, torch.zeros_like(log_det), rtol=0, atol=1e-12)


def test_affine_couplings_stretch_by_a_bounded_factor():
    layer = shaken(coupling(AffineCoupling, 1, 4), size=1e6)
    _, log_det = layer(randn(1, 100, 4))
    assert log_det.abs().max() <= 2 * AffineCoupling.MAX_LOG_SCALE


def test_conditioning_columns_pass_through_unchanged():
    x = randn(1, 10, 5)
    layer = shaken(coupling(AffineCoupling, 1, 5, n_first=2))
    torch.testing.assert_close(layer(x)[0][..., :2], x[..., :2], rtol=0, atol=0)
    layer = shaken(coupling(AffineCoupling, 1, 5, n_first=2, flip=True))
    torch.testing.assert_close(layer(x)[0][..., 2:], x[..., 2:], rtol=0, atol=0)


def test_batch_norm_tends_to_the_moments_of_the_batches():
    x = randn(2, 50, 3) * 4 + 1
    layer = BatchNorm(2, 3)
    torch.testing.assert_close(layer.eval()(x)[0], x)
    for _ in range(200):
        z, log_det = layer.train()(x)
    torch.testing.assert_close(z.mean(1), torch.zeros(2, 3, dtype=z.dtype), rtol=0, atol=1e-6)
    torch.testing.assert_close(z.var(1, correction=0), torch.ones(2, 3, dtype=z.dtype), rtol=0, atol=1e-5)
    torch.testing.assert_close(log_det[:, 0], -x.std(1, correction=0).log().sum(-1), rtol=0, atol=1e-5)
    before = layer.mean.clone()
    layer.eval()(x + 1)
    assert torch.equal(layer.mean, before)


def test_batch_norms_gradient_runs_through_the_statistics():
    x = randn(1, 6, 2).requires_grad_()

    def loss(x):
        z, log_det = BatchNorm(1, 2).train()(x)
        return z.pow(3).sum() + log_det.sum()

    assert torch.autograd.gradcheck(loss, x)


def test_batch_norm_stands_between_couplings():
    flow = whole_flow(2, 3, batch_norm=True, n_layers=4)
    kinds = [
        type(part) for part in flow.transform.transforms[1].transforms if isinstance(part, (BatchNorm, AffineCoupling))
    ]
    assert kinds == [AffineCoupling, *[BatchNorm, AffineCoupling] * 3]


def spline(x, theta):
    """Of a single column, the same spline for every row."""
    y, log_slope, _ = rational_quadratic_spline(x.view(1, 1, -1), theta.view(1, -1, 1, 1).expand(1, -1, 1, len(x)), 5.0)
    return y.flatten(), log_slope.flatten()


@pytest.mark.parametrize(("kind", "between"), [("affine", []), ("spline", [LULinear])])
def test_linear_layers_stand_between_splines_alone(kind, between):
    flow = whole_flow(2, 3, kind, mask="alternating", n_layers=3)
    parts = [type(part) for part in flow.transform.transforms[1].transforms if not isinstance(part, Permute)]
    layer = COUPLINGS[kind]
    assert parts == [layer, *between, layer, *between, layer]


def test_a_fresh_linear_layer_is_the_identity_and_its_determinant_is_bounded():
    x, layer = randn(2, 10, 3), LULinear(2, 3)
    torch.testing.assert_close(layer(x), (x, torch.zeros(2, 10, dtype=x.dtype)), rtol=0, atol=0)
    _, log_det = shaken(layer, size=1e6)(x)
    assert log_det.abs().max() <= 3 * LULinear.MAX_LOG_SCALE


def test_splines_increase_and_go_on_with_slope_one_outside_the_box():
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64)
    y, log_slope = spline(x, randn(23) * 3)
    assert (y.diff() > 0).all()
    outside = x.abs() >= 5
    torch.testing.assert_close(y[outside], x[outside], rtol=0, atol=1e-12)
    torch.testing.assert_close(log_slope[outside], torch.zeros_like(x[outside]), rtol=0, atol=1e-12)


def test_spline_slopes_agree_with_differences():
    theta, x, step = randn(23), torch.linspace(-4.9, 4.9, 77, dtype=torch.float64), 1e-6
    difference = (spline(x + step, theta)[0] - spline(x - step, theta)[0]) / (2 * step)
    torch.testing.assert_close(difference.log(), spline(x, theta)[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
@pytest.mark.parametrize(("n_members", "dtype"), [(2, torch.float64), (1, torch.float32)])
@pytest.mark.parametrize("large", [1, 100])
@pytest.mark.parametrize(("n_inputs", "n_outputs"), [(3, 2), (3, 9), (0, 9)])
def test_networks_gradients_agree_with_autograd(
    activation, hidden, n_members, dtype, large, n_inputs, n_outputs, monkeypatch
):
    monkeypatch.setattr("sknvp.flows.conditioner.LARGE", large)
    network = shaken(Conditioner(n_inputs, n_outputs, hidden, activation, n_members, generator())).to(dtype)
    x = randn(n_members, n_inputs, 5).to(dtype).requires_grad_()
    grad = randn(n_members, n_outputs, 5, seed=1).to(dtype)
    y, _ = network.record(x)
    expected = torch.autograd.grad(y, [x, *network.parameters()], grad)
    with torch.no_grad():
        out = [torch.full_like(part, torch.nan) for part in network.parameters()]
        of_x = network.gradients(network.record(x)[1], grad, out)
        torch.testing.assert_close(network.evaluate(x.detach()), y.detach())
    torch.testing.assert_close([of_x, *out], list(expected))


def test_squash_is_near_the_identity_and_bounded():
    x = torch.tensor([-1e9, -3.0, 0.0, 1e-3, 1e9], dtype=torch.float64).requires_grad_()
    u, r = squash(x, 2.0)
    assert u.abs().max() <= 2
    assert u[3].item() == pytest.approx(1e-3, rel=1e-6)
    torch.testing.assert_close(torch.autograd.grad(u.sum(), x)[0], r.detach() ** 3)


def test_constants_made_in_inference_mode_serve_autograd():
    """Constants are kept, and so is the mode in which torch makes them: here of a box and a dtype that none had yet."""
    theta, x = randn(1, 23, 2, 5), randn(1, 2, 5)
    with torch.inference_mode():
        rational_quadratic_spline(x, theta, 4.321)
        squash(x.bfloat16(), 1.0)
    theta.requires_grad_()
    value, log_slope, _ = rational_quadratic_spline(x, theta, 4.321)
    (value.sum() + log_slope.sum()).backward()
    assert theta.grad.isfinite().all()
    x = x.bfloat16().requires_grad_()
    squash(x, 1.0)[0].sum().backward()
    assert x.grad.isfinite().all()


def test_the_standard_normal_is_scipys():
    z = randn(3, 7, 4)
    expected = stats.multivariate_normal(cov=torch.eye(4).numpy()).logpdf(z.numpy())
    torch.testing.assert_close(StandardNormal(4).log_prob(z), torch.tensor(expected))
    assert StandardNormal(1).log_prob(torch.zeros(1)).item() == pytest.approx(-0.5 * math.log(2 * math.pi))


@pytest.mark.parametrize("name", masks.MASKS)
@pytest.mark.parametrize("n_features", [2, 3, 8])
def test_masks_split_every_layer_and_take_turns(name, n_features):
    keep = masks.MASKS[name](3, 6, n_features, generator())
    assert keep.shape == (3, 6, n_features)
    assert keep.any(-1).all()
    assert not keep.all(-1).any()
    assert torch.equal(keep[:, 1::2], ~keep[:, ::2])
    sizes = keep.sum(-1)
    assert torch.equal(sizes, sizes[:1].expand_as(sizes)), "members must agree on the sizes"


def test_masks_are_what_their_names_say():
    assert masks.alternating(1, 2, 4).int().tolist() == [[[1, 0, 1, 0], [0, 1, 0, 1]]]
    assert masks.half(1, 2, 4).int().tolist() == [[[1, 1, 0, 0], [0, 0, 1, 1]]]
    random = masks.random(4, 2, 10, generator())
    assert not torch.equal(random[0], random[1])


@pytest.mark.parametrize("mask", masks.MASKS)
def test_a_layer_transforms_exactly_the_columns_its_mask_leaves(mask):
    """Couplings act on slices of reordered columns; seen from outside, the mask must hold for the original ones."""
    keep = masks.MASKS[mask](2, 1, 5, generator())
    flow = shaken(whole_flow(2, 5, mask=mask, n_layers=1))
    x = randn(2, 1, 5)
    standardised = flow.transform.transforms[0](x)[0]
    changed = (flow.transform(x)[0] != standardised)[:, 0]
    assert torch.equal(changed, ~keep[:, 0])


@pytest.mark.parametrize("mask", masks.MASKS)
def test_a_fresh_flow_keeps_the_order_of_the_columns(mask):
    flow = whole_flow(3, 5, mask=mask, n_layers=5)
    x = randn(4, 5)
    expected = (x - flow.transform.transforms[0].loc) / flow.transform.transforms[0].scale
    torch.testing.assert_close(flow.transform(x.expand(3, 4, 5))[0], expected.expand(3, 4, 5))


def test_samples_have_the_density_that_is_scored():
    """In one dimension the probability integral transform of samples is uniform (Kolmogorov-Smirnov, 1 in 1000)."""
    flow = shaken(whole_flow(2, 1, n_layers=2), size=0.7)
    with torch.no_grad():
        drawn = flow.sample(4000, generator=generator(1))
        grid = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
        density = flow.log_prob(grid[:, None]).exp()
        cdf = torch.cumulative_trapezoid(density, grid)
    torch.testing.assert_close(cdf[:, -1], torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-6)
    for m in range(2):
        u = cdf[m][torch.searchsorted(grid, drawn[m, :, 0]) - 1]
        assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_flow_draws_in_its_own_dtype_what_the_seed_says(dtype):
    flow = shaken(whole_flow(2, 3)).to(dtype)
    once = flow.sample(5, generator=generator(3))
    assert once.dtype == dtype
    assert torch.equal(once, flow.sample(5, generator=generator(3)))
    assert not torch.equal(once, flow.sample(5, generator=generator(4)))


def test_context_reaches_every_coupling():
    """A whole flow with context keeps the change of variables, and another context gives another density."""
    flow = shaken(whole_flow(2, 3, n_context=2))
    x, context = randn(4, 3), randn(4, 2, seed=1)
    expected = flow.base.log_prob(flow.transform(x.expand(2, 4, 3), context.expand(2, 4, 2))[0])
    for m, i in ((0, 0), (1, 3)):

        def image(row, m=m, i=i):
            rows = row.expand(2, 1, -1)
            return flow.transform(rows, context[i].expand(2, 1, -1))[0][m, 0]

        expected[m, i] += torch.linalg.slogdet(jacobian(image, x[i])).logabsdet
        torch.testing.assert_close(flow.log_prob(x, context)[m, i], expected[m, i])
    assert not torch.allclose(flow.log_prob(x, context + 1), flow.log_prob(x, context))
    drawn = [flow.sample(4, context + shift, generator=generator(0)) for shift in (0, 1)]
    assert not torch.allclose(*drawn)
    back = flow.transform(drawn[1], (context + 1).expand(2, 4, 2))[0]
    noise = flow.base.sample((2, 4), drawn[1], generator(0))
    torch.testing.assert_close(back, noise)


def test_networks_see_far_inputs_at_a_bounded_distance():
    """So that what they answer, and with it the log-density, does not run away with the input."""
    network = shaken(Conditioner(1, 2, (8,), "relu", generator=generator()))
    near, far = (network.record(torch.full((1, 1, 1), size, dtype=torch.float64))[0] for size in (1e3, 1e9))
    torch.testing.assert_close(far, near, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n_members", [1, 8])
def test_chunks_shrink_as_flows_widen(n_members):
    narrow, wide = whole_flow(n_members, 2).chunk_size, whole_flow(n_members, 2, hidden=(512,)).chunk_size
    assert narrow == pytest.approx(64 * wide, rel=0.01)
    assert wide * 512 * n_members <= CHUNK_NUMBERS


def test_chunks_heed_what_networks_put_out():
    """A spline's parameters outnumber the hidden units."""
    flow = whole_flow(2, 8, "spline", mask="half")
    assert flow.chunk_size == CHUNK_NUMBERS // (2 * 4 * SplineCoupling.N_PARAMETERS)
