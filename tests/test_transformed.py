"""Densities behind a transformation: every Jacobian against differences, every density against quadrature."""

import pickle

import numpy as np
import pytest
from scipy import special, stats
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from sknvp import ConditionalRealNVPDensity, RealNVPDensity, TransformedDensity
from sknvp._estimators.jacobians import INVERSES, LOG_DERIVATIVES, log_jacobian

from .small import normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
KERNELS = KernelDensity(bandwidth=0.3)


def amounts(n=200, n_features=2, seed=0):
    """Positive numbers that depend on each other, below 1 for the sake of logits."""
    mixed = normal_rows(n, n_features, seed) @ (np.eye(n_features) + 0.5)
    return special.expit(mixed / 2) * [0.9, 0.5, 0.2][:n_features]


class Swirl(StandardScaler):
    """A turn by an angle that grows with the distance, after scaling: it keeps areas, and tells its Jacobian."""

    def transform(self, X, sign=1):
        z = super().transform(X)
        return self._turned(z, 1)

    def _turned(self, z, sign):
        angle = sign * np.hypot(z[:, 0], z[:, 1])
        cos, sin = np.cos(angle), np.sin(angle)
        return np.c_[cos * z[:, 0] - sin * z[:, 1], sin * z[:, 0] + cos * z[:, 1]]

    def inverse_transform(self, X):
        return super().inverse_transform(self._turned(X, -1))

    def log_abs_det_jacobian(self, X):
        return -np.log(self.scale_).sum()


TRANSFORMERS = {
    "standard": StandardScaler(),
    "without mean": StandardScaler(with_mean=False),
    "without scale": StandardScaler(with_std=False),
    "minimum and maximum": MinMaxScaler((-3, 4)),
    "largest": MaxAbsScaler(),
    "robust": RobustScaler(),
    "robust, of unit variance": RobustScaler(unit_variance=True),
    "box-cox": PowerTransformer("box-cox"),
    "yeo-johnson": PowerTransformer(),
    "yeo-johnson alone": PowerTransformer(standardize=False),
    "turned": PCA(),
    "whitened": PCA(whiten=True),
    "identity": FunctionTransformer(),
    "sine": make_pipeline(StandardScaler(), FunctionTransformer(np.sinh, np.arcsinh), "passthrough", PCA(whiten=True)),
    "own": Swirl(),
    **{f.__name__: FunctionTransformer(f, INVERSES[f]) for f in LOG_DERIVATIVES},
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_jacobians_are_those_of_differences(name):
    """The determinant of the matrix of central differences."""
    X, step = amounts(), 1e-5
    transformer = TRANSFORMERS[name].fit(X)
    columns = [(transformer.transform(X + h) - transformer.transform(X - h)) / (2 * step) for h in step * np.eye(2)]
    differences = np.linalg.slogdet(np.stack(columns, -1))[1]
    np.testing.assert_allclose(log_jacobian(transformer, X), differences, atol=2e-4)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_densities_integrate_to_one(name):
    """By quadrature around the unit square, where all rows lie; kernels put little elsewhere."""
    X = amounts(60)
    density = TransformedDensity(
        KernelDensity(bandwidth=0.05 * np.ptp(TRANSFORMERS[name].fit_transform(X))), TRANSFORMERS[name]
    )
    density.fit(X)
    grid = (np.arange(200) + 0.5) / 100 - 0.5
    if name in ("box-cox", "log", "log1p", "sqrt", "logit"):
        grid = (np.arange(200) + 0.5) / 200
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    total = np.exp(density.score_samples(points)).sum() * (grid[1] - grid[0]) ** 2
    assert total == pytest.approx(1, abs=0.08 if name == "own" else 0.04)


def test_a_scaler_alone_is_the_jacobian_of_the_scaler():
    X = normal_rows(100, 2) * [10, 0.1]
    behind = KernelDensity().fit(StandardScaler().fit_transform(X))
    scaler = StandardScaler().fit(X)
    expected = behind.score_samples(scaler.transform(X)) - np.log(X.std(0)).sum()
    np.testing.assert_allclose(TransformedDensity(KernelDensity(), StandardScaler()).fit(X).score_samples(X), expected)


def test_the_logarithm_of_normal_logarithms_is_log_normal():
    X = np.exp(normal_rows(5000, 1))
    density = TransformedDensity(GaussianMixture(), func=np.log).fit(X)
    np.testing.assert_allclose(density.score_samples(X[:50]), stats.lognorm(1).logpdf(X[:50, 0]), atol=0.1)
    drawn = density.sample(2000, random_state=0)
    assert stats.kstest(drawn[:, 0], stats.lognorm(1).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(drawn, density.sample(2000, random_state=0))


def polar(X):
    return np.c_[np.hypot(X[:, 0], X[:, 1]), np.arctan2(X[:, 1], X[:, 0])]


def cartesian(Z):
    return np.c_[Z[:, 0] * np.cos(Z[:, 1]), Z[:, 0] * np.sin(Z[:, 1])]


def test_polar_coordinates_around_a_density_with_a_period():
    """Two parts of the family together: normal rows in the plane have a Rayleigh distance and a uniform angle."""
    X = normal_rows(1500, 2)
    flows = stacked(coupling="spline", periods={1: 2 * np.pi}, bounds=([0, -np.inf], np.inf))
    density = TransformedDensity(
        flows,
        func=polar,
        inverse_func=cartesian,
        log_abs_det_jacobian=lambda X: -np.log(np.hypot(X[:, 0], X[:, 1])),
    ).fit(X)
    new = normal_rows(2000, 2, seed=1)
    short = stats.norm.logpdf(new).sum(1) - density.score_samples(new)
    assert 0 < short.mean() < 0.15
    drawn = density.sample(4000, random_state=0)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(2), atol=0.15)


def test_rows_that_the_map_cannot_take_have_density_zero():
    density = TransformedDensity(KERNELS, func=np.log).fit(amounts())
    scores = density.score_samples([[0.5, 0.5], [-0.5, 0.5], [0.0, 0.5]])
    assert np.isfinite(scores[0])
    assert np.isneginf(scores[1:]).all()


@pytest.mark.parametrize("inner", [KERNELS, GaussianMixture(2, random_state=0), small(), None])
def test_around_every_density(inner):
    X = amounts(100)
    density = TransformedDensity(inner, PowerTransformer()).fit(X)
    assert isinstance(density.estimator_, RealNVPDensity if inner is None else type(inner))
    drawn = density.sample(300, random_state=0)
    assert drawn.shape == (300, 2)
    np.testing.assert_allclose(drawn.mean(0), X.mean(0), atol=0.1)
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(again.score_samples(X), density.score_samples(X))
    single = TransformedDensity(KERNELS, StandardScaler()).fit(X.astype(np.float32))
    assert single.sample(3, random_state=0).dtype == np.float32


def test_a_search_chooses_the_map_in_one_unit():
    """Scores are in the units of the data, whatever the map is, so that a search may compare maps."""
    X = np.exp(normal_rows(300, 2) * 1.5)
    grid = {"transformer": [None, StandardScaler(), PowerTransformer("box-cox")]}
    search = GridSearchCV(TransformedDensity(GaussianMixture()), grid).fit(X)
    assert isinstance(search.best_params_["transformer"], PowerTransformer)
    nested = TransformedDensity(KERNELS, StandardScaler()).set_params(estimator__bandwidth=2.0)
    assert nested.fit(X).estimator_.bandwidth == 2.0


def test_weights_count_rows_in_the_transformer_and_in_the_density():
    X = amounts(60)
    counts = np.arange(60) % 3
    once = TransformedDensity(KERNELS, StandardScaler()).fit(X, sample_weight=counts)
    repeated = TransformedDensity(KERNELS, StandardScaler()).fit(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(once.score_samples(X), repeated.score_samples(X))
    assert once.score(X, sample_weight=counts) == pytest.approx(once.score(np.repeat(X, counts, axis=0)))


WRONG = {
    "no density": ({"estimator": StandardScaler()}, "estimator must have score_samples"),
    "conditional": ({"estimator": ConditionalRealNVPDensity()}, "must be a density without a condition"),
    "both": ({"transformer": StandardScaler(), "func": np.log}, "transformer must be None if func is given"),
    "no func": ({"inverse_func": np.exp}, "func must be given if inverse_func is"),
    "no function": ({"func": "log"}, "func must be None or callable"),
    "unknown": ({"func": np.square}, "log_abs_det_jacobian must be given unless func is one of arcsinh, exp, "),
    "not invertible": (
        {"transformer": QuantileTransformer(n_quantiles=9)},
        "transformer must be one whose Jacobian is known",
    ),
    "clipped": ({"transformer": MinMaxScaler(clip=True)}, "Set clip=False"),
    "fewer columns": ({"transformer": PCA(1)}, "must keep the shape of the rows"),
    "two columns as one": (
        {"func": np.log, "log_abs_det_jacobian": lambda X: np.zeros(3)},
        "log_abs_det_jacobian must return an array of shape",
    ),
    "no finite number": ({"func": np.log, "_shift": -1}, "must give finite numbers for all rows"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_maps(what):
    settings, message = dict(WRONG[what][0]), WRONG[what][1]
    X = amounts() + settings.pop("_shift", 0)
    density = TransformedDensity(**{"estimator": KERNELS, **settings})
    before = dict(vars(density))
    with pytest.raises(ValueError, match=message):
        density.fit(X)
    assert vars(density) == before


def test_weights_of_a_density_that_takes_none():
    with pytest.raises(ValueError, match="sample_weight must be None with GaussianMixture"):
        TransformedDensity(GaussianMixture()).fit(amounts(), sample_weight=np.ones(200))


def test_functions_that_do_not_fit_together_warn():
    X = amounts()
    with pytest.warns(UserWarning, match="log_abs_det_jacobian differs"):
        TransformedDensity(KERNELS, func=np.log, log_abs_det_jacobian=lambda X: np.log(X)).fit(X)
    with pytest.warns(UserWarning, match="inverse_func does not find"):
        TransformedDensity(KERNELS, func=np.log, inverse_func=np.expm1).fit(X)


def test_no_draws_without_an_inverse():
    density = TransformedDensity(KERNELS, func=lambda X: X**3, log_abs_det_jacobian=lambda X: np.log(3 * X**2))
    with pytest.raises(ValueError, match="inverse_func must be given for sample"):
        density.fit(amounts()).sample()
