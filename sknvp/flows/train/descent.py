"""Descent: gradient steps one at a time, or many in a call of the native library, where members share the processor."""

from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn

from ..native import Program
from .adamw import AdamW
from .buffer import views
from .objectives import NegativeLogLikelihood, Objective

# All steps of a call take at most about this many multiplications. The call then ends in a fraction of a second, and
# Ctrl-C is heard in time.
MAX_MULTIPLICATIONS = 1e9
MAX_BATCH_NUMBERS = 2**22  # The rows of all steps of a call hold at most about this many numbers.


def descend(
    flow: nn.Module,
    flat: nn.Parameter,
    objective: Objective,
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
    objective : Objective
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
        if (
            isinstance(objective, NegativeLogLikelihood)
            and optimizer.is_native(gradient)
            and (program := objective.program()) is not None
        ):
            at_once = chain([batch], islice(batches, _n_more(program, batch)))
            inputs = [objective.inputs(*some) for some in at_once]
            log_prob = program.descend(out, inputs, optimizer.next_steps(gradient, learning_rate, len(inputs)))
            losses += [objective.loss_of(*some) for some in zip(log_prob, inputs, strict=True)]
        else:
            losses.append(objective.loss_and_gradients(out, *batch))
            optimizer.step(gradient, learning_rate)
    flow.eval()
    return torch.stack(losses).mean(0)


def _n_more(program: Program, batch: tuple[Tensor, Tensor]) -> int:
    """Return how many more steps fit into the call that takes the step of a batch."""
    n_members, n_rows = batch[0].shape
    n_columns = program.chain.n_features + program.chain.n_context
    n_steps = min(
        MAX_MULTIPLICATIONS / (program.n_numbers * n_rows), MAX_BATCH_NUMBERS / (n_members * n_rows * n_columns)
    )
    return max(0, int(n_steps) - 1)
