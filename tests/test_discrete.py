"""Tables with columns that are not continuous: what their scores mean, and what is drawn."""

import itertools
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sknvp import DensityClassifier, RealNVPOutlierDetector
from sknvp._columns.describe import columns_of, value_counts

from .small import full_batch, moons, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def survey(n=300, seed=0):
    """A table as people have them."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n)
    grade = rng.choice(list("abc"), n, p=[0.6, 0.3, 0.1])
    return pd.DataFrame(
        {
            "sex": sex,
            "age": rng.integers(18, 90, n),
            "grade": pd.Categorical(grade, categories=list("abcd"), ordered=True),
            "smokes": rng.uniform(size=n) < 0.3,
            "children": pd.array(rng.poisson(1 + (sex == "f")), dtype="Int64"),
            "income": rng.normal(np.where(grade == "a", 0.0, 3.0), 1.0),
        }
    )


@given(values=st.lists(st.integers(-3, 9), min_size=1), distinct=st.booleans(), weighted=st.booleans())
def test_counts_are_the_sums_of_weights_of_equal_values(values, distinct, weighted):
    """Distinct values with equal weights have a way of their own."""
    values = np.array(list(dict.fromkeys(values)) if distinct else values) / 2
    counts = np.arange(len(values)) + 1.0 if weighted else np.full(len(values), 2.0)
    different, sums = value_counts(values, counts)
    np.testing.assert_array_equal(different, np.unique(values))
    np.testing.assert_array_equal(sums, [counts[values == value].sum() for value in different])


def few_values(n=400, seed=0):
    """Dependent columns of few whole numbers."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 2, n)
    return np.c_[first, rng.binomial(3, 0.2 + 0.6 * first), rng.integers(1, 4, n)].astype(float)


@pytest.mark.parametrize("make", [small, stacked])
def test_the_probabilities_of_all_rows_add_up_to_one(make):
    density = make(coupling="spline").fit(few_values())
    rows = np.array(list(itertools.product([0, 1], range(-1, 12), range(-1, 12))), dtype=float)
    assert np.exp(density.score_samples(rows)).sum() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("make", [small, stacked])
def test_probability_and_density_together_add_up_to_one(make):
    X = np.c_[few_values()[:, :2], np.random.default_rng(0).normal(few_values()[:, 0], 1)]
    density, grid = make(coupling="spline").fit(X), np.linspace(-30, 30, 601)
    total = 0.0
    for first, second in itertools.product([0, 1], range(12)):
        rows = np.c_[np.full(601, first), np.full(601, second), grid]
        total += integrate.simpson(np.exp(density.score_samples(rows)), x=grid)
    assert total == pytest.approx(1, abs=0.02)


def test_scores_are_near_the_probabilities_that_rows_were_drawn_with():
    """Rows have one of few probabilities, so that noise in the scores leaves a rank correlation of 0.8 to 0.9."""
    rows = few_values(4000, 1)
    truth = np.log(0.5 / 3) + stats.binom(3, 0.2 + 0.6 * rows[:, 0]).logpmf(rows[:, 1])
    scores = stacked(coupling="spline", max_iter=100).fit(few_values(1000)).score_samples(rows)
    assert truth.mean() - 0.06 < scores.mean() < truth.mean()
    assert stats.spearmanr(scores, truth).statistic > 0.75


def test_draws_are_values_that_can_be_and_depend_on_each_other_as_the_rows_do():
    X = few_values(1000)
    drawn = stacked(coupling="spline", max_iter=60).fit(X).sample(4000, random_state=0)
    assert set(np.unique(drawn[:, 0])) == {0, 1}
    assert np.isin(drawn[:, 2], [1, 2, 3]).mean() > 0.95
    np.testing.assert_array_equal(drawn, np.floor(drawn))
    drawn_and_true = (stats.spearmanr(rows[:, 0], rows[:, 1]).statistic for rows in (drawn, X))
    assert next(drawn_and_true) == pytest.approx(next(drawn_and_true), abs=0.15)
    np.testing.assert_allclose(np.median(drawn, axis=0), np.median(X, axis=0), atol=1)


def test_other_labels_and_a_million_times_the_numbers_change_nothing():
    table = survey()
    other = table.assign(
        sex=table["sex"].map({"f": "A", "m": "B"}), age=10**6 * table["age"], smokes=table["smokes"].map(str)
    )
    for declared in ("auto", ["sex", "age", "grade", "smokes", "children"]):
        density = small(max_iter=5, discrete_features=declared)
        one, two = (density.fit(frame).score_samples(frame) for frame in (table, other))
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_continuous_tables_keep_every_bit():
    X = moons()
    found, none = small(stacking=True).fit(X), small(stacking=True, discrete_features=None).fit(X)
    np.testing.assert_array_equal(found.score_samples(X), none.score_samples(X))
    np.testing.assert_array_equal(found.sample(9, random_state=0), none.sample(9, random_state=0))
    declared = small(discrete_features=[]).fit(np.round(X)).score_samples(X)
    np.testing.assert_array_equal(declared, small(discrete_features=None).fit(np.round(X)).score_samples(X))


def test_frames_come_back_as_they_were():
    table = survey()
    density = small(max_iter=3).fit(table)
    drawn = density.sample(200, random_state=0)
    assert (drawn.dtypes == table.dtypes).all()
    assert drawn["grade"].cat.ordered
    assert list(drawn.columns) == list(table.columns)
    assert set(drawn["sex"]) == {"f", "m"}
    assert np.isfinite(density.score_samples(drawn)).all()
    again = pickle.loads(pickle.dumps(density))
    pd.testing.assert_frame_equal(again.sample(20, random_state=1), density.sample(20, random_state=1))
    assert isinstance(small(max_iter=3).fit(moons()).sample(2), np.ndarray)


def test_frames_of_polars_too():
    table = survey().astype({"grade": str, "children": int})
    frame = pl.DataFrame({name: table[name].tolist() for name in table})
    frame = frame.with_columns(pl.col("grade").cast(pl.Enum(list("abcd"))), pl.col("sex").cast(pl.Categorical))
    drawn = small(max_iter=3).fit(frame).sample(50, random_state=0)
    assert drawn.schema == frame.schema
    scores = small(max_iter=3).fit(frame).score_samples(frame)
    table = survey().assign(sex=pd.Categorical(survey()["sex"]), children=survey()["children"].astype(int))
    np.testing.assert_array_equal(scores, small(max_iter=3).fit(table).score_samples(table))


def test_every_row_counts_on_its_own():
    density = stacked().fit(survey())
    rows = survey(20, 1)
    together = density.score_samples(rows)
    apart = [density.score_samples(rows.iloc[[i]])[0] for i in range(20)]
    np.testing.assert_allclose(apart, together, rtol=1e-6)  # points of cells are scored in single precision


def test_weights_are_repetitions_and_zero_is_absence():
    X, counts = few_values(60), np.arange(60) % 3
    weighted = full_batch(max_iter=3).fit(X, sample_weight=counts).score_samples(X)
    np.testing.assert_allclose(weighted, full_batch(max_iter=3).fit(np.repeat(X, counts, axis=0)).score_samples(X))
    table = survey(100)
    odd = pd.concat([table, table[:1].assign(sex="x", age=10**7)], ignore_index=True)
    absent = small(max_iter=3).fit(odd, sample_weight=np.r_[np.ones(100), 0]).score_samples(table)
    np.testing.assert_array_equal(absent, small(max_iter=3).fit(table).score_samples(table))


def test_a_stream_keeps_the_values_it_has_learned():
    density = small().partial_fit(few_values())
    before = density.score_samples(few_values()).mean()
    for seed in range(20):
        density.partial_fit(few_values(200, seed))
    assert density.score_samples(few_values()).mean() > before
    assert np.isfinite(density.score_samples([[0, 50, 2], [1, 3, 99]])).all()


def test_the_family_takes_such_tables():
    table, labels = survey(), survey()["income"].to_numpy() > 1
    detector = RealNVPOutlierDetector(contamination=0.1, **small(max_iter=10).get_params()).fit(table)
    assert (detector.predict(table) == -1).mean() == pytest.approx(0.1, abs=0.01)
    auto = RealNVPOutlierDetector(**small(max_iter=10).get_params()).fit(table)
    assert (auto.predict(auto.sample(2000, random_state=1)) == -1).mean() == pytest.approx(0.05, abs=0.02)
    odd = table.assign(children=pd.array([60] * 300, dtype="Int64"))
    assert (auto.predict(odd) == -1).all()
    classifier = DensityClassifier(small(max_iter=10)).fit(table, labels)
    assert classifier.score(table, labels) > 0.8
    assert np.isfinite(cross_val_score(small(max_iter=3), table, cv=3)).all()


def test_classes_agree_on_what_the_columns_hold():
    """A category, or a repetition, that one class alone has is known in the other too."""
    table, labels = survey(), np.arange(300) % 2
    table["sex"] = np.where((labels == 1) & (np.arange(300) % 3 == 0), "x", table["sex"])
    classifier = DensityClassifier(small(max_iter=3)).fit(table, labels)
    assert classifier.predict_proba(table[table["sex"] == "x"])[:, 1].min() > 0.5


@pytest.mark.parametrize(
    ("X", "kinds"),
    [
        (np.c_[moons(40), np.arange(40) % 5], ["continuous", "continuous", "whole"]),
        (np.arange(20.0).reshape(10, 2), ["continuous", "continuous"]),
        (pd.DataFrame(np.arange(20).reshape(10, 2)), ["whole", "whole"]),
        (np.ones((10, 2)), ["continuous", "continuous"]),
        (np.arange(400)[:, None], ["continuous"]),
        (np.maximum(np.arange(400) - 90, 0)[:, None], ["whole"]),
        (np.array([[0, 1e6], [0, 1], [1, 1], [1, 3]]), ["whole", "continuous"]),
        (
            np.c_[np.arange(400), 40 * np.arange(400), np.arange(400) * (np.arange(400) > 90)],
            ["continuous"] * 2 + ["whole"],
        ),
        (np.array([[0.5, True], [0.5, False]]), ["continuous", "continuous"]),
        (survey(), ["category", "whole", "category", "category", "whole", "continuous"]),
    ],
)
def test_kinds_of_columns_are_found(X, kinds):
    assert [column.kind for column in columns_of(X)] == kinds


@pytest.mark.parametrize("chosen", [["age"], [1], np.arange(6) == 1])
def test_discrete_columns_can_be_declared(chosen):
    density = small(max_iter=3, discrete_features=chosen).fit(survey())
    kinds = ["category", "whole", "category", "category", "continuous", "continuous"]
    assert [column.kind for column in density._columns] == kinds


def test_declared_values_that_are_not_whole_are_categories():
    ratings = np.c_[moons(100), np.arange(100) % 5 / 2]
    density = small(max_iter=3, discrete_features=[2]).fit(ratings)
    assert set(density.sample(200, random_state=0)[:, 2]) == {0.0, 0.5, 1.0, 1.5, 2.0}
    with pytest.raises(ValueError, match="Column 2 of X must hold categories that were there in fit"):
        density.score_samples([[0.0, 0.0, 0.7]])


TABLE = survey(60)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.assign(sex="x"), "Column sex of X must hold categories that were there in fit, 'f', 'm', got 'x'"),
        (
            TABLE.assign(age=pd.date_range("2020-01-01", periods=60)),
            "Column age of X must hold real numbers .* got dates",
        ),
        (TABLE.drop(columns="age"), "feature names should match"),
        (TABLE[TABLE.columns[::-1]], "Feature names must be in the same order"),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_lost(table, message):
    density = small(max_iter=3).fit(TABLE)
    before = density.score_samples(TABLE)
    with pytest.raises(ValueError, match=message):
        density.score_samples(table)
    with pytest.raises(ValueError, match=message):
        density.partial_fit(table)
    np.testing.assert_array_equal(density.score_samples(TABLE), before)


@pytest.mark.parametrize(
    ("settings", "table", "message"),
    [
        ({}, TABLE.assign(sex=[str(i) for i in range(60)]), "Column sex of X must hold categories that repeat"),
        ({}, TABLE.assign(sex=["a", 1] * 30), "Column sex of X must hold values of one type, got int and str"),
        ({"discrete_features": [True]}, TABLE, r"discrete_features must have shape \(n_features,\) = \(6,\)"),
        ({"discrete_features": ["years"]}, TABLE, "discrete_features must name columns of X"),
        ({"discrete_features": [9]}, TABLE, "discrete_features must name columns of X"),
        ({"discrete_features": ["age", "years"]}, TABLE, "discrete_features must name columns of X .* got 'years'"),
        ({"discrete_features": ["age", 0]}, TABLE, r"discrete_features must hold names .* not both, got \['age', 0\]"),
        ({"discrete_features": "all"}, TABLE, "discrete_features must be one of 'auto' or None"),
    ],
)
def test_bad_declarations_are_refused(settings, table, message):
    with pytest.raises(ValueError, match=message):
        small(max_iter=3, **settings).fit(table)


def rows_of(column, seed=0):
    """A continuous column beside the given one."""
    return np.c_[np.random.default_rng(seed).normal(size=len(column)), column]


COUNTS = np.random.default_rng(1).poisson(3, 300).astype(float)
RATINGS = np.random.default_rng(1).choice([0.1, 0.2, 0.5], 300)


def test_a_fit_forgets_what_earlier_tables_held():
    X, names = rows_of(1000 * COUNTS), survey()
    again = small(max_iter=3).fit(names).set_params(discrete_features=None).fit(X).score_samples(X)
    np.testing.assert_array_equal(again, small(max_iter=3, discrete_features=None).fit(X).score_samples(X))
    kept = small(max_iter=3).fit(X)
    before = kept.score_samples(X)
    np.testing.assert_array_equal(kept.set_params(discrete_features=None).score_samples(X), before)
    of_a_class = DensityClassifier(small(max_iter=3)).fit(X, np.arange(300) % 2).estimators_[0]
    new = np.random.default_rng(0).normal(size=(300, 2))
    np.testing.assert_array_equal(of_a_class.fit(new).score_samples(new), small(max_iter=3).fit(new).score_samples(new))


@pytest.mark.parametrize(("column", "declared"), [(RATINGS, [1]), (np.r_[2.5, COUNTS[1:]], "auto")])
def test_rows_of_weight_zero_decide_nothing(column, declared):
    X, weights = rows_of(column), np.r_[0, np.ones(299)]
    absent = small(max_iter=3, discrete_features=declared).fit(X, sample_weight=weights)
    gone = small(max_iter=3, discrete_features=declared).fit(X[1:])
    np.testing.assert_array_equal(absent.score_samples(X[1:]), gone.score_samples(X[1:]))
    np.testing.assert_array_equal(absent.sample(50, random_state=0), gone.sample(50, random_state=0))


@pytest.mark.parametrize("dtype", ["int64", "Int64", "uint8", "int8", "UInt8"])
def test_draws_of_integers_are_rounded_and_fit_their_dtype(dtype):
    limits, rng = np.iinfo(dtype.lower()), np.random.default_rng(0)
    wide = rng.integers(max(limits.min, -200), min(limits.max, 200), 300)
    near = min(limits.max, 10**6)
    table = pd.DataFrame({"wide": wide, "at the end": near - rng.poisson(1, 300)}).astype(dtype)
    drawn = small(max_iter=3).fit(table).sample(2000, random_state=0)
    assert (drawn.dtypes == table.dtypes).all()
    assert drawn["at the end"].min() > near - 120
    if limits.min < 0:  # otherwise draws below zero become zero
        assert (drawn["wide"].astype(float) == 0).mean() < 0.03


def test_numbers_that_were_rounded_to_single_precision_are_found_again():
    table = pd.DataFrame(rows_of(np.full(300, 0.1)), columns=["x", "constant"])
    density = small(max_iter=3).fit(table)
    np.testing.assert_allclose(density.score_samples(table.astype("float32")), density.score_samples(table), atol=1e-4)
    rated = small(max_iter=3, discrete_features=[1]).fit(rows_of(RATINGS))
    single = rows_of(RATINGS).astype(np.float32)
    np.testing.assert_allclose(rated.score_samples(single), rated.score_samples(rows_of(RATINGS)), atol=1e-3)


def test_categories_of_dates_are_equal_in_every_unit_and_numbers_in_objects_are_numbers():
    days = pd.DataFrame({"x": rows_of(COUNTS)[:, 0], "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(COUNTS, "D")})
    density = small(max_iter=3).fit(days.astype({"day": "datetime64[ns]"}).astype({"day": "category"}))
    units = [density.score_samples(days.astype({"day": f"datetime64[{unit}]"})) for unit in ("ns", "us", "s")]
    np.testing.assert_array_equal(units[0], units[1])
    np.testing.assert_array_equal(units[0], units[2])
    numbers = pd.DataFrame(rows_of(COUNTS))
    kinds = [column.kind for column in small(max_iter=2).fit(numbers.astype(object))._columns]
    assert kinds == ["continuous", "whole"]


@pytest.mark.parametrize("kind", ["objects", "arrow", "polars"])
def test_decimals_are_numbers(kind):
    prices = np.random.default_rng(0).lognormal(3, 1, 300).round(2)
    floats = pd.DataFrame({"price": prices, "kind": ["a", "b", "b"] * 100})
    decimals = floats.assign(price=[Decimal(str(price)) for price in prices])
    tables = {
        "objects": decimals,
        "arrow": decimals.astype({"price": pd.ArrowDtype(pa.decimal128(5, 2))}),
        "polars": pl.DataFrame(decimals.to_dict("list"), schema_overrides={"price": pl.Decimal(5, 2)}),
    }
    density, expected = small(max_iter=3).fit(tables[kind]), small(max_iter=3).fit(floats)
    np.testing.assert_array_equal(density.score_samples(tables[kind]), expected.score_samples(floats))
    drawn = density.sample(50, random_state=0)["price"].to_numpy().astype(float)  # More digits than the types have.
    np.testing.assert_array_equal(drawn, expected.sample(50, random_state=0)["price"])


def test_labels_of_columns_come_back():
    for labels in ([7, 5], pd.MultiIndex.from_tuples([("a", "x"), ("b", "y")])):
        table = pd.DataFrame(rows_of(COUNTS))
        table.columns = labels
        assert small(max_iter=2).fit(table).sample(2).columns.equals(table.columns)
    table.columns = [7, 5]
    assert [c.kind for c in small(max_iter=2, discrete_features=[5]).fit(table)._columns] == ["continuous", "whole"]


def test_classes_behind_pipelines_must_agree_on_the_kinds():
    X, y = rows_of(COUNTS), np.arange(300) % 2
    X[0, 1] = 2.5
    with pytest.raises(ValueError, match="column 1 is lattice in class 0 and whole in class 1"):
        DensityClassifier(make_pipeline(FunctionTransformer(), small(max_iter=2))).fit(X, y)
    declared = make_pipeline(FunctionTransformer(), small(max_iter=2, discrete_features=None))
    DensityClassifier(declared).fit(X, y)


def test_a_class_with_a_constant_takes_strings_beside_it():
    table = survey().assign(constant=np.where(np.arange(300) % 2, survey()["income"], 0.5))
    classifier = DensityClassifier(small(max_iter=3)).fit(table, np.arange(300) % 2)
    assert classifier.score(table, np.arange(300) % 2) > 0.99


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        (pd.DataFrame({"id": 2**60 + np.arange(9)}), {}, r"Column id of X must hold integers of at most 2\^53"),
        (
            rows_of(1e7 * COUNTS + np.arange(300) % 2),
            {"discrete_features": [1]},
            "Column 1 of X must span at most 200000",
        ),
        (survey().iloc[:0], {}, "Found array with 0 sample"),
        (survey().iloc[:, :0], {}, "Found array with 0 feature"),
    ],
)
def test_tables_that_cannot_be_fitted_are_refused(table, settings, message):
    with pytest.raises(ValueError, match=message):
        small(max_iter=2, **settings).fit(table)


def test_numeric_frames_compute_as_their_arrays_do():
    for dtype in (np.float32, np.float64):
        X = rows_of(COUNTS).astype(dtype)
        frame = pd.DataFrame(X, columns=["x", "count"])
        in_array, in_frame = (small(max_iter=3).fit(table).score_samples(table) for table in (X, frame))
        np.testing.assert_array_equal(in_array, in_frame)


def test_integers_are_found_among_categories_of_fractions():
    halves = np.arange(300) % 3 / 2 + 0.5  # 0.5, 1.0, 1.5
    table = pd.DataFrame(rows_of(halves), columns=["x", "half"])
    density = small(max_iter=3, discrete_features=["half"]).fit(table)
    whole = table[table["half"] == 1.0]
    np.testing.assert_array_equal(density.score_samples(whole.astype({"half": int})), density.score_samples(whole))


def test_a_threshold_heeds_no_row_of_weight_zero():
    table, weights = survey(100), np.r_[np.ones(100), 0]
    odd = pd.concat([table, table[:1].assign(sex="x")], ignore_index=True)
    detector = RealNVPOutlierDetector(contamination=0.1, **small(max_iter=3).get_params())
    without = detector.fit(table).offset_
    assert detector.fit(odd, sample_weight=weights).offset_ == without


def test_huge_weights_count_in_their_ratios():
    weights = 1e300 * (np.arange(300) % 3 + 1.0)
    assert np.isfinite(
        small(max_iter=2).fit(rows_of(COUNTS), sample_weight=weights).score_samples(rows_of(COUNTS))
    ).all()
