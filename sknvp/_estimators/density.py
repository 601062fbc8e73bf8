"""The methods that every density without a condition has, and how it is fitted to rows."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from ..flows.builders.specification import TabularSpecification
from . import parameters as rule
from .base import FlowEstimator, unchanged_on_error
from .callbacks import Task, with_callbacks
from .discrete import DiscreteColumns
from .fitter import FlowFitter
from .scaling import restore_constants
from .weights import check_weights, count_rows, weighted_total


class DensityMethods(DensityMixin, FlowEstimator):  # type: ignore[misc]
    """The methods of a fitted density: `score` and `sample`, and `score_samples`, which subclasses give."""

    @abstractmethod
    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-density of each row, in nats."""

    def _points_to_input_format(self, y: NDArray[Any]) -> Any:
        """Return drawn rows in the form of those that were fitted."""
        return y

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Compute the total log-likelihood of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative. A row of weight zero adds nothing.

        Returns
        -------
        log_likelihood : float
            The sum of `score_samples`, each times its weight, in nats.

        Raises
        ------
        ValueError
            If ``X`` or ``sample_weight`` breaks its rule.
        """
        return weighted_total(self.score_samples(X), sample_weight)

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Any:
        """Draw new rows from the density.

        Parameters
        ----------
        n_samples : int, default=1
            The number of rows.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same rows at every call.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), or DataFrame
            Independent rows, of the dtype that was fitted; a DataFrame if one was fitted.

        Raises
        ------
        ValueError
            If ``n_samples`` breaks its rule, or the flows have diverged in training and draw no finite rows.
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        return self._points_to_input_format(self._draw(int(n_samples), random_state))


class FlowDensity(DiscreteColumns, DensityMethods, FlowFitter):
    """A density that is fitted to rows, at once or in a stream."""

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats, in the units of the ``X`` that was fitted.
        """
        return self._score_rows(self._rows_to_score(X))

    def _rows_to_score(self, X: ArrayLike) -> NDArray[Any]:
        """Check rows, and give constant columns their value where it was rounded to single precision."""
        check_is_fitted(self)
        assert isinstance(self._specification, TabularSpecification)
        return restore_constants(self._check_rows(X, reset=False), self._specification.scaling)

    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit the flows to rows.

        If anything raises, what was fitted before stays as it was. Ctrl-C ends training early with the best weights
        so far, or without ``early_stopping`` with the last ones, and a second one ends ``stacking``, which leaves the
        flows alone; in a cross-validation it ends the present fit only.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows; at least two, finite. Cells may be missing (NaN) where an estimator's tags say so.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative. A row of weight zero is as if absent, one of weight two as if it
            were there twice, without ``batch_norm`` in every bit of the fit.
        groups : array-like of shape (n_samples,), default=None
            The group of each row, as in :class:`sklearn.model_selection.GroupKFold`. Rows that are held out for
            validation must be new to the flow, so give rows that depend on each other one label: those of a patient, a
            machine or a source, or in time blocks of rows that follow each other, such as
            ``np.arange(len(X)) * 8 // len(X)``. Each group is held out as a whole. None: all rows are independent,
            apart from rows that are equal or nearly so. ``np.arange(len(X))`` says that all are.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, ``X``, ``sample_weight`` or ``groups`` breaks its rule.

        Warns
        -----
        UserWarning
            If ``groups`` is None and the rows do not look independent: most have near copies, many lie on the line
            between two others, or each is near the one before.
        ConvergenceWarning
            If training had not settled after ``max_iter`` epochs, a number of them being given.
        """
        task = Task.root(self, 2)
        with unchanged_on_error(self):
            task.begin(X)
            continues = self.warm_start and self._is_fitted
            device = self._check_parameters()
            table, weights, n_rows = self._weighed_rows(X, sample_weight, continues, n_least=2)
            rows = self._with_cells(self._rows_to_fit(table, weights, groups), n_rows, continues)
            self._fit_rows(rows, device, continues, task)
            self._complete_fit(X, sample_weight)
            task.end(X)
        return self

    def partial_fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train the flows for one epoch on rows, which may be a part of a stream.

        A first call starts new flows, standardised by the rows that it gets, so these should be typical: pass enough of
        them, or `fit` to the first thousands. Later calls keep location, scale, constant columns and the margins of
        discrete ones. They keep the optimiser's state too, which pickles carry along. No rows are held out. The experts
        that stand beside the flows since `fit` stay as they are, but are weighed anew by the rows of each call, before
        the flows learn from them. So experts fade where the source has changed. Without a `fit` there are none.

        If anything raises, Ctrl-C included, what was fitted before stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows; at least two in the first call, finite. Cells may be missing as in `fit`.
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

        Warns
        -----
        UserWarning
            If half of the rows lie more than five scales from the location of a column, where splines bend nothing, if
            most values of a discrete column lie outside of those that the first rows led to expect, or if a column that
            was constant in the first rows has other values. Then call `fit` on recent rows, and go on from there.
        """
        with unchanged_on_error(self):
            continues, device = self._is_fitted, self._check_parameters()
            table, weights, n_rows = self._weighed_rows(X, sample_weight, continues, n_least=1 if continues else 2)
            rows = self._with_cells(self._merge(table, weights), n_rows, continues)
            self._advance_rows(rows, device)
            self._complete_fit(X, sample_weight)
        return self

    def _weighed_rows(
        self, X: ArrayLike, sample_weight: ArrayLike | None, continues: bool, n_least: int
    ) -> tuple[NDArray[Any], NDArray[np.float64], float]:
        """Check rows, and return them with their weights and the number of rows that these stand for."""
        rows = self._check_rows(X, reset=not continues, n_least=n_least)
        weights = check_weights(sample_weight, rows, n_least=n_least)
        weights = self._without_empty(rows, weights, n_least, continues)
        n_rows = count_rows(sample_weight, rows)
        if continues:
            self._warn_of_moved_values(rows, weights)
        return rows if continues else self._described_anew(X, rows, weights, n_rows), weights, n_rows

    def _complete_fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> None:
        """Set what follows from the fitted density and the rows; by default nothing does."""
