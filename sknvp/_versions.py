"""Versions of everything that matters in a report of a fault."""

import platform
import sys
from importlib.metadata import version

import torch

from .flows.native import status

PACKAGES = "sknvp", "torch", "scikit-learn", "numpy"


def show_versions() -> None:
    """Print the versions of Python, sknvp and its packages, and which code evaluates and trains flows on the CPU.

    Examples
    --------
    >>> import sknvp
    >>> sknvp.show_versions()  # doctest: +ELLIPSIS
    python: ...
    flows on the CPU: ...
    """
    rows = {"python": sys.version.split()[0], "machine": platform.platform()}
    rows |= {name: version(name) for name in PACKAGES}
    rows |= {"threads of PyTorch": str(torch.get_num_threads()), "flows on the CPU": status()}
    for name, value in rows.items():
        print(f"{name}: {value}")
