"""Mixtures and kernels in the native library, in double precision."""

import ctypes
from ctypes import c_double, c_int64, c_void_p

import torch
from torch import Tensor

from .loader import library, n_threads
from .structures import Columns, plain_dtype


class Expert(ctypes.Structure):
    """The arguments of a call, with the fields of the structure of the same name in ``source``."""

    _fields_ = (
        *((name, c_int64) for name in ("n_threads", "n_members", "n_rows", "n_features", "n_parts")),
        *(("z", Columns), ("weights", c_void_p), ("noise", c_void_p), ("n_noise", c_int64)),
        *((name, c_void_p) for name in ("constants", "matrices", "shifts")),
        *(("scale", c_double), ("moments", c_void_p), ("value", c_void_p)),
    )


def mixture_log_prob(z: Tensor, constants: Tensor, shifts: Tensor, matrices: Tensor) -> Tensor | None:
    """Compute ``log sum_k exp(c_k - |P_k^T z + s_k|^2 / 2)``, or return None where PyTorch has to do it.

    The shapes are (n_members, n_rows, n_features), (n_members, n_components), (n_members, n_components, n_features) and
    (n_members, n_components, n_features, n_features).
    """
    return _log_prob("sknvp_mixture_log_prob", z, constants=constants, shifts=shifts, matrices=matrices)


def kernels_log_sum(z: Tensor, constants: Tensor, points: Tensor, scale: float) -> Tensor | None:
    """Compute ``log sum_i exp(c_i + scale point_i . z)``, or return None where PyTorch has to do it.

    The shapes are (n_members, n_rows, n_features), (n_members, n_points) and (n_members, n_points, n_features).
    """
    return _log_prob("sknvp_kernels_log_sum", z, scale, constants=constants, matrices=points)


def expected_moments(coefficients: Tensor, x: Tensor, weights: Tensor, noise: Tensor) -> tuple[Tensor, float] | None:
    """Take the expectation step of mixtures, or return None where PyTorch has to do it.

    The arguments have shape (n_members, n_components, n_monomials), (n_rows, n_features) or (n_members, n_rows,
    n_features), (n_members, n_rows) and (n_rows, n_noise). The results are the moments, shape (n_members, n_components,
    n_monomials + n_noise), and the mean log-likelihood of the members.
    """
    native = library()
    if native is None or not x.numel() or plain_dtype(coefficients, x, weights, noise) != torch.float64:
        return None
    n_members, n_components, n_monomials = coefficients.shape
    moments = coefficients.new_zeros(n_members, n_components, n_monomials + noise.shape[1])
    value = coefficients.new_empty(n_members)
    x, weights, noise, coefficients = (part.contiguous() for part in (x, weights, noise, coefficients))
    n_rows, n_features = x.shape[-2:]
    threads = n_threads(2 * coefficients.numel() * n_rows, n_members)
    z = Columns(start=x.data_ptr(), member_step=n_rows * n_features if x.ndim == 3 else 0)
    call = Expert(threads, n_members, n_rows, n_features, n_components, z, n_noise=noise.shape[1])
    call.weights, call.noise, call.constants = weights.data_ptr(), noise.data_ptr(), coefficients.data_ptr()
    call.moments, call.value = moments.data_ptr(), value.data_ptr()
    native.sknvp_expect(ctypes.byref(call))
    return moments, float(value.mean())


def maximized_coefficients(moments: Tensor, n_features: int, ridge: float) -> Tensor | None:
    """Take the maximization step of mixtures, or return None where PyTorch has to do it.

    It takes the moments of the expectation step, with the noise of no column or of all columns, and returns the
    coefficients that the next expectation step takes. If a covariance is not positive definite, it returns None, since
    PyTorch's own step raises an error then.
    """
    native = library()
    if native is None or plain_dtype(moments) != torch.float64:
        return None
    n_members, n_components, n_sums = moments.shape
    n_monomials = (n_features + 1) * (n_features + 2) // 2
    moments, coefficients = moments.contiguous(), moments.new_empty(n_members, n_components, n_monomials)
    succeeded = moments.new_empty(n_members)
    threads = n_threads(coefficients.numel() * n_features, n_members)
    call = Expert(threads, n_members, n_features=n_features, n_parts=n_components, n_noise=n_sums - n_monomials)
    call.constants, call.moments, call.value = moments.data_ptr(), coefficients.data_ptr(), succeeded.data_ptr()
    call.scale = ridge
    native.sknvp_maximize(ctypes.byref(call))
    return coefficients if succeeded.all() else None


def _log_prob(function: str, z: Tensor, scale: float = 1.0, **parts: Tensor) -> Tensor | None:
    """Call a function that returns a number for each row of ``z``.

    The other tensors hold components or kernels, which are along their second axis.
    """
    native, recorded = library(), torch.is_grad_enabled() and z.requires_grad
    if native is None or recorded or not z.numel() or plain_dtype(z, *parts.values()) != torch.float64:
        return None
    n_members, n_rows, n_features = z.shape
    parts = {name: part.contiguous() for name, part in parts.items()}
    if any(len(part) != n_members for part in parts.values()):
        return None
    value = z.new_empty(n_members, n_rows)
    pointers = {name: part.data_ptr() for name, part in parts.items()}
    n_parts, threads = parts["constants"].shape[1], n_threads(parts["matrices"].numel() * n_rows, n_rows)
    call = Expert(threads, n_members, n_rows, n_features, n_parts, Columns.of(z.mT), scale=scale, **pointers)
    call.value = value.data_ptr()
    native[function](ctypes.byref(call))
    return value
