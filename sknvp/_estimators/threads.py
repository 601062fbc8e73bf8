"""Fits on one thread of PyTorch, whose threads cost more than they bring where batches are small."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside, _setting = 0, 1  # how many bodies of `one_thread` run, and the setting from before the first of them


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let PyTorch use one thread within the body, if that is wanted, and the caller's number of threads after it.

    The setting is that of the whole process, so that fits in several threads share the note of what it was.
    """
    global _inside, _setting
    if not wanted:
        yield
        return
    with _lock:
        _setting = _setting if _inside else torch.get_num_threads()
        _inside += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            torch.set_num_threads(_setting)
