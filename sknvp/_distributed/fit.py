"""A data-parallel fit from its beginning to its end, in one of the processes that share it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from .._estimators.objectives import maximum_likelihood
from .._estimators.rows import Rows
from .._estimators.seeds import new_seeds
from .._estimators.settings import TrainingSettings
from .._estimators.specify import specify_real_nvp
from .._estimators.state import loaded_flow, saved_flow
from .._estimators.threads import one_thread
from .._estimators.training import FittedFlow, Start, fit_flow, report, with_normal_scores
from .._experts.weighted import Experts
from ..density import RealNVPDensity
from ..flows import Flow
from ..flows.train import History
from ..flows.train.data_parallel import DataParallel
from ..flows.train.ranks import Ranks
from .checkpoint import CheckpointFile, check_description, check_writable, read
from .shard import Shard, check_continuous
from .table import ShardedTable


class Seeds(NamedTuple):
    """The seeds of all that is random, which are equal in all processes."""

    flow: int  # The seed of the masks and weights of the flow, of the batches of each process, and of the sample.
    split: int  # The seed by which rows are held out.
    experts: int  # The seed of the fits of the experts.


class DataParallelFit(NamedTuple):
    """What a fit needs to know in each process."""

    density: RealNVPDensity
    ranks: Ranks
    shard: Shard
    table: ShardedTable
    seeds: Seeds
    file: CheckpointFile

    @classmethod
    def of(cls, density: RealNVPDensity, ranks: Ranks, shard: Shard, path: Path | None) -> Self:
        """Start a fit, or go on with the one whose checkpoint there is."""
        seeds, state = ranks.of_first(lambda: _seeds_and_state(density, shard, path))
        header = {"fit": shard.description, "seeds": list(seeds)}
        file = CheckpointFile(path if ranks.is_first else None, header, state)
        return cls(density, ranks, shard, ShardedTable(ranks, shard.total, seeds.flow), seeds, file)

    def run(self) -> None:
        """Fit the flow in all processes and the experts in the first, and keep them."""
        if self.density.discrete_features is not None:  # A discrete column may look continuous in each shard alone.
            check_continuous(self.density._describe(np.unique(self._sample(self.shard.rows.x)[0], axis=0)))
        start = self._start()
        validation = self._held_out(start)
        start = self._with_normal_scores(start, validation)
        with one_thread(self.shard.device.type == "cpu"):
            fitted = self._trained(start, validation)
            experts = self._experts(start, fitted)
        self.density._set_fitted_state(start, fitted.flow, experts)
        self.density._set_history(fitted, continues=False)

    def _start(self) -> Start:
        """Return the new flow, which is equal in all processes, and the source of the batches of this one."""
        generator = torch.Generator().manual_seed(self.seeds.flow)
        n_members = self.density.n_estimators
        specification = specify_real_nvp(self.density, self.shard.rows, generator, n_members, self.table)
        flow = specification.build(self.shard.device, generator)
        (own,) = np.random.SeedSequence([self.seeds.flow, self.ranks.number]).generate_state(1)
        return Start(specification, flow, torch.Generator().manual_seed(int(own)), self.seeds.split, 0)

    def _with_normal_scores(self, start: Start, validation: NDArray[np.bool_]) -> Start:
        """Return a start whose flow has the margins of the sample, which the first process estimates."""
        x, held_out, weights = self._sample(self.shard.rows.x, validation.T)
        margins = self.density._normal_score_maps
        scores = self.ranks.of_first(lambda: margins(start.specification, _rows(x, weights), held_out.T))
        return start if scores is None else with_normal_scores(start, scores)

    def _held_out(self, start: Start) -> NDArray[np.bool_]:
        """Choose the rows of this process that each member holds out, shape (n_members, n_rows)."""
        rows, n_members = self.shard.rows, start.flow.n_members
        if not self.density.early_stopping:
            return np.zeros((n_members, len(rows.x)), dtype=bool)
        return self.table.held_out(rows, n_members, self.density.validation_fraction, start.split_seed)

    def _trained(self, start: Start, validation: NDArray[np.bool_]) -> FittedFlow:
        """Train the flow; all processes take the weights of the first, should their processors round differently."""
        settings = TrainingSettings.of(self.density, sum(self.ranks.gather(lambda: len(self.shard.rows.x))))
        objective = self._objective(start, validation, settings.batch_size)
        fitted = fit_flow(start, objective, validation, settings, self._on_evaluation, self.file)
        learned = self.ranks.of_first(lambda: saved_flow(fitted.flow)["learned"])
        return fitted._replace(flow=loaded_flow(start.specification, {"learned": learned}, self.shard.device))

    def _objective(self, start: Start, validation: NDArray[np.bool_], batch_size: int) -> DataParallel:
        """Return the objective of all processes."""
        rows, standardize = self.shard.rows, bool(self.density.standardize)
        local = maximum_likelihood(start, rows, validation, batch_size, standardize=standardize, table=self.table)
        weights, held_out = (torch.tensor(part, device=local.x.device) for part in (rows.weights, validation))
        return DataParallel(local, weights, held_out, self.ranks)

    def _on_evaluation(self, history: History, present_flow: Callable[[], Flow]) -> bool:
        """Tell of training in the first process; nothing asks to stop."""
        if self.density.verbose and self.ranks.is_first:
            report(history)
        return False

    def _experts(self, start: Start, fitted: FittedFlow) -> Experts:
        """Fit the experts to the sample in the first process, and return them in all."""
        x, held_out, weights = self._sample(self.shard.rows.x, fitted.validation.T)
        of_sample, rng = fitted._replace(validation=held_out.T), np.random.RandomState(self.seeds.experts)
        return self.ranks.of_first(lambda: self.density._fit_experts(start, of_sample, _rows(x, weights), rng))

    def _sample(self, *parts: NDArray[Any]) -> list[NDArray[Any]]:
        """Gather a sample of the rows of all processes, and its weights."""
        return self.table.sample(self.shard.rows.weights, *parts)


def _rows(x: NDArray[Any], weights: NDArray[np.float64]) -> Rows:
    """Return rows of which each is a group of its own."""
    return Rows(x, weights, x[:, :0], np.arange(len(x)))


def _seeds_and_state(density: RealNVPDensity, shard: Shard, path: Path | None) -> tuple[Seeds, dict[str, torch.Tensor]]:
    """Draw seeds, or read them, and the state of training, from the checkpoint of an earlier start."""
    seeds = Seeds(*new_seeds(density.random_state, 3))
    if path is None:
        return seeds, {}
    check_writable(path)
    header, state = read(path)
    if not header:
        return seeds, {}
    check_description(path, header["fit"], shard.description)
    return Seeds(*header["seeds"]), state
