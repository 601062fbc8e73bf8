"""The base of estimators that learn from rows, at once or in a stream."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from .._experts.weighted import NO_EXPERTS, Experts
from .._warn import warn_caller
from ..flows import Flow
from ..flows.builders.parts import MakeBase
from ..flows.builders.specification import NormalScoreMaps, Specification, TabularSpecification
from ..flows.train import History
from ..flows.train.objectives import NegativeLogLikelihood
from .base import FlowEstimator
from .callbacks import CallbackSupportMixin, Task
from .context import context_of
from .dependence import hold_out_together
from .groups import check_groups
from .modes import default_torch_modes
from .objectives import maximum_likelihood
from .rows import Rows
from .scaling import margin_mismatches, scaling_mismatches
from .seeds import new_seed
from .settings import TrainingSettings, max_rows
from .state import loaded_flow, saved_flow
from .threads import one_thread
from .training import FittedFlow, OnEvaluation, Start, advance_flow, fit_flow, held_out_rows, report, with_normal_scores


class FlowFitter(CallbackSupportMixin, FlowEstimator, metaclass=ABCMeta):  # type: ignore[misc]
    """An estimator whose flow is trained on rows by maximum likelihood, at once or in a stream.

    Subclasses give `_specify`. They may also give `_normal_score_maps` if the flow sees normal scores, `_fit_experts`
    if there are experts beside the flow, `_objective` if training minimises something else, `_merge` if rows are
    prepared otherwise, and extend `_fitted_state` by attributes of their own and `_present_architecture` by parameters
    that a fitted flow cannot change.
    """

    _advice: ClassVar[str] = (
        "Raise max_iter or learning_rate_init; if it never settles, look for columns that are discrete or determine "
        "each other."
    )

    _finds_dependence: ClassVar[bool] = True  # Whether `fit` looks for rows that are not independent.

    # The values in estimators that do not have these parameters.
    base: str | MakeBase = "normal"
    batch_norm: bool = False
    standardize: bool = True

    max_iter: int | str
    early_stopping: bool
    warm_start: bool
    verbose: bool | int

    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None

    _moments: dict[str, NDArray[Any]]
    _split_seed: int

    @abstractmethod
    def _specify(self, rows: Rows, generator: torch.Generator) -> Specification:
        """Return the specification of a new flow for these rows; anything random in it comes from the generator."""

    def _objective(
        self, start: Start, rows: Rows, validation: NDArray[np.bool_], batch_size: int
    ) -> NegativeLogLikelihood:
        """Return what training minimises, with a copy of the part of the flow that is trained."""
        context, standardize = context_of(start.specification, rows), bool(self.standardize)
        return maximum_likelihood(start, rows, validation, batch_size, standardize=standardize, context=context)

    def _normal_score_maps(
        self, specification: Specification, rows: Rows, validation: NDArray[np.bool_]
    ) -> NormalScoreMaps | None:
        """Return the normal scores that a new flow sees, by the rows that are not held out; by default it sees none."""
        return None

    def _fit_experts(self, start: Start, fitted: FittedFlow, rows: Rows, rng: np.random.RandomState) -> Experts:
        """Fit the densities beside the flow and weigh all of them; by default there are none."""
        return NO_EXPERTS

    def _reweighed_experts(self, rows: Rows) -> Experts:
        """Weigh the experts anew for a stream that goes on with these rows; by default their weights stay."""
        return self._experts

    def _fit_rows(self, rows: Rows, device: torch.device, continues: bool, task: Task) -> None:
        """Fit the flow and its experts to rows, and keep them."""
        settings, rng = TrainingSettings.of(self, len(rows.x)), check_random_state(self.random_state)
        with default_torch_modes(), ExitStack() as stack:
            start = self._start(rows, rng, device, continues)
            validation = held_out_rows(rows, settings, start)
            scores = None if continues else self._normal_score_maps(start.specification, rows, validation)
            start = start if scores is None else with_normal_scores(start, scores)
            objective = self._objective(start, rows, validation, settings.batch_size)
            stack.enter_context(one_thread(start.needs_one_thread(settings, objective)))
            training = task.part("train", settings.max_evaluations(objective.n_batches)).begin()
            fitted = fit_flow(start, objective, validation, settings, self._on_evaluation(start, training))
            training.end()
            stacking = task.part("stack").begin()
            try:
                experts = self._fit_experts(start, fitted, rows, rng)
            except KeyboardInterrupt:
                warn_caller("Stacking interrupted by user; the flows stay alone.")
                experts = NO_EXPERTS
            stacking.end()
            self._set_fitted_state(start, fitted.flow, experts)
        self._set_history(fitted, continues)

    def _advance_rows(self, rows: Rows, device: torch.device) -> None:
        """Weigh the experts anew by rows, and train the flow, or a new one, for one epoch on them."""
        continues, settings = self._is_fitted, TrainingSettings.of(self, None)
        with default_torch_modes(), ExitStack() as stack:
            start = self._start(rows, check_random_state(self.random_state), device, continues)
            moments = self._moments if continues else {}
            none_held_out = np.zeros((start.flow.n_members, len(rows.x)), dtype=bool)
            objective = self._objective(start, rows, none_held_out, settings.batch_size)
            stack.enter_context(one_thread(start.needs_one_thread(settings, objective)))
            experts = self._reweighed_experts(rows) if continues else NO_EXPERTS
            flow, loss, moments = advance_flow(start, objective, settings, moments)
            self._set_fitted_state(start, flow, experts, moments)
        earlier = self.loss_curve_ if continues else []
        self.n_iter_ = self.n_iter_ + 1 if continues else 1
        self.loss_curve_ = [*earlier, loss] if np.isfinite(loss) else earlier
        self.validation_scores_ = self.best_validation_score_ = None
        if self.verbose:
            print(f"Epoch {self.n_iter_}, loss = {loss:.8f}")

    def _rows_to_fit(
        self, table: NDArray[Any], weights: NDArray[np.float64], groups: ArrayLike | None, n_context: int = 0
    ) -> Rows:
        """Merge equal rows, and find which ones are to be held out together.

        Of more rows of continuous columns than training can see, no more than these are kept.
        """
        labels = check_groups(groups, weights, n_least=2 if self.early_stopping else 1)
        is_mapped = any(column.is_mapped for column in getattr(self, "_columns", ()))
        at_most = None if is_mapped else max_rows(self)
        rows = self._merge(table, weights, n_context, labels, at_most)
        complete = not np.isnan(table.min())
        if labels is None and self.early_stopping and self._finds_dependence and complete and not self.batch_norm:
            rows = hold_out_together(rows, table, weights)
        return rows

    def _merge(
        self,
        table: NDArray[Any],
        weights: NDArray[np.float64],
        n_context: int = 0,
        groups: NDArray[Any] | None = None,
        at_most: int | None = None,
    ) -> Rows:
        """Merge equal rows; with batch normalisation, which heeds no weights, keep all rows of positive weight."""
        positive = weights > 0
        if not positive.all():
            table, weights, groups = table[positive], weights[positive], None if groups is None else groups[positive]
        if not self.batch_norm:
            return Rows.merged(table, weights, n_context, groups, at_most)
        if np.ptp(weights):
            raise ValueError(
                "batch_norm must be False if sample_weight tells rows apart, since the statistics of a batch heed no "
                f"weights; got {self.batch_norm!r} and weights that differ."
            )
        return Rows.unmerged(table, weights, n_context, groups)

    def _start(self, rows: Rows, rng: np.random.RandomState, device: torch.device, continues: bool) -> Start:
        """Return a new flow, or the fitted one where training continues, and the source of all that is random."""
        n_continued = self._n_continued + 1 if continues else 0
        generator = self._new_generator(rng, n_continued)
        if continues:
            self._check_architecture()
            self._warn_of_moved_rows(rows)
            specification = replace(self._specification, dtype=rows.x.dtype.name)
            flow = loaded_flow(specification, saved_flow(self._flow), device)
            return Start(specification, flow, generator, self._split_seed, n_continued)
        split_seed = new_seed(rng)
        specification = self._specify(rows, generator)
        return Start(specification, specification.build(device, generator), generator, split_seed, 0)

    def _warn_of_moved_rows(self, rows: Rows) -> None:
        """Warn if rows lie where the fitted flow cannot follow."""
        if isinstance(self._specification, TabularSpecification):
            for reason in scaling_mismatches(rows, self._specification.scaling, far=bool(self.standardize)):
                warn_caller(f"{reason} Location, scale and constant columns stay, so call fit on recent rows instead.")

    def _warn_of_moved_values(self, numbers: NDArray[Any], weights: NDArray[np.float64], table: str = "X") -> None:
        """Warn if rows of numbers have other values in discrete columns than the fitted margins hold."""
        cell_map = getattr(self, "_cell_map", None)
        if cell_map is not None:
            names = [f"column {column.name} of {table}" for column in self._columns]
            for reason in margin_mismatches(numbers, weights, names, cell_map.margins):
                warn_caller(f"{reason} The margins of discrete columns stay, so call fit on recent rows instead.")

    def _on_evaluation(self, start: Start, training: Task) -> OnEvaluation:
        """Return a function that tells of training, by printing and to callbacks, and whether one asks to stop."""

        def on_evaluation(history: History, present_flow: Callable[[], Flow]) -> bool:
            if self.verbose:
                report(history)
            evaluation = training.part("evaluation").begin()
            return evaluation.end(fitted=lambda: self._fitted_state(start, present_flow(), NO_EXPERTS))

        return on_evaluation

    def _fitted_state(
        self, start: Start, flow: Flow, experts: Experts, moments: dict[str, NDArray[Any]] | None = None
    ) -> dict[str, Any]:
        """Return the attributes of an estimator that is fitted with this flow and these experts."""
        state: dict[str, Any] = {
            "_specification": start.specification,
            "_flow": flow,
            "_experts": experts,
            "_density": experts.density(flow),
            "_architecture": self._present_architecture(),
            "_split_seed": start.split_seed,
            "_n_continued": start.n_continued,
            "_moments": moments or {},
        }
        if isinstance(start.specification, TabularSpecification):
            scaling = start.specification.scaling
            state |= {"loc_": scaling.loc.copy(), "scale_": scaling.scale.copy()}
        return state

    def _set_fitted_state(
        self, start: Start, flow: Flow, experts: Experts, moments: dict[str, NDArray[Any]] | None = None
    ) -> None:
        """Set the fitted attributes."""
        for name, value in self._fitted_state(start, flow, experts, moments).items():
            setattr(self, name, value)

    def _set_history(self, fitted: FittedFlow, continues: bool) -> None:
        """Set the attributes that tell of training, after what they told before, and warn if it had not settled."""
        history = fitted.history
        self.n_iter_ = -(-history.n_steps // fitted.n_batches)
        losses, scores = (self.loss_curve_, self.validation_scores_ or []) if continues else ([], [])
        self.loss_curve_ = [*losses, *history.losses]
        new_scores = [-loss for loss in history.validation_losses]
        self.validation_scores_ = [*scores, *new_scores] if self.early_stopping else None
        best = history.best_validation_loss
        self.best_validation_score_ = None if best is None else -best
        if not (history.converged or history.interrupted or self.max_iter == "auto"):
            warn_caller(
                f"Training had not settled after max_iter={self.max_iter} epochs; the density is usable. "
                f"{self._advice}",
                ConvergenceWarning,
            )
