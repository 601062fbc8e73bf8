"""Fits, scores and draws on one thread of PyTorch, whose threads cost more than they bring where batches are small."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from ..flows import Ensemble, Flow
from ..flows.native import library
from ..flows.native.loader import max_threads, native_threads
from ..flows.networks.residual import Convolution

MAX_ONE_THREAD_ROWS = 1_000  # One thread of PyTorch is enough for this many rows where the native library is missing.

Item = TypeVar("Item")
Value = TypeVar("Value")

_lock = threading.Lock()
# The number of bodies of `one_thread` that run, and PyTorch's number of threads before the first of them.
_inside, _setting = 0, 1


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let PyTorch use one thread within the body, if that is wanted, and the caller's number of threads after it.

    The native library shares its work among the caller's number of threads meanwhile; they sleep when they have nothing
    to do. PyTorch's setting is that of the whole process, so that fits in several threads share the record of the
    setting before them.
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
        with native_threads(_setting):
            yield
    finally:
        with _lock:
            _inside -= 1
            torch.set_num_threads(_setting)


@contextmanager
def threads_for(density: Ensemble | Flow, n_rows: int) -> Iterator[None]:
    """Let PyTorch use one thread within the body, which evaluates a density, unless PyTorch does most of the work.

    PyTorch does most of it on GPUs, for images, and for many rows where there is no native library. Its threads wait
    for each other in loops, after every operation, and lose much where another program wants the processor.
    """
    on_cpu = density.reference.device.type == "cpu"
    of_images = any(isinstance(part, Convolution) for part in density.modules())
    with one_thread(on_cpu and not of_images and (library() is not None or n_rows <= MAX_ONE_THREAD_ROWS)):
        yield


def map_in_threads(function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value]:
    """Yield the values of a function in the order of the items, shared among the threads that PyTorch leaves free.

    The threads live as long as the iterator. Where there are more threads than items, the native library gets the other
    threads and shares out the rows of an item among them.
    """
    available = max_threads() if torch.get_num_threads() == 1 else 1
    n_threads = min(len(items), available)
    if n_threads <= 1:
        yield from map(function, items)
        return

    def with_own_threads(item: Item) -> Value:
        with native_threads(available // n_threads):
            return function(item)

    with ThreadPoolExecutor(n_threads) as pool:
        try:
            values = pool.map(with_own_threads, items)
        except RuntimeError:  # No more threads can be started, or the interpreter is ending.
            values = map(function, items)
        yield from values
