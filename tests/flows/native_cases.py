"""Flows with inputs for both paths, the native library and PyTorch's operations, and how far the results lie apart."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sknvp.flows import Flow
from sknvp.flows.builders.tabular import without_standardization
from sknvp.flows.native import Inputs, program_for, torch_only
from sknvp.flows.networks.perceptron import ACTIVATIONS

from .builders import gradients_of, randn, shaken, whole_flow

QUANTITIES = "log-density", "gradients"
ODD_NUMBERS = 0.0, -0.0, 5.0, -5.0, 1e-40, 1e-300, 1e15, -1e30  # 5 is where the box of splines ends


def in_precision(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    return Inputs(*(None if part is None else part.to(dtype) for part in inputs))


def unit_flow(n_members, n_features, size=0.7, **settings):
    """A flow of standardised rows, with random weights in double precision."""
    return shaken(without_standardization(whole_flow(n_members, n_features, **settings)), size)


def is_native(flow, x, context=None):
    context = None if context is None else context.mT
    with torch.no_grad():
        return program_for(flow.transform, x.mT, context) is not None


def log_prob_and_gradients(flow, *inputs):
    """Return log-densities, and all gradients in one tensor."""
    value, gradients = gradients_of(flow, *inputs)
    return value, torch.cat([part.flatten(1) for part in gradients], 1)


def random_sizes(rng: np.random.Generator, n: int) -> list[int]:
    """Draw numbers from 1 to 257; every second one is next to a number of rows that fills vectors or blocks."""
    edges = [1, 2, 8, 15, 16, 17, 31, 32, 33, 127, 128, 129, 255, 256, 257]
    return [int(rng.choice(edges) if rng.random() < 0.5 else 257 ** rng.random()) for _ in range(n)]


def random_case(seed: int) -> tuple[Flow, Inputs, dict[str, Any]]:
    """Draw a flow of random shape and weights, inputs which may be extreme, and what describes both."""
    rng = np.random.default_rng(seed)
    d, n = random_sizes(rng, 2)
    m, n_context, far = (
        int(rng.integers(1, 10)),
        int(rng.choice([0, 0, 1, 5])),
        float(rng.choice([1e-3, 1, 30, 1e4, 1e8])),
    )
    settings = {
        **{"kind": str(rng.choice(["affine", "spline"])), "activation": str(rng.choice(sorted(ACTIVATIONS)))},
        **{"mask": str(rng.choice(["random", "half", "alternating"])), "n_layers": int(rng.integers(1, 5))},
        **{"n_scored": int(rng.integers(0, m + 1)) if rng.random() < 0.5 else 0},
        **{"hidden": tuple(map(int, rng.integers(1, 40, rng.integers(0, 4)))), "n_context": n_context},
    }
    flow = unit_flow(m, d, float(rng.choice([0.1, 0.7, 2.0])), **settings)
    x, weights = far * randn(m, n, d, seed=seed), randn(m, n, seed=seed + 1).exp()
    cells = torch.tensor(rng.random(x.shape) < rng.choice([0, 0.02]))
    x[cells] = torch.tensor(rng.choice(ODD_NUMBERS, int(cells.sum())))
    weights[torch.tensor(rng.random((m, n)) < 0.1)] = 0
    context = far * randn(m, n, n_context, seed=seed + 2) if n_context else None
    tail = tail_beside(flow, x, context) if rng.random() < 0.3 else None
    about = {"columns": d, "rows": n, "members": m, "far": far, "odd": int(cells.sum()), "tail": tail is not None}
    return flow, Inputs(x, weights, context, tail), about | settings


def tail_beside(flow: Flow, x: Tensor, context: Tensor | None) -> Tensor:
    """Draw a tail that is about as likely as near rows, and explains those where rounding would decide between both."""
    log_prob = flow.log_prob(x, context).detach()
    return torch.where(log_prob > -1e3, log_prob + 3 * randn(*log_prob.shape, seed=2), -500.0)


def by_torch(flow: Flow, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Return what PyTorch's operations compute."""
    with torch_only():
        return log_prob_and_gradients(flow, *inputs)


def errors(found, expected):
    """Return the relative error of log-densities and of gradients for each member; 0 where nothing differs."""
    results = []
    for mine, exact in zip(found, expected, strict=True):
        mine, exact = mine.double().view(len(mine), -1), exact.view(len(exact), -1)
        distance = (mine - exact).norm(dim=1)
        results.append(torch.where(distance == 0, 0.0, distance / exact.norm(dim=1)))
    return results


def effects_of_rounding(flow: Flow, inputs: Inputs, expected) -> list[Tensor]:
    """Return the errors that PyTorch makes where every parameter and every input moves by a unit of its last digit."""
    moved = copy.deepcopy(flow)
    with torch.no_grad():
        for part in moved.parameters():
            part.copy_(_moved(part, 0))
    inputs = Inputs(*(None if part is None else _moved(part, seed) for seed, part in enumerate(inputs, 1)))
    return errors(by_torch(moved, inputs), expected)


def _moved(part: Tensor, seed: int) -> Tensor:
    return part * (1 + torch.finfo(part.dtype).eps * randn(*part.shape, seed=seed).sign())


def compare(flow: Flow, inputs: Inputs) -> dict[str, list[Tensor]]:
    """Return the errors of both paths in double and in single precision, against PyTorch in double precision.

    Each is a pair, that of the log-densities and that of the gradients, with a number for each member. Those of PyTorch
    in double precision are its `effects_of_rounding`.
    """
    expected = by_torch(flow, inputs)
    single, few_digits = copy.deepcopy(flow).float(), in_precision(inputs, torch.float32)
    return {
        "double": errors(log_prob_and_gradients(flow, *inputs), expected),
        "torch, double": effects_of_rounding(flow, inputs, expected),
        "single": errors(log_prob_and_gradients(single, *few_digits), expected),
        "torch, single": errors(by_torch(single, few_digits), expected),
    }


def faults(found: dict[str, list[Tensor]]) -> list[str]:
    """Say which errors of `compare` are not those of rounding: far above PyTorch's, or not finite where its are.

    Where many numbers cancel out, or a number crosses a knot of a spline, PyTorch itself has large errors.
    """
    said = []
    for name, least in (("double", 1e-11), ("single", 1e-5)):
        for what, mine, theirs in zip(QUANTITIES, found[name], found[f"torch, {name}"], strict=True):
            finite = theirs.isfinite()
            if finite.any() and not mine[finite].max() <= 100 * theirs[finite].max() + least:
                said.append(
                    f"{what} in {name} precision: {float(mine[finite].max()):.1e}, {float(theirs[finite].max()):.1e}"
                )
    return said
