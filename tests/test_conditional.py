"""Conditional densities: laws against integration and SciPy, and a regressor's citizenship of scikit-learn."""

import copy
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, stats
from sklearn.base import clone, is_regressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sknvp import ConditionalRealNVPDensity, RealNVPDensity
from sknvp._experts import regression
from sknvp._experts.table import Table
from sknvp.flows.builders.specification import Scaling

from .small import normal_rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def small(**settings):
    """Fits in a fraction of a second."""
    defaults = {"n_layers": 3, "hidden_layer_sizes": (16,), "n_estimators": 2, "max_iter": 30, "random_state": 0}
    return ConditionalRealNVPDensity(**{**defaults, **settings})


def full_batch(**settings):
    return small(**{"batch_size": 10**9, "early_stopping": False, "tol": 0.0, **settings})


def pairs(n=300, seed=0, n_outputs=None):
    """Two columns and targets, skewed and of a width and place that depend on the columns."""
    X = normal_rows(n, 2, seed)
    noise = normal_rows(n, n_outputs or 1, seed + 100)
    y = 5 + 3 * np.sin(X[:, :1]) + np.exp(0.5 * X[:, 1:]) * (noise + 0.3 * noise**2) + 0.5 * noise[:, ::-1]
    return X, y if n_outputs else y[:, 0]


@pytest.fixture(scope="module")
def fitted():
    return small().fit(*pairs())


@pytest.fixture(scope="module")
def fitted_to_two():
    return small().fit(*pairs(n_outputs=2))


ROWS = np.array([[0.0, 0.0], [1.0, -1.0], [-2.0, 2.0], [30.0, -1e6]])
GRID = 5 + 150 * np.sinh(np.linspace(-7, 7, 100_001)) / np.sinh(7)  # finest where the targets are


def on_grid(density, row):
    return np.exp(density.score_samples(np.tile(row, (len(GRID), 1)), GRID))


@parametrize_with_checks(
    [
        full_batch(max_iter=5),
        small(max_iter=5, random_state=None),
        small(max_iter=5, coupling="affine", activation="tanh", n_estimators=1),
    ]
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_integrates_to_one_for_every_row(fitted, row):
    assert integrate.simpson(on_grid(fitted, row), x=GRID) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("settings", [{}, {"coupling": "affine"}], ids=str)
@pytest.mark.parametrize("row", ROWS[:2], ids=str)
def test_integrates_to_one_over_two_targets(settings, row):
    density = small(**settings).fit(*pairs(n_outputs=2))
    a, b = np.linspace(-40, 50, 701), np.linspace(-40, 50, 701)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(density.score_samples(np.tile(row, (len(grid), 1)), grid)).reshape(701, 701)
    assert integrate.simpson(integrate.simpson(p, x=b), x=a) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("n_outputs", [None, 2])
def test_the_units_of_y_shift_the_log_density_by_their_jacobian(n_outputs):
    """Of a power of two exactly, since it rounds nothing; those of X change nothing."""
    X, y = pairs(100, n_outputs=n_outputs)
    density, moved = small().fit(X, y), small().fit(X * [4, 0.5], y * 8)
    shift = (n_outputs or 1) * np.log(8)
    np.testing.assert_allclose(
        moved.score_samples(X * [4, 0.5], y * 8), density.score_samples(X, y) - shift, rtol=1e-12
    )
    np.testing.assert_allclose(moved.predict(X * [4, 0.5]), density.predict(X) * 8, rtol=1e-12)


def test_an_untrained_flow_is_the_normal_fit_whatever_x():
    X, y = pairs(100)
    density = small(learning_rate_init=1e-300, alpha=0, max_iter=1, stacking=False).fit(X, y)
    np.testing.assert_allclose(density.score_samples(X, y), stats.norm(y.mean(), y.std()).logpdf(y))


@pytest.mark.parametrize("row", ROWS[:3], ids=str)
def test_draws_follow_the_scored_density(fitted, row):
    """Kolmogorov-Smirnov against the integrated density; false alarm 1 in 10,000."""
    cdf = integrate.cumulative_simpson(on_grid(fitted, row), x=GRID, initial=0)
    drawn = fitted.sample([row], 2000, random_state=1)[0]
    assert stats.kstest(drawn, lambda y: np.interp(y, GRID, cdf)).pvalue > 1e-4


def test_draws_of_two_targets_follow_the_scored_density(fitted_to_two):
    """The log-density of draws has the mean that integration gives; within five standard errors."""
    row = ROWS[0]
    a = np.linspace(-30, 40, 701)
    grid = np.stack(np.meshgrid(a, a, indexing="ij"), -1).reshape(-1, 2)
    score = fitted_to_two.score_samples(np.tile(row, (len(grid), 1)), grid).reshape(701, 701)
    expected = integrate.simpson(integrate.simpson(np.exp(score) * score, x=a), x=a)
    drawn = fitted_to_two.sample([row], 4000, random_state=1)[0]
    scores = fitted_to_two.score_samples(np.tile(row, (4000, 1)), drawn)
    assert scores.mean() == pytest.approx(expected, abs=5 * scores.std() / np.sqrt(4000) + 1e-3)


def test_each_row_is_drawn_for_by_itself(fitted):
    """Rows in one call and far apart: as if each had been asked for alone."""
    drawn = fitted.sample(np.repeat(ROWS[1:3], 1000, axis=0), 2, random_state=0).reshape(2, -1)
    for draws, row in zip(drawn, ROWS[1:3], strict=True):
        assert stats.kstest(draws, fitted.sample([row], 2000, random_state=1)[0]).pvalue > 1e-4


@pytest.mark.parametrize("row", ROWS[:3], ids=str)
def test_quantiles_invert_the_integrated_density(fitted, row):
    q = [1e-4, 0.05, 0.5, 0.9, 1 - 1e-4]
    cdf = integrate.cumulative_simpson(on_grid(fitted, row), x=GRID, initial=0)
    np.testing.assert_allclose(np.interp(fitted.predict_quantile([row], q)[0], GRID, cdf), q, atol=1e-5)


def test_quantiles_of_the_regression_too(monkeypatch):
    """Where it has all the weight they are a t-distribution's."""
    monkeypatch.setattr("sknvp._experts.stacking.MIN_TAIL_WEIGHT", 1e9)
    density = small(max_iter=1).fit(*pairs())
    assert density.stacking_weights_["student_t_regression"] == pytest.approx(1, abs=1e-8)
    q = [1e-6, 0.02, 0.5, 0.7, 1 - 1e-5]
    y = density.predict_quantile(ROWS, q)
    scale = (y[:, 3] - y[:, 2]) / stats.t(10).ppf(0.7)
    expected = density.predict(ROWS)[:, None] + scale[:, None] * stats.t(10).ppf(q)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_without_targets_their_means_are_scored(fitted):
    np.testing.assert_array_equal(fitted.score_samples(ROWS), fitted.score_samples(ROWS, fitted.predict(ROWS)))
    with pytest.raises(TypeError):
        fitted.score(ROWS)


def test_quantiles_increase_and_have_the_shape_of_q(fitted):
    X = pairs(50, seed=1)[0]
    assert fitted.predict_quantile(X).shape == fitted.predict_quantile(X, 0.3).shape == (50,)
    many = fitted.predict_quantile(X, [0.1, 0.5, 0.9])
    assert (np.diff(many, axis=1) > 0).all()
    np.testing.assert_array_equal(many[:, 1], fitted.predict_quantile(X))


def test_the_mean_is_the_integral(fitted):
    for row in ROWS[:3]:
        expected = integrate.simpson(on_grid(fitted, row) * GRID, x=GRID)
        spread = np.sqrt(integrate.simpson(on_grid(fitted, row) * (GRID - expected) ** 2, x=GRID))
        assert fitted.predict([row])[0] == pytest.approx(expected, abs=0.01 * spread)


def test_the_mean_of_two_targets_is_that_of_many_draws(fitted_to_two):
    drawn = fitted_to_two.sample(ROWS[:3], 20_000, random_state=0)
    np.testing.assert_array_less(
        abs(fitted_to_two.predict(ROWS[:3]) - drawn.mean(1)), (5 / np.sqrt(20_000) + 0.02) * drawn.std(1)
    )


def test_a_weight_is_a_repetition_and_the_order_nothing():
    X, y = pairs(80)
    counts, order = np.arange(80) % 3, np.random.default_rng(0).permutation(80)
    for make in (full_batch, small):
        weighted = make().fit(X, y, sample_weight=counts)
        repeated = make().fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
        np.testing.assert_array_equal(weighted.score_samples(X, y), repeated.score_samples(X, y))
        shuffled = make().fit(X[order], y[order], sample_weight=counts[order])
        np.testing.assert_array_equal(weighted.score_samples(X, y), shuffled.score_samples(X, y))


def test_learns_a_distribution_that_depends_on_x():
    """Place and width of two branches: at most 0.1 nats a row short of the truth, as no density of y alone is."""
    rng = np.random.default_rng(0)

    def draw(n):
        x, sign = rng.uniform(-1, 1, n), rng.choice([-1, 1], n)
        y = sign * (1.5 + x) + 0.3 * 2**x * rng.standard_normal(n)
        truth = 0.5 * sum(stats.norm(s * (1.5 + x), 0.3 * 2**x).pdf(y) for s in (-1, 1))
        return x[:, None], y, np.log(truth)

    X, y, _ = draw(1500)
    density = small(max_iter="auto").fit(X, y)
    X, y, truth = draw(1500)
    assert density.score_samples(X, y).mean() > truth.mean() - 0.1
    alone = small().fit(np.zeros_like(X), y)
    assert alone.score_samples(np.zeros_like(X), y).mean() < truth.mean() - 0.2


def test_a_line_is_told_by_the_regression():
    X = normal_rows(60, 5)
    y = X @ np.arange(5) + normal_rows(60, 1, 1)[:, 0]
    density = small().fit(X, y)
    new = normal_rows(1000, 5, 2)
    target = new @ np.arange(5) + normal_rows(1000, 1, 3)[:, 0]
    assert density.stacking_weights_["flows"] < 0.5
    assert sum(density.stacking_weights_.values()) == pytest.approx(1)
    assert density.score(new, target) / 1000 > stats.norm.logpdf(normal_rows(1000, 1, 3)).mean() - 0.3


def test_noise_that_is_normal_is_told_as_normal():
    """A t-distribution of ten degrees of freedom would lose 0.005 nats a row."""
    X, noise = normal_rows(4000, 2), normal_rows(4000, 1, 1)[:, 0]
    y = X @ [1.0, -2.0] + noise
    density = small().fit(X[:1000], y[:1000])
    line = LinearRegression().fit(X[:1000], y[:1000])
    deviation = (y[:1000] - line.predict(X[:1000])).std()
    normal = stats.norm.logpdf(y[1000:], line.predict(X[1000:]), deviation)
    assert density.score_samples(X[1000:], y[1000:]).mean() > normal.mean() - 0.003


def table(scaling, X, y):
    """Rows of weight one, of which none is held out."""
    return Table(scaling, torch.tensor(y), torch.ones(len(y)).double(), torch.zeros(1, len(y)).bool(), torch.tensor(X))


def test_the_regression_is_ridges_for_each_members_weights():
    X, y = pairs(60, n_outputs=2)
    scaling = Scaling(np.array([1.0, 2.0]), np.array([3.0, 9.0]), np.arange(2))
    weights = np.random.default_rng(0).integers(0, 3, (2, 60)).astype(float)
    fitted = regression.linear_regression(table(scaling, X, y), torch.tensor(weights))
    z = (y - scaling.loc) / scaling.scale
    for member, w in enumerate(weights):
        theirs = Ridge(regression.SHRINKAGE * w.sum()).fit(X, z, sample_weight=w)
        np.testing.assert_allclose(fitted.coefficients[member], theirs.coef_)
        np.testing.assert_allclose(fitted.whiten.mean[member], theirs.intercept_)
        covariance = np.cov((z - theirs.predict(X)).T, aweights=w, bias=True)
        precision = fitted.whiten.precision_cholesky[member] @ fitted.whiten.precision_cholesky[member].T
        np.testing.assert_allclose(np.linalg.inv(precision), covariance, rtol=1e-4, atol=1e-4)


def test_a_gross_outlier_does_not_tilt_the_regression():
    X, y = pairs(300)
    scaling = Scaling(np.array([5.0]), np.array([3.0]), np.arange(1))
    fits = []  # one row repeated, one outlying in X, one in y
    for row, target in ((X[0], y[0]), ([1e9, 0], 5.0), ([0, 0], 1e9)):
        rows = table(scaling, np.r_[X, [row]], np.r_[y, target][:, None])
        fits.append(regression.linear_regression(rows, rows.all_weights).coefficients)
    for fit in fits[1:]:
        np.testing.assert_allclose(fit, fits[0], atol=0.25)
    assert abs(fits[0]).max() > 0.5


def test_the_regression_is_compared_by_rows_that_it_has_not_seen(monkeypatch):
    seen, original = [], regression.linear_regression
    monkeypatch.setattr(regression, "linear_regression", lambda *a: seen.append(a[-1].numpy()) or original(*a))
    counts = 1.0 + np.arange(80) % 3
    density = small(max_iter=1).fit(*pairs(80), sample_weight=counts)
    compared, final = seen
    assert compared.shape == (2, 80)
    np.testing.assert_array_equal(np.sort(final[0]), np.sort(counts) / 4)
    np.testing.assert_array_equal(compared, np.where(compared > 0, final, 0))
    assert ((compared == 0).sum(1) > 0).all()
    assert len(density._experts.specifications[0].coefficients) == 1


@pytest.mark.parametrize("settings", [{"stacking": False}, {"early_stopping": False}], ids=str)
def test_flows_alone(settings):
    assert small(max_iter=2, **settings).fit(*pairs()).stacking_weights_ == {"flows": 1.0}


def test_a_gross_outlier_decides_nothing():
    X, y = pairs(400)
    new = pairs(400, seed=1)
    clean = small().fit(X, y).score(*new)
    for spoiled in ((np.r_[X, [[0, 0]]], np.r_[y, 1e9]), (np.r_[X, [[1e9, 0]]], np.r_[y, 5.0])):
        assert small().fit(*spoiled).score(*new) > clean - 0.3 * 400
    assert small().fit(X, y).score_samples([[0, 0]], [1e9])[0] > -300


def test_shapes_follow_y():
    X, y = pairs(60)
    flat, column, two = (small(max_iter=2).fit(X, t) for t in (y, y[:, None], np.c_[y, y**2]))
    assert [d.n_outputs_ for d in (flat, column, two)] == [1, 1, 2]
    assert [d.predict(X).shape for d in (flat, column, two)] == [(60,), (60, 1), (60, 2)]
    assert [d.sample(X, 3).shape for d in (flat, column, two)] == [(60, 3), (60, 3, 1), (60, 3, 2)]
    assert flat.sample(X).shape == (60, 1)
    for density in (flat, column, two):
        assert density.loc_.shape == density.scale_.shape == (density.n_outputs_,)
        assert type(density.score(X, np.c_[y, y**2] if density is two else y)) is float
    np.testing.assert_array_equal(flat.score_samples(X, y), column.score_samples(X, y[:, None]))
    np.testing.assert_array_equal(flat.score_samples(X, y[:, None]), column.score_samples(X, y))
    np.testing.assert_array_equal(flat.sample(X, 3, 0), column.sample(X, 3, 0)[..., 0])


def test_tables_with_names():
    X, y = pairs(60, n_outputs=2)
    table, targets = pd.DataFrame(X, columns=["a", "b"]), pd.DataFrame(y, columns=["u", "v"])
    density = small(max_iter=2).fit(table, targets)
    assert density.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(
        density.score_samples(table, targets), small(max_iter=2).fit(X, y).score_samples(X, y)
    )
    assert small(max_iter=2).fit(table, targets["u"]).predict(table).shape == (60,)
    with pytest.raises(ValueError, match="feature names"):
        density.predict(table[["b", "a"]])


def test_searches_and_cross_validation_maximise_the_likelihood():
    X, y = pairs(90)
    pipe = make_pipeline(StandardScaler(), small(max_iter=3))
    grid = GridSearchCV(pipe, {"conditionalrealnvpdensity__n_layers": [1, 2]}, cv=2).fit(X, y)
    train, test = slice(45, None), slice(45)
    best = pipe.set_params(**grid.best_params_).fit(X[train], y[train])
    expected = best[-1].score(best[:-1].transform(X[test]), y[test])
    assert grid.cv_results_["split0_test_score"][grid.best_index_] == pytest.approx(expected)
    assert np.isfinite(cross_val_score(small(max_iter=3), X, y, cv=3)).all()
    assert (cross_val_score(small(max_iter=3), X, y, cv=3, scoring="neg_mean_squared_error") < 0).all()


def test_clone_and_tags():
    estimator = small(max_iter=2).fit(*pairs(60))
    assert not hasattr(clone(estimator), "n_iter_")
    assert is_regressor(estimator)
    values = {name: object() for name in estimator.get_params()}
    assert vars(ConditionalRealNVPDensity(**values)) == values
    ours, theirs = ConditionalRealNVPDensity().get_params(), RealNVPDensity().get_params()
    assert theirs.keys() - ours.keys() == {"base", "mask", "batch_norm", "standardize", "discrete_features"}
    assert ours.keys() - theirs.keys() == {"discrete_targets"}
    assert {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]} == {"activation"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_give_the_same_bits(dtype):
    X, y = (part.astype(dtype) for part in pairs(100))
    density = small(max_iter=3).fit(X, y)
    assert {density.predict(X).dtype, density.sample(X).dtype, density.predict_quantile(X).dtype} == {np.dtype(dtype)}
    assert density.score_samples(X, y).dtype == np.float64
    for twin in (pickle.loads(pickle.dumps(density)), copy.deepcopy(density)):
        np.testing.assert_array_equal(twin.score_samples(X, y), density.score_samples(X, y))
        np.testing.assert_array_equal(twin.sample(X, 2, 0), density.sample(X, 2, 0))
        np.testing.assert_array_equal(twin.predict(X), density.predict(X))
        np.testing.assert_array_equal(twin.predict_quantile(X, 0.1), density.predict_quantile(X, 0.1))


def test_single_precision_is_close_to_double():
    X, y = pairs(100)
    single, double = (small(max_iter=3).fit(X.astype(dtype), y) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single.score_samples(X, y), double.score_samples(X, y), atol=1e-2)
    np.testing.assert_allclose(single.predict_quantile(X, 0.2), double.predict_quantile(X, 0.2), atol=1e-2)


def test_a_row_far_outside_spoils_nothing():
    X, y = pairs()
    X[5, 0] = 1e39
    density = small(stacking=False).fit(X, y)
    others = np.arange(len(X)) != 5
    assert density.score(X[others], y[others]) > small(stacking=False, max_iter=1).fit(X, y).score(X[others], y[others])
    assert np.isfinite(density.score_samples(X, y)).all()


def test_rows_are_treated_in_chunks_as_at_once(fitted):
    X, y = pairs(9000, seed=1)
    parts = np.array_split(np.arange(9000), 3)
    np.testing.assert_allclose(fitted.score_samples(X, y), np.r_[*(fitted.score_samples(X[p], y[p]) for p in parts)])
    few = X[:700]
    np.testing.assert_allclose(fitted.predict(few), np.r_[fitted.predict(few[:300]), fitted.predict(few[300:])])


def test_warm_start_goes_on():
    X, y = pairs()
    density = small(max_iter=2, warm_start=True, early_stopping=False).fit(X, y)
    before, loc = density.loss_curve_[-1], density.loc_
    assert density.fit(X + 1, y).loss_curve_[-1] != before
    np.testing.assert_array_equal(density.loc_, loc)
    with pytest.raises(ValueError, match="n_layers must stay 3"):
        density.set_params(n_layers=4).fit(X, y)
    with pytest.raises(ValueError, match="y must have 1 column"):
        density.set_params(n_layers=3).fit(X, np.c_[y, y])


def test_constant_columns_of_x_change_nothing():
    X, y = pairs(60)
    with_constant = np.c_[X[:, :1], np.full(60, 7.0), X[:, 1:]]
    density, wider = small(max_iter=3).fit(X, y), small(max_iter=3).fit(with_constant, y)
    np.testing.assert_allclose(wider.score_samples(with_constant, y), density.score_samples(X, y), rtol=1e-9)


def test_without_information_in_x_it_is_a_density_of_y():
    y = pairs(200)[1]
    density = small().fit(np.ones((200, 1)), y)
    p = on_grid(density, [1.0])
    assert integrate.simpson(p, x=GRID) == pytest.approx(1, abs=1e-4)
    assert np.ptp(density.predict([[1.0], [5.0]])) == 0


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_all_probability_of_a_constant_target_is_at_its_value(n_outputs):
    X, y = pairs(60)
    targets = np.full(60, 3.0) if n_outputs == 1 else np.c_[y, np.full(60, 3.0)]
    density = small(max_iter=3).fit(X, targets)
    alone = 0 if n_outputs == 1 else small(max_iter=3).fit(X, y).score_samples(X, y)
    np.testing.assert_allclose(density.score_samples(X, targets), alone, rtol=1e-9)
    np.testing.assert_allclose(density.predict(X).reshape(60, -1)[:, -1], 3)
    np.testing.assert_array_equal(density.sample(X, 9, 0).reshape(540, -1)[:, -1], 3)
    if n_outputs == 1:
        np.testing.assert_array_equal(density.predict_quantile(X, [0.1, 0.9]), np.full((60, 2), 3))


@pytest.mark.parametrize("target_dtype", [np.int64, np.float64])
def test_targets_far_from_zero_lose_no_digit_beside_rows_of_single_precision(target_dtype):
    """Targets are seconds since 1970; moved to zero they have the same distribution."""
    X, y = pairs(200)
    seconds = np.round(1000 * y).astype(target_dtype)
    near = small(max_iter=5).fit(X.astype(np.float32), seconds)
    far = small(max_iter=5).fit(X.astype(np.float32), seconds + 1_700_000_000)
    assert far.predict(X).dtype == np.float64
    np.testing.assert_allclose(far.predict(X) - 1_700_000_000, near.predict(X), atol=1e-3)
    np.testing.assert_allclose(far.score_samples(X, seconds + 1_700_000_000), near.score_samples(X, seconds), atol=1e-6)
    single = small(max_iter=5).fit(X, y.astype(np.float32))
    assert {single.predict(X).dtype, single.sample(X).dtype, single.predict_quantile(X).dtype} == {np.dtype("float32")}


@pytest.mark.parametrize("shape", [(2, 1), (3, 40), (5, 1)])
def test_few_rows(shape):
    X, y = normal_rows(*shape), normal_rows(shape[0], 1)[:, 0]
    density = small(max_iter=5).fit(X, y)
    assert np.isfinite(density.score_samples(X, y)).all()
    assert np.isfinite([*density.predict(X), *density.predict_quantile(X, 0.1), *density.sample(X)[:, 0]]).all()


def test_far_rows_stay_finite(fitted):
    far = np.array([[1e300, -1e300], [1e12, 1e12]])
    assert np.isfinite(fitted.score_samples(far, [1e200, -1e30])).all()
    assert np.isfinite([*fitted.predict(far), *fitted.predict_quantile(far, 0.9), *fitted.sample(far)[:, 0]]).all()


X, Y = pairs(20)
BAD = {
    "lengths": ((X, Y[:-1]), "inconsistent numbers of samples"),
    "missing in y": ((X, np.r_[np.nan, Y[1:]]), "y contains NaN in 1 of 20 rows"),
    "no y": ((X, None), "requires y to be passed"),
    "strings": ((X, list("abcdefghijklmnopqrst")), "Column 0 of y must hold categories that repeat"),
    "mixed types": ((X, ["a", 1] * 10), "Column 0 of y must hold values of one type, got int and str"),
    "three dimensions": ((X, np.zeros((20, 2, 2))), "dim 3"),
    "one row": ((X[:1], Y[:1]), "minimum of 2 is required"),
    "too wide": ((X, np.r_[1.5e308, -1.5e308, Y[2:]]), r"y must span less than 1.8e\+308"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_named_and_nothing_is_lost(kind):
    density = small(max_iter=2).fit(X, Y)
    before = density.score_samples(X, Y)
    given, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        density.fit(*given)
    if kind not in ("one row", "no y", "strings", "mixed types"):
        with pytest.raises(ValueError, match=message):
            density.score_samples(*given)
    np.testing.assert_array_equal(density.score_samples(X, Y), before)


def test_other_errors_name_the_cure(fitted, fitted_to_two):
    with pytest.raises(ValueError, match=r"predict_quantile needs a single target, got 2 in fit. Take quantiles of"):
        fitted_to_two.predict_quantile(X)
    with pytest.raises(ValueError, match="y must have 2 columns, as in fit, got 1"):
        fitted_to_two.score_samples(X, Y)
    for q in (0, 1, -0.1, np.nan, [0.5, 2], [[0.5]], []):
        with pytest.raises(ValueError, match=f"q must be .* got {re.escape(repr(q))}"):
            fitted.predict_quantile(X, q)
    with pytest.raises(ValueError, match="n_samples must be an integer of at least 1, got 0"):
        fitted.sample(X, 0)
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        small().fit(X, Y, sample_weight=-np.ones(20))
    with pytest.raises(ValueError, match="stacking must be True or False"):
        small(stacking="yes").fit(X, Y)
