"""Checkpoints: files from which a training that was cut short goes on."""

import errno
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from .._warn import warn_caller
from ..flows.train.course import Course
from .shard import told_apart

SECONDS_BETWEEN = 10.0  # A checkpoint is written at most once in this many seconds, and when training is done.
HEADER = "header"  # The name of the array that holds the header as JSON.


class CheckpointFile:
    """Where the course of a training is kept, in NumPy's format for several arrays, which holds no code.

    Parameters
    ----------
    path : Path or None
        The file; None to keep nothing.
    header : dict
        What is written beside the state; it is made of lists and plain values.
    state : dict of Tensor
        The state that training goes on from; empty if it is new.
    """

    def __init__(self, path: Path | None, header: dict[str, Any], state: dict[str, Tensor]) -> None:
        self.path, self.header, self.state = path, header, state
        self.written = time.monotonic()

    def load(self) -> dict[str, Tensor]:
        """Return the state that training goes on from."""
        return self.state

    def save(self, course: Course, done: bool) -> None:
        """Write the course, unless the last time was a moment ago; warn if the disk does not take it."""
        if self.path is None or not (done or time.monotonic() - self.written >= SECONDS_BETWEEN):
            return
        try:
            write(self.path, self.header, course.state())
        except OSError as error:
            warn_caller(
                f"checkpoint {str(self.path)!r} could not be written ({error.strerror}), so that the file stays as it "
                "was. Training goes on. Make room on the disk."
            )
        self.written = time.monotonic()


def write(path: Path, header: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write a checkpoint beside the old one, and only then put it in its place.

    Raises
    ------
    OSError
        If the disk does not take the checkpoint; the old one then stays as it was.
    """
    arrays: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in state.items()}
    arrays[HEADER] = np.array(json.dumps(header))
    with _temporary_file_near(path) as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
        os.replace(file.name, path)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the state in a checkpoint; both are empty if there is no such file.

    Raises
    ------
    ValueError
        If the file is no checkpoint.
    """
    if not path.exists():
        return {}, {}
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file[HEADER]))
            fit, seeds = dict(header["fit"]), list(header["seeds"])
            return {"fit": fit, "seeds": seeds}, {
                name: torch.tensor(file[name]) for name in file.files if name != HEADER
            }
    except (OSError, ValueError, KeyError, BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise ValueError(
            f"checkpoint must name a file that a fit has written, or one that is not there yet, got {str(path)!r}, "
            f"which cannot be read as one ({error}). Name another file, or delete this one to start afresh."
        ) from error


def check_writable(path: Path) -> None:
    """Raise a ValueError if no file can be written beside the checkpoint."""
    try:
        if not path.name or path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with _temporary_file_near(path):
            pass
    except OSError as error:
        raise ValueError(
            f"checkpoint must name a file in a folder that can be written to, got {str(path)!r} ({error.strerror}). "
            "Make the folder, or name a file elsewhere."
        ) from error


@contextmanager
def _temporary_file_near(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file in the folder of a path, which is deleted in the end unless it was moved."""
    file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".tmp", delete=False)  # noqa: SIM115
    try:
        with file:
            yield file
    finally:
        Path(file.name).unlink(missing_ok=True)


def check_description(path: Path, written: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise a ValueError for the first thing in which a checkpoint differs from the fit that is to go on from it."""
    for name in {**written, **now}:
        before, after = written.get(name), now.get(name)
        if before != after:
            raise ValueError(
                f"checkpoint {str(path)!r} was written by a fit with another {name}: {told_apart(before, after)}, "
                "then and now. Go on with what it was written with, name another file, or delete this one."
            )
