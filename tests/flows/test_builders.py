"""Masks, and the layers that builders put together."""

import pytest
import torch

from sknvp.flows import (
    AffineCoupling,
    BatchNorm,
    LULinear,
    Permute,
)
from sknvp.flows.builders import masks
from sknvp.flows.builders.parts import COUPLINGS

from .builders import generator, randn, shaken, whole_flow


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
    """Couplings act on slices of reordered columns; seen from outside, the mask holds for the original columns."""
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


def test_batch_norm_stands_between_couplings():
    flow = whole_flow(2, 3, batch_norm=True, n_layers=4)
    kinds = [
        type(part) for part in flow.transform.transforms[1].transforms if isinstance(part, (BatchNorm, AffineCoupling))
    ]
    assert kinds == [AffineCoupling, *[BatchNorm, AffineCoupling] * 3]


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
