"""The compilation of the native library, which needs a C++ compiler and nothing else.

The package's build runs it; ``python sknvp/flows/native/compile.py`` does so by hand after a change of the source.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "source"
COMPILERS = "g++", "clang++", "c++"
LANGUAGE = "-std=c++17", "-pthread", "-Wall", "-Wextra", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"
FLAGS = "-O3", "-shared", "-fPIC", "-fvisibility=hidden", "-s", *LANGUAGE
# There is one library for each set of instructions; the keys are PyTorch's names for what a processor can do.
INSTRUCTIONS = {
    "DEFAULT": (),
    "AVX2": ("-mavx2", "-mfma"),
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma"),
}


def library_path(instructions: str) -> Path:
    """Return where the library for a set of instructions lies."""
    return FOLDER / f"library_{instructions.lower()}.so"


def checksum() -> str:
    """Return a checksum of the source."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find_compiler() -> list[str]:
    """Return the command that compiles: the variable CXX of the environment, or the first of `COMPILERS` found.

    Raises
    ------
    OSError
        If there is no compiler.
    """
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        raise OSError(f"none of the compilers {', '.join(COMPILERS)} is there")
    return compiler.split()


def compile_libraries() -> list[Path]:
    """Compile the libraries for this kind of processor.

    Raises
    ------
    OSError
        If there is no compiler, or if it fails; the message says why.
    """
    compiler = find_compiler()
    on_x86 = platform.machine().lower() in ("x86_64", "amd64")
    names = INSTRUCTIONS if on_x86 else ["DEFAULT"]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(partial(_compile, compiler), names))


def _compile(compiler: list[str], name: str) -> Path:
    """Compile the library for a set of instructions; a process that has the old one open keeps it."""
    path, flags = library_path(name), INSTRUCTIONS[name]
    unfinished = path.with_suffix(".unfinished")
    source = f'-DSKNVP_SOURCE="{checksum()}"', str(SOURCE / "library.cpp")
    command = [*compiler, *FLAGS, *flags, *source, "-o", str(unfinished)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        lines = run.stderr.splitlines() or ["it says nothing"]
        raise OSError(f"{' '.join(compiler)} failed: {next((line for line in lines if 'error' in line), lines[0])}")
    return unfinished.replace(path)


if __name__ == "__main__":
    for path in compile_libraries():
        print(path)
