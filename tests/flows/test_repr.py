"""What `print` shows of flows."""

import pytest
import torch

from sknvp.flows import (
    AdditiveConditioning,
    Chain,
    Ensemble,
    Flow,
    Inverse,
    LogisticToNormal,
    StandardNormal,
    image_real_nvp,
)

from .builders import TRANSFORMS, randn, whole_flow
from .test_bases import BASES

WITHOUT_SETTINGS = Chain, Inverse, torch.nn.ModuleList, LogisticToNormal  # They have parts, or are one map for all.


def built():
    for name, make in TRANSFORMS.items():
        yield pytest.param(lambda make=make: make(2, 3), id=name)
    for name, make in BASES.items():
        yield pytest.param(lambda make=make: make(2, 3), id=name)
    yield pytest.param(lambda: AdditiveConditioning(randn(2, 3, 4)), id="additive conditioning")
    yield pytest.param(lambda: image_real_nvp((1, 8, 8), 4, n_filters=2, n_blocks=1), id="images")
    yield pytest.param(lambda: Ensemble([whole_flow(2, 3, columns=[0, 2])], torch.zeros(1)), id="ensemble")


@pytest.mark.parametrize("build", list(built()))
def test_every_module_shows_its_settings(build):
    for module in build().modules():
        if not isinstance(module, WITHOUT_SETTINGS):
            assert module.extra_repr(), type(module).__name__


def test_a_flow_shows_its_architecture():
    shown = repr(whole_flow(2, 3, "spline", n_layers=2, mask="half", hidden=(8, 4)))
    for part in ("n_members=2", "Standardize(n_features=3)", "n_first=2, flip=False, n_bins=8, box=5.0", "LULinear"):
        assert part in shown
    assert "Conditioner(n_members=2, sizes=[2, 8, 4, 23], activation='tanh')" in shown
    assert repr(Flow(Chain(), StandardNormal(1))).splitlines()[-2] == "  (base): StandardNormal(n_features=1)"
