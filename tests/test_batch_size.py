"""How the penalty falls with the number of rows, and batches grow where ``batch_size`` and ``max_iter`` are "auto"."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknvp import ConditionalRealNVPDensity, RealNVPImageDensity, VariationalRealNVP
from sknvp._estimators import settings as training_settings
from sknvp._estimators.settings import MAX_FULL_PENALTY_ROWS, MAX_ROWS, MAX_SMALL_BATCH_ROWS, TrainingSettings, max_rows

from .small import moons, normal_rows, small, stacked

numbers_of_rows = st.integers(1, 10**9)


def settings(n_rows, **parameters):
    return TrainingSettings.of(small(**{"max_iter": "auto", "batch_size": "auto", **parameters}), n_rows)


@given(n_rows=numbers_of_rows, more=st.floats(1, 1e3))
def test_batches_grow_with_the_rows_but_more_slowly(n_rows, more):
    """So a fit, whose steps are bounded, takes less than twice the time for twice the rows."""
    fewer, larger = (settings(int(n)).batch_size for n in (n_rows, n_rows * more))
    assert 128 <= fewer <= larger <= (fewer + 1) * np.sqrt(more)
    assert larger <= 905


@given(n_rows=numbers_of_rows, alpha=st.sampled_from([0, 0.1, 2]), max_iter=st.sampled_from(["auto", 7]))
def test_the_penalty_on_many_rows_is_that_of_a_prior(n_rows, alpha, max_iter):
    """A prior counts once beside the sum over the rows: the penalty times the number of rows stays as it is."""
    chosen = settings(n_rows, alpha=alpha, max_iter=max_iter).alpha
    assert chosen * max(n_rows, MAX_FULL_PENALTY_ROWS) == pytest.approx(alpha * MAX_FULL_PENALTY_ROWS)


@given(n_rows=numbers_of_rows)
def test_streams_and_numbers_of_epochs_and_of_rows_have_batches_as_parameters_say(n_rows):
    for chosen in (settings(min(n_rows, MAX_SMALL_BATCH_ROWS)), settings(None), settings(n_rows, max_iter=7)):
        assert chosen.batch_size == 128
    assert settings(n_rows, batch_size=50).batch_size == 50
    assert settings(None).alpha == 0.1


@given(n_rows=st.integers(1, MAX_ROWS), held_out=st.sampled_from([None, 0.01, 0.25, 0.99]))
def test_training_can_see_every_row_that_is_kept(n_rows, held_out):
    held = {"early_stopping": held_out is not None, "validation_fraction": held_out or 0.5}
    chosen = settings(n_rows, **held)
    assert chosen.max_steps(1) * chosen.batch_size >= n_rows * (1 - (held_out or 0))
    given_batches = small(max_iter="auto", batch_size=7, **held)
    assert max_rows(given_batches) * (1 - (held_out or 0)) == pytest.approx(3000 * 7, abs=1)
    assert max_rows(small(max_iter="auto", **held)) == MAX_ROWS
    assert max_rows(small(max_iter=3, **held)) is None


@pytest.fixture
def few_rows_are_many(monkeypatch):
    """Batches are doubled from 100 to 400 rows, and no more than these are kept; there are few steps."""
    monkeypatch.setattr(training_settings, "MAX_FULL_PENALTY_ROWS", 100)
    monkeypatch.setattr(training_settings, "MAX_SMALL_BATCH_ROWS", 100)
    monkeypatch.setattr(training_settings, "MAX_ROWS", 400)
    monkeypatch.setattr(training_settings, "MAX_STEPS", 50)


def test_a_small_table_is_fitted_as_ever_to_the_bit(monkeypatch):
    monkeypatch.setattr(training_settings, "MAX_STEPS", 50)
    X = moons(400)
    fits = [stacked(max_iter="auto", n_estimators=1, batch_size=size).fit(X) for size in ("auto", 128)]
    np.testing.assert_array_equal(*(fit.score_samples(X) for fit in fits))


@pytest.mark.filterwarnings("ignore:Training had not settled")
@pytest.mark.usefixtures("few_rows_are_many")
def test_a_larger_table_is_fitted_in_larger_batches_with_a_weaker_penalty_to_the_bit(monkeypatch):
    """Distinct rows count, so that weights are repetitions; ``n_iter_`` tells of the epochs begun."""
    X, counts = moons(400), np.arange(400) % 3 + 1
    growing = {"max_iter": "auto", "alpha": 2.0}
    grown = stacked(**growing).fit(X, sample_weight=counts)
    repeated = stacked(**growing).fit(np.repeat(X, counts, axis=0))
    monkeypatch.setattr(training_settings, "MAX_FULL_PENALTY_ROWS", 10**9)
    by_hand = stacked(max_iter=25, batch_size=256, alpha=0.5).fit(X, sample_weight=counts)  # 300 rows make two batches
    assert grown.n_iter_ == by_hand.n_iter_ == 25
    for other in (repeated, by_hand):
        np.testing.assert_array_equal(grown.score_samples(X), other.score_samples(X))


@pytest.mark.usefixtures("few_rows_are_many")
def test_of_many_rows_so_many_are_kept_and_seen():
    density = stacked(max_iter="auto").fit(normal_rows(3000, 2))
    kept = density._rows_to_fit(normal_rows(3000, 2), np.ones(3000), None).x
    assert 400 <= len(kept) <= 400 + 4
    assert density.n_iter_ == 25


@pytest.mark.usefixtures("few_rows_are_many")
def test_discrete_columns_incomplete_rows_and_conditions_of_many_rows():
    X = np.c_[normal_rows(900, 2), np.arange(900) % 3]
    X[::7, 0] = np.nan
    density = stacked(max_iter="auto").fit(X)
    assert len(density._rows_to_fit(X, np.ones(900), None).x) == 900
    assert density.n_iter_ == 17  # 675 rows make three batches of 256, the largest there are
    np.testing.assert_allclose(np.exp(density.score_samples([[np.nan, np.nan, k] for k in range(3)])), 1 / 3, atol=0.2)
    of_targets = ConditionalRealNVPDensity(n_estimators=1, n_layers=2, random_state=0).fit(X[:400, 2:], X[:400, 1])
    assert of_targets.n_iter_ == 25


@pytest.mark.usefixtures("few_rows_are_many")
def test_a_stream_keeps_its_steps_however_long_its_parts_are():
    parts = np.split(normal_rows(800, 2), 2)
    streams = [stacked(batch_size=size, max_iter="auto") for size in ("auto", 128)]
    for stream in streams:
        for part in parts:
            stream.partial_fit(part)
    np.testing.assert_array_equal(*(stream.score_samples(parts[0]) for stream in streams))


@pytest.mark.parametrize(
    "fit",
    [
        lambda: RealNVPImageDensity(batch_size="auto").fit(np.zeros((9, 16), dtype=int)),
        lambda: VariationalRealNVP(batch_size="auto").fit(lambda x: -(x**2).sum(-1), 2),
    ],
    ids=["images", "variational"],
)
def test_batches_of_images_and_of_draws_are_numbers(fit):
    with pytest.raises(ValueError, match=r"batch_size must be an integer of at least 1, got 'auto'"):
        fit()
