"""The page on bad input says what happens: every row of its table is tried."""

import re
import warnings
from pathlib import Path

import dask.array
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

import sknvp.distributed
from sknvp import (
    ConditionalDensityDisplay,
    ConditionalRealNVPDensity,
    DensityClassifier,
    DensityDisplay,
    PairDisplay,
    PITDisplay,
    RealNVPDensity,
    RealNVPImageDensity,
    RealNVPOutlierDetector,
    RealNVPTransformer,
    TrainingDisplay,
    TransformedDensity,
    VariationalRealNVP,
)
from sknvp.flows import Coupling
from sknvp.metrics import crps

from .small import normal_rows

PAGE = Path(__file__).parents[1] / "docs" / "bad_input.md"
ROWS = [re.split(r" *\| *", line.strip("| \n")) for line in PAGE.read_text().splitlines() if line.startswith("| ")]
TABLE = {what: (kind.strip("`"), message) for what, kind, message in ROWS[1:]}
X, Y = normal_rows(60, 2), normal_rows(60, 1)[:, 0]
FRAME = pd.DataFrame({"sex": ["f", "m"] * 30, "age": np.arange(60) % 7})
WIDE = np.r_[[[0, 1.5e308], [1, -1.5e308]], X]


def density(**settings):
    return RealNVPDensity(**{"n_layers": 2, "hidden_layer_sizes": 8, "max_iter": 1, "stacking": False, **settings})


def conditional(X=X, Y=Y, **settings):
    return ConditionalRealNVPDensity(n_layers=2, max_iter=1, **settings).fit(X, Y)


class Doubling(Coupling):
    N_PARAMETERS = 1

    def elementwise(self, x, theta, inverse):
        return x / 2 if inverse else 2 * x, 0 * x


def log_normal(x):
    return -x.square().sum(1) / 2


def variational(log_density):
    return VariationalRealNVP(n_layers=2, max_iter=2).fit(log_density, 2)


CASES = {
    "a column of missing cells": lambda: density().fit(X * [1, np.nan]),
    "missing cells for other estimators": lambda: RealNVPTransformer().fit(np.r_[[[np.nan, 0]], X]),
    "`fit` with infinity": lambda: density().fit(np.r_[[[np.inf, 0]], X]),
    "one row": lambda: density().fit(X[:1]),
    "no columns": lambda: density().fit(X[:, :0]),
    "one dimension": lambda: density().fit(X[:, 0]),
    "a sparse matrix": lambda: density().fit(sp.csr_array(X)),
    "complex numbers": lambda: density().fit(X + 1j),
    "a column of dates": lambda: density().fit(FRAME.assign(age=pd.date_range("2020-01-01", periods=60))),
    "a target of durations": lambda: conditional(Y=np.arange(60).astype("timedelta64[D]")),
    "strings": lambda: density().fit([["a", "b"]] * 3),
    "a word in a column that had numbers in `fit`": lambda: (
        density().fit(FRAME).score_samples(FRAME.assign(age=["n/a"] + ["1"] * 59))
    ),
    "a chunk of a dask array that has no rows": lambda: (
        dask.array.from_array(X)[:0].map_blocks(density().fit(X).score_samples, meta=np.empty(0)).compute()
    ),
    "a column that spans more than float64": lambda: density().fit(WIDE),
    "two columns of one name": lambda: density().fit(FRAME.set_axis(["age", "age"], axis=1)),
    "negative weights": lambda: density().fit(X, sample_weight=-np.ones(60)),
    "weights of another length": lambda: density().fit(X, sample_weight=np.ones(5)),
    "all weights zero": lambda: density().fit(X, sample_weight=np.zeros(60)),
    "one group alone": lambda: density().fit(X, groups=np.zeros(60)),
    "`groups` of two dimensions": lambda: density().fit(X, groups=np.zeros((60, 1))),
    "a row without a group": lambda: density().fit(X, groups=[None] + ["a", "b", "c"] * 19 + ["a", "b"]),
    "a category that was not there in `fit`": lambda: density().fit(FRAME).score_samples(FRAME.assign(sex="x")),
    "a column of names, all different": lambda: density().fit(FRAME.assign(sex=list(map(str, range(60))))),
    "a column of strings and numbers": lambda: density().fit(FRAME.assign(sex=["f", 1] * 30)),
    "`discrete_features` of another length": lambda: density(discrete_features=[True]).fit(X),
    "`discrete_features` of an unknown name": lambda: density(discrete_features=["years"]).fit(FRAME),
    "a period of an unknown name": lambda: density(periods={"hour": 24}).fit(FRAME),
    "a negative period": lambda: density(periods=-24).fit(X),
    "a period of a column with bounds": lambda: density(periods={0: 24}, bounds=(-9, 9)).fit(X),
    "`n_layers=0`": lambda: density(n_layers=0).fit(X),
    "`hidden_layer_sizes='wide'`": lambda: density(hidden_layer_sizes="wide").fit(X),
    "`learning_rate_init=-1`": lambda: density(learning_rate_init=-1).fit(X),
    "`validation_fraction=1.5`": lambda: density(validation_fraction=1.5).fit(X),
    "`coupling='Spline'`": lambda: density(coupling="Spline").fit(X),
    "a device that is not there": lambda: density(device="cuda:99").fit(X),
    "a mask of another shape": lambda: density(mask=np.eye(3)[:, :2]).fit(X),
    "a constant mask": lambda: density(mask=np.ones((2, 2))).fit(X),
    "`batch_norm=True` and unequal weights": lambda: density(batch_norm=True).fit(X, sample_weight=1 + (Y > 0)),
    "`score_samples` before `fit`": lambda: RealNVPDensity().score_samples(X),
    "other columns than fitted": lambda: density().fit(X).score_samples(normal_rows(3, 5)),
    "`sample(0)`": lambda: density().fit(X).sample(0),
    "`sample(2.5)`": lambda: density().fit(X).sample(2.5),
    "a changed architecture with `warm_start`": lambda: (
        density(warm_start=True).fit(X).set_params(n_layers=4).fit(X)
    ),
    "`contamination=0.9`": lambda: RealNVPOutlierDetector(contamination=0.9).fit(X),
    "two columns of `y` after one": lambda: conditional().score_samples(X, X),
    "columns of `y` in another order": lambda: conditional(Y=FRAME).score_samples(X, FRAME[["age", "sex"]]),
    "`predict_quantile(X, 1)`": lambda: conditional().predict_quantile(X, 1),
    "the distribution function of two targets": lambda: conditional(Y=X).predict_cdf(X, X),
    "quantiles of an angle": lambda: conditional(periods=360).predict_quantile(X),
    "a period of an unknown target": lambda: conditional(periods={"hour": 24}),
    "scores of a single draw": lambda: crps(Y, Y[:, None]),
    "a cell of a conditional density missing that was never": lambda: conditional().predict(np.r_[[[np.nan, 0]], X]),
    "missing target": lambda: conditional(Y=np.r_[np.nan, Y[1:]]),
    "weights for densities that take none": lambda: (
        DensityClassifier(GaussianMixture()).fit(X, Y > 0, sample_weight=np.ones(60))
    ),
    "a conditional density inside of another estimator": lambda: (
        DensityClassifier(ConditionalRealNVPDensity()).fit(X, Y > 0)
    ),
    "`priors` by label": lambda: DensityClassifier(density(), priors={False: 0.5, True: 0.5}).fit(X, Y > 0),
    "a log-density of the wrong shape": lambda: variational(lambda x: -(x**2)),
    "a log-density that is NaN everywhere": lambda: variational(lambda x: x.sum(1) * np.nan),
    "a transformer without a Jacobian": lambda: (
        TransformedDensity(density(), QuantileTransformer(n_quantiles=9)).fit(X)
    ),
    "the logarithm of negative numbers": lambda: TransformedDensity(density(), func=np.log).fit(X),
    "a log-density that returns a number": lambda: variational(lambda x: x.sum().item()),
    "a fit that goes on with other columns": lambda: (
        VariationalRealNVP(n_layers=2, max_iter=2, warm_start=True).fit(log_normal, 2).fit(log_normal, 3)
    ),
    "pixels from 0 to 1": lambda: RealNVPImageDensity().fit(np.random.default_rng(0).random((4, 16))),
    "`image_shape` that is not X's": lambda: RealNVPImageDensity(image_shape=(3, 4, 4)).fit(np.ones((4, 16))),
    "a picture of a conditional density": lambda: DensityDisplay.from_estimator(conditional(), X),
    "a single quantile as a band": lambda: ConditionalDensityDisplay.from_estimator(conditional(), X, Y, q=0.5),
    "bands of a density without a condition": lambda: ConditionalDensityDisplay.from_estimator(density(), X, Y),
    "a picture of three columns": lambda: DensityDisplay.from_estimator(density().fit(X), normal_rows(9, 3)),
    "a picture of words": lambda: DensityDisplay.from_estimator(density().fit(FRAME), FRAME),
    "a corner plot of eleven columns": lambda: PairDisplay.from_estimator(density(), normal_rows(9, 11)),
    "a corner plot of an unknown column": lambda: PairDisplay.from_estimator(density(), FRAME, features=["years"]),
    "a corner plot of columns in another order": lambda: (
        PairDisplay.from_estimator(density().fit(FRAME), FRAME[["age", "sex"]])
    ),
    "a corner plot of a pipeline": lambda: PairDisplay.from_estimator(make_pipeline(density()).fit(X), X),
    "a data-parallel fit without other processes": lambda: sknvp.distributed.fit(density(), X),
    "calibration of what has no distribution function": lambda: PITDisplay.from_estimator(density().fit(X), X, Y),
    "a coupling whose slope is wrong": lambda: density(coupling=Doubling).fit(X),
    "a loss curve without a fit": lambda: TrainingDisplay.from_estimator(density()),
}  # fmt: skip


def test_every_row_of_the_page_is_tried():
    assert list(TABLE) == list(CASES)


@pytest.mark.parametrize("what", CASES)
def test_the_message_is_that_of_the_page(what):
    kind, message = TABLE[what]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as caught:  # noqa: PT011
            CASES[what]()
    assert type(caught.value).__name__ == kind
    pattern = ".*".join(re.escape(part.strip()) for part in message.split("..."))
    assert re.search(pattern, " ".join(str(caught.value).split())), str(caught.value)
