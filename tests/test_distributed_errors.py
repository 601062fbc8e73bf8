"""Data-parallel fits of bad input: every process raises an error, and none waits for another."""

import re

import numpy as np
import pytest
import torch

import sknvp.distributed
from sknvp import PlanarFlowDensity

from .processes import results
from .small import moons, normal_rows, small

pytestmark = pytest.mark.distributed


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


def in_a_group_of_the_first(rank):
    group = torch.distributed.new_group([0])
    if rank:
        with pytest.raises(ValueError, match="group must hold the process that calls"):
            sknvp.distributed.fit(small(), normal_rows(50, 3), group=group)
        return None
    return sknvp.distributed.fit(small(max_iter=2), normal_rows(50, 3), group=group).score(normal_rows(50, 3))


def test_a_process_outside_of_the_group_is_told():
    score, _ = results(in_a_group_of_the_first)
    assert np.isfinite(score)
