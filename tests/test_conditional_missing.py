"""Missing cells of the rows that a conditional density is conditioned on."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sknvp import ConditionalRealNVPDensity

SMALL = {"n_layers": 2, "n_estimators": 2, "max_iter": 2, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def table(n=900, share=0.3):
    """Two columns that the target is the sum of, plus noise, and the log-density of targets given the known cells."""
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(n, 2)), rng.normal(size=n)
    y = X[:, 0] + 0.5 * X[:, 1] + 0.3 * noise
    X = np.where(rng.random(X.shape) < share, np.nan, X)
    variance = 0.09 + np.isnan(X) @ [1.0, 0.25]
    return X, y, stats.norm.logpdf(y, np.nan_to_num(X) @ [1.0, 0.5], np.sqrt(variance))


def test_the_density_is_that_given_the_known_cells():
    X, y, truth = table()
    fitted = ConditionalRealNVPDensity(random_state=0).fit(X[:600], y[:600])
    scores = fitted.score_samples(X[600:], y[600:])
    assert (truth[600:] - scores).mean() < 0.2
    both = np.isnan(X[600:]).all(1)
    assert (truth[600:] - scores)[both].mean() < 0.2
    known, one, other = fitted.sample([[0.0, 0.0], [0.0, np.nan], [np.nan, 0.0]], 2000, random_state=0).std(1)
    assert known < one < other


def test_what_stands_in_a_missing_cell_tells_nothing_but_that_it_is_missing():
    """A table without the column, and one in which all its cells but one are missing, say alike of the target."""
    X, y, _ = table(200, share=0.0)
    mostly = np.c_[X[:, 0], np.full(200, np.nan)]
    mostly[0, 1] = 5.0
    fitted = ConditionalRealNVPDensity(random_state=0).fit(mostly, y)
    alone = ConditionalRealNVPDensity(random_state=0).fit(X[:, :1], y)
    assert abs(fitted.score(mostly, y) - alone.score(X[:, :1], y)) / 200 < 0.1


def test_weights_equal_repetitions():
    X, y, _ = table(60)
    weights = np.arange(60) % 3
    weighted = ConditionalRealNVPDensity(**SMALL).fit(X, y, weights, groups=np.arange(60))
    rows = np.repeat(np.arange(60), weights)
    repeated = ConditionalRealNVPDensity(**SMALL).fit(X[rows], y[rows], groups=rows)
    np.testing.assert_array_equal(weighted.score_samples(X, y), repeated.score_samples(X, y))


def test_categories_and_frames():
    X, y, _ = table(120)
    color = pd.Series(np.where(y > 0, "red", "blue"), dtype=object).where(np.arange(120) % 4 > 0, None)
    frame = pd.DataFrame({"size": X[:, 0], "color": color})
    fitted = ConditionalRealNVPDensity(**SMALL).fit(frame, y)
    for values in (fitted.score_samples(frame, y), fitted.predict(frame), fitted.predict_quantile(frame, [0.1, 0.9])):
        assert np.isfinite(values).all()
    with_na = frame.astype({"size": "Float64"})
    assert with_na["size"].isna().any()
    np.testing.assert_array_equal(fitted.predict(with_na), fitted.predict(frame))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dtypes(dtype):
    X, y, _ = (part.astype(dtype) for part in table(60))
    before = X.copy()
    fitted = ConditionalRealNVPDensity(**SMALL).fit(X, y)
    assert fitted.predict(X).dtype == dtype
    np.testing.assert_array_equal(X, before)


def test_bad_tables_lose_nothing():
    X, y, _ = table(60)
    X = np.c_[X, np.arange(60.0)]
    fitted = ConditionalRealNVPDensity(**SMALL).fit(X, y)
    before = fitted.score_samples(X, y)
    unknown, infinite, new = X.copy(), X.copy(), X.copy()
    unknown[:, 1], infinite[3, 1], new[3, 2] = np.nan, np.inf, np.nan
    with pytest.raises(ValueError, match=r"known value in every column, got missing ones alone in column 1\. Leave"):
        fitted.fit(unknown, y)
    for method in (fitted.fit, fitted.score_samples):
        with pytest.raises(ValueError, match="infinity"):
            method(infinite, y)
    with pytest.raises(ValueError, match=r"only in columns that had some in fit, got 1 in column 2\. Fit to rows"):
        fitted.predict(new)
    np.testing.assert_array_equal(fitted.score_samples(X, y), before)
