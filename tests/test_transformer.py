"""The transformer: change of variables against the density, round trips, and noise that looks like noise."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknvp import RealNVPDensity, RealNVPTransformer

from .small import full_batch, moons, normal_rows, small

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

LOADERS = {"iris": load_iris, "wine": load_wine, "diabetes": load_diabetes, "breast cancer": load_breast_cancer}


def transformer(make=small, **settings):
    """A transformer with the settings of a small density."""
    own = RealNVPTransformer().get_params()
    return RealNVPTransformer(**{name: value for name, value in make(**settings).get_params().items() if name in own})


def banana(n, seed=0):
    """Three columns, the second bent around the first."""
    Z = normal_rows(n, 3, seed)
    return np.c_[Z[:, 0], Z[:, 0] ** 2 + 0.1 * Z[:, 1], Z[:, 2]]


@parametrize_with_checks([transformer(full_batch, max_iter=5), transformer(max_iter=5, random_state=None)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_the_parameters_are_the_densitys_but_for_three():
    expected = RealNVPDensity().get_params()
    assert [expected.pop(name) for name in ("n_estimators", "stacking", "base")] == [4, True, "normal"]
    assert RealNVPTransformer().get_params() == expected
    values = {name: object() for name in expected}
    assert vars(RealNVPTransformer(**values)) == values
    assert RealNVPTransformer().__sklearn_tags__().estimator_type is None


@pytest.mark.parametrize("settings", [{}, {"coupling": "spline"}, {"batch_norm": True}], ids=str)
def test_change_of_variables_gives_the_density(settings):
    """Density of the noise times the Jacobian determinant, by autodiff, is what the same flow scores."""
    fitted = transformer(**settings).fit(moons())
    density = small(n_estimators=1, **settings).fit(moons())
    rows, noise = moons(20, seed=1), fitted.transform(moons(20, seed=1))
    inputs = torch.tensor(rows[:, None, None])
    jacobians = [torch.autograd.functional.jacobian(lambda x: fitted.flow_.transform(x)[0], x) for x in inputs]
    log_det = np.linalg.slogdet(torch.stack(jacobians).reshape(20, 2, 2).numpy())[1]
    expected = density.score_samples(rows)
    np.testing.assert_allclose(stats.norm.logpdf(noise).sum(1) + log_det, expected, rtol=1e-9)
    np.testing.assert_array_equal(fitted.score_samples(rows), expected)


def test_the_jacobian_is_that_of_transform_itself():
    """Differences of `transform` alone, with nothing of the flow looked at."""
    fitted, step = transformer(activation="tanh").fit(moons()), 1e-6
    rows = moons(20, seed=1)
    columns = [(fitted.transform(rows + h) - fitted.transform(rows - h)) / (2 * step) for h in step * np.eye(2)]
    log_det = np.linalg.slogdet(np.stack(columns, -1))[1]
    noise = fitted.transform(rows)
    np.testing.assert_allclose(stats.norm.logpdf(noise).sum(1) + log_det, fitted.score_samples(rows), atol=1e-6)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
@pytest.mark.parametrize("name", LOADERS)
def test_rows_are_found_again(name, coupling):
    """Both ways, within 1e-9 of a column's spread; also rows and noise that were never seen."""
    X = LOADERS[name]().data
    fitted = transformer(coupling=coupling, discrete_features=None).fit(X[::2])
    np.testing.assert_allclose((fitted.inverse_transform(fitted.transform(X)) - X) / fitted.scale_, 0, atol=1e-9)
    noise = normal_rows(200, X.shape[1])
    np.testing.assert_allclose(fitted.transform(fitted.inverse_transform(noise)), noise, atol=1e-9)


@pytest.mark.parametrize("name", LOADERS)
def test_values_with_a_probability_are_drawn_anywhere_in_their_intervals_and_found_again(name):
    X = LOADERS[name]().data
    fitted = transformer().fit(X)
    noise = fitted.transform(X)
    np.testing.assert_allclose(fitted.inverse_transform(noise), X, atol=1e-9 * np.abs(X).max())
    np.testing.assert_array_equal(fitted.transform(X), noise)
    drawn = fitted.inverse_transform(normal_rows(50, X.shape[1]))
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(drawn)), drawn, rtol=1e-9, atol=1e-9)


def test_tables_with_categories_come_back_as_they_were():
    table = pd.DataFrame({"size": np.arange(60) % 7, "kind": np.array(list("abc"))[np.arange(60) % 3]})
    table["weight"] = table["size"] + moons(60)[:, 0]
    fitted = transformer().fit(table)
    assert fitted.transform(table).shape == (60, 3)
    pd.testing.assert_frame_equal(fitted.inverse_transform(fitted.transform(table)), table)


def test_rows_far_outside_are_found_again():
    fitted = transformer(coupling="spline").fit(moons())
    far = np.outer([-1e9, -1e3, 1e3, 1e30], [1.0, 2.0])
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(far)), far, rtol=1e-9)


def distance_to_normal(rows):
    """Energy distance to normal noise, which sees dependence as well as shape."""
    normal = normal_rows(1000, rows.shape[1], seed=1)

    def mean_distance(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=-1).mean()

    return 2 * mean_distance(rows, normal) - mean_distance(rows, rows) - mean_distance(normal, normal)


@pytest.mark.parametrize("rows", [moons, banana], ids=lambda rows: rows.__name__)
def test_noise_of_new_rows_is_nearer_to_normal_than_what_works_by_columns_makes_it(rows):
    X, new = rows(600), rows(600, seed=1)
    others = [
        scaler.fit(X).transform(new)
        for scaler in (StandardScaler(), QuantileTransformer(output_distribution="normal", n_quantiles=100))
    ]
    ours = transformer(coupling="spline", max_iter=200).fit(X).transform(new)
    assert distance_to_normal(ours) < min(map(distance_to_normal, others))


def test_noise_comes_back_as_rows_of_the_density():
    fitted = transformer(max_iter=5).fit(moons())
    drawn = fitted.transform(fitted.sample(2000, random_state=0))
    assert min(stats.kstest(column, "norm").pvalue for column in drawn.T) > 1e-3
    assert abs(stats.spearmanr(drawn).statistic) < 5 / np.sqrt(2000)


def test_a_constant_column_is_left_as_it_is_less_its_value():
    X = np.insert(moons(), 1, 7.0, axis=1)
    moved = np.insert(moons(), 1, 9.0, axis=1)
    fitted = transformer(max_iter=5).fit(X)
    noise = fitted.transform(moved)
    np.testing.assert_array_equal(noise[:, 1], 2)
    alone = transformer(max_iter=5).fit(moons()).transform(moons())
    np.testing.assert_allclose(noise[:, [0, 2]], alone, rtol=1e-9)
    np.testing.assert_allclose(fitted.inverse_transform(noise), moved)
    np.testing.assert_array_equal(transformer().fit(np.ones((5, 2))).transform([[1, 3]]), [[0, 2]])


def test_the_dtype_is_that_of_the_rows():
    for fitted in (transformer(max_iter=5).fit(moons().astype(dtype)) for dtype in (np.float32, np.float64)):
        for dtype in (np.float32, np.float64):
            noise = fitted.transform(moons().astype(dtype))
            assert noise.dtype == fitted.inverse_transform(noise).dtype == dtype
            np.testing.assert_allclose(fitted.inverse_transform(noise), moons(), atol=1e-4)
    assert fitted.transform([[0, 1]]).dtype == np.float64


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output_gives_tables_with_names_of_their_own(container):
    table = pd.DataFrame(moons(), columns=["width", "height"], index=range(5, 405))
    fitted = transformer(max_iter=2).set_output(transform=container)
    noise = fitted.fit_transform(table, sample_weight=np.ones(400))
    assert list(noise.columns) == ["realnvptransformer0", "realnvptransformer1"] == list(fitted.get_feature_names_out())
    assert container == "polars" or noise.index.equals(table.index)
    back = fitted.inverse_transform(noise)
    np.testing.assert_allclose(back, table)
    plain = transformer(max_iter=2).fit_transform(moons())
    np.testing.assert_array_equal(noise.to_numpy(), plain)


def test_it_works_in_a_pipeline():
    y = moons()[:, 1] > 0.25
    pipe = make_pipeline(transformer(max_iter=5), LogisticRegression()).fit(moons(), y)
    assert pipe.score(moons(), y) > 0.8


def test_rows_are_transformed_in_chunks_as_at_once():
    fitted = transformer(max_iter=3).fit(moons())
    rows = normal_rows(3 * fitted.flow_.chunk_size // 2, 2)
    parts = [fitted.transform(part) for part in np.array_split(rows, 7)]
    np.testing.assert_allclose(fitted.transform(rows), np.concatenate(parts), rtol=1e-9, atol=1e-12)


def test_rows_in_any_layout():
    fitted = transformer(max_iter=3).fit(moons())
    expected = fitted.transform(moons())
    np.testing.assert_allclose(fitted.transform(np.asfortranarray(moons())), expected, rtol=1e-12)
    np.testing.assert_allclose(fitted.transform(moons()[::-1])[::-1], expected, rtol=1e-9)


def test_noise_of_another_width_is_refused():
    fitted = transformer(max_iter=2).fit(moons())
    with pytest.raises(ValueError, match="X must have as many columns of noise as there are features, 2, got 3"):
        fitted.inverse_transform(normal_rows(5, 3))
    with pytest.raises(ValueError, match="NaN"):
        fitted.inverse_transform([[np.nan, 0.0]])
    for call in (RealNVPTransformer().transform, RealNVPTransformer().inverse_transform):
        with pytest.raises(NotFittedError, match="not fitted"):
            call(moons())
