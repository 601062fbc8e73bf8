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

FEW_ROWS = 1_000  # for which one thread of PyTorch is enough where the native library is missing

Item = TypeVar("Item")
Value = TypeVar("Value")

_lock = threading.Lock()
_inside, _setting = 0, 1  # how many bodies of `one_thread` run, and the setting from before the first of them


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Let PyTorch use one thread within the body, if that is wanted, and the caller's number of threads after it.

    The native library shares its work among the caller's number of threads meanwhile; they sleep when they have nothing
    to do. PyTorch's setting is that of the whole process, so that fits in several threads share the note of what it
    was.
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
    """Let PyTorch use one thread within the body, which evaluates a density, unless it does most of the work there.

    It does on GPUs, for images, and for many rows where there is no native library. Its threads wait for each other in
    loops, after every operation, and lose much where another program wants the processor.
    """
    on_cpu = density.reference.device.type == "cpu"
    of_images = any(isinstance(part, Convolution) for part in density.modules())
    with one_thread(on_cpu and not of_images and (library() is not None or n_rows <= FEW_ROWS)):
        yield


def map_in_threads(function: Callable[[Item], Value], items: Sequence[Item]) -> Iterator[Value]:
    """Yield the values of a function in the order of the items, which the threads that PyTorch leaves free share.

    The threads live as long as the iterator. Where they are more than the items, the native library gets the others,
    to share out the rows of an item.
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
        except RuntimeError:  # no more threads may be started, or the interpreter is ending
            values = map(function, items)
        yield from values
