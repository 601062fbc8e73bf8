"""Data-parallel fits: several processes, each with its own rows, fit one density together.

The processes are those of `torch.distributed`, such as ``torchrun`` starts.
"""

import os
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike

from ._distributed.fit import DataParallelFit
from ._distributed.shard import Shard
from ._estimators.base import unchanged_on_error
from ._estimators.modes import default_torch_modes
from .density import RealNVPDensity
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
    together. Location and scale are those of all rows that are kept (see the notes); the values that only gross
    outliers pass, and the experts beside the flows, are found from 10,000 rows, drawn from all by their weights.

    Which rows are held out follows from their numbers alone, and so does not depend on the process that has them.
    Otherwise all rows are taken as independent.

    Read more in the :doc:`User Guide </large_data>`.

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
        differ in their parameters or columns, or if the checkpoint belongs to another fit or cannot be written. In a
        process that is not in the group.
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
    Seeds come from the ``random_state`` of the first process. Each process computes on one thread, so start as many as
    there are cores. Of more rows than training can see with ``max_iter="auto"``, each process keeps an even choice, in
    proportion to what its rows weigh.

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
    with unchanged_on_error(density), default_torch_modes():
        shard = Shard.of(ranks, density, X, sample_weight)
        DataParallelFit.of(density, ranks, shard, path).run()
    return density


def _cure(path: Path | None) -> str:
    """Say what to do after a process has ended."""
    if path is None:
        return "Start the job again, with checkpoint='fit.npz', so that the next crash costs less."
    return f"Start the same command again: training goes on from the checkpoint {str(path)!r}, if there is one by now."
