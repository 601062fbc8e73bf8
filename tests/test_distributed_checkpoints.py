"""Data-parallel fits that are cut short: killed processes, full disks, and checkpoints from which they go on."""

import io
import os
import re
import resource
import signal
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import torch

import sknvp.distributed
from sknvp import RealNVPDensity
from sknvp._distributed import checkpoint as checkpoints
from sknvp._distributed import fit

from .processes import assert_equal_states, results, state_of, together, uneven
from .small import moons, small, stacked
from .test_large_data import PAGE

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def fit_with(rank, path, density=None, at=None, what=None, X=None):
    """Fit with a checkpoint after every evaluation, and do something at one of them."""
    checkpoints.SECONDS_BETWEEN = 0.0
    n_evaluations = 0

    class Watched(checkpoints.CheckpointFile):
        def save(self, course, done):
            nonlocal n_evaluations
            n_evaluations += 1
            super().save(course, done)
            if n_evaluations == at:
                what(rank)

    fit.CheckpointFile = Watched
    density = stacked(max_iter=60, random_state=None) if density is None else density
    shard = uneven(rank, moons(400) if X is None else X)
    return state_of(sknvp.distributed.fit(density, shard, checkpoint=path)), n_evaluations


def die(rank):
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def interrupt(rank):
    raise KeyboardInterrupt


def crash_and_resume(rank, folder):
    """An uninterrupted fit with the seeds of the other one, and a fit that is interrupted in every process."""
    path = folder / "interrupted.npz"
    with pytest.raises(KeyboardInterrupt):
        fit_with(rank, path, at=4, what=interrupt)
    resumed, n_evaluations = fit_with(rank, path)
    header = checkpoints.read(path)[0]
    torch.distributed.barrier()
    if rank == 0:  # only the seeds of a random state of None are taken over from a checkpoint at the start
        checkpoints.write(folder / "whole.npz", header, {})
    torch.distributed.barrier()
    whole, n_evaluations_of_all = fit_with(rank, folder / "whole.npz")
    again, n_evaluations_of_none = fit_with(rank, path)
    return resumed, whole, again, (n_evaluations, n_evaluations_of_all, n_evaluations_of_none)


def test_a_fit_that_was_cut_short_goes_on_to_the_same_bits(tmp_path):
    (resumed, whole, again, counts), other = results(crash_and_resume, tmp_path)
    n_resumed, n_whole, n_again = counts
    assert n_resumed == n_whole - 4 > 1
    assert n_again == 1  # a finished fit only notes that it is done
    for state in (resumed, again, other[0]):
        assert_equal_states(state, whole)


def test_when_a_process_is_killed_the_others_say_how_to_go_on(tmp_path):
    path, density = tmp_path / "fit.npz", stacked(max_iter=60)
    survivor, dead = together(fit_with, path, density, 4, die)
    assert dead is None
    assert isinstance(survivor, RuntimeError)
    assert re.search(rf"process .* has ended.*same command.*{path.name}", str(survivor))
    (resumed, n_resumed), _ = results(fit_with, path, density)
    (whole, n_whole), _ = results(fit_with, None, density)
    assert 1 < n_resumed < n_whole
    assert_equal_states(resumed, whole)


def refusals(rank, folder):
    """The messages of fits that may not go on from a checkpoint."""
    good = folder / "good.npz"
    fit_with(rank, good, small(max_iter=2))
    before = good.read_bytes()
    (folder / "bad.npz").write_bytes(b"no checkpoint")
    (folder / "code.npz").write_bytes(_with_code())
    np.savez(folder / "foreign.npz", header=np.array("[1]"))
    (folder / "good.npz.tmp").write_text("a file of the user")
    tries = [
        (good, small(max_iter=2, n_layers=6), None),
        (good, small(max_iter=3), None),
        (good, small(max_iter=2), moons(400, seed=5)),
        (folder / "bad.npz", small(), None),
        (folder / "code.npz", small(), None),
        (folder / "foreign.npz", small(), None),
        (folder, small(), None),
        (folder / "absent" / "fit.npz", small(), None),
    ]
    messages = []
    for path, density, X in tries:
        with pytest.raises(ValueError, match="checkpoint") as caught:
            fit_with(rank, path, density, X=X)
        messages.append(str(caught.value))
    torch.distributed.barrier()
    assert good.read_bytes() == before
    assert (folder / "good.npz.tmp").read_text() == "a file of the user"
    assert len(list(folder.iterdir())) == 5
    return messages


class Code:
    def __reduce__(self):
        return os._exit, (3,)


def _with_code():
    file = io.BytesIO()
    np.savez(file, header=np.array([Code()], dtype=object))
    return file.getvalue()


def test_checkpoints_of_other_fits_are_refused_in_every_process(tmp_path):
    for messages in results(refusals, tmp_path):
        expected = ["n_layers", "max_iter", "table", *["cannot be read"] * 3, *["folder"] * 2]
        for message, word in zip(messages, expected, strict=True):
            assert word in message
            assert re.search("Name another|name another|elsewhere", message)


def fit_once(rank, path):
    return fit_with(rank, path, small(max_iter=2))


def test_checkpoints_of_another_number_of_processes_are_refused(tmp_path):
    results(fit_once, tmp_path / "fit.npz", n=2)
    (error,) = together(fit_once, tmp_path / "fit.npz", n=1)
    assert "number of processes: 2 and 1, then and now" in str(error)


def fill_the_disk(rank):
    if rank == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))  # no file may grow beyond it


def fit_on_a_full_disk(rank, path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state, _ = fit_with(rank, path, small(), 4, fill_the_disk)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return state, {str(warning.message) for warning in caught if "checkpoint" in str(warning.message)}


def test_a_full_disk_costs_no_more_than_later_checkpoints(tmp_path):
    (state, messages), (_, others) = results(fit_on_a_full_disk, tmp_path / "fit.npz")
    (message,) = messages
    assert "could not be written" in message
    assert not others
    assert [path.name for path in tmp_path.iterdir()] == ["fit.npz"]
    assert checkpoints.read(tmp_path / "fit.npz")[1]["n_steps"] == 100
    (resumed, _), _ = results(fit_with, tmp_path / "fit.npz", small())
    assert_equal_states(resumed, state)


def test_the_script_of_the_page_on_large_data(tmp_path):
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "init_process_group" in block)
    assert "RealNVPDensity(" in code
    np.save(tmp_path / "rows.npy", moons(1000).astype(np.float32))
    smaller = code.replace("batch_size=1024", "batch_size=256, max_iter=20, n_layers=2, hidden_layer_sizes=8")
    (tmp_path / "train.py").write_text(smaller)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    density = joblib.load(tmp_path / "density.joblib")
    assert type(density) is RealNVPDensity
    assert density.score(moons(1000, seed=1)) / 1000 > -1.3  # a Gaussian has -1.7
    assert (tmp_path / "fit.npz").exists()
