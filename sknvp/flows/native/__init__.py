"""Chains of couplings in a native library, several times faster than in PyTorch's operations.

It is C++ in the folder ``source``, compiled when the package is built, if there is a compiler. It needs neither PyTorch
nor Python: `Chain` asks `program_for` for a `Program`, which hands over the addresses of tensors. PyTorch's code is the
reference that tests hold it to, and does the work wherever there is no program.
"""

from .experts import expected_moments, kernels_log_sum, maximized_coefficients, mixture_log_prob
from .loader import library, status, torch_only
from .optimizer import Step, can_step, describe_step, take_step
from .program import Inputs, Program, Tape, program_for

__all__ = [
    "Inputs",
    "Program",
    "Step",
    "Tape",
    "can_step",
    "describe_step",
    "expected_moments",
    "kernels_log_sum",
    "library",
    "maximized_coefficients",
    "mixture_log_prob",
    "program_for",
    "status",
    "take_step",
    "torch_only",
]
