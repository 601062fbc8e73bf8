"""Scores and draws on Spark: two workers of a local session."""

import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from sknvp import ConditionalRealNVPDensity
from sknvp._estimators import missing

from .small import moons, small
from .test_large_data import recipe

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # PySpark 4.3 warns of pandas 3 at every toPandas, and passes it a keyword that is deprecated there.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated:DeprecationWarning"),
]
SETTINGS = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",  # a quicker start
    "spark.driver.host": "localhost",
    "spark.sql.execution.arrow.maxRecordsPerBatch": 300,  # so that a partition comes in several parts
    "spark.sql.files.maxPartitionBytes": "8k",  # so that a small file has several partitions
    "spark.sql.shuffle.partitions": 1,
    "spark.ui.enabled": False,
    "spark.ui.showConsoleProgress": False,
}
X = pd.DataFrame(moons(1000), columns=["a", "b"]).assign(id=np.arange(1000)[::-1])


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The names of the recipe of the page on large data, run beside a file of 1,000 rows, with a small density."""
    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        pytest.fail("Spark needs Java 17 or newer, got none. Install openjdk-17-jre-headless, or set JAVA_HOME.")
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)  # in its place Spark takes python3 on the path
        patch.chdir(tmp_path_factory.mktemp("spark"))
        session = SparkSession.builder.master("local[2]").config(map=SETTINGS).getOrCreate()
        session.sparkContext.setLogLevel("OFF")  # errors come as exceptions, too
        X.to_parquet("rows.parquet", row_group_size=300)
        names = {"spark": session, "RealNVPDensity": lambda random_state: small(max_iter=3)}
        exec(recipe("mapInPandas"), names)
    yield names
    session.stop()


def by_id(scores):
    return scores.toPandas().set_index("id")["log_density"].sort_index()


def in_memory(density, X):
    return pd.Series(density.score_samples(X[["a", "b"]]), index=X["id"], name="log_density").sort_index()


def test_scores_of_partitions_are_those_of_the_table_in_memory(ran):
    assert ran["frame"].rdd.getNumPartitions() > 1
    assert ran["scores"].dtypes == [("id", "bigint"), ("log_density", "double")]
    pd.testing.assert_series_equal(by_id(ran["scores"]), in_memory(ran["density"], X), check_exact=True)


def test_draws_of_partitions_are_those_of_their_seeds(ran):
    draws = ran["draws"].toPandas()
    assert dict(draws.dtypes) == {"a": np.float64, "b": np.float64}
    expected = [ran["density"].sample(300, random_state=seed) for seed in range(8)]
    np.testing.assert_array_equal(draws, np.concatenate(expected))


def test_a_null_is_an_unknown_cell(ran, monkeypatch):
    """The score is the density of the known cells, as of NaN in memory."""
    from pyspark.sql.functions import when

    monkeypatch.setattr(missing, "N_DRAWN", 40_000)  # what it is on the workers, which do not read conftest.py
    frame = ran["frame"].where("id < 20")
    holed = frame.withColumn("b", when(frame.id > 3, frame.b)).coalesce(1)
    scores = by_id(holed.mapInPandas(ran["scored"], "id long, log_density double"))
    some = X[X["id"] < 20]
    pd.testing.assert_series_equal(
        scores, in_memory(ran["density"], some.assign(b=some["b"].where(some["id"] > 3))), check_exact=True
    )


def of_targets(density):
    def scored(parts):
        for part in parts:
            yield part[["id"]].assign(log_density=density.score_samples(part[["a"]], part["b"]))

    return scored


@pytest.mark.parametrize(
    ("what", "expression", "message"),
    [
        ("strings", "if(id = 3, 'n/a', cast(a AS string))", "Column a of X must hold numbers, got 'n/a'"),
        ("nulls", "if(id = 3, null, a)", "X must have missing cells only in columns that had some in fit, got 1 in"),
    ],
)
def test_the_error_that_spark_shows_is_ours(ran, what, expression, message):
    from pyspark.errors import PythonException
    from pyspark.sql.functions import expr

    scored = ran["scored"]
    if what == "nulls":  # of which a density without condition makes no error
        density = ConditionalRealNVPDensity(n_estimators=1, n_layers=2, max_iter=2, stacking=False)
        scored = of_targets(density.fit(X[["a"]], X["b"]))
    bad = ran["frame"].where("id < 20").withColumn("a", expr(expression)).coalesce(1)
    with pytest.raises(PythonException, match=message):
        bad.mapInPandas(scored, "id long, log_density double").collect()
