"""The native library under the compiler's sanitizers, which see every wrong address and every undefined operation."""

import subprocess
from pathlib import Path

import torch

from sknvp.flows.native import status
from sknvp.flows.native.compile import INSTRUCTIONS, LANGUAGE, SOURCE, find_compiler

DRIVER = Path(__file__).with_name("sanitized.cpp")
SANITIZERS = "-fsanitize=address,undefined", "-fno-sanitize-recover=all"


def build(source, program, *flags):
    """Compile a program, and return how that went."""
    command = [*find_compiler(), *LANGUAGE, *flags, str(source), "-o", str(program)]
    return subprocess.run(command, capture_output=True, text=True)


def sanitizers(folder):
    """Return the flags for sanitizers; none where their libraries are not installed beside the compiler."""
    nothing = folder / "nothing.cpp"
    nothing.write_text("int main() {}")
    return () if build(nothing, folder / "nothing", *SANITIZERS).returncode else SANITIZERS


def test_the_sanitizers_find_nothing(tmp_path):
    """In chains, gradients, the optimiser, mixtures and kernels of several shapes, by one and by three threads."""
    if not status().startswith("native library"):
        return  # there is no compiler, as another test makes sure, or nothing that it has made is used
    program, instructions = tmp_path / "driver", INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ())
    built = build(DRIVER, program, *sanitizers(tmp_path), *instructions, f"-I{SOURCE}")
    assert not built.returncode, built.stderr
    run = subprocess.run([program], capture_output=True, text=True)
    assert not run.returncode, run.stdout + run.stderr
