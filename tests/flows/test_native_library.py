"""The native library: when it is there, what it is used for, and what it leaves to PyTorch."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, jvp, vmap

from sknvp import RealNVPDensity
from sknvp.flows import AffineCoupling, Chain, Conditioner, Flow, StandardNormal
from sknvp.flows.native import compile as compilation
from sknvp.flows.native import expected_moments, loader, program_for, status, torch_only

from ..small import moons
from .builders import bounded_flow, coupling, permutation, randn, random_kernels, random_mixture, shaken, whole_flow
from .native_cases import is_native, log_prob_and_gradients, unit_flow

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PURE = os.environ.get("SKNVP_PURE_PYTHON", "0") not in ("", "0")


def test_where_there_is_a_compiler_there_is_a_library():
    """After a change of the source: ``python sknvp/flows/native/compile.py``."""
    if any(map(shutil.which, compilation.COMPILERS)) and not PURE:
        assert status().startswith("native library")
        assert is_native(unit_flow(2, 3), randn(2, 5, 3))
    else:
        assert status().startswith("PyTorch (")


class Doubled(Conditioner):
    """A network of another kind."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_what_the_library_does_not_know_is_left_to_torch():
    unknown = coupling(AffineCoupling, 2, 4)
    unknown.conditioner.__class__ = Doubled
    for transforms in ([unknown], [bounded_flow(2, 4)], [permutation(2, 4)], []):
        flow = Flow(
            Chain(*(part.transform if isinstance(part, Flow) else part for part in transforms)), StandardNormal(4), 2
        )
        assert not is_native(shaken(flow), randn(2, 5, 4))
    known = unit_flow(2, 4)
    assert not is_native(known, randn(2, 5, 4).half())
    assert not is_native(known, randn(2, 5, 4).float())
    assert not is_native(known, randn(2, 0, 4))
    assert not is_native(known, randn(2, 5, 4), randn(2, 5, 1))
    assert program_for(known.transform, randn(2, 4, 5), None) is None  # autograd records


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_functions_of_torch_func_see_operations():
    """Forward derivatives and batches, of flows and of what stands beside them, against differences and loops."""
    flow, x, step = unit_flow(2, 3).requires_grad_(False), randn(2, 5, 3), 1e-6
    for function in (flow.log_prob, random_mixture(2, 4, 3).log_prob, random_kernels(2, 3).log_prob):
        value, slope = jvp(function, (x,), (torch.ones_like(x),))
        difference = (function(x + step) - function(x - step)) / (2 * step)
        torch.testing.assert_close((value, slope), (function(x), difference), rtol=1e-6, atol=1e-6)
        with forward_ad.dual_level():
            dual = function(forward_ad.make_dual(x, torch.ones_like(x)))
            torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, slope)
        both = vmap(function)(torch.stack([x, x + 1]))
        torch.testing.assert_close(both, torch.stack([function(x), function(x + 1)]))


def test_parameters_may_be_exchanged():
    flow, other, x = unit_flow(2, 3), unit_flow(2, 3, size=0.2), randn(2, 5, 3)
    with torch.no_grad():
        expected = other.log_prob(x)
        assert not torch.equal(flow.log_prob(x), expected)
        for same in (copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
            assert torch.equal(same.log_prob(x), expected)
        swapped = functional_call(flow.transform, dict(other.transform.named_parameters()), (x,))
        assert torch.equal(swapped[0], other.transform(x)[0])
        flow.load_state_dict(other.state_dict(), assign=True)
        assert torch.equal(flow.log_prob(x), expected)
        torch.testing.assert_close(flow.float().log_prob(x.float()), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(flow.double().log_prob(x), expected, rtol=1e-4, atol=1e-4)
        flow.transform.transforms[0].rows.copy_(torch.tensor([2, 0, 1, 4, 5, 3]))  # another order of the columns
        with torch_only():
            reordered = flow.log_prob(x)
        torch.testing.assert_close(flow.log_prob(x), reordered)
        assert not torch.allclose(reordered, expected, rtol=1e-4)


def test_threads_of_the_library_change_no_bit(monkeypatch):
    """Members and rows are shared among as many threads as PyTorch uses, here even where that does not pay."""
    monkeypatch.setattr(loader, "MIN_THREAD_WORK", 1)
    flow, x = unit_flow(3, 4, kind="spline"), randn(3, 700, 4)
    mixture, kernels, weights = random_mixture(3, 5, 4), random_kernels(3, 4), torch.ones(3, 700).double()
    before, answers = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 7):
            torch.set_num_threads(n_threads)
            with torch.no_grad():
                evaluated = [*flow.transform(x), *flow.transform.inverse(x), mixture.log_prob(x), kernels.log_prob(x)]
            z, log_det = flow.transform(x)
            gradients = torch.autograd.grad((z.sum(-1) + log_det).sum(), list(flow.parameters()))
            moments, _ = expected_moments(randn(3, 5, 15), x[0], weights, x[0, :, :0]) or (weights, 0)
            answers.append([*evaluated, *log_prob_and_gradients(flow, x, weights), *gradients, moments])
    finally:
        torch.set_num_threads(before)
    if is_native(flow, x):
        assert all(torch.equal(a, b) for found in answers[1:] for a, b in zip(answers[0], found, strict=True))


def test_threads_may_share_a_flow():
    flow, x = unit_flow(2, 4, kind="spline"), randn(2, 500, 4)
    weights = torch.ones(2, 500).double()
    expected = log_prob_and_gradients(flow, x, weights)
    results = [None] * 8

    def work(i):
        results[i] = [log_prob_and_gradients(flow, x, weights) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found in results:
        torch.testing.assert_close(found, [expected] * 5, rtol=0, atol=0)


PRINT_STATUS = "import sknvp.flows.native as native; print(native.status())"


@pytest.mark.parametrize("value", ["1", "0"])
def test_a_variable_of_the_environment_leaves_all_to_torch(value):
    environment = os.environ | {"SKNVP_PURE_PYTHON": value}
    run = subprocess.run(
        [sys.executable, "-c", PRINT_STATUS], env=environment, capture_output=True, text=True, check=True
    )
    assert ("SKNVP_PURE_PYTHON is set" in run.stdout) == (value == "1")


def test_a_library_of_another_source_is_not_used(monkeypatch):
    loader._load.cache_clear()
    try:
        with monkeypatch.context() as patched:
            patched.setattr(loader, "checksum", lambda: "another")
            assert status().startswith("PyTorch (")
            flow, x = unit_flow(2, 3), randn(2, 5, 3)
            assert not is_native(flow, x)
            assert flow.log_prob(x).isfinite().all()
    finally:
        loader._load.cache_clear()


def test_a_compiler_that_fails_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(compilation, "library_path", lambda name: tmp_path / name)
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(OSError, match="false failed"):
        compilation.compile_libraries()
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(compilation, "COMPILERS", ("a compiler that nobody has",))
    with pytest.raises(OSError, match="none of the compilers"):
        compilation.compile_libraries()


@pytest.mark.parametrize(
    "loc",
    [torch.arange(8.0).double()[::2], torch.zeros(1).double().expand(4), torch.arange(4), torch.zeros(4).float()],
    ids=["strided", "expanded", "integers", "another precision"],
)
def test_buffers_that_the_library_cannot_read_are_left_to_torch(loc):
    flow = shaken(whole_flow(2, 4, kind="spline"))
    flow.transform.transforms[0].loc = loc
    x = randn(2, 9, 4)
    with torch.no_grad():
        found = flow.log_prob(x)
        with torch_only():
            torch.testing.assert_close(found, flow.log_prob(x), rtol=1e-12, atol=1e-12)


def test_shapes_that_do_not_fit_are_errors_as_in_torch():
    flow, x = shaken(whole_flow(2, 4, n_context=1)), randn(2, 9, 4)
    for context in (randn(2, 5, 1), randn(1, 9, 1), randn(5, 1)):
        with torch.no_grad(), pytest.raises(RuntimeError):
            flow.log_prob(x, context)
    with torch.no_grad(), pytest.raises((RuntimeError, IndexError)):
        unit_flow(2, 2).log_prob(x[0, 0, :2])
    with pytest.raises(RuntimeError):
        log_prob_and_gradients(unit_flow(2, 4), x, randn(2, 5))


def test_a_default_device_of_the_caller_is_set_aside():
    flow, x = unit_flow(2, 4), randn(2, 9, 4)
    if not is_native(flow, x):
        return
    with torch.no_grad():
        expected = flow.log_prob(x)
        with torch.device("meta"):
            assert torch.equal(flow.log_prob(x), expected)


def test_a_default_density_is_native():
    """The chain of the defaults is one that the library knows, in both precisions."""
    X = moons()
    for dtype in (np.float32, np.float64):
        density = RealNVPDensity(max_iter=1, n_estimators=2, random_state=0).fit(X.astype(dtype))
        x = torch.tensor(X.astype(dtype)).expand(2, -1, -1)
        assert is_native(density.flow_, x) == status().startswith("native library")
