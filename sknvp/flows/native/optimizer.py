"""Steps of AdamW in the native library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int64, c_void_p

import torch
from torch import Tensor

from .loader import library
from .structures import plain_dtype


class Step(ctypes.Structure):
    """The numbers of a step, with the fields of the structure of the same name in ``source``."""

    _fields_ = (
        *((name, c_void_p) for name in ("parameters", "gradient", "mean", "square")),
        *((name, c_int64) for name in ("n_members", "n_parameters")),
        *((name, c_double) for name in ("decay", "rate", "beta_1", "beta_2", "correction_2", "epsilon", "max_norm")),
    )


def can_step(*tensors: Tensor) -> bool:
    """Return whether the library can take a step with parameters, their gradient and both moments.

    Each tensor has shape (n_members, n_parameters).
    """
    plain = library() is not None and plain_dtype(*tensors) is not None
    return plain and tensors[0].ndim == 2 and all(tensor.is_contiguous() for tensor in tensors)


def describe_step(tensors: Sequence[Tensor], numbers: Sequence[float]) -> Step:
    """Describe a step with the tensors of `can_step`, and with the numbers of the fields from ``decay`` on."""
    return Step(*(tensor.data_ptr() for tensor in tensors), *tensors[0].shape, *numbers)


def take_step(step: Step, dtype: torch.dtype) -> None:
    """Take a step, in place."""
    native = library()
    assert native is not None
    native.sknvp_adamw(ctypes.byref(step), dtype == torch.float64)
