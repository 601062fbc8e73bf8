"""The native library: where it is, and whether it may be used."""

import ctypes
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from .compile import checksum, library_path

_logger = logging.getLogger("sknvp")
MIN_THREAD_WORK = 2e7  # A thread pays if it gets at least this many multiplications.

_paused = 0  # This many callers are inside `torch_only`.
_own = threading.local()  # The attribute ``n_threads`` is set while the thread is inside `native_threads`.


@contextmanager
def torch_only() -> Iterator[None]:
    """Leave all work to PyTorch within the body, to compare its results with those of the native library."""
    global _paused
    _paused += 1
    try:
        yield
    finally:
        _paused -= 1


@contextmanager
def native_threads(n_threads: int) -> Iterator[None]:
    """Let the library use ``n_threads`` threads within the body, whatever PyTorch's number of threads is."""
    before = getattr(_own, "n_threads", 0)
    _own.n_threads = n_threads
    try:
        yield
    finally:
        _own.n_threads = before


def n_threads(work: int, n_items: int) -> int:
    """Return how many threads are to share ``work`` multiplications for ``n_items`` items, none of which is split."""
    return max(1, min(max_threads(), n_items, int(work / MIN_THREAD_WORK)))


def max_threads() -> int:
    """Return PyTorch's number of threads, or the one of `native_threads`."""
    return getattr(_own, "n_threads", 0) or torch.get_num_threads()


def library() -> ctypes.CDLL | None:
    """Return the native library, or None where PyTorch does the work."""
    return None if _paused else _load()[0]


def status() -> str:
    """Say in a few words which code evaluates and trains flows on the CPU."""
    return _load()[1]


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """Load the library for this processor; return it, if it can be used, and the `status`."""
    try:
        found, said = _open()
    except OSError as error:
        found, said = None, f"PyTorch ({error})"
    _logger.debug("Flows are evaluated and trained by: %s", said)
    return found, said


def _open() -> tuple[ctypes.CDLL, str]:
    """Load the library; raise an OSError that says why if it cannot be used."""
    if os.environ.get("SKNVP_PURE_PYTHON", "0") not in ("", "0"):
        raise OSError("SKNVP_PURE_PYTHON is set")
    instructions = torch.backends.cpu.get_cpu_capability()
    path = library_path(instructions)
    if not path.exists():
        instructions, path = "DEFAULT", library_path("DEFAULT")
    if not path.exists():
        raise OSError("the native library was not compiled")
    opened = ctypes.CDLL(str(path))
    opened.sknvp_source.restype = ctypes.c_char_p
    opened.sknvp_tape_size.restype = ctypes.c_int64
    if opened.sknvp_source().decode() != checksum():
        raise OSError("the native library was compiled from another source")
    return opened, f"native library, {instructions} instructions"
