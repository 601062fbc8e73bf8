"""The experts beside the flows, and how all are weighed."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from sknvp._estimators.groups import groups_of_equal_rows, validation_rows
from sknvp._estimators.rows import Rows
from sknvp._estimators.scaling import scaling_of
from sknvp._estimators.weights import systematic_resampling
from sknvp._experts import stacking, unconditional
from sknvp._experts import table as tables
from sknvp._experts.covariance import covariance
from sknvp._experts.stacking import _weigh_members, as_if_held_out, stacking_weights
from sknvp._experts.table import Table
from sknvp._experts.unconditional import ExpertFitter
from sknvp.flows.builders.specification import Scaling

from .small import moons, normal_rows, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def table(X, weights=None, n_members=4, validation_fraction=0.25):
    weights = np.ones(len(X)) if weights is None else weights
    validation = validation_rows(
        groups_of_equal_rows(X), weights, n_members, validation_fraction, np.random.RandomState(0)
    )
    scaling = Scaling(np.zeros(X.shape[1]), np.ones(X.shape[1]), np.arange(X.shape[1]))
    return Table(scaling, *map(torch.tensor, (X, weights, validation)))


def cross_fitted(X, validation, fit):
    """By scikit-learn: what each row scores under models fitted without it."""
    scores = np.full(len(X), np.nan)
    for side in validation.numpy():
        scores[side] = fit(X[~side])(X[side])
    return scores


def whitening_of(rows, weights):
    return covariance(rows.z, weights).whitening(tables.RIDGE)


def kernels_on(rows, weights, whitened, bandwidth):
    return unconditional.kernels(rows, weights, whitening_of(rows, weights), whitened, bandwidth)


def test_held_out_kernels_are_cross_fitted():
    X = normal_rows(103, 2)
    rows = table(X)
    expected = cross_fitted(X, rows.validation, lambda train: KernelDensity(bandwidth=0.3).fit(train).score_samples)
    kernels = kernels_on(rows, rows.training_weights, False, 0.3).build()
    np.testing.assert_allclose(rows.cross_fitted_log_density(kernels), expected)


def test_whitened_kernels_have_the_shape_of_the_data():
    X = normal_rows(200, 2) @ [[3.0, 2.9], [0.0, 0.2]]
    rows = table(X)
    whitened = kernels_on(rows, rows.all_weights, True, 0.5).build()
    theirs = stats.gaussian_kde(X.T, bw_method=0.5 * np.sqrt(199 / 200))  # which divides by n - 1
    np.testing.assert_allclose(whitened.log_prob(rows.x)[0], theirs.logpdf(X.T), atol=1e-3)


def test_the_t_distribution_has_the_datas_mean_and_shape():
    X, weights = normal_rows(50, 3) @ np.triu(np.ones((3, 3))) + 1, np.arange(50) % 3
    rows = table(X, weights.astype(float))
    ours = unconditional.student_t(rows, whitening_of(rows, rows.all_weights)).build().log_prob(rows.x)[0]
    repeated = np.repeat(X, weights, axis=0)
    theirs = stats.multivariate_t(repeated.mean(0), np.cov(repeated.T, bias=True), df=unconditional.DEGREES_OF_FREEDOM)
    np.testing.assert_allclose(ours, theirs.logpdf(X), rtol=1e-4)


def test_rows_held_out_by_none_are_left_aside():
    X = normal_rows(100, 2)
    rows = table(X, n_members=2, validation_fraction=0.2)
    scores = rows.cross_fitted_log_density(
        unconditional.student_t(rows, whitening_of(rows, rows.training_weights)).build()
    )
    np.testing.assert_array_equal(scores.isnan(), ~rows.validation.any(0))
    weights = stacking_weights(torch.stack([scores, scores - 1]), rows.weights)
    assert weights[0] == pytest.approx(1, abs=1e-3)


def test_stacking_weights_are_the_likeliest():
    """Against a general optimiser, and by the condition that at the optimum no density could gain."""
    rng = np.random.default_rng(0)
    log_densities, weights = rng.normal(size=(4, 300)) - [[0.0], [0.5], [1.0], [6.0]], rng.integers(1, 4, 300)
    ours = stacking_weights(torch.tensor(log_densities), torch.tensor(weights.astype(float))).numpy()

    def loss(w):
        return -weights @ np.log(w @ np.exp(log_densities)) / weights.sum()

    bounds, total = [(0, 1)] * 4, {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = optimize.minimize(loss, np.full(4, 0.25), bounds=bounds, constraints=total, tol=1e-12)
    assert ours.sum() == pytest.approx(1)
    assert loss(ours) == pytest.approx(best.fun, abs=1e-5)
    gains = (weights * np.exp(log_densities) / (ours @ np.exp(log_densities))).sum(1) / weights.sum()
    assert (gains < 1 + 1e-2).all()


def test_what_members_gain_by_training_is_taken_away():
    """Members gain a constant on the rows that they were trained on, and lose it again."""
    rows, rng = table(normal_rows(200, 2)), np.random.default_rng(0)
    honest, expert = (torch.tensor(rng.normal(size=shape)) for shape in ((4, 200), (1, 200)))
    gains = torch.tensor([0.0, 1.0, 2.5, -1.0]).unsqueeze(1)
    trained = honest + gains * ~rows.validation
    found = as_if_held_out(trained, expert, rows)
    torch.testing.assert_close(found[rows.validation], honest[rows.validation])
    level = (found - honest).where(~rows.validation, torch.nan).nanmean(1)
    noise = 3 * np.sqrt(2 / 50)  # three standard errors of a mean over the rows that a member holds out
    assert level.abs().max() < noise
    torch.testing.assert_close(as_if_held_out(trained + 1, expert, rows), found + 1)
    weighted = rows._replace(weights=torch.where(rows.validation[1], 2.0, 1.0).double())
    assert not torch.equal(as_if_held_out(trained, expert, weighted), found)


def test_rows_learned_by_heart_are_no_reason_for_more_weight():
    """Members that are worse than an expert on new rows gain by training, on some rows far more than on others."""
    rows, rng = table(normal_rows(2000, 2)), np.random.default_rng(0)
    expert = torch.tensor(rng.normal(size=(1, 2000)))
    honest = expert - 0.3 + 0.3 * torch.tensor(rng.normal(size=(4, 2000)))
    by_heart = torch.where(rows.validation, honest, honest + 3 + 2 * torch.tensor(rng.normal(size=(4, 2000))))
    found = as_if_held_out(by_heart, expert, rows)
    flow = rows.held_out_mean(by_heart).unsqueeze(0)
    first = stacking_weights(torch.cat([flow, expert]), rows.weights)
    members, (weight,) = _weigh_members(found, expert, rows, first)
    assert members.sum() < 0.1
    assert weight > 0.9


def test_earlier_weights_count_like_rows_also_where_few_rows_are_held_out():
    """Of 300 rows that were held out and say that one member is right, equal weights take away one half."""
    rows = table(normal_rows(1500, 2), n_members=2, validation_fraction=0.1)
    of_members = torch.tensor([[0.0], [-100.0]], dtype=torch.float64).expand(2, 1500)
    expert = torch.where(rows.validation.any(0), torch.tensor(-100.0).double(), torch.nan).unsqueeze(0)
    members, _ = _weigh_members(of_members, expert, rows, torch.tensor([1.0, 1e-6]).double())
    np.testing.assert_allclose(members, [0.75, 0.25], atol=1e-3)


def test_members_without_a_finite_number_have_no_weight():
    rows, expert = table(normal_rows(400, 2)), torch.zeros(1, 400, dtype=torch.float64)
    broken = torch.tensor([[0.0], [-torch.inf], [0.0], [0.0]], dtype=torch.float64).expand(4, 400)
    members, _ = _weigh_members(as_if_held_out(broken, expert, rows), expert, rows, torch.tensor([0.5, 0.5]).double())
    assert members[1] < 1e-11
    np.testing.assert_allclose(members[0], members[[2, 3]])


def test_members_that_explain_the_rows_held_out_get_larger_shares():
    """One column of values that repeat nearly: the flows that see normal scores are the better ones, by far."""
    repeated = np.random.default_rng(0).choice([0.0, 1.0, 1.5, 4.0], (1000, 1))
    X = np.c_[repeated + 0.001 * normal_rows(1000, 1), normal_rows(1000, 1, 1)]
    shares = np.exp(stacked(n_estimators=4).fit(X)._experts.log_shares)
    assert shares.sum() == pytest.approx(1)
    assert shares[2:].sum() > 0.7


def test_few_rows_leave_members_nearly_alike():
    X = moons(40)
    assert np.ptp(np.exp(stacked(n_estimators=4).fit(X)._experts.log_shares)) < 0.1


def test_the_mixture_finds_clusters():
    """Four well separated clusters: at least as many components, and on held-out rows nearly as good as the truth."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) * 0.1 + rng.choice([-1.0, 1.0], (400, 2))
    rows = table(X)
    mixture = ExpertFitter(rows, np.random.RandomState(0)).best_mixture()
    assert mixture.means.shape[1] >= 4
    truth = stats.norm(np.abs(X) - 1, 0.1).logpdf(0).sum(1).mean() - np.log(4)
    assert rows.cross_fitted_log_density(mixture.build()).mean() > truth - 0.1


def test_the_bandwidth_is_near_the_best_of_a_fine_grid():
    X = moons(300)
    rows = table(X)
    fitter = ExpertFitter(rows, np.random.RandomState(0))
    beside = rows.cross_fitted_log_density(fitter.best_mixture().build())
    kernels = kernels_on(rows, rows.training_weights, *fitter.best_kernels(beside))

    def score(log_density):
        return np.logaddexp(log_density, beside.numpy()).mean()

    theirs = [
        score(cross_fitted(X, rows.validation, lambda Z, h=h: KernelDensity(bandwidth=h).fit(Z).score_samples))
        for h in np.geomspace(0.03, 1, 60)
    ]
    assert score(rows.cross_fitted_log_density(kernels.build()).numpy()) > max(theirs) - 0.02


@pytest.mark.parametrize("outlier", [False, True])
def test_kernels_are_as_narrow_as_a_part_of_the_rows_asks_for(outlier):
    """One row in five is near another one; kernels that are wide enough for the others, or one row, do not see that."""
    X = normal_rows(600, 6)
    X = np.r_[X, X[:70] + 0.05 * normal_rows(70, 6, 1)]
    X[-1] = 100 if outlier else X[-1]
    rows = table(X)
    fitter = ExpertFitter(rows, np.random.RandomState(0))
    normal = stats.multivariate_normal(np.zeros(6)).logpdf(X)
    assert fitter.best_kernels(torch.tensor(normal))[1] < 0.15


def test_large_tables_are_sampled(monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 100)
    monkeypatch.setattr(stacking, "MIN_KEPT_WEIGHT", 0.0)
    density = stacked().fit(moons(1000))
    kernels = [expert for expert in density._experts.specifications if expert.name == "kernels"]
    assert [len(expert.points) for expert in kernels] == [100]
    assert np.isfinite(density.score(moons(50, seed=1)))


def test_weights_add_up_and_the_tail_is_always_there():
    density = stacked().fit(moons())
    weights = density.stacking_weights_
    assert sum(weights.values()) == pytest.approx(1)
    mixtures = {"gaussian_mixture", "gaussian_mixture_copula"}
    assert {"flows", "student_t"} <= set(weights) <= {"flows", *mixtures, "kernels", "student_t"}
    assert weights["student_t"] > 5e-4
    assert all(weight >= 0.01 for kind, weight in weights.items() if kind not in ("flows", "student_t"))


def test_held_out_rows_that_the_sample_missed_weigh_nothing(monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 5)
    density = stacked(n_estimators=1, validation_fraction=0.003, max_iter=2).fit(moons())
    assert density.stacking_weights_ == {"flows": 1.0}


@pytest.mark.parametrize("settings", [{"stacking": False}, {"early_stopping": False}], ids=str)
def test_flows_alone(settings):
    assert stacked(**settings).fit(moons()).stacking_weights_ == {"flows": 1.0}


def test_what_is_stacked_does_as_well_as_its_best_part():
    """Clusters, which suit the mixture, and near-duplicates, which suit kernels: as good as either on new rows."""
    rng = np.random.default_rng(0)
    clusters = [rng.normal(size=(800, 2)) * 0.1 + rng.choice([-2.0, 2.0], (800, 2)) for _ in range(2)]
    centres = rng.normal(size=(100, 4))
    duplicates = [np.repeat(centres, 6, axis=0) + 0.01 * rng.normal(size=(600, 4)) for _ in range(2)]
    mixture = GaussianMixture(4, random_state=0).fit(clusters[0]).score(clusters[1])
    kernels = KernelDensity(bandwidth=0.03).fit(duplicates[0]).score(duplicates[1]) / 600
    assert stacked(random_state=0).fit(clusters[0]).score(clusters[1]) / 800 > mixture - 0.02
    density = stacked(random_state=0).fit(duplicates[0], groups=np.arange(600))  # independent, as these are
    assert density.score(duplicates[1]) / 600 > kernels - 0.05


def test_an_outlier_does_not_choose_the_bandwidth():
    """One row so far away that narrow kernels would lose by the mean, though they are better for all the others."""
    X = np.r_[moons(300), [[60.0, -60.0]]]
    weights, validation = np.ones(301), table(X).validation.numpy()
    rows = Table.of(scaling_of(X, weights), Rows.unmerged(X, weights), validation, np.random.RandomState(0))
    flows = [kernels_on(rows, rows.training_weights, False, h).build() for h in (0.05, 0.5)]
    tail = ExpertFitter(rows, np.random.RandomState(0)).tail
    narrow, wide = (unconditional.held_out_score(each, rows, tail) for each in flows)
    assert narrow > wide
    none = torch.full_like(tail, -torch.inf)
    narrow, wide = (unconditional.held_out_score(each, rows, none) for each in flows)
    assert narrow < wide


def test_a_gross_outlier_costs_the_others_little():
    X, new = moons(500), moons(500, seed=1)
    clean, spoiled = stacked(max_iter=60).fit(X), stacked(max_iter=60).fit(np.r_[X, [[300.0, -300.0]]])
    assert spoiled.score(new) > clean.score(new) - 0.5 * len(new)


def test_heavy_rows_are_drawn_by_their_weights():
    weights = np.r_[np.full(90, 1e-6), np.ones(10)]
    drawn = systematic_resampling(weights, 50, np.random.RandomState(0))
    assert np.bincount(drawn, minlength=100)[90:].tolist() == [5] * 10
    assert len(np.unique(systematic_resampling(np.ones(101), 100, np.random.RandomState(0)))) == 100


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize("n_rows", [2, 3, 5, 10, 13])
def test_few_rows(n_rows, n_features):
    rng = np.random.default_rng(n_rows)
    X = rng.choice([-5.0, 0.0, 5.0, 9.0], (n_rows, n_features)) + 0.01 * rng.normal(size=(n_rows, n_features))
    density = stacked(n_estimators=4, validation_fraction=0.25).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.sample(3, random_state=0).shape == (3, n_features)


@pytest.mark.parametrize(
    "settings",
    [{"standardize": False}, {"n_estimators": 1}, {"warm_start": True}, {"validation_fraction": 0.9}],
    ids=str,
)
def test_settings_that_stacking_must_bear(settings):
    X = moons(200) + 1e8
    density = stacked(**settings).fit(X).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.stacking_weights_.keys() > {"flows"}


def test_float32_rows_are_weighed_as_they_are_scored():
    """Kernels and t-distribution compute in float64 whatever the rows are: a far cluster loses no digits."""
    X = np.r_[normal_rows(200, 3), 60 + 1e-2 * normal_rows(20, 3, 1)]
    single, double = (stacked(max_iter=5).fit(X.astype(dtype)) for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(single.score_samples(X[200:]), double.score_samples(X[200:]), atol=0.05)
    assert single.sample(2).dtype == np.float32


def test_a_warm_start_holds_out_the_same_rows():
    density = stacked(warm_start=True, random_state=None).fit(moons())
    sides = []
    original = Table.of

    def spy(scaling, rows, validation, rng):
        sides.append(validation)
        return original(scaling, rows, validation, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Table, "of", spy)
        density.fit(moons()).fit(moons())
    np.testing.assert_array_equal(*sides)


@pytest.mark.parametrize(
    "part",
    ["_experts.unconditional.ExpertFitter.candidates", "_experts.table.Table.of", "_experts.stacking.stacking_weights"],
)
def test_ctrl_c_while_stacking_leaves_the_flows(part, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"sknvp.{part}", interrupt)
    with pytest.warns(UserWarning, match="the flows stay alone"):
        density = stacked().fit(moons())
    assert density.stacking_weights_ == {"flows": 1.0}
    assert np.isfinite(density.score(moons()))


@pytest.mark.parametrize("constant_at_first", [True, False])
def test_a_warm_start_keeps_the_columns_that_vary(constant_at_first):
    varying, constant = normal_rows(200, 3), np.c_[normal_rows(200, 2), np.ones(200)]
    first, then = (constant, varying) if constant_at_first else (varying, constant)
    density = stacked(warm_start=True).fit(first)
    with pytest.warns(UserWarning, match="was constant") if constant_at_first else nullcontext():
        density.fit(then)
    columns = {len(part.scaling.columns) for part in (density._specification, *density._experts.specifications)}
    assert columns == {2 if constant_at_first else 3}
    assert np.isfinite(density.score(then))
