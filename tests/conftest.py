"""Settings of the whole suite: every check runs, on one thread a process."""

import os
from importlib.util import find_spec

os.environ["SCIPY_ARRAY_API"] = "1"  # before scikit-learn is imported: without it some of its checks are skipped
os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is: its threads, and those of child processes, contend for the cores

import pytest
import torch
from hypothesis import settings

from sknvp._estimators import missing

collect_ignore = [] if find_spec("sklearn.callback") else ["test_callbacks.py"]  # callbacks came with scikit-learn 1.9
torch.set_num_threads(1)
missing.N_DRAWN = 4_000  # draws that proposals of unknown cells are fitted to; fewer than in use, which saves time
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs a CUDA device; the only kind of test that may be skipped")
    config.addinivalue_line("markers", "dask: computes on dask's engines, in processes of its own")
    config.addinivalue_line("markers", "ray: searches on Ray, in processes of its own")
    config.addinivalue_line("markers", "spark: computes on Spark, which needs Java 17 or newer")
    config.addinivalue_line("markers", "distributed: fits in several processes, by torch.distributed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A skipped test is a failed one, unless it needs a GPU; one that is expected to fail is not."""
    report = yield
    if report.skipped and "gpu" not in item.keywords and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which counts as failed: {report.longrepr}"
    return report
