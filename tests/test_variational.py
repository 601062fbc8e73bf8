"""Flows fitted to an unnormalised log-density: integrals known in closed form, and bad targets called by name."""

import math
import pickle
import re
import warnings

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sknvp import VariationalRealNVP
from sknvp._variational.jumps import has_jumps
from sknvp._variational.target import Target


def small(**settings):
    defaults = {"n_layers": 4, "hidden_layer_sizes": (16,), "n_estimators": 2, "max_iter": 400, "random_state": 0}
    return VariationalRealNVP(**{**defaults, "learning_rate_init": 0.01, "annealing": 0.3, **settings})


def brief(**settings):
    """For what does not depend on how good the fit is."""
    return small(**{"max_iter": 20, "n_layers": 2, **settings})


def banana(x):
    """Its integral is pi: bending a normal distribution changes no volume."""
    return -0.5 * (x[:, 0] ** 2 + ((x[:, 1] - x[:, 0] ** 2 / 2) / 0.5) ** 2)


def normal(x):
    return -0.5 * x.square().sum(-1)


def two_modes(x):
    """Normal distributions of standard deviation 0.3, 3 apart, the right one with two thirds of the weight."""
    right = -0.5 * ((x[:, 0] - 1.5) / 0.3) ** 2 + math.log(2)
    return torch.logaddexp(right, -0.5 * ((x[:, 0] + 1.5) / 0.3) ** 2) - 0.5 * x[:, 1] ** 2


@pytest.fixture(scope="module")
def fitted():
    return small().fit(banana, 2)


def test_log_evidence_is_that_in_closed_form(fitted):
    assert fitted.log_evidence_ == pytest.approx(math.log(math.pi), abs=4 * fitted.log_evidence_std_err_ + 1e-3)
    assert fitted.log_evidence_std_err_ < 0.01
    assert fitted.effective_sample_size_ > 0.7
    assert fitted.pareto_k_ < 0.7


def test_the_standard_error_is_that_of_the_mean_weight(fitted):
    draws = fitted.sample(10_000, random_state=5)
    weights = np.exp(banana(torch.tensor(draws)).numpy() - fitted.score_samples(draws))
    assert fitted.log_evidence_std_err_ == pytest.approx(weights.std() / weights.mean() / 100, rel=0.3)
    assert fitted.effective_sample_size_ == pytest.approx(weights.sum() ** 2 / (weights**2).sum() / 10_000, abs=0.05)


def test_the_lower_bound_rises_towards_the_evidence_and_stays_below(fitted):
    assert len(fitted.elbo_curve_) == -(-fitted.n_iter_ // 25)
    assert fitted.elbo_curve_[0] < fitted.elbo_curve_[-1] < math.log(math.pi) + 0.02
    assert fitted.elbo_curve_[-1] == pytest.approx(fitted.log_evidence_, abs=0.2)


def test_the_density_of_the_flows_integrates_to_one(fitted):
    x, y = np.linspace(-9, 9, 301), np.linspace(-9, 16, 401)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1)
    p = np.exp(fitted.score_samples(grid.reshape(-1, 2))).reshape(grid.shape[:2])
    assert integrate.simpson(integrate.simpson(p, x=y), x=x) == pytest.approx(1, abs=2e-3)


def test_samples_are_near_the_target_and_resampled_ones_nearer(fitted):
    """The first column is standard normal, the second less half its square normal of standard deviation 0.5."""
    for x, least in ((fitted.sample(2000, random_state=0), 0), (fitted.resample(2000, random_state=0), 1e-3)):
        assert x.shape == (2000, 2)
        assert stats.kstest(x[:, 0], "norm").pvalue >= least
        assert x[:, 0].std() == pytest.approx(1, abs=0.15)
        assert (x[:, 1] - x[:, 0] ** 2 / 2).std() == pytest.approx(0.5, abs=0.15)


def test_resampling_weighs_by_target_over_flows():
    """A flow that is hardly trained: the mean of resampled rows is the target's, that of its own is not."""
    fit = brief(learning_rate_init=1e-9, scale=2.0).fit(normal, 1)
    own, resampled = fit.sample(5000, random_state=0), fit.resample(5000, random_state=0)
    assert own.std() == pytest.approx(2, abs=0.1)
    assert resampled.std() == pytest.approx(1, abs=0.07)
    assert fit.log_evidence_ == pytest.approx(0.5 * math.log(2 * math.pi), abs=4 * fit.log_evidence_std_err_)


def test_separate_modes_are_found_each_with_its_share():
    fit = small(scale=2.0, coupling="spline", annealing=0.8, max_iter=600, n_estimators=1).fit(two_modes, 2)
    assert fit.log_evidence_ == pytest.approx(math.log(3 * 0.3 * 2 * math.pi), abs=5 * fit.log_evidence_std_err_)
    assert 1 / 3 < (fit.sample(4000, random_state=0)[:, 0] > 0).mean() < 5 / 6
    assert (fit.resample(4000, random_state=0)[:, 0] > 0).mean() == pytest.approx(2 / 3, abs=0.06)


BELOW = stats.truncnorm(-np.inf, 0.5)
BOUNDED = {
    "above": (stats.gamma(3, loc=2), (2.0, np.inf), lambda x: 2 * (x - 2).log() - (x - 2), math.lgamma(3)),
    "below": (BELOW, (-np.inf, 0.5), lambda x: -x.square() / 2, -BELOW.logpdf(0)),
    "between": (
        stats.beta(2, 5, loc=-1, scale=4),
        (-1.0, 3.0),
        lambda x: (x + 1).log() + 4 * (3 - x).log(),
        6 * math.log(4) + math.lgamma(2) + math.lgamma(5) - math.lgamma(7),
    ),
}


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_keep_to_the_support_with_their_jacobian(name):
    distribution, bounds, log_p, evidence = BOUNDED[name]
    fit = small(bounds=bounds, n_estimators=1).fit(lambda x: log_p(x).sum(1), 2)
    assert fit.log_evidence_ == pytest.approx(2 * evidence, abs=4 * fit.log_evidence_std_err_ + 1e-3)
    assert fit.effective_sample_size_ > 0.9
    low, high = bounds
    x = fit.sample(2000, random_state=0)
    assert ((low < x) & (x < high)).all()
    assert np.median(np.abs(fit.score_samples(x) - distribution.logpdf(x).sum(1))) < 0.1
    edges = [[edge + side, 1.0] for edge in bounds if np.isfinite(edge) for side in (0, np.sign(edge - 1))]
    assert (fit.score_samples(edges) == -np.inf).all()


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")  # after a few steps
def test_the_transform_of_a_single_flow_carries_draws_to_noise_and_back():
    """Change of variables: the log-density is that of the noise and the log-determinant, bounds and all."""
    fit = brief(n_estimators=1, bounds=([-np.inf, 0], np.inf)).fit(lambda x: -(x[:, 0] ** 2) / 2 - x[:, 1], 2)
    draws = fit.sample(500, random_state=0)
    with torch.no_grad():
        noise, log_det = fit.flow_.transform(torch.tensor(draws)[None])
        again, log_det_back = fit.flow_.transform.inverse(noise)
    np.testing.assert_allclose(again[0], draws, rtol=1e-8, atol=1e-8)
    noise = noise[0].numpy()
    scores = stats.norm.logpdf(noise).sum(1) + log_det[0].numpy()
    np.testing.assert_allclose(fit.score_samples(draws), scores, rtol=1e-6)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-6, atol=1e-6)
    for column in noise.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")  # after a few steps
def test_halving_the_units_adds_its_jacobian_for_each_column():
    """Also for one that is bounded; the other is not."""

    def log_density(x, unit=1.0):
        return -(x[:, 0] / unit) + normal(x[:, 1:] / unit)

    fit = brief(bounds=([0, -np.inf], [8, np.inf])).fit(log_density, 2)
    half = brief(bounds=([0, -np.inf], [4, np.inf]), scale=[1, 0.5])
    half.fit(lambda x: log_density(x, 0.5), 2)
    x = fit.sample(50, random_state=0)
    np.testing.assert_allclose(half.score_samples(x / 2), fit.score_samples(x) + 2 * math.log(2), atol=1e-6)


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
def test_location_and_scale_are_where_the_flows_start():
    fit = brief(learning_rate_init=1e-300, loc=[3.0, -1.0], scale=0.5).fit(banana, 2)
    x = fit.sample(20, random_state=0)
    expected = stats.norm([3, -1], 0.5).logpdf(x).sum(1)
    np.testing.assert_allclose(fit.score_samples(x), expected, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
def test_arrays_with_gradients_give_what_autograd_gives():
    def of_arrays(x):
        assert isinstance(x, np.ndarray)
        middle = (x[:, 1] - x[:, 0] ** 2 / 2) / 0.25
        value = -0.5 * (x[:, 0] ** 2 + middle**2 * 0.25)
        return value, np.stack([-x[:, 0] + middle * x[:, 0], -middle], 1)

    ours, theirs = brief().fit(of_arrays, 2), brief().fit(banana, 2)
    np.testing.assert_allclose(ours.elbo_curve_, theirs.elbo_curve_, rtol=1e-9)
    assert ours.log_evidence_ == pytest.approx(theirs.log_evidence_, rel=1e-9)

    def by_numpy(x):
        return -0.5 * np.square(x).sum(1), -np.asarray(x)  # which cannot take a tensor that wants gradients

    assert np.isfinite(brief().fit(by_numpy, 2).log_evidence_)


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
@pytest.mark.parametrize("answer", [lambda value, slope: value, lambda value, slope: (value, slope)])
def test_functions_of_arrays_may_have_bounds_and_be_continued(answer):
    def exponential(x):
        return answer(-np.sum(x, axis=1), -np.ones_like(x))

    fit = brief(bounds=(0, np.inf), warm_start=True)
    assert np.isfinite(fit.fit(exponential, 1).log_evidence_)
    assert np.isfinite(fit.fit(exponential, 1).log_evidence_)


BAD_TARGETS = {
    "no function": (3.0, "log_density must be a function, got 3.0"),
    "NaN everywhere": (lambda x: normal(x) * torch.nan, "log_density and its gradient must be finite somewhere"),
    "zero everywhere": (lambda x: normal(x) - torch.inf, "finite somewhere, got none of 100 first draws"),
    "a sum": (lambda x: normal(x).sum(), r"must return a tensor of shape \(100,\) for 100 rows, got shape \(\)"),
    "a column": (lambda x: normal(x)[:, None], r"must return a tensor of shape \(100,\) .* got shape \(100, 1\)"),
    "no sum": (lambda x: -(x**2), r"got shape \(100, 2\)"),
    "detached": (lambda x: normal(x.detach()), "log_density must be differentiable"),
    "constant": (lambda x: torch.zeros(len(x)), "log_density must be differentiable"),
    "values of another shape": (lambda x: np.zeros((len(x), 1)), r"must return values of shape \(100,\)"),
    "a number": (lambda x: float(np.sum(x)), r"tuple \(value, gradient\).*with an array it returned float"),
    "raises": (lambda x: x.no_such_thing, r"with a tensor it raised AttributeError: 'Tensor'.* an array .*'numpy"),
    "of one point, in NumPy": (lambda x: np.ones((1, 2)) @ x, "with an array it raised ValueError: matmul"),
    "gradient of another shape": (lambda x: (np.zeros(len(x)),) * 2, r"must return gradients of shape \(100, 2\)"),
    "value of another shape": (lambda x: (0.0, np.zeros((len(x), 2))), r"must return values of shape \(100,\)"),
    "nothing": (lambda x: None, "with an array it returned NoneType"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_a_bad_target_gets_an_error_and_loses_nothing(name):
    target, message = BAD_TARGETS[name]
    fit = brief().fit(normal, 2)
    before = pickle.dumps(fit)
    with pytest.raises(ValueError, match=message):
        fit.fit(target, 2)
    assert pickle.dumps(fit) == before


def test_an_error_of_the_function_itself_comes_through():
    calls = []

    def fails_later(x):
        calls.append(x)
        if len(calls) > 5:
            raise ZeroDivisionError("of its own")
        return normal(x)

    with pytest.raises(ZeroDivisionError, match="of its own"):
        brief().fit(fails_later, 2)


def test_holes_in_the_target_are_told():
    def holed(x):
        return torch.where(x[:, 0] > 1, torch.nan, normal(x))

    with pytest.warns(
        UserWarning, match=r"log_density was NaN or plus infinity at \d+ of \d+ draws, such as \[1\.|\[\d"
    ):
        fit = brief().fit(holed, 2)
    truth = math.log(2 * math.pi) + stats.norm.logcdf(1)
    assert fit.log_evidence_ == pytest.approx(truth, abs=5 * fit.log_evidence_std_err_)
    assert (fit.resample(1000, random_state=0)[:, 0] <= 1).all()


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
@pytest.mark.parametrize("hole", [torch.nan, -torch.inf])
@pytest.mark.parametrize(
    ("bounds", "cure"),
    [
        (None, "pass bounds"),
        ((-4, [np.inf, 4]), r"pass the bounds that columns \[0\] lack"),
        ((-4, 4), "narrow bounds to it"),
    ],
)
def test_bounds_are_advised_only_where_there_are_none(hole, bounds, cure):
    with pytest.warns(UserWarning, match=f"(If that is outside of its support|If its support is bounded), {cure}."):
        brief(bounds=bounds, learning_rate_init=1e-300).fit(lambda x: torch.where(x[:, 0] > 1, hole, normal(x)), 2)


@pytest.mark.parametrize(("bounds", "advised"), [(None, True), ((0, np.inf), True), ((0, 1), False)])
def test_an_untrusted_fit_is_not_told_to_pass_bounds_that_it_has(bounds, advised):
    """A power so near the edge that a flow without training finds too little there."""
    with pytest.warns(UserWarning, match="Pareto k = ") as caught:
        brief(bounds=bounds, learning_rate_init=1e-300).fit(lambda x: -0.9 * x.abs().log().sum(1), 2)
    assert ("pass " in str(caught[-1].message)) == advised


def test_a_uniform_density_between_bounds_is_met_from_the_start():
    """It is met up to the numbers next to the bounds, and training does not lose it."""
    bounds = ([-1.0, 2.0], [1.0, 5.0])
    fit = small(bounds=bounds).fit(lambda x: 0 * x.sum(1), 2)
    assert fit.log_evidence_ == pytest.approx(math.log(6), abs=1e-3)
    assert fit.effective_sample_size_ > 0.999
    assert fit.pareto_k_ < 0.7
    start = brief(bounds=bounds, learning_rate_init=1e-300).fit(lambda x: 0 * x.sum(1), 2)
    low, high = np.array(bounds)
    x = np.concatenate([start.sample(100, random_state=0), [np.nextafter(low, high), np.nextafter(high, low)]])
    np.testing.assert_allclose(start.score_samples(x), -math.log(6), rtol=1e-12)


HALF_LINES = {
    "gamma(0.5)": (lambda x: -x.log() / 2 - x, math.lgamma(0.5)),
    "log-normal": (lambda x: -x.log().square() / 2 - x.log(), math.log(2 * math.pi) / 2),
    "half-Cauchy": (lambda x: -x.square().log1p(), math.log(math.pi / 2)),
}


@pytest.mark.parametrize("name", HALF_LINES)
def test_neither_the_edge_nor_the_tail_of_a_half_line_is_lost(name):
    log_p, evidence = HALF_LINES[name]
    fit = small(bounds=(0, np.inf), n_estimators=1, learning_rate_init=0.005).fit(lambda x: log_p(x).sum(1), 2)
    assert fit.log_evidence_ == pytest.approx(2 * evidence, abs=4 * fit.log_evidence_std_err_ + 1e-3)
    assert fit.effective_sample_size_ > 0.98
    assert fit.pareto_k_ < 0.7


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
def test_draws_that_rounding_would_put_on_a_bound_count():
    """A tenth of this density lies nearer to the bounds than float64 tells numbers of their size apart."""
    low, high = 1e6, 1e6 + 1

    def log_density(x):
        return -0.9 * ((x - low).log() + (high - x).log()).sum(1)

    fit = brief(bounds=(low, high), scale=3.0).fit(log_density, 2)
    x = fit.sample(2000, random_state=0)
    assert ((low < x) & (x < high)).all()
    assert (x == np.nextafter(low, high)).any()
    assert np.isfinite(fit.score_samples(x)).all()
    assert np.isfinite(fit.elbo_curve_).all()
    assert ((low < fit.resample(2000, random_state=0)) & (x < high)).all()


@pytest.mark.parametrize(
    "target",
    [lambda x: 0 * x[:, 0], lambda x: -0.5 * (x / 30).square().sum(-1), lambda x: -3 * (1 + x.square()).log().sum(-1)],
    ids=["improper", "much wider than the flows", "heavy tails"],
)
def test_a_fit_that_cannot_be_trusted_says_so(target):
    with pytest.warns(UserWarning, match=r"Pareto k = .*, above 0.7. (.* lost mass. )?Trust neither log_evidence_ nor"):
        fit = brief(scale=0.2, learning_rate_init=1e-4).fit(target, 2)
    assert fit.pareto_k_ > 0.7


BAD_PARAMETERS = [
    ("n_layers", 0, "n_layers must be an integer of at least 1, got 0"),
    ("max_iter", "auto", "max_iter must be an integer of at least 1, got 'auto'"),
    ("annealing", 1.0, "annealing must be a number of at least 0 and less than 1, got 1.0"),
    ("scale", 0.0, "loc must be finite and scale finite and greater than 0, got 0.0 and 0.0"),
    ("scale", [1.0, 2.0, 3.0], r"scale must be numbers of shape \(\) or \(2,\)"),
    ("loc", np.nan, "loc must be finite"),
    ("loc", "here", "loc must be numbers"),
    ("bounds", 3.0, r"bounds must be None or a tuple \(low, high\), got 3.0"),
    ("bounds", (0, 0), "bounds must have low below high in every column"),
    ("bounds", (0, np.nan), "bounds must have low below high"),
    ("bounds", (1, np.nextafter(1, 2)), "with numbers between them"),
    ("bounds", (-1e308, 1e308), r"a difference below 1.8e\+308"),
    ("mask", [[1, 0]], r"mask must have shape \(n_layers, n_features\) = \(2, 2\)"),
    ("device", "gpu9", "device must name a torch device"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD_PARAMETERS)
def test_a_bad_parameter_gets_an_error_that_names_it(name, value, message):
    with pytest.raises(ValueError, match=message):
        brief(**{"loc": 0.0, name: value}).fit(normal, 2)
    with pytest.raises(ValueError, match=re.escape("n_features must be an integer of at least 1, got 0")):
        brief().fit(normal, 0)


def test_pickles_hold_no_torch_nor_the_function_and_give_the_same_bits(fitted):
    state = pickle.dumps(fitted)  # which a lambda in it would prevent
    assert b"torch" not in state
    assert b"banana" not in state
    twin = pickle.loads(state)
    x = fitted.sample(50, random_state=1)
    np.testing.assert_array_equal(twin.sample(50, random_state=1), x)
    np.testing.assert_array_equal(twin.score_samples(x), fitted.score_samples(x))
    np.testing.assert_array_equal(twin.resample(50, random_state=1), fitted.resample(50, random_state=1))
    assert twin.score(x) == pytest.approx(fitted.score_samples(x).sum())


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
def test_pickles_keep_bounds_and_the_splines_behind_them():
    fit = brief(bounds=([0, -np.inf], [1, np.inf])).fit(normal, 2)
    twin, x = pickle.loads(pickle.dumps(fit)), fit.sample(50, random_state=1)
    np.testing.assert_array_equal(twin.score_samples(x), fit.score_samples(x))
    np.testing.assert_array_equal(twin.sample(50, random_state=1), x)


def test_it_is_cloned_and_set_as_any_estimator():
    bounds = ([0, 0], [1, 1])
    fit = brief(bounds=bounds).set_params(n_layers=3)
    assert fit.get_params()["bounds"] is bounds
    twin = clone(brief().fit(normal, 2))
    assert not hasattr(twin, "elbo_curve_")
    for call in (lambda e: e.sample(), lambda e: e.resample(), lambda e: e.score_samples([[0.0]])):
        with pytest.raises(NotFittedError):
            call(twin)


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
def test_every_parameter_changes_the_course_of_the_fit():
    base = {"max_iter": 125, "annealing": 0.1, "tol": 0.05, "n_iter_no_change": 2, "n_estimators": 1, "batch_size": 20}
    before = brief(**base).fit(banana, 2).elbo_curve_
    changed = {
        "n_layers": 3, "hidden_layer_sizes": (8,), "activation": "tanh", "coupling": "spline", "mask": [[0, 1], [0, 1]],
        "n_estimators": 2, "loc": 1.0, "scale": 2.0, "bounds": (-9, 9), "annealing": 0.0, "batch_size": 30, "tol": 5.0,
        "learning_rate_init": 1e-3, "max_iter": 20, "n_iter_no_change": 1, "random_state": 1,
    }  # fmt: skip
    for name, value in changed.items():
        assert brief(**{**base, name: value}).fit(banana, 2).elbo_curve_ != before, name
    assert {*changed, "warm_start", "device", "verbose"} == set(VariationalRealNVP().get_params())


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
def test_verbose_prints_and_single_columns_do(capsys):
    fit = brief(verbose=True).fit(normal, 1)
    assert capsys.readouterr().out.startswith("Step 20, loss = ")
    assert fit.sample(3).shape == (3, 1)


def split_moons(x):
    """Two halves of the plane, moved apart: no volume changes, so the integral is 2 pi, and the density jumps at 0."""
    x[:, 1] -= torch.where(x[:, 0] > 0, -2.0, 2.0)
    return normal(x)


def of_values(log_density):
    """A NumPy function without a gradient."""
    return lambda x: log_density(torch.from_numpy(x)).numpy()


def test_a_target_that_jumps_and_writes_to_its_argument_is_met_by_default():
    fit = small().fit(split_moons, 2)
    assert fit.log_evidence_ == pytest.approx(math.log(2 * math.pi), abs=4 * fit.log_evidence_std_err_)
    assert fit.effective_sample_size_ > 0.8
    assert (fit.resample(4000, random_state=0)[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.05)


def test_writing_to_the_argument_changes_no_bit():
    def in_place(x):
        total = x[:, 0] ** 2  # which autograd keeps x for
        x[:, 1] -= x[:, 0] ** 2 / 2
        x[:, 1] /= 0.5
        x[:, 0] = 0.0
        return -0.5 * (total + x[:, 1] ** 2)

    np.testing.assert_array_equal(brief().fit(in_place, 2).elbo_curve_, brief().fit(banana, 2).elbo_curve_)


def test_values_alone_are_enough():
    fit = small().fit(of_values(banana), 2)
    assert fit.log_evidence_ == pytest.approx(math.log(math.pi), abs=4 * fit.log_evidence_std_err_)
    assert fit.effective_sample_size_ > 0.8
    jumps, smooth = (brief().fit(f, 2).elbo_curve_ for f in (split_moons, of_values(split_moons)))
    assert jumps == smooth  # a target that jumps is learned from by its values
    with_holes = of_values(lambda x: torch.where(x[:, 0] > 1, -torch.inf, normal(x)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "log_density was minus infinity at")
        fit = small().fit(with_holes, 2)
    assert (fit.sample(4000, random_state=0)[:, 0] > 1).mean() < 0.03  # a normal distribution has 0.16 there
    truth = math.log(2 * math.pi) + stats.norm.logcdf(1)
    assert fit.log_evidence_ == pytest.approx(truth, abs=5 * fit.log_evidence_std_err_)


SMOOTH = {
    "steep": lambda x: -1e6 * x.square().sum(-1),
    "kinked": lambda x: -1e3 * x.abs().sum(-1),
    "without support on one side": lambda x: torch.where(x[:, 0] > 0, normal(x), -torch.inf),
    "far down": lambda x: normal(x) - 1e9,
    "of single precision": lambda x: normal(x.float() * 100),
}
JUMPS = {
    "far from the origin": lambda x: normal(x) + (x[:, 0] > 1.5),
    "small": lambda x: normal(x) + 0.2 * (x[:, 1] > 0),
    "beside a steep slope": lambda x: -1e3 * x[:, 0] ** 2 + (x[:, 1] > 0),
}


@pytest.mark.parametrize("name", [*SMOOTH, *JUMPS])
def test_jumps_are_told_from_steep_slopes_and_kinks(name):
    x = torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert has_jumps(Target({**SMOOTH, **JUMPS}[name], x).evaluate, x) == (name in JUMPS)


def test_a_jump_that_the_first_draws_do_not_show_is_warned_of():
    """The flows start far from it, and move there."""

    def far(x):
        return normal(x - 3) + torch.where(x[:, 0] > 3, 1.0, 0.0)

    with pytest.warns(UserWarning, match="log_density jumps on lines between draws from the fitted flows"):
        small(scale=0.3, annealing=0, learning_rate_init=0.02).fit(far, 2)


def test_a_lost_mode_is_warned_of():
    """The left mode is hidden while the flows learn; draws of these alone would never find it."""
    n_calls = 0

    def hidden(x):
        nonlocal n_calls
        n_calls += 1
        left, right = (normal(x + torch.tensor([place, 0.0])) for place in (4.0, -4.0))
        return torch.logaddexp(left, right) if n_calls > 420 else right

    with pytest.warns(UserWarning, match="Draws that reach farther than the flows find .* lost mass") as told:
        fit = small(scale=4.0, tol=0.0, n_iter_no_change=99).fit(hidden, 2)
    evidence = math.log(2 * 2 * math.pi)
    assert fit.log_evidence_ == pytest.approx(evidence - math.log(2), abs=0.05)
    found = float(re.search(r"log-evidence (\S+) above", str(told[0].message))[1])
    assert fit.log_evidence_ + found == pytest.approx(evidence, abs=0.1)


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")
def test_warm_start_goes_on_from_the_flows_before():
    fit = brief(max_iter=100, warm_start=True).fit(banana, 2)
    curve, before = fit.elbo_curve_, fit.score_samples([[0.5, 0.5]])
    fit.set_params(annealing=0, learning_rate_init=1e-300).fit(banana, 2)
    np.testing.assert_allclose(fit.score_samples([[0.5, 0.5]]), before)
    assert fit.elbo_curve_[: len(curve)] == curve
    assert len(fit.elbo_curve_) > len(curve)
    assert fit.n_iter_ <= 100
    fit = pickle.loads(pickle.dumps(fit)).set_params(learning_rate_init=0.01, annealing=0.3)
    fit.fit(banana, 2)
    assert fit.elbo_curve_[-1] > curve[-1] - 0.05
    for name, value in {"n_layers": 3, "loc": 1.0, "bounds": (0, 1), "coupling": "spline"}.items():
        old = getattr(fit, name)
        with pytest.raises(ValueError, match=f"{name} must stay .* to continue the fitted flow"):
            fit.set_params(**{name: value}).fit(banana, 2)
        fit.set_params(**{name: old})
    with pytest.raises(ValueError, match="n_features must stay 2"):
        fit.fit(normal, 3)
    assert len(fit.set_params(warm_start=False).fit(banana, 2).elbo_curve_) <= 4


@pytest.mark.filterwarnings("ignore:The flows are far from log_density")  # fits are short, and k is noisy
def test_tempering_in_several_fits_finds_both_modes():
    """From a broad power of the target to the target itself."""
    fit = small(scale=2.0, coupling="spline", warm_start=True, max_iter=150, n_estimators=1, hidden_layer_sizes=8)
    for temperature in (9.0, 3.0, 1.0):
        fit.fit(lambda x, t=temperature: two_modes(x) / t, 2)
    assert fit.log_evidence_ == pytest.approx(math.log(3 * 0.3 * 2 * math.pi), abs=5 * fit.log_evidence_std_err_)
    assert (fit.resample(4000, random_state=0)[:, 0] > 0).mean() == pytest.approx(2 / 3, abs=0.06)
