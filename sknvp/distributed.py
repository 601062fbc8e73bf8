"""Data-parallel fits: several processes, each with its own rows, fit one density together.

The processes are those of `torch.distributed`, such as ``torchrun`` starts.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ._distributed.checkpoint import CheckpointFile, check_description, check_writable, read
from ._distributed.shard import Shard, check_continuous
from ._distributed.table import ShardedTable
from ._estimators.base import unchanged_on_error
from ._estimators.evaluation import default_torch_modes
from ._estimators.fitter import Experts
from ._estimators.rows import Rows
from ._estimators.specify import specify_real_nvp
from ._estimators.state import loaded_flow, saved_flow
from ._estimators.threads import one_thread
from ._estimators.training import (
    FittedFlow,
    OnEvaluation,
    Start,
    TrainingSettings,
    fit_flow,
    maximum_likelihood,
    report,
)
from .density import RealNVPDensity
from .flows import Flow
from .flows.train import History
from .flows.train.data_parallel import DataParallel
from .flows.train.ranks import Ranks

__all__ = ["fit"]


def fit(
    density: RealNVPDensity,
    X: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    group: Any = None,
) -> RealNVPDensity:
    """Fit a density to rows of which every process of a group holds a part.

    All processes call it at once, each with rows of its own and an equal density. Every step takes a batch that is made
    of rows of all of them, and follows the mean of the gradients over all these rows; all processes take the same step,
    stop at the same one, and end with the same density in every bit. So ``batch_size`` counts the rows of all processes
    together. Location and scale are those of all rows; the values that only gross outliers pass, and the experts beside
    the flows, are found from 10,000 rows, drawn from all by their weights.

    Which rows are held out follows from their numbers alone, and so does not depend on the process that has them.
    Otherwise all rows are taken as independent.

    Parameters
    ----------
    density : RealNVPDensity
        The estimator, which is fitted in place. Columns must be continuous and all cells known, without ``bounds`` and
        ``periods``; ``batch_norm`` and ``warm_start`` must be False. Callbacks are not called.
    X : array-like of shape (n_samples, n_features)
        The rows of this process, at least one. Their number may differ between the processes.
    sample_weight : array-like of shape (n_samples,), default=None
        How often each row of this process counts, not negative, compared to the rows of all processes.
    checkpoint : str or path, default=None
        A file in which the first process keeps the state of training, once in ten seconds and in the end. If it is
        there already, training goes on from it, and ends with the bits of a fit that was never cut short. The
        parameters, the rows and the number of processes must be those that it was written with. It holds numbers and
        text, no code.
    group : torch.distributed.ProcessGroup, default=None
        The processes that fit together; None stands for all.

    Returns
    -------
    density : RealNVPDensity
        The fitted estimator.

    Raises
    ------
    ValueError
        In all processes, if a parameter, ``X`` or ``sample_weight`` breaks its rule in one of them, if the processes
        differ in their parameters or columns, or if the checkpoint belongs to another fit or cannot be written.
    RuntimeError
        If `torch.distributed.init_process_group` has not been called, or another process has ended.

    Warns
    -----
    UserWarning
        In the first process, if the disk does not take a checkpoint; the one before it stays, and training goes on.
    ConvergenceWarning
        If training had not settled after ``max_iter`` epochs, a number of them being given.

    Notes
    -----
    Each process computes on one thread, so start as many as there are cores. Of more rows than training can see with
    ``max_iter="auto"``, each process keeps an even choice of its own, as many as `fit` keeps of all.

    An interrupt ends a data-parallel fit without a result, since the other processes would wait for this one.

    References
    ----------
    S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020,
    arXiv:2006.15704.

    Examples
    --------
    A group of one process, which ``torchrun`` would start with an address of its own:

    >>> import torch
    >>> from sklearn.datasets import make_moons
    >>> import sknvp.distributed
    >>> from sknvp import RealNVPDensity
    >>> store = torch.distributed.HashStore()
    >>> torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    >>> X, _ = make_moons(400, noise=0.1, random_state=0)
    >>> density = sknvp.distributed.fit(RealNVPDensity(random_state=0), X)
    >>> torch.distributed.destroy_process_group()
    >>> density.sample(3, random_state=0).shape
    (3, 2)
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        raise RuntimeError(
            "sknvp.distributed.fit needs a group of processes, got none. Start the script by torchrun, and call "
            "torch.distributed.init_process_group('gloo') in it before; or call the fit method of the density."
        )
    path = None if checkpoint is None else Path(checkpoint)
    ranks = Ranks(group, _cure(path))
    if ranks.number < 0:
        raise ValueError("group must hold the process that calls sknvp.distributed.fit, got one without it.")
    with unchanged_on_error(density), default_torch_modes():
        shard = Shard.of(ranks, density, X, sample_weight)
        seeds, file = _opened(path, ranks, shard, density)
        _fit(density, ranks, shard, seeds, file)
    return density


def _cure(path: Path | None) -> str:
    """Say what to do after a process has ended."""
    if path is None:
        return "Start the job again, with checkpoint='fit.npz', so that the next crash costs less."
    return f"Start the same command again: training goes on from the checkpoint {str(path)!r}, if there is one by now."


def _opened(path: Path | None, ranks: Ranks, shard: Shard, density: RealNVPDensity) -> tuple[list[int], CheckpointFile]:
    """Return the seeds of the fit and its checkpoint, which may hold the state, and the seeds, of an earlier start."""

    def first() -> tuple[list[int], dict[str, torch.Tensor]]:
        seeds = check_random_state(density.random_state).randint(2**31 - 1, size=3).tolist()
        if path is None:
            return seeds, {}
        check_writable(path)
        header, state = read(path)
        if header:
            check_description(path, header["fit"], shard.description)
            seeds = header["seeds"]
        return seeds, state

    seeds, state = ranks.of_first(first)
    header = {"fit": shard.description, "seeds": seeds}
    return seeds, CheckpointFile(path if ranks.is_first else None, header, state)


def _fit(density: RealNVPDensity, ranks: Ranks, shard: Shard, seeds: list[int], file: CheckpointFile) -> None:
    """Fit the flow in all processes and the experts in the first, and keep them."""
    rows, settings, table = shard.rows, TrainingSettings.of(density), ShardedTable(ranks, shard.total, seeds[0])
    if density.discrete_features is not None:  # columns may look continuous in each shard alone
        check_continuous(density._describe(np.unique(table.sample(rows.weights, rows.x)[0], axis=0)))
    generator = torch.Generator().manual_seed(seeds[0])
    specification = specify_real_nvp(density, rows, generator, density.n_estimators, table)
    flow = specification.build(shard.device, generator)
    start = Start(specification, flow, _generator_of(ranks, seeds[0]), seeds[1], 0)
    validation = np.zeros((flow.n_members, len(rows.x)), dtype=bool)
    if settings.early_stopping:
        validation = table.held_out(rows, flow.n_members, settings.validation_fraction, seeds[1])
    with one_thread(shard.device.type == "cpu"):
        objective = _objective(density, ranks, start, rows, validation, table)
        fitted = fit_flow(start, objective, validation, settings, _on_evaluation(density, ranks), file)
        learned = ranks.of_first(lambda: saved_flow(fitted.flow)["learned"])
        fitted = fitted._replace(flow=loaded_flow(specification, {"learned": learned}, shard.device))
        experts = _experts(density, ranks, start, fitted, rows, table, seeds[2])
    density._keep(start, fitted.flow, experts)
    density._tell(fitted, continues=False)


def _generator_of(ranks: Ranks, seed: int) -> torch.Generator:
    """Return the source of the batches of this process."""
    (own,) = np.random.SeedSequence([seed, ranks.number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(own))


def _objective(
    density: RealNVPDensity,
    ranks: Ranks,
    start: Start,
    rows: Rows,
    validation: NDArray[np.bool_],
    table: ShardedTable,
) -> DataParallel:
    """Return the objective of all processes."""
    local = maximum_likelihood(
        start, rows, validation, density.batch_size, standardize=bool(density.standardize), table=table
    )
    weights = torch.tensor(rows.weights, device=local.x.device)
    return DataParallel(local, weights, torch.tensor(validation, device=local.x.device), ranks)


def _on_evaluation(density: RealNVPDensity, ranks: Ranks) -> OnEvaluation:
    """Return a function that lets the first process tell of training."""

    def on_evaluation(history: History, present_flow: Callable[[], Flow]) -> bool:
        if density.verbose and ranks.is_first:
            report(history)
        return False

    return on_evaluation


def _experts(
    density: RealNVPDensity,
    ranks: Ranks,
    start: Start,
    fitted: FittedFlow,
    rows: Rows,
    table: ShardedTable,
    seed: int,
) -> Experts:
    """Fit the experts to the sample in the first process, and return them in all."""
    x, validation, weights = table.sample(rows.weights, rows.x, fitted.validation.T)
    sample = Rows(x, weights, x[:, :0], np.arange(len(x)))
    of_sample = fitted._replace(validation=validation.T)
    return ranks.of_first(lambda: density._fit_experts(start, of_sample, sample, np.random.RandomState(seed)))
