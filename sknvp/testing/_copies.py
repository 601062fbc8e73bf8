"""Copies of a fitted estimator, by every usual way, score and sample the same bits."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import SkipTest

import joblib
import numpy as np

from ._tools import draw, ensure, ensure_same, ensure_same_density, fitted, optional, table

FRESH_INTERPRETER_SCRIPT = """
import pickle, sys
import numpy as np
density = pickle.load(open("density.pkl", "rb"))
np.savez("found.npz", scores=density.score_samples(np.load("rows.npy")), drawn=density.sample(5, random_state=0))
"""


def check_pickle(estimator: Any) -> None:
    """What comes out of a pickle, and out of that one's pickle, scores and samples the same bits."""
    density = fitted(estimator, table())
    once = pickle.loads(pickle.dumps(density))
    ensure_same_density(once, density, "after pickling")
    ensure_same_density(pickle.loads(pickle.dumps(once)), density, "after pickling twice")


def check_deepcopy(estimator: Any) -> None:
    """A deep copy scores and samples the same bits, and still does once the original is fitted anew."""
    density = fitted(estimator, table())
    ensure_same_density(copy.deepcopy(density), density, "after deepcopy")
    twin = copy.deepcopy(density)
    before = twin.score_samples(table())
    density.fit(table(seed=1) * 3)
    ensure_same(twin.score_samples(table()), before, "of a deep copy, once the original is fitted anew")


def check_joblib(estimator: Any) -> None:
    """What joblib loads, with and without memory maps, scores and samples the same bits."""
    density = fitted(estimator, table())
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        joblib.dump(density, Path(folder, "density.joblib"))
        for mode in (None, "r"):
            twin = joblib.load(Path(folder, "density.joblib"), mmap_mode=mode)
            ensure_same_density(twin, density, f"after joblib.load(mmap_mode={mode!r})")
            del twin


def check_fresh_interpreter(estimator: Any) -> None:
    """A pickle opens in an interpreter that has imported nothing yet, and scores and samples the same bits there."""
    if type(estimator).__module__ == "__main__":
        raise SkipTest("a class defined in __main__ is not to be found by another interpreter")
    density, rows = fitted(estimator, table()), table(50, seed=1)
    with TemporaryDirectory() as folder:
        Path(folder, "density.pkl").write_bytes(pickle.dumps(density))
        np.save(Path(folder, "rows.npy"), rows)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        command = [sys.executable, "-c", FRESH_INTERPRETER_SCRIPT]
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        ensure(ended.returncode == 0, f"a pickle must open in a fresh interpreter, got {ended.stderr[-2000:]}")
        with np.load(Path(folder, "found.npz")) as found:
            ensure_same(found["scores"], density.score_samples(rows), "score_samples in a fresh interpreter")
            ensure_same(found["drawn"], draw(density, 5), "sample(5, random_state=0) in a fresh interpreter")


def check_skops(estimator: Any) -> None:
    """What skops.io writes asks to trust nothing but the estimator's own package, and opens to the same bits."""
    io = optional("skops.io")
    density = fitted(estimator, table())
    written = io.dumps(density)
    asked = io.get_untrusted_types(data=written)
    own = type(estimator).__module__.partition(".")[0]
    foreign = [name for name in asked if name.partition(".")[0] != own]
    ensure(not foreign, f"a reader must have to trust nothing but {own}, got {foreign}.")
    ensure_same_density(io.loads(written, trusted=asked), density, "after skops.io")
