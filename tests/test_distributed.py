"""Data-parallel fits: several processes end where a single one with all rows and the same batches ends."""

import numpy as np
import pytest
import torch

import sknvp.distributed
from sknvp._distributed.shard import Shard
from sknvp._distributed.table import places
from sknvp._estimators import settings
from sknvp._estimators.scaling import location_and_scale
from sknvp.flows.train import train
from sknvp.flows.train.data_parallel import DataParallel
from sknvp.flows.train.objectives import NegativeLogLikelihood
from sknvp.flows.train.ranks import Ranks

from .flows.builders import whole_flow
from .processes import assert_equal_states, results, state_of, uneven
from .small import moons, normal_rows, small, stacked

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

BATCH_SIZE = 32
TRAINING = {"learning_rate": 1e-2, "alpha": 0.1, "max_steps": 2000, "n_iter_no_change": 2, "tol": 1e-2}


# ---------------------------------------------------------------- the training of a flow


def parts_of(name):
    """Rows and weights of each process."""
    x = torch.tensor(moons(300)) @ torch.tensor([[1.0, 0.3], [0.0, 1.0]], dtype=torch.float64)
    w = torch.linspace(0.5, 1.5, len(x), dtype=x.dtype)
    if name == "uneven shards":
        return [(x[:220], w[:220]), (x[220:], w[220:])]
    if name == "fewer rows than batches":
        return [(x[:297], w[:297]), (x[297:], w[297:])]
    if name == "rows of weight zero":
        w[::3] = 0
        return [(x[:150], w[:150]), (x[150:], w[150:])]
    assert name == "a rank that alone would have stopped early"
    normal = torch.tensor(normal_rows(60, 2))  # which the flow that does nothing describes
    return [(x, w), (normal, torch.ones(60, dtype=x.dtype))]


def local_objective(flow, parts, number):
    """The objective of a process, which holds out every fourth row or so; each member others."""
    x, weights = parts[number]
    validation = torch.stack([torch.arange(len(x)) % 4 == member for member in range(2)])
    tail = torch.full((len(x),), -20.0, dtype=x.dtype)
    generator = torch.Generator().manual_seed(number)
    return NegativeLogLikelihood(flow, x, weights, tail, validation, BATCH_SIZE, generator, 0.5), validation


def trained_together(rank, names):
    return [trained_part(rank, parts_of(name)) for name in names]


def trained_part(rank, parts):
    flow = whole_flow(2, 2, n_layers=2)
    local, validation = local_objective(flow, parts, rank)
    goal = DataParallel(local, parts[rank][1], validation, Ranks())
    history = train(flow, goal, **TRAINING)
    return history, [parameter.detach().numpy() for parameter in flow.parameters()]


class Joined(NegativeLogLikelihood):
    """The plain objective of all rows, whose batches are those of the processes, one after the other."""

    def __init__(self, flow, parts):
        self.locals = [local_objective(flow, parts, number)[0] for number in range(len(parts))]
        self.all_weights = torch.cat([weights for _, weights in parts])
        self.starts = np.cumsum([0, *(len(x) for x, _ in parts)])
        validation = torch.cat([local_objective(flow, parts, i)[1] for i in range(len(parts))], 1)
        self.n_slots = sum(local.train_rows.shape[1] for local in self.locals)
        self.totals = (self.all_weights * ~validation).sum(1, keepdim=True)
        x, tail = torch.cat([x for x, _ in parts]), torch.cat([local.tail for local in self.locals])
        super().__init__(flow, x, self.all_weights, tail, validation, BATCH_SIZE, torch.Generator().manual_seed(5), 0.5)

    def batches(self):
        n_batches = -(-self.n_slots // BATCH_SIZE)
        for parts in zip(*(local.batches(n_batches) for local in self.locals), strict=True):
            rows = torch.cat([rows + int(start) for (rows, _), start in zip(parts, self.starts, strict=False)], 1)
            counted = torch.cat([weights.nan_to_num(0.0) > 0 for _, weights in parts], 1)
            yield rows, self.all_weights[rows] * counted * (self.n_slots / self.totals)


NAMES = [
    "uneven shards",
    "fewer rows than batches",
    "rows of weight zero",
    "a rank that alone would have stopped early",
]


@pytest.fixture(scope="module")
def trained():
    return dict(zip(NAMES, zip(*results(trained_together, NAMES), strict=True), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_processes_train_as_one_that_has_all_batches(trained, name):
    (history, weights), (other_history, other_weights) = trained[name]
    flow = whole_flow(2, 2, n_layers=2)
    expected = train(flow, Joined(flow, parts_of(name)), **TRAINING)
    assert history == other_history
    assert history.converged
    assert (history.n_steps, history.converged) == (expected.n_steps, expected.converged)
    np.testing.assert_allclose(history.losses, expected.losses, rtol=0, atol=1e-6)
    np.testing.assert_allclose(history.validation_losses, expected.validation_losses, rtol=0, atol=1e-6)
    for mine, other, parameter in zip(weights, other_weights, flow.parameters(), strict=True):
        np.testing.assert_array_equal(mine, other)
        np.testing.assert_allclose(mine, parameter.detach(), rtol=0, atol=1e-6)


def test_the_rank_that_would_have_stopped_early_would_have(trained):
    parts = parts_of(NAMES[-1])
    flow = whole_flow(2, 2, n_layers=2)
    alone = train(flow, local_objective(flow, parts, 1)[0], **TRAINING)
    assert alone.n_steps < trained[NAMES[-1]][0][0].n_steps


# ---------------------------------------------------------------- fits


def fits(rank):
    """Fits of all rows, with and without rows that do not count, and of rows of which some count twice."""
    X = moons(400) * [1, 50] + [1e6, 0]
    X[7] = 1e9  # a gross outlier
    if rank == 1:
        small(max_iter=1).fit(X)  # a fit of its own, which waits for nobody
    plain = sknvp.distributed.fit(stacked(max_iter=10), uneven(rank, X))
    shard, twice = uneven(rank, X), np.ones(len(X))
    with_zero = np.r_[shard, normal_rows(9, 2)]
    zero = sknvp.distributed.fit(stacked(max_iter=10), with_zero, np.r_[np.full(len(shard), 2.0**600), np.zeros(9)])
    twice[150:200] = 2  # of the second process
    heavy = sknvp.distributed.fit(small(max_iter=10), shard, uneven(rank, twice))
    repeated = sknvp.distributed.fit(small(max_iter=10), np.repeat(shard, uneven(rank, twice).astype(int), axis=0))
    return {"plain": state_of(plain), "zero": state_of(zero), "heavy": state_of(heavy), "repeated": state_of(repeated)}


@pytest.fixture(scope="module")
def fitted():
    return results(fits)


def test_all_processes_have_the_same_density(fitted):
    for name, state in fitted[0].items():
        assert_equal_states(state, fitted[1][name])


def test_rows_of_weight_zero_are_as_if_absent_and_of_weight_two_as_if_there_twice(fitted):
    assert_equal_states(fitted[0]["plain"], fitted[0]["zero"])
    assert_equal_states(fitted[0]["heavy"], fitted[0]["repeated"])


def test_location_and_scale_are_those_of_all_rows(fitted):
    X = moons(400) * [1, 50] + [1e6, 0]
    X[7] = 1e9
    loc, scale, _ = location_and_scale(X, np.ones(400))
    *_, found_loc, found_scale, _, _, _ = fitted[0]["plain"]
    np.testing.assert_allclose((found_loc - loc) / scale, 0, atol=1e-9)
    np.testing.assert_allclose(found_scale, scale, rtol=1e-9)


def scores(rank):
    density = sknvp.distributed.fit(stacked(max_iter=20, n_estimators=4), uneven(rank, moons(1000)))
    return density.score(moons(1000, seed=1)) / 1000, density.stacking_weights_


def test_the_density_is_as_good_as_that_of_one_process():
    (score, weights), _ = results(scores)
    alone = stacked(max_iter=20, n_estimators=4).fit(moons(1000))
    assert score == pytest.approx(alone.score(moons(1000, seed=1)) / 1000, abs=0.05)
    assert len(weights) > 1


def fits_of_many_rows(rank):
    """Of more rows than are kept; the batches of all processes follow from the number of all rows that are."""
    settings.MAX_STEPS, settings.MAX_SMALL_BATCH_ROWS, settings.MAX_ROWS = 8, 100, 680
    shard = Shard.of(Ranks(), small(max_iter="auto"), uneven(rank, normal_rows(3000, 2)), None)
    density = sknvp.distributed.fit(small(max_iter="auto"), uneven(rank, normal_rows(3000, 2)))
    return len(shard.rows.x), shard.rows.weights.sum(), density.n_iter_


def test_of_many_rows_each_process_keeps_its_share_and_all_take_larger_batches():
    sizes, weights, n_epochs = np.transpose(results(fits_of_many_rows))
    np.testing.assert_allclose(sizes, [680 / 3, 680 * 2 / 3], rtol=0, atol=5)  # with the extremes of two columns
    assert weights[1] == pytest.approx(2 * weights[0], rel=1e-12)
    np.testing.assert_array_equal(n_epochs, 4)  # 8 steps; 128 * sqrt(6.8) rows are half of those that train


def test_held_out_rows_follow_from_their_numbers_alone():
    X = np.r_[normal_rows(4000, 3), [[0.0, -0.0, 1.0], [-0.0, 0.0, 1.0]]]
    for x in (X, X.astype(np.float32)):
        found = places(x, 3)
        np.testing.assert_array_equal(places(x[::-1], 3)[::-1], found)
        assert found[-1] == found[-2]
        counts = np.histogram(found, 10, (0, 1))[0]
        assert ((counts - 400) ** 2 / 400).sum() < 27.9  # the chi-squared test at a level of 0.001
        assert abs(np.corrcoef(found, places(x, 4))[0, 1]) < 0.06
