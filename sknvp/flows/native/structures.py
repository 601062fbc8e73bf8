"""What the native library reads: structures with the fields of those of the same names in ``source``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int32, c_int64, c_void_p

import torch
from torch import Tensor
from torch.autograd import forward_ad

MAX_DENSE = 9  # A network has at most this many layers.


class Layer(ctypes.Structure):
    """A transform."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "n_parts", "n_first", "flip", "activation", "n_dense")),
        *((name, c_int32) for name in ("n_plain", "n_knots")),
        *(("sizes", c_int32 * (MAX_DENSE + 1)), ("bound", c_double)),
        *((name, c_void_p) for name in ("rows", "loc", "scale", "knots", "scores", "slopes")),
    )


class Layers(ctypes.Structure):
    """A chain of transforms."""

    _fields_ = (
        *((name, c_int32) for name in ("n_layers", "n_parts", "n_features", "n_context")),
        ("layers", ctypes.POINTER(Layer)),
    )


class Columns(ctypes.Structure):
    """A tensor of shape (n_members, n_columns, n_rows)."""

    _fields_ = (("start", c_void_p), *((f"{name}_step", c_int64) for name in ("member", "column", "row")))

    @classmethod
    def of(cls, x: Tensor | None) -> Columns:
        return cls() if x is None else cls(x.data_ptr(), *x.stride())


class Parts(ctypes.Structure):
    """Tensors whose first axis is that of the members; the numbers of a member lie together."""

    _fields_ = (("starts", ctypes.POINTER(c_void_p)), ("steps", ctypes.POINTER(c_int64)))


class Call(ctypes.Structure):
    """The arguments of a call."""

    _fields_ = (
        *((name, c_int32) for name in ("is_double", "inverse", "n_members", "n_threads")),
        *(("n_rows", c_int64), ("x", Columns), ("context", Columns)),
        *((name, c_void_p) for name in ("image", "log_det", "grad_context")),
        *(("parts", Parts), ("grad_parts", Parts)),
        *((name, c_void_p) for name in ("tape", "weights", "tail", "value")),
    )


def plain_dtype(*tensors: Tensor) -> torch.dtype | None:
    """Return the dtype that all tensors have, or None if the library cannot read them.

    It reads tensors on the CPU, all of float32 or all of float64. The tensors of `torch.func` have no memory of their
    own, and forward derivatives need PyTorch's operations.
    """
    (dtype, *more) = {tensor.dtype for tensor in tensors}
    on_cpu = all(type(tensor) is Tensor and tensor.device.type == "cpu" for tensor in tensors)
    if (
        more
        or not on_cpu
        or dtype not in (torch.float32, torch.float64)
        or getattr(forward_ad, "_current_level", -1) >= 0
    ):
        return None
    try:
        return dtype if all(tensor.data_ptr() or not tensor.numel() for tensor in tensors) else None
    except RuntimeError:
        return None


class Addresses:
    """Where the parameters of a chain, or their gradients, lie in memory.

    ``dtype`` is that of all of them; None if the library cannot reach them, or if a member's numbers lie apart.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.key = [tensor.data_ptr() for tensor in tensors]
        kinds = {(tensor.dtype, tensor.device.type, tensor[0].is_contiguous()) for tensor in tensors}
        dtype, device, is_contiguous = next(iter(kinds), (None, "cpu", True))
        self.dtype = dtype if len(kinds) == 1 and device == "cpu" and is_contiguous else None
        steps = (tensor.stride(0) for tensor in tensors)
        self.parts = Parts((c_void_p * len(tensors))(*self.key), (c_int64 * len(tensors))(*steps))

    def renewed(self, tensors: Sequence[Tensor]) -> Addresses:
        """Return the addresses of these tensors, which most often have not moved."""
        return self if self.key == [tensor.data_ptr() for tensor in tensors] else Addresses(tensors)
