"""The recipes of the page on large data, each run on the engine that it names."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .small import moons, small

PAGE = (Path(__file__).parent.parent / "docs" / "large_data.md").read_text()
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def recipe(word):
    """The code of the page in which a word occurs."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if word in block)
    return code.replace("100_000", "300").replace("20_000", "400")


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A function that runs a recipe among files of 1,000 rows, with a small density; it returns the recipe's names."""
    X = moons(1000).astype(np.float32)
    np.save(tmp_path / "rows.npy", X)
    pd.DataFrame(X, columns=["a", "b"]).to_parquet(tmp_path / "rows.parquet", row_group_size=300)
    monkeypatch.chdir(tmp_path)

    def run(word):
        names = {"np": np, "X": X, "RealNVPDensity": lambda random_state: small(max_iter=3)}
        exec(recipe(word), names)
        return names

    return run


def in_memory(density, named=True):
    X = moons(1000).astype(np.float32)
    return density.score_samples(pd.DataFrame(X, columns=["a", "b"]) if named else X)


def test_a_memory_map(ran):
    density = ran('mmap_mode="r")\n')["density"]
    np.testing.assert_array_equal(
        in_memory(density, named=False), in_memory(small(max_iter=3).fit(moons(1000).astype("f4")), named=False)
    )


@pytest.mark.parametrize("word", ["scores = [density.score_samples(batch", "polars"])
def test_scores_of_batches_are_those_of_the_whole_table(ran, word):
    names = ran(word)
    assert len(names["scores"]) == 4
    X = pd.DataFrame(moons(1000).astype(np.float32), columns=["a", "b"])
    if word == "polars":
        X = names["polars"].DataFrame({name: X[name].to_numpy() for name in X})
    np.testing.assert_allclose(np.concatenate(names["scores"]), names["density"].score_samples(X), rtol=1e-12)


def test_a_stream_of_batches(ran):
    density = ran("partial_fit")["density"]
    assert density.n_iter_ > 4
    assert np.isfinite(in_memory(density)).all()


@pytest.mark.dask
@pytest.mark.parametrize(("word", "named"), [("dask.array", False), ("dask.dataframe", True)])
def test_scores_on_dask(ran, word, named):
    import dask

    names = ran(word)
    assert names["scores"].dtype == np.float64
    with dask.config.set(scheduler="threads", num_workers=2):
        scores = names["scores"].compute()
    np.testing.assert_allclose(scores, in_memory(names["density"], named), rtol=1e-12)
    if named:
        assert scores.name == "log_density"
        assert names["scores"].divisions == names["frame"].divisions
    else:
        assert names["scores"].chunks == ((300, 300, 300, 100),)
