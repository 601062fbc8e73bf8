"""Densities that are conditioned on a context: regression, ensembles, training, means and quantiles."""

import numpy as np
import pytest
import torch
from scipy import stats

from sknvp.flows import AdditiveConditioning, Chain, Ensemble, Flow, StandardNormal, StudentT
from sknvp.flows.summaries import distribution, mean, noise_points, quantile
from sknvp.flows.train.objectives import NegativeLogLikelihood

from .builders import DTYPE, generator, gradients_of, randn, shaken, whole_flow

TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


def ensemble(n_features=1):
    """Return two spline flows and a t-distribution around a line, all with a context of two columns."""
    flow = shaken(whole_flow(2, n_features, "spline", n_context=2))
    line = Flow(Chain(AdditiveConditioning(randn(1, n_features, 2))), StudentT(n_features, 4), 1)
    log_weights, log_shares = (torch.tensor([share, 1 - share], dtype=DTYPE).log() for share in (0.7, 0.2))
    return Ensemble([flow, line], log_weights, log_shares).requires_grad_(False)


def test_a_regression_leaves_what_a_linear_map_does_not_tell():
    transform, x, context = AdditiveConditioning(randn(2, 3, 4)), randn(2, 5, 3), randn(2, 5, 4, seed=1)
    expected = x - torch.einsum("mdc,mnc->mnd", transform.coefficients, context)
    for direction, image in ((transform, expected), (transform.inverse, 2 * x - expected)):
        found, log_det = direction(x, context)
        torch.testing.assert_close(found, image, **TOLERANCE)
        assert not log_det.any()
        inputs = (x.clone().requires_grad_(), context.clone().requires_grad_())
        assert torch.autograd.gradcheck(direction, inputs)


def test_a_regression_stops_at_its_limit():
    transform, x = AdditiveConditioning(randn(1, 2, 1)), randn(1, 3, 2)
    at, far = (transform(x, torch.full((1, 3, 1), v, dtype=DTYPE))[0] for v in (AdditiveConditioning.LIMIT, 1e300))
    torch.testing.assert_close(at, far, rtol=0, atol=0)


def test_a_regression_moves_columns_with_a_period_by_what_remains_after_whole_periods():
    coefficients, periods = 5 * randn(2, 3, 4), torch.tensor([2.0, torch.inf, 0.5], dtype=DTYPE)
    transform, x, context = AdditiveConditioning(coefficients, periods), randn(2, 50, 3), randn(2, 50, 4, seed=1)
    line = AdditiveConditioning(coefficients)
    for direction, along_the_line in ((transform, line), (transform.inverse, line.inverse)):
        moved, _ = direction(x, context)
        turns = (moved - along_the_line(x, context)[0]) / periods
        torch.testing.assert_close(turns, turns.round(), **TOLERANCE)
        assert turns[..., 0].unique().numel() > 2
        assert not turns[..., 1].any()
        assert ((moved - x).abs() <= periods / 2 * (1 + 1e-9)).all()
        assert torch.autograd.gradcheck(direction, (x.clone().requires_grad_(), context.clone().requires_grad_()))


@pytest.mark.parametrize("nu", [2, 4, 10])
def test_the_distribution_function_of_the_t_distribution_is_scipys(nu):
    z = torch.tensor([-1e200, -30.0, -1.0, 0.0, 0.3, 2.0, 1e9], dtype=DTYPE)
    np.testing.assert_allclose(StudentT(1, nu).cdf(z), stats.t(nu).cdf(z), rtol=1e-9, atol=1e-12)


def test_an_ensemble_given_a_context_is_the_mixture_of_its_members():
    density, x, context = ensemble(2), randn(9, 2), randn(9, 2, seed=1)
    flow, line = density.flows
    shares = torch.tensor([0.2, 0.8], dtype=DTYPE)
    expected = 0.7 * shares @ flow.log_prob(x, context).exp() + 0.3 * line.log_prob(x, context).exp()[0]
    torch.testing.assert_close(density.log_prob(x, context), expected.log())


def test_draws_belong_to_their_own_row_of_the_context(monkeypatch):
    """The line is so steep that no draw could belong to another row, and the rows pass in several chunks."""
    monkeypatch.setattr(Flow, "chunk_size", 7)
    flow = Flow(Chain(AdditiveConditioning(torch.full((3, 1, 1), 1000.0, dtype=DTYPE))), StandardNormal(1), 3)
    density = Ensemble([flow, flow], torch.tensor([0.5, 0.5], dtype=DTYPE).log())
    context = torch.linspace(-5, 5, 100, dtype=DTYPE).unsqueeze(1)
    drawn = density.sample(100, context, generator())
    noise = drawn - 1000 * context
    assert noise.abs().max() < 6
    assert stats.kstest(noise[:, 0].numpy(), "norm").pvalue > 1e-3


def test_training_heeds_the_context():
    flow, x, context = shaken(whole_flow(2, 3, n_context=2)), randn(30, 3), randn(30, 2, seed=1)
    tail, weights = torch.full((30,), -1e6, dtype=DTYPE), torch.ones(30, dtype=DTYPE)
    validation = torch.arange(30).expand(2, -1) < 10
    goal = NegativeLogLikelihood(flow, x, weights, tail, validation, 10, generator())
    goal.context = context
    rows, own = next(goal.batches())
    expected = -torch.stack([flow.log_prob(x[r], context[r])[m].mean() for m, r in enumerate(rows)])
    torch.testing.assert_close(goal.loss(rows, own), expected)
    torch.testing.assert_close(gradients_of(goal, rows, own)[0], expected)
    torch.testing.assert_close(goal.validate(), -flow.log_prob(x, context)[:, :10].mean(1))


@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_points_of_noise_have_its_moments(n_features):
    """The first moment is exact. Even moments are, for one column, exact but for the tails; for several, nearly so."""
    points, weights = noise_points(n_features, 100 if n_features == 1 else 512)
    assert weights.sum() == pytest.approx(1)
    torch.testing.assert_close(weights @ points, torch.zeros(n_features, dtype=DTYPE), rtol=0, atol=1e-14)
    error = 2e-4 if n_features == 1 else 0.05
    for power, moment in ((2, 1), (4, 3)):
        np.testing.assert_allclose(weights @ points**power, moment, rtol=error * power)
    state = torch.get_rng_state()
    assert torch.equal(noise_points(n_features, 64)[0], noise_points(n_features, 64)[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_mean_of_linear_maps_is_exact():
    line = Flow(Chain(AdditiveConditioning(randn(3, 2, 2))), StandardNormal(2), 3)
    shares, context = torch.tensor([0.5, 0.3, 0.2], dtype=DTYPE), randn(5, 2, seed=1)
    density = Ensemble([line], torch.zeros(1, dtype=DTYPE), shares.log())
    expected = torch.einsum("m,mdc,nc->nd", shares, line.transform.transforms[0].coefficients, context)
    torch.testing.assert_close(mean(density, context, *noise_points(2, 16)), expected, **TOLERANCE)


@pytest.mark.parametrize("q", [1e-9, 0.01, 0.5, 0.8, 1 - 1e-6])
def test_quantiles_invert_the_distribution_function(q):
    density, context = ensemble(), randn(40, 2, seed=1)
    y = quantile(density, q, context)
    value, slope = distribution(density, y, context)
    np.testing.assert_allclose(value, q, atol=1e-12)
    np.testing.assert_allclose(slope.log(), density.log_prob(y.unsqueeze(1), context), rtol=1e-9)


def test_the_distribution_function_rises_by_the_density():
    density, context = ensemble(), randn(40, 2, seed=1)
    y, step = torch.linspace(-4, 4, 40, dtype=DTYPE), 1e-6
    rise = distribution(density, y + step, context)[0] - distribution(density, y - step, context)[0]
    np.testing.assert_allclose((rise / (2 * step)), distribution(density, y, context)[1], rtol=1e-5)
