"""The build of the package: it compiles the native library where there is a C++ compiler."""

import os
import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent


class NativeLibrary(BuildHookInterface):  # type: ignore[type-arg]
    """Compile the library into the package; without it the package is pure Python, and PyTorch does all work."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or os.environ.get("SKNVP_PURE_PYTHON", "0") not in ("", "0"):
            return
        compile_libraries = runpy.run_path(str(ROOT / "sknvp/flows/native/compile.py"))["compile_libraries"]
        try:
            libraries = compile_libraries()
        except OSError as error:
            self.app.display_warning(f"sknvp will fit and score in plain PyTorch, several times slower: {error}.")
            return
        build_data["artifacts"] += [str(path.relative_to(ROOT)) for path in libraries]
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"  # ctypes loads the library, so that it suits every Python
