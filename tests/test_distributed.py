"""Data-parallel fits: several processes end where a single one with all rows and the same batches ends."""

import os
import re
import resource
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import sknvp.distributed
from sknvp import PlanarFlowDensity, RealNVPDensity
from sknvp._distributed import checkpoint as checkpoints
from sknvp._distributed.table import places
from sknvp._estimators.rows import location_and_scale
from sknvp._estimators.state import saved_flow
from sknvp.flows.train import train
from sknvp.flows.train.data_parallel import DataParallel
from sknvp.flows.train.objectives import NegativeLogLikelihood
from sknvp.flows.train.ranks import Ranks

from .flows.builders import whole_flow
from .processes import results, together
from .small import moons, normal_rows, small, stacked
from .test_large_data import PAGE

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

BATCH_SIZE = 32
TRAINING = {"learning_rate": 1e-2, "alpha": 0.1, "max_steps": 600, "n_iter_no_change": 3, "tol": 1e-3}


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
    normal = torch.tensor(normal_rows(60, 2)) * 0.2
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


def uneven(rank, X):
    return X[: len(X) // 3] if rank == 0 else X[len(X) // 3 :]


def state_of(density):
    """All numbers that a fit has found."""
    learned = [*saved_flow(density.flow_)["learned"], density._log_weights, density.loc_, density.scale_]
    curves = [np.array(density.loss_curve_), np.array(density.validation_scores_ or [])]
    return [*learned, *curves, density.score_samples(moons(50, seed=2))]


def assert_equal_states(some, others):
    for mine, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(mine, other)


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


def test_held_out_rows_follow_from_their_numbers_alone():
    X = np.r_[normal_rows(4000, 3), [[0.0, -0.0, 1.0], [-0.0, 0.0, 1.0]]]
    for x in (X, X.astype(np.float32)):
        found = places(x, 3)
        np.testing.assert_array_equal(places(x[::-1], 3)[::-1], found)
        assert found[-1] == found[-2]
        counts = np.histogram(found, 10, (0, 1))[0]
        assert ((counts - 400) ** 2 / 400).sum() < 27.9  # the chi-squared test at a level of 0.001
        assert abs(np.corrcoef(found, places(x, 4))[0, 1]) < 0.06


# ---------------------------------------------------------------- bad input


def other_columns(rank):
    return small(), normal_rows(50, 3 + rank), None


def other_dtypes(rank):
    return small(), normal_rows(50, 3).astype(["f8", "f4"][rank]), None


def other_parameters(rank):
    return small(n_layers=[4, 6][rank]), normal_rows(50, 3), None


def no_rows(rank):
    return small(), normal_rows([50, 0][rank], 3), None


def missing_cells(rank):
    X = normal_rows(50, 3)
    X[4, 1] = [0, np.nan][rank]
    return small(), X, None


def discrete(rank):
    X = normal_rows(50, 3)
    X[:, 2] = X[:, 2] if rank else np.arange(50) % 3
    return small(), X, None


def shared_out_by_a_column(rank):
    X = normal_rows(50, 3)
    X[:, 2] = rank
    return small(), X, None


def negative_weights(rank):
    return small(), normal_rows(50, 3), np.full(50, [1.0, -1.0][rank])


def another_kind(rank):
    return PlanarFlowDensity(), normal_rows(50, 3), None


def with_bounds(rank):
    return small(bounds=(-10, 10)), normal_rows(50, 3), None


def with_batch_norm(rank):
    return small(batch_norm=True), normal_rows(50, 3), None


def bad_parameter(rank):
    return small(n_layers=[4, 0][rank]), normal_rows(50, 3), None


def too_few(rank):
    return small(), np.array([[rank, 1.0], [rank, 1.0]]), None


BAD = {
    other_columns: "number of columns of X: 3 and 4 on ranks 0 and 1",
    other_dtypes: "dtype of X: .*float64.* and .*float32.* on ranks 0 and 1",
    other_parameters: "parameter: n_layers: 4 and 6 on ranks 0 and 1",
    no_rows: "X must hold a row in every process",
    missing_cells: "X must have no missing cells",
    discrete: "X must have continuous columns alone.* 2.*discrete_features=None",
    shared_out_by_a_column: "X must have continuous columns alone.* 2",
    negative_weights: "sample_weight must not be negative",
    another_kind: "density must be a RealNVPDensity, got PlanarFlowDensity",
    with_bounds: "bounds must be None",
    with_batch_norm: "batch_norm must be False",
    bad_parameter: "n_layers must be an integer of at least 1",
    too_few: "validation_fraction must leave every flow rows",
}


def errors_of_bad_input(rank):
    messages = []
    for case in BAD:
        density, X, weights = case(rank)
        before = dict(vars(density))
        try:
            sknvp.distributed.fit(density, X, weights)
        except ValueError as error:
            messages.append(str(error))
        assert vars(density) == before
    return messages


def test_bad_input_is_an_error_in_every_process():
    for messages in results(errors_of_bad_input):
        assert len(messages) == len(BAD)
        for message, expected in zip(messages, BAD.values(), strict=True):
            assert re.search(expected, message), message


def test_without_a_group_the_error_says_how_to_start():
    with pytest.raises(RuntimeError, match="torchrun"):
        sknvp.distributed.fit(small(), moons())


# ---------------------------------------------------------------- checkpoints


def fit_with(rank, path, density=None, at=None, what=None, X=None):
    """Fit with a checkpoint after every evaluation, and do something at one of them."""
    checkpoints.SECONDS_BETWEEN = 0.0
    n_evaluations = 0

    class Watched(checkpoints.CheckpointFile):
        def save(self, course, done):
            nonlocal n_evaluations
            n_evaluations += 1
            super().save(course, done)
            if n_evaluations == at:
                what(rank)

    sknvp.distributed.CheckpointFile = Watched
    density = stacked(max_iter=60, random_state=None) if density is None else density
    shard = uneven(rank, moons(400) if X is None else X)
    return state_of(sknvp.distributed.fit(density, shard, checkpoint=path)), n_evaluations


def die(rank):
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def interrupt(rank):
    raise KeyboardInterrupt


def crash_and_resume(rank, folder):
    """An uninterrupted fit with the seeds of the other one, and a fit that is interrupted in every process."""
    path = folder / "interrupted.npz"
    with pytest.raises(KeyboardInterrupt):
        fit_with(rank, path, at=4, what=interrupt)
    resumed, n_evaluations = fit_with(rank, path)
    header = checkpoints.read(path)[0]
    torch.distributed.barrier()
    if rank == 0:  # only the seeds of a random state of None are taken over from a checkpoint at the start
        checkpoints.write(folder / "whole.npz", header, {})
    torch.distributed.barrier()
    whole, n_evaluations_of_all = fit_with(rank, folder / "whole.npz")
    again, n_evaluations_of_none = fit_with(rank, path)
    return resumed, whole, again, (n_evaluations, n_evaluations_of_all, n_evaluations_of_none)


def test_a_fit_that_was_cut_short_goes_on_to_the_same_bits(tmp_path):
    (resumed, whole, again, counts), other = results(crash_and_resume, tmp_path)
    n_resumed, n_whole, n_again = counts
    assert n_resumed == n_whole - 4 > 1
    assert n_again == 1  # a finished fit only notes that it is done
    for state in (resumed, again, other[0]):
        assert_equal_states(state, whole)


def test_when_a_process_is_killed_the_others_say_how_to_go_on(tmp_path):
    path, density = tmp_path / "fit.npz", stacked(max_iter=60)
    survivor, dead = together(fit_with, path, density, 4, die)
    assert dead is None
    assert isinstance(survivor, RuntimeError)
    assert re.search(rf"process .* has ended.*same command.*{path.name}", str(survivor))
    (resumed, n_resumed), _ = results(fit_with, path, density)
    (whole, n_whole), _ = results(fit_with, None, density)
    assert 1 < n_resumed < n_whole
    assert_equal_states(resumed, whole)


def refusals(rank, folder):
    """The messages of fits that may not go on from a checkpoint."""
    good = folder / "good.npz"
    fit_with(rank, good, small(max_iter=2))
    before = good.read_bytes()
    (folder / "bad.npz").write_bytes(b"no checkpoint")
    (folder / "code.npz").write_bytes(_with_code())
    tries = [
        (good, small(max_iter=2, n_layers=6), None),
        (good, small(max_iter=3), None),
        (good, small(max_iter=2), moons(400, seed=5)),
        (folder / "bad.npz", small(), None),
        (folder / "code.npz", small(), None),
        (folder / "absent" / "fit.npz", small(), None),
    ]
    messages = []
    for path, density, X in tries:
        with pytest.raises(ValueError, match="checkpoint") as caught:
            fit_with(rank, path, density, X=X)
        messages.append(str(caught.value))
    torch.distributed.barrier()
    assert good.read_bytes() == before
    return messages


class Code:
    def __reduce__(self):
        return os._exit, (3,)


def _with_code():
    import io

    file = io.BytesIO()
    np.savez(file, header=np.array([Code()], dtype=object))
    return file.getvalue()


def test_checkpoints_of_other_fits_are_refused_in_every_process(tmp_path):
    for messages in results(refusals, tmp_path):
        expected = ["n_layers", "max_iter", "table", "cannot be read", "cannot be read", "folder"]
        for message, word in zip(messages, expected, strict=True):
            assert word in message
            assert re.search("Name another|name another|elsewhere", message)


def fit_once(rank, path):
    return fit_with(rank, path, small(max_iter=2))


def test_checkpoints_of_another_number_of_processes_are_refused(tmp_path):
    results(fit_once, tmp_path / "fit.npz", n=2)
    (error,) = together(fit_once, tmp_path / "fit.npz", n=1)
    assert "number of processes: 2 then, 1 now" in str(error)


def fill_the_disk(rank):
    if rank == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))  # no file may grow beyond it


def fit_on_a_full_disk(rank, path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        state, _ = fit_with(rank, path, small(), 4, fill_the_disk)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return state, {str(warning.message) for warning in caught if "checkpoint" in str(warning.message)}


def test_a_full_disk_costs_no_more_than_later_checkpoints(tmp_path):
    (state, messages), (_, others) = results(fit_on_a_full_disk, tmp_path / "fit.npz")
    (message,) = messages
    assert "could not be written" in message
    assert not others
    assert [path.name for path in tmp_path.iterdir()] == ["fit.npz"]
    assert checkpoints.read(tmp_path / "fit.npz")[1]["n_steps"] == 100
    (resumed, _), _ = results(fit_with, tmp_path / "fit.npz", small())
    assert_equal_states(resumed, state)


# ---------------------------------------------------------------- the recipe


def test_the_script_of_the_page_on_large_data(tmp_path):
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "init_process_group" in block)
    assert "RealNVPDensity(" in code
    np.save(tmp_path / "rows.npy", moons(1000).astype(np.float32))
    smaller = code.replace("batch_size=1024", "batch_size=256, max_iter=20, n_layers=2, hidden_layer_sizes=8")
    (tmp_path / "train.py").write_text(smaller)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    import joblib

    density = joblib.load(tmp_path / "density.joblib")
    assert type(density) is RealNVPDensity
    assert density.score(moons(1000, seed=1)) / 1000 > -1.3  # a Gaussian has -1.7
    assert (tmp_path / "fit.npz").exists()
