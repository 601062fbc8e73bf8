"""Descent: gradient steps one at a time, or many in a call of the native library, where members share the processor."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..native import Program
from .adamw import AdamW
from .buffer import views
from .objectives import NegativeLogLikelihood

MAX_WORK = 1e9  # multiplications of all steps of a call, which takes a fraction of a second: so Ctrl-C is heard in time
MAX_NUMBERS = 2**22  # of the rows of all steps of a call


class Differentiable(Protocol):
    """What descent needs of an objective."""

    def loss_and_gradients(self, out: Sequence[Tensor], *batch: Any) -> Tensor:
        """Return the loss, and write its gradients to ``out``, which has one tensor for each parameter."""


def descend(
    flow: nn.Module,
    flat: nn.Parameter,
    objective: Differentiable,
    batches: Iterable[tuple[Any, ...]],
    optimizer: AdamW,
    learning_rate: float,
) -> Tensor:
    """Take a step down the gradient for each batch; return the mean loss of each member, shape (n_members,).

    Parameters
    ----------
    flow : Module
        The flow, which is in training mode meanwhile.
    flat : Parameter of shape (n_members, n_parameters)
        The buffer of its parameters, which the optimiser changes.
    objective : Differentiable
        The function to minimise.
    batches : iterable of tuple
        The arguments of `loss_and_gradients` for each step.
    optimizer : AdamW
    learning_rate : float
    """
    gradient, losses = torch.zeros_like(flat), []
    out = views(gradient, flow)
    batches = iter(batches)
    flow.train()
    for batch in batches:
        program = _program(objective, gradient, optimizer)
        if program is None:
            losses.append(objective.loss_and_gradients(out, *batch))
            optimizer.step(gradient, learning_rate)
        else:
            assert isinstance(objective, NegativeLogLikelihood)
            at_once = chain([batch], islice(batches, _n_more(program, batch)))
            inputs = [objective.inputs(*some) for some in at_once]
            log_prob = program.descend(out, inputs, optimizer.next_steps(gradient, learning_rate, len(inputs)))
            losses += [objective.loss_of(*some) for some in zip(log_prob, inputs, strict=True)]
    flow.eval()
    return torch.stack(losses).mean(0)


def _n_more(program: Program, batch: tuple[Tensor, Tensor]) -> int:
    """Return how many more steps fit into the call that takes the step of a batch."""
    n_members, n_rows = batch[0].shape
    n_columns = program.chain.n_features + program.chain.n_context
    n_steps = min(MAX_WORK / (program.n_numbers * n_rows), MAX_NUMBERS / (n_members * n_rows * n_columns))
    return max(0, int(n_steps) - 1)


def _program(objective: Differentiable, gradient: Tensor, optimizer: AdamW) -> Program | None:
    """Return the program that can take steps for an objective; None where PyTorch has a part in them."""
    if not isinstance(objective, NegativeLogLikelihood) or not optimizer.is_native(gradient):
        return None
    return objective.program()
