"""The training loop and the objective of maximum likelihood."""

import copy
import itertools
import math
import warnings

import pytest
import torch
from torch.autograd.functional import jacobian

from sknvp.flows import Chain
from sknvp.flows.train import advance, train
from sknvp.flows.train.buffer import flatten
from sknvp.flows.train.objectives import NegativeLogLikelihood

from .builders import generator, gradients_of, randn, shaken, whole_flow

# The loss is evaluated after every step, except in the tests that say otherwise.
pytestmark = pytest.mark.usefixtures("evaluate_after_every_step")

NO_TAIL = torch.tensor(-torch.inf, dtype=torch.float64)
SETTINGS = {"learning_rate": 1e-2, "alpha": 0.0, "max_steps": 100, "n_iter_no_change": 5, "tol": 1e-4}


@pytest.fixture
def evaluate_after_every_step(monkeypatch):
    monkeypatch.setattr("sknvp.flows.train.loop.EVALUATION_STEPS", 1)


def objective(flow, x, weights=None, n_valid=0, batch_size=1000):
    validation = torch.zeros(flow.n_members, len(x), dtype=torch.bool)
    validation[:, :n_valid] = True
    weights = torch.ones(len(x), dtype=x.dtype) if weights is None else weights
    return NegativeLogLikelihood(flow, x, weights, NO_TAIL.expand(len(x)), validation, batch_size, generator())


def loss_by_hand(flow, x):
    """Return the mean negative log-likelihood of each member, with the Jacobian by autograd, row by row."""
    n_members = flow.n_members
    total = x.new_zeros(n_members)
    for m, row in itertools.product(range(n_members), x):

        def noise(r, m=m):
            return flow.transform(r.expand(n_members, 1, -1))[0][m, 0]

        log_det = torch.linalg.slogdet(jacobian(noise, row)).logabsdet
        total[m] += flow.base.log_prob(noise(row)).detach() + log_det.detach()
    return -total / len(x)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_loss_and_gradient_agree_with_the_change_of_variables_by_hand(kind):
    """The gradient agrees with finite differences of a loss whose log-determinants come from autograd."""
    flow, x = shaken(whole_flow(2, 3, kind, n_layers=2, hidden=(4,))), randn(4, 3)
    goal = objective(flow, x)
    flat = flatten(flow)
    loss, gradients = gradients_of(goal, *next(iter(goal.batches())))
    torch.testing.assert_close(loss, loss_by_hand(flow, x))
    gradient = torch.cat([part.flatten(1) for part in gradients], 1)
    step = 1e-6
    for j in range(0, flat.shape[1], max(1, flat.shape[1] // 15)):
        values = []
        for sign in (1, -1):
            flat.data[:, j] += sign * step
            values.append(loss_by_hand(flow, x))
            flat.data[:, j] -= sign * step
        torch.testing.assert_close((values[0] - values[1]) / (2 * step), gradient[:, j], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "settings",
    [{"kind": "affine"}, {"kind": "spline"}, {"batch_norm": True}, {"columns": [0, 2, 3]}, {"n_context": 2}],
    ids=str,
)
def test_gradients_are_those_that_autograd_finds(settings):
    flow, x, weights = shaken(whole_flow(2, 4, n_layers=3, **settings)), randn(2, 9, 4), randn(2, 9, seed=1).abs()
    context = randn(2, 9, 2, seed=2) if "n_context" in settings else None
    running = copy.deepcopy(flow)  # Every batch moves the statistics of batch normalisation.
    total = (weights * running.log_prob(x, context)).sum(-1)
    sums, gradients = gradients_of(flow, x, weights, context)
    torch.testing.assert_close(sums, total)
    torch.testing.assert_close(gradients, list(torch.autograd.grad(total.sum(), list(running.parameters()))))


def test_losses_agree_with_and_without_gradients():
    flow, x = shaken(whole_flow(2, 3)), randn(30, 3)
    goal = objective(flow, x, torch.linspace(0.5, 2, 30, dtype=x.dtype), n_valid=10)
    batch = next(goal.batches())
    torch.testing.assert_close(gradients_of(goal, *batch)[0], goal.loss(*batch))


def test_flattening_makes_views_and_changes_nothing():
    flow = shaken(whole_flow(3, 4))
    x = randn(6, 4)
    before = flow.log_prob(x)
    flat = flatten(flow)
    torch.testing.assert_close(flow.log_prob(x), before, rtol=0, atol=0)
    with torch.no_grad():
        flat.zero_()
    assert not any(part.any() for part in flow.parameters())


@pytest.mark.parametrize("batch_norm", [False, True])
def test_training_lowers_the_loss_and_ends_with_the_best_weights(batch_norm):
    x = randn(300, 2) ** 3
    flow = whole_flow(3, 2, batch_norm=batch_norm)
    goal = objective(flow, x, n_valid=60, batch_size=64)
    start = goal.validate()
    history = train(flow, goal, **SETTINGS)
    assert (goal.validate() < start).all()
    assert goal.validate().mean().item() == pytest.approx(history.best_validation_loss, abs=1e-12)
    assert history.best_validation_loss <= min(history.validation_losses)


def test_a_fit_never_ends_worse_than_its_start():
    """The learning rate ruins everything, so that the untrained flow is the best one."""
    x = randn(200, 3)
    flow = whole_flow(2, 3)
    goal = objective(flow, x, n_valid=50)
    start = goal.validate()
    train(flow, goal, **{**SETTINGS, "learning_rate": 1e4})
    assert (goal.validate() <= start).all()


def test_members_train_as_if_alone():
    """Three members end where each would by itself, if it starts from equal weights, with full batches."""
    x = randn(100, 3)
    together = whole_flow(3, 3, mask="half")
    states = [p.detach().clone() for p in together.parameters()]
    train(together, objective(together, x), **SETTINGS)
    for m in range(3):
        alone = whole_flow(1, 3, mask="half")
        for part, state in zip(alone.parameters(), states, strict=True):
            part.data.copy_(state[m : m + 1])
        train(alone, objective(alone, x), **SETTINGS)
        torch.testing.assert_close(alone.log_prob(x)[0], together.log_prob(x)[m], rtol=1e-6, atol=1e-6)


def test_a_weight_is_a_repetition():
    """A row of weight k counts as k rows, in training with full batches and in validation."""
    x, counts = randn(40, 2), torch.arange(40) % 3 + 1
    weighted, repeated = whole_flow(2, 2), whole_flow(2, 2)
    goals = (
        objective(weighted, x, counts.to(x), n_valid=10),
        objective(repeated, x.repeat_interleave(counts, 0), n_valid=int(counts[:10].sum())),
    )
    for flow, goal in zip((weighted, repeated), goals, strict=True):
        train(flow, goal, **SETTINGS)
    torch.testing.assert_close(weighted.log_prob(x), repeated.log_prob(x), rtol=1e-7, atol=1e-7)


def test_every_training_row_comes_once_an_epoch():
    flow = whole_flow(2, 1)
    validation = torch.zeros(2, 10, dtype=torch.bool)
    validation[0, :3] = validation[1, 5:6] = True  # The shorter one gets rows of weight zero.
    weights = torch.arange(1.0, 11, dtype=torch.float64)
    goal = NegativeLogLikelihood(flow, randn(10, 1), weights, NO_TAIL.expand(10), validation, 4, generator())
    batches = list(itertools.islice(goal.batches(), goal.n_batches))
    assert {rows.shape for rows, _ in batches} == {(2, 3)}
    for m in range(2):
        seen = torch.cat([torch.stack([rows[m], w[m]]) for rows, w in batches], 1)
        assert not validation[m, seen[0].long()].any(), "what fills up is seen by batch normalisation"
        seen = seen[:, seen[1] > 0]
        assert sorted(seen[0].tolist()) == [i for i in range(10) if not validation[m, i]]
        torch.testing.assert_close(seen[1] / seen[1].sum(), weights[seen[0].long()] / weights[~validation[m]].sum())


def test_many_validation_rows_are_sampled_from_each_members_own(monkeypatch):
    """Members that hold out very different numbers of rows all validate on as many as they can."""
    monkeypatch.setattr("sknvp.flows.train.objectives.MAX_VALIDATION_ROWS", 20)
    validation = torch.zeros(2, 1000, dtype=torch.bool)
    validation[0, :900] = validation[1, 500:505] = True
    weights = torch.linspace(1, 2, 1000, dtype=torch.float64)
    flow, no_tail = whole_flow(2, 2), NO_TAIL.expand(1000)
    goal = NegativeLogLikelihood(flow, randn(1000, 2), weights, no_tail, validation, 100, generator())
    for m, n in enumerate((20, 5)):
        own = goal.validation_rows[m, goal.validation_weights[m] > 0]
        assert len(own.unique()) == len(own) == n
        assert validation[m, own].all()
    torch.testing.assert_close(goal.validation_weights.mean(1), torch.ones(2, dtype=torch.float64))
    assert goal.validate().isfinite().all()


def test_training_stops_when_nothing_improves():
    flow = whole_flow(1, 2)
    history = train(flow, objective(flow, randn(500, 2), n_valid=100), **{**SETTINGS, "max_steps": 10_000})
    assert history.converged
    assert history.n_steps < 10_000


class Recorder(torch.nn.Module):
    """A flow with one number per member, and an objective with given gradients and validation losses."""

    def __init__(self, forces, validation=()):
        super().__init__()
        self.value = torch.nn.Parameter(torch.zeros(len(forces), 1, dtype=torch.float64))
        self.forces = torch.tensor(forces, dtype=torch.float64)
        self.validation = iter(validation)
        self.seen = []

    def batches(self):
        while True:
            yield ()

    def loss_and_gradients(self, out):
        self.seen.append(self.value.detach().clone()[:, 0])
        out[0].copy_(self.forces.unsqueeze(1))
        return self.forces * self.seen[-1]

    def validate(self):
        losses = next(self.validation, None)
        return None if losses is None else torch.tensor(losses, dtype=torch.float64)


def test_on_a_stall_each_member_goes_back_to_its_best_and_the_steps_get_smaller():
    losses = [[0.0, 0.0]] + [[-1.0, 1.0]] + [[0.0, 1.0]] * 50
    flow = Recorder([1.0, 1.0], losses)
    history = train(flow, flow, learning_rate=0.1, alpha=0.0, max_steps=10**6, n_iter_no_change=3, tol=1e-4)
    values = torch.stack([*flow.seen, flow.value.detach()[:, 0]])
    # The first member is at its best after one step, the second one at the start.
    torch.testing.assert_close(values[0], torch.zeros(2, dtype=torch.float64))
    first = values[1, 0]
    assert len(history.losses) == 1 + 3 * 3
    assert history.converged
    for restored in (4, 7, 10):
        torch.testing.assert_close(values[restored], torch.stack([first, first * 0]))
    steps = values.diff(dim=0).abs()[[1, 4, 7], 1]
    torch.testing.assert_close(steps[1:] / steps[:-1], torch.full((2,), 0.3, dtype=torch.float64), rtol=0.05, atol=0)
    assert history.best_validation_loss == pytest.approx(-0.5)


def test_gradients_are_clipped_member_by_member():
    """A norm over all members would let the huge gradient of the second one reduce that of the first to nothing."""
    flow = Recorder([1.0, 1e9])
    train(flow, flow, learning_rate=0.1, alpha=0.0, max_steps=3, n_iter_no_change=9, tol=0.0)
    huge = Recorder([1.0, 1e30])
    train(huge, huge, learning_rate=0.1, alpha=0.0, max_steps=3, n_iter_no_change=9, tol=0.0)
    torch.testing.assert_close(flow.value, huge.value, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_is_undone(monkeypatch):
    """The member returns to the weights of the last evaluation, and all members go on with smaller steps."""
    monkeypatch.setattr("sknvp.flows.train.loop.EVALUATION_STEPS", 5)

    class Stumbles(Recorder):
        def loss_and_gradients(self, out):
            return super().loss_and_gradients(out) * torch.tensor([1.0, torch.nan if len(self.seen) == 8 else 1.0])

    flow = Stumbles([1.0, 1.0])
    with pytest.warns(RuntimeWarning, match="loss was not finite"):
        history = train(flow, flow, learning_rate=0.1, alpha=0.0, max_steps=1000, n_iter_no_change=999, tol=0.0)
    at = torch.stack(flow.seen)
    assert at[10, 1] == at[5, 1]
    assert at[10, 0] < at[9, 0] < at[5, 0]
    steps = at.diff(dim=0)[:, 0]
    assert steps[11] / steps[3] == pytest.approx(0.3, rel=0.05)
    assert len(history.losses) == 200
    assert all(map(math.isfinite, history.losses))


def test_losses_that_are_never_finite_end_where_they_began():
    flow = Recorder([float("nan")])
    with pytest.warns(RuntimeWarning, match="loss was not finite"):
        history = train(flow, flow, learning_rate=0.1, alpha=0.0, max_steps=50, n_iter_no_change=2, tol=0.0)
    assert flow.value.item() == 0
    assert not history.losses
    assert not history.converged


def test_what_only_the_tail_explains_pulls_on_nothing():
    """Autograd differentiates the logarithm of the sum of both densities."""
    flow, x, weights = shaken(whole_flow(2, 3)), randn(2, 9, 3), randn(2, 9, seed=1).abs()
    tail = 4 * randn(2, 9, seed=3) - 5
    total = (weights * torch.logaddexp(flow.log_prob(x), tail)).sum(-1)
    sums, gradients = gradients_of(flow, x, weights, tail=tail)
    torch.testing.assert_close(sums, total)
    torch.testing.assert_close(gradients, list(torch.autograd.grad(total.sum(), list(flow.parameters()))))
    _, nothing = gradients_of(flow, x, weights, tail=tail + 1e6)
    assert all((part == 0).all() for part in nothing)


def test_weights_decay_by_alpha_times_the_learning_rate_which_falls_to_the_end():
    flow = Recorder([0.0])
    with torch.no_grad():
        flow.value += 8
    train(flow, flow, learning_rate=0.1, alpha=2.0, max_steps=3, n_iter_no_change=9, tol=0.0)
    rates = [0.1, 0.1 * 2 / 3, 0.1 / 3]
    assert flow.value.item() == pytest.approx(8 * math.prod(1 - 2.0 * rate for rate in rates))


def test_the_learning_rate_of_a_stream_rises_over_its_first_steps(monkeypatch):
    """With AdamW and equal gradients every step has the length of the learning rate; calls go on where others ended."""
    monkeypatch.setattr("sknvp.flows.train.loop.WARM_UP_STEPS", 4)
    flow, places, moments = Recorder([1.0]), [0.0], {}
    for n_steps in (1, 2, 3):
        loss = advance(flow, flow, learning_rate=0.1, alpha=0.0, n_steps=n_steps, moments=moments)
        assert loss == pytest.approx(torch.stack(flow.seen[-n_steps:]).mean().item())
        places.append(flow.value.item())
    lengths = [places[i] - places[i + 1] for i in range(3)]
    assert lengths == pytest.approx([0.025, 0.05 + 0.075, 3 * 0.1])


@pytest.mark.parametrize(("max_steps", "lengths"), [(1, [1]), (25, [25]), (60, [25, 25, 10])])
def test_losses_are_noted_every_so_many_steps(monkeypatch, max_steps, lengths):
    monkeypatch.setattr("sknvp.flows.train.loop.EVALUATION_STEPS", 25)
    flow, n_steps = Recorder([1.0], [[0.0]] * 10), []
    history = train(
        flow,
        flow,
        learning_rate=0.1,
        alpha=0.0,
        max_steps=max_steps,
        n_iter_no_change=9,
        tol=0.0,
        on_evaluation=lambda history: n_steps.append(history.n_steps),
    )
    assert torch.tensor([0, *n_steps]).diff().tolist() == lengths
    assert len(history.losses) == len(history.validation_losses) == len(lengths)
    means = [part.mean().item() for part in torch.split(torch.cat(flow.seen), lengths)]
    assert history.losses == pytest.approx(means)


def test_an_interrupt_keeps_the_best_weights():
    flow = whole_flow(1, 2)
    goal = objective(flow, randn(300, 2) ** 3, n_valid=50)

    def interrupt(history):
        if len(history.losses) == 7:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        history = train(flow, goal, **SETTINGS, on_evaluation=interrupt)
    assert history.interrupted
    assert len(history.losses) == 7
    assert goal.validate().item() == pytest.approx(history.best_validation_loss)


def test_an_interrupt_keeps_no_weights_that_are_not_finite():
    """Without validation the last weights stay, but of a member that has diverged those of the last evaluation."""

    class Diverges(Recorder):
        def loss_and_gradients(self, out):
            if len(self.seen) == 7:
                with torch.no_grad():
                    self.value[1] = torch.nan
                raise KeyboardInterrupt
            return super().loss_and_gradients(out)

    flow = Diverges([1.0, 1.0])
    with pytest.warns(UserWarning, match="interrupted"):
        train(flow, flow, learning_rate=0.1, alpha=0.0, max_steps=50, n_iter_no_change=9, tol=0.0)
    assert flow.value.isfinite().all()
    assert flow.value[1] == flow.value[0] != 0


def test_losses_that_are_infinite_at_first_are_no_obstacle_to_convergence():
    flow = Recorder([0.0, 0.0], [[math.inf] * 2] * 12 + [[1.0] * 2] * 99)
    settings = {"learning_rate": 0.1, "alpha": 0.0, "max_steps": 90, "n_iter_no_change": 2, "tol": 0.0}
    assert train(flow, flow, **settings).converged


def test_nothing_to_train_is_no_error():
    flow = whole_flow(1, 2, n_layers=1)
    flow.transform = Chain(*flow.transform.transforms[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(flow, objective(flow, randn(10, 2)), **SETTINGS).converged


class Kept:
    """The states of a training after each evaluation; an earlier one may be given to go on from."""

    def __init__(self, state=None):
        self.state, self.states = state or {}, []

    def load(self):
        return self.state

    def save(self, course, done):
        self.states.append({name: tensor.clone() for name, tensor in course.state().items()})


@pytest.mark.parametrize("n_valid", [0, 20])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_training_goes_on_from_any_evaluation_to_the_same_bits(batch_norm, n_valid):
    """There are plateaus, at which the rate falls and the best weights come back."""
    x, settings = randn(60, 2), {**SETTINGS, "learning_rate": 0.05, "n_iter_no_change": 2, "tol": 0.02}

    def trained(state=None):
        flow, kept = whole_flow(2, 2, n_layers=2, batch_norm=batch_norm), Kept(state)
        history = train(flow, objective(flow, x, n_valid=n_valid, batch_size=16), **settings, progress=kept)
        return history, flow.state_dict(), kept.states

    history, weights, states = trained()
    assert history.converged
    for i in range(0, len(states), 3):
        later_history, later_weights, later_states = trained(states[i])
        assert later_history == history
        assert len(later_states) == max(1, len(states) - 1 - i)
        for name, tensor in weights.items():
            torch.testing.assert_close(later_weights[name], tensor, rtol=0, atol=0)


def test_with_progress_an_interrupt_is_raised():
    flow = whole_flow(2, 2)

    def interrupt(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(flow, objective(flow, randn(20, 2)), **SETTINGS, on_evaluation=interrupt, progress=Kept())
