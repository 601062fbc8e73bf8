"""Functions run by several processes at once, which form a group of `torch.distributed`, and what they return."""

import multiprocessing
import pickle
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from sknvp._estimators.state import saved_flow

from .small import moons

CONTEXT = multiprocessing.get_context("forkserver")
TESTS = "tests.test_distributed", "tests.test_distributed_checkpoints", "tests.test_distributed_errors"
CONTEXT.set_forkserver_preload([*TESTS, "sknvp.distributed"])  # so that processes start in no time
WAIT = 60  # seconds until a process counts as hanging


def together(function, *arguments, n=2):
    """The answer of each of n processes to ``function(rank, *arguments)``: a value, an error, or None of a dead one."""
    with tempfile.TemporaryDirectory() as folder:
        pipes = [CONTEXT.Pipe(duplex=False) for _ in range(n)]
        processes = [
            CONTEXT.Process(target=_take_part, args=(rank, n, folder, pipe[1], function, arguments))
            for rank, pipe in enumerate(pipes)
        ]
        for process, pipe in zip(processes, pipes, strict=True):
            process.start()
            pipe[1].close()
        answers = [_answer(pipe[0]) for pipe in pipes]
        for process in processes:
            process.join(WAIT)
            assert process.exitcode is not None
            process.close()
    return answers


def results(function, *arguments, n=2):
    """The values of all processes, none of which may have raised an error or died."""
    answers = together(function, *arguments, n=n)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _answer(pipe):
    assert pipe.poll(WAIT), "a process hangs"
    try:
        return pickle.loads(pipe.recv_bytes())
    except EOFError:
        return None


def _take_part(rank, n, folder, pipe, function, arguments):
    """Call the function as a part of the group, and send the answer."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=(Path(folder) / "store").as_uri(), rank=rank, world_size=n)
    try:
        answer = function(rank, *arguments)
    except Exception as error:
        answer = error.with_traceback(None)
        answer.__cause__ = answer.__context__ = None
    pipe.send_bytes(pickle.dumps(answer))
    torch.distributed.destroy_process_group()


def uneven(rank, X):
    return X[: len(X) // 3] if rank == 0 else X[len(X) // 3 :]


def state_of(density):
    """All numbers that a fit has found."""
    learned = [*saved_flow(density.flow_)["learned"], density._experts.log_weights, density.loc_, density.scale_]
    curves = [np.array(density.loss_curve_), np.array(density.validation_scores_ or [])]
    return [*learned, *curves, density.score_samples(moons(50, seed=2))]


def assert_equal_states(some, others):
    for mine, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(mine, other)
