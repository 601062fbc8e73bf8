"""What densities of rows share: how they are fitted, at once or in a stream."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ._callbacks import CallbackSupportMixin, Task, with_callbacks
from ._learning import FlowLearner
from ._rows import check_weights
from ._scoring import ScoringEstimator
from ._state import usual_modes
from .flows import Ensemble, Flow

LEAST = -1e300  # nats, where every density underflows: a sum of such is finite still


class DensityEstimator(CallbackSupportMixin, ScoringEstimator, FlowLearner):  # type: ignore[misc]
    """A density of rows: flows, and whatever a subclass puts beside them in `_fit_beside` and `_ensemble`."""

    @with_callbacks
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the flows to rows.

        If anything raises, what was fitted before stays as it was. Ctrl-C ends training early with the best weights
        so far, or without ``early_stopping`` with the last ones, and a second one ends ``stacking``, which leaves the
        flows alone; in a cross-validation it ends the present fit only.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows; at least two, finite, without missing values.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative. A row of weight zero is as if absent, one of weight two as if it
            were there twice, without ``batch_norm`` in every bit of the fit.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, ``X`` or ``sample_weight`` breaks its rule.

        Warns
        -----
        ConvergenceWarning
            If training had not settled after ``max_iter`` epochs, a number of them being given.
        """
        return self._fit(X, sample_weight)

    def partial_fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train the flows for one epoch on rows, which may be a part of a stream.

        A first call starts new flows, standardised by the rows that it gets: pass enough of them, or `fit` to the first
        thousands. Later calls keep location, scale and constant columns, and the optimiser's state, which pickles carry
        along. No rows are held out. What stands beside the flows since `fit` stays, with its weights; without a
        `fit` there is nothing.

        If anything raises, Ctrl-C included, what was fitted before stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows; at least two in the first call, finite, without missing values.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative, relative to the others of this call.

        Returns
        -------
        self : object
            The estimator, trained further.

        Raises
        ------
        ValueError
            If a parameter, ``X`` or ``sample_weight`` breaks its rule, or a parameter of the architecture has changed.
        """
        return self._partial_fit(X, sample_weight)

    def _fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> Self:
        task = Task.whole_fit(self, 2)
        with self._unchanged_on_error():
            task.begin(X)
            device = self._check_parameters()
            rows = self._check_rows(X, reset=not self._continues, n_least=2)
            rows, weights = self._as_trained_on(rows, check_weights(sample_weight, rows))
            rng = check_random_state(self.random_state)
            with usual_modes():
                validation = self._fit_flow(rows, weights, rng, device, task)
                beside = task.part("stack").begin()
                self._fit_beside(rows, weights, validation, rng)
                beside.end()
                self._density = self._ensemble()
            task.end(X)
        return self

    def _partial_fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> Self:
        with self._unchanged_on_error():
            device = self._check_parameters()
            first = not hasattr(self, "_flow")
            rows = self._check_rows(X, reset=first, n_least=1 + first)
            rows, weights = self._as_trained_on(rows, check_weights(sample_weight, rows, n_least=1 + first))
            with usual_modes():
                self._advance_flow(rows, weights, check_random_state(self.random_state), device)
                if first:
                    self._start_alone()
                self._density = self._ensemble()
        return self

    def _fit_beside(
        self, X: NDArray[Any], weights: NDArray[np.float64], validation: NDArray[np.bool_], rng: np.random.RandomState
    ) -> None:
        """Fit what stands beside the flow, if there is anything."""

    def _start_alone(self) -> None:
        """Have nothing stand beside the flow."""

    def _log_density(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        return np.maximum(super()._log_density(rows), LEAST)

    def _as_fitted(self, flow: Flow) -> dict[str, Any]:
        return {"_flow": flow, "_density": Ensemble([flow], torch.zeros(1, device=flow.like.device))}
