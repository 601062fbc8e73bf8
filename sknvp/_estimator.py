"""What densities share: rows are fitted, scored and drawn, by one ensemble of flows."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import _parameters as rule
from ._base import FlowEstimator, to_tensor
from ._callbacks import Task, with_callbacks
from ._rows import check_weights, in_chunks
from ._state import usual_modes
from .flows import Ensemble, Flow

MOST_DRAWS = 20


class DensityEstimator(DensityMixin, FlowEstimator):  # type: ignore[misc]
    """A density behind scikit-learn's methods: the flow, and whatever a subclass puts beside it in `_ensemble`."""

    _density: Ensemble

    def _ensemble(self) -> Ensemble:
        """The flows, and what stands beside them, as one density."""
        return Ensemble([self._flow], torch.zeros(1, dtype=torch.float64, device=self._flow.like.device))

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

    def _as_fitted(self, flow: Flow) -> dict[str, Any]:
        return {"_flow": flow, "_density": Ensemble([flow], torch.zeros(1, device=flow.like.device))}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_density"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_flow" in state:
            with usual_modes():
                self._density = self._ensemble()

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats, in the units of the ``X`` that was fitted.
        """
        check_is_fitted(self)
        return self._log_density(self._check_rows(X, reset=False))

    def _log_density(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Log-density of rows that have been checked, in chunks."""
        log_density = np.empty(len(rows))
        with torch.no_grad():
            for chunk in in_chunks(len(rows), self._density.chunk_size):
                x = to_tensor(rows[chunk], self._density.like)
                log_density[chunk] = self._density.log_prob(x).cpu().numpy()
        return log_density

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Total log-likelihood of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        log_likelihood : float
            The sum of `score_samples`, in nats.
        """
        return float(self.score_samples(X).sum())

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> NDArray[Any]:
        """Draw new rows from the density.

        Parameters
        ----------
        n_samples : int, default=1
            How many.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same rows at every call.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Independent rows, of the dtype that was fitted.

        Raises
        ------
        ValueError
            If ``n_samples`` breaks its rule, or the flows have diverged in training and draw no finite rows.
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        X = np.empty((n_samples, self.n_features_in_), dtype=self._recipe["dtype"])
        with torch.no_grad():
            for chunk in in_chunks(n_samples, self._density.chunk_size):
                X[chunk] = self._drawn(chunk.stop - chunk.start, generator)
        return X

    def _drawn(self, n_rows: int, generator: torch.Generator) -> NDArray[Any]:
        """Finite rows; one that overflowed, as flows that have diverged give, is drawn again."""
        rows: NDArray[Any] = self._density.sample(n_rows, generator).cpu().numpy()
        for _ in range(MOST_DRAWS):
            overflowed = ~np.isfinite(rows).all(1)
            if not overflowed.any():
                return rows
            rows[overflowed] = self._density.sample(int(overflowed.sum()), generator).cpu().numpy()
        raise ValueError(
            "learning_rate_init must be small enough for training not to diverge, got a flow that puts rows beyond all "
            f"numbers with {self.learning_rate_init!r}. Fit with a smaller one, or with early_stopping=True."
        )
