"""Transforms of images keep the contract of all transforms; pixels become logits with the right Jacobian."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import optimize, special, stats

from sknvp.flows import ImageCoupling, Inverse, ResidualNetwork, image_real_nvp
from sknvp.flows.builders.images import LOGIT_MARGIN, channel_half, checkerboard, logit, squeeze
from sknvp.flows.layers.normalization import BatchNorm, statistics
from sknvp.flows.train.dequantization import Dequantized

from .builders import DTYPE, generator, gradients_of, randn
from .test_contract import TOLERANCE, log_det_by_autodiff


def rattled(module, size=0.3):
    """Add noise to the parameters of a module, so that nothing is the identity any more, and return it."""
    source = generator(1)
    with torch.no_grad():
        for part in module.parameters():
            part += size * torch.randn(part.shape, dtype=DTYPE, generator=source)
    return module.eval()


def coupling(mask, patch=1, n_blocks=1):
    network = ResidualNetwork(len(mask), 2 * len(mask), 4, n_blocks, patch, generator())
    return rattled(ImageCoupling(mask, network))


def channel_norm():
    layer = BatchNorm(1, 2, 8)
    for seed in range(9):
        layer(randn(1, 20, 16, seed=seed) * 3 + 1)
    return layer.eval()


def multi_scale(shape=(1, 8, 8), n_levels=4, **settings):
    return image_real_nvp(shape, n_levels, **{"n_filters": 3, "n_blocks": 1, "generator": generator(), **settings})


def trained_norms(flow):
    """Let batches move the statistics of a flow, and return it."""
    n_features, n_levels = flow.base.n_features, float(flow.transform.transforms[0].high[0])
    for seed in range(3):
        flow.train().transform(torch.rand(1, 16, n_features, dtype=DTYPE, generator=generator(seed)) * n_levels * 0.9)
    return flow.eval()


# Each of these functions returns a transform of 16 features.
TRANSFORMS = {
    "logit": lambda: logit(16, 4),
    "squeeze": lambda: squeeze(1, 4, 4),
    "squeeze, two channels": lambda: squeeze(2, 2, 4),
    "checkerboard": lambda: coupling(checkerboard(1, 4, 4)),
    "checkerboard, the others": lambda: coupling(~checkerboard(1, 4, 4)),
    "checkerboard by patches": lambda: coupling(checkerboard(1, 4, 4), patch=2),
    "checkerboard, two channels": lambda: coupling(checkerboard(2, 2, 4), n_blocks=0),
    "checkerboard, a single line": lambda: coupling(checkerboard(1, 1, 16)),
    "half of the channels": lambda: coupling(channel_half(4, 2, 2)),
    "the other half": lambda: coupling(~channel_half(4, 2, 2)),
    "inverse": lambda: Inverse(coupling(checkerboard(1, 4, 4))),
    "channels' norm": channel_norm,
    "multi-scale": lambda: rattled(trained_norms(multi_scale((1, 4, 4)))).transform,
}


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    return TRANSFORMS[request.param]()


def points(n=3, n_features=16):
    return torch.rand(1, n, n_features, dtype=DTYPE, generator=generator()) * 4


def test_round_trip_both_ways(transform):
    x = points(20)
    z, log_det = transform(x)
    back, log_det_back = transform.inverse(z)
    torch.testing.assert_close(back, x, **TOLERANCE)
    torch.testing.assert_close(log_det_back, -log_det, **TOLERANCE)
    x, log_det = transform.inverse(points(20) - 2)
    there, log_det_there = transform(x)
    torch.testing.assert_close(there, points(20) - 2, **TOLERANCE)
    torch.testing.assert_close(log_det_there, -log_det, **TOLERANCE)


def test_log_determinants_agree_with_autodiff(transform):
    x = points()
    torch.testing.assert_close(transform(x)[1], log_det_by_autodiff(transform, x), **TOLERANCE)
    torch.testing.assert_close(transform.inverse(x)[1], log_det_by_autodiff(transform.inverse, x), **TOLERANCE)


def test_gradients_agree_with_differences(transform):
    x = points(2).requires_grad_()
    for direction in (transform, transform.inverse):
        assert torch.autograd.gradcheck(
            lambda x, *parts, run=direction: run(x), (x, *transform.parameters()), fast_mode=True
        )


def test_images_do_not_mix_and_may_be_none_at_all(transform):
    x = points(6)
    z, log_det = transform(x)
    some_z, some_log_det = transform(x[:, 2:4])
    torch.testing.assert_close(some_z, z[:, 2:4], **TOLERANCE)
    torch.testing.assert_close(some_log_det, log_det[:, 2:4], **TOLERANCE)
    z, log_det = transform(x[:, :0])
    assert z.shape == (1, 0, 16)
    assert log_det.shape == (1, 0)


def test_answers_with_gradients_and_of_copies_agree(transform):
    x = points()
    for twin in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        for ours, theirs in zip(transform(x.clone().requires_grad_()), twin(x), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "n_parts"),
    [((1, 8, 8), 2), ((2, 8, 8), 2), ((1, 8, 12), 2), ((1, 16, 16), 3), ((2, 7, 8), 1), ((1, 1, 5), 1), ((1, 1, 1), 1)],
)
def test_whole_flows_of_any_sides_keep_the_contract(shape, n_parts):
    flow = rattled(trained_norms(multi_scale(shape, n_filters=2, n_blocks=0)), 0.1)
    x = points(1, flow.base.n_features)
    z, log_det = flow.transform(x)
    torch.testing.assert_close(flow.transform.inverse(z)[0], x, **TOLERANCE)
    torch.testing.assert_close(log_det, log_det_by_autodiff(flow.transform, x), **TOLERANCE)
    n_norms = sum(isinstance(part, BatchNorm) for part in flow.modules())
    assert n_norms == 6 * (n_parts - 1) + 4  # A scale has six couplings; the last one has four.


def test_single_precision_finds_pixels_again():
    flow = rattled(trained_norms(multi_scale((1, 8, 8), 256)), 0.1).float()
    x = torch.rand(1, 50, 64, generator=generator()) * 256
    with torch.no_grad():
        back = flow.transform.inverse(flow.transform(x)[0])[0]
    assert float((back - x).abs().max() / 256) < 1e-6


def test_gradients_run_through_moving_statistics():
    flow = rattled(multi_scale((1, 4, 4))).train()
    start = [tensor.clone() for tensor in statistics(flow)]

    def run(x, *parts):
        for tensor, value in zip(statistics(flow), start, strict=True):  # Every pass moves them.
            tensor.copy_(value)
        return flow.transform(x)

    x = points(4).requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *flow.parameters()), fast_mode=True)


def test_the_logit_is_scipys_and_finite_at_both_ends():
    x = np.linspace(0, 256, 9)
    z, log_det = logit(1, 256)(torch.tensor(x).view(1, -1, 1))
    p = (x + LOGIT_MARGIN) / (256 + 2 * LOGIT_MARGIN)
    np.testing.assert_allclose(z[0, :, 0], special.logit(p), rtol=1e-12)
    slope = optimize.approx_fprime(p, special.logit, 1e-9).diagonal() / (256 + 2 * LOGIT_MARGIN)
    np.testing.assert_allclose(log_det[0], np.log(slope), atol=1e-5)


def test_squeeze_takes_squares_of_pixels_apart():
    x = torch.arange(16, dtype=DTYPE).view(1, 1, 16)
    corners = squeeze(1, 4, 4)(x)[0].view(4, 2, 2)
    assert corners.tolist() == [[[0, 2], [8, 10]], [[1, 3], [9, 11]], [[4, 6], [12, 14]], [[5, 7], [13, 15]]]


def test_an_untrained_flow_is_a_logistic_of_normals():
    """Couplings start as the identity, so that pixels are independent at all scales."""
    flow = multi_scale((1, 8, 8), 16, batch_norm=False)
    x = points(5, 64)
    p = (x[0].numpy() + LOGIT_MARGIN) / (16 + 2 * LOGIT_MARGIN)
    expected = (stats.norm.logpdf(special.logit(p)) - np.log(p * (1 - p) * (16 + 2 * LOGIT_MARGIN))).sum(1)
    np.testing.assert_allclose(flow.log_prob(x)[0].detach(), expected, rtol=1e-9)


def test_couplings_take_turns_in_the_layout_of_the_paper():
    masks = [part.mask for part in multi_scale((1, 8, 8)).modules() if isinstance(part, ImageCoupling)]
    assert [tuple(mask.shape) for mask in masks] == [(1, 8, 8)] * 3 + [(4, 4, 4)] * 3 + [(2, 4, 4)] * 4
    for one, other in pairwise(masks):
        assert one.shape != other.shape or torch.equal(one, 1 - other)
    assert all(mask.mean() == 0.5 for mask in masks)
    assert torch.equal(masks[0][:, ::2, ::2], torch.ones(1, 4, 4))
    assert torch.equal(masks[3][:2], torch.ones(2, 4, 4))


def test_every_pixel_depends_on_every_other():
    flow = rattled(trained_norms(multi_scale((1, 8, 8), n_filters=8)))
    jacobian = torch.autograd.functional.jacobian(
        lambda x: flow.transform(x.view(1, 1, -1))[0].flatten(), points(1)[0, 0].repeat(4)
    )
    assert (jacobian != 0).double().mean() > 0.5
    assert (jacobian[-16:] != 0).all()


@pytest.fixture
def objective():
    flow = multi_scale((1, 4, 4)).eval()
    x = torch.randint(0, 4, (40, 16), generator=generator()).double()
    validation = torch.zeros(1, 40, dtype=torch.bool)
    validation[:, :10] = True
    mirrored = torch.arange(16).view(4, 4).flip(-1).flatten()
    return Dequantized(flow, x, torch.ones(40).double(), validation, 30, generator(), mirrored)


def test_training_noise_is_fresh_and_validation_noise_fixed(objective):
    rows, weights = next(objective.batches())
    first, second = (gradients_of(objective, rows, weights)[0] for _ in range(2))
    assert first != second
    torch.testing.assert_close(objective.validate(), objective.validate(), rtol=0, atol=0)


def test_the_flow_sees_images_and_their_mirror_images_in_their_unit_cubes(objective):
    seen = []
    objective.flow.log_prob_and_gradients = lambda out, x, *_: seen.append(x) or torch.zeros(1)
    rows, weights = next(objective.batches())
    for _ in range(200):
        objective.loss_and_gradients([], rows, weights)
    seen = torch.stack(seen)[:, 0]
    images, noise = seen.floor(), seen % 1
    same = (images == objective.x[rows[0]]).all(-1)
    mirror = (images == objective.x[rows[0]].view(-1, 4, 4).flip(-1).flatten(1)).all(-1)
    assert (same | mirror).all()
    assert abs(float(mirror.double().mean()) - 0.5) < 0.05
    assert stats.kstest(noise.flatten()[::7].numpy(), "uniform").pvalue > 1e-3
