"""A step of AdamW in the native library."""

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


def adamw_step(parameters: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, numbers: Sequence[float]) -> bool:
    """Take a step with tensors of shape (n_members, n_parameters), or return False where PyTorch has to do it.

    The numbers are those of the fields of `Step` from ``decay`` on.
    """
    native, tensors = library(), (parameters, gradient, mean, square)
    dtype = plain_dtype(*tensors)
    if native is None or dtype is None or parameters.ndim != 2 or not all(tensor.is_contiguous() for tensor in tensors):
        return False
    step = Step(*(tensor.data_ptr() for tensor in tensors), *parameters.shape, *numbers)
    native.sknvp_adamw(ctypes.byref(step), dtype == torch.float64)
    return True
