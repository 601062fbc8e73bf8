"""The methods that a conditional density has: scores, means, quantiles and draws of targets given rows."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ..flows.builders.specification import RealNVPSpecification, Specification
from ..flows.summaries import mean, noise_points, quantile
from . import parameters as rule
from .base import FLOATS, FlowEstimator
from .evaluation import default_torch_modes, evaluate, finite_log_density
from .rows import restore_constants, weighted_total

MAX_CONTEXT = 1e18  # standard deviations; the square of it is finite in every dtype
N_POINTS = 100  # the number of points of noise that `predict` averages over if there is one target, ...
N_POINTS_OF_SEVERAL = 512  # ... and if there are several


class ConditionalDensityMethods(RegressorMixin, FlowEstimator):  # type: ignore[misc]
    """A fitted density of targets given rows behind scikit-learn's methods; a subclass adds `fit`."""

    n_outputs_: int
    _squeeze: bool
    _target_dtype: str  # the dtype of the targets that were fitted, in which targets are returned
    _specification: RealNVPSpecification

    def _check_pairs(self, X: ArrayLike, y: ArrayLike, *, reset: bool, n_least: int = 1) -> NDArray[Any]:
        """Check rows and targets, and return them side by side, as float32 if both are that and else as float64."""
        refuse_missing_targets(y)
        rows, _ = validate_data(
            self, X, y, dtype=FLOATS, reset=reset, ensure_min_samples=n_least, multi_output=True, y_numeric=True
        )
        targets = check_array(y, ensure_2d=False, dtype=FLOATS, input_name="y")
        if reset:
            self._squeeze, self.n_outputs_ = targets.ndim == 1, 1 if targets.ndim == 1 else targets.shape[1]
            self._target_dtype = targets.dtype.name
        targets = targets.reshape(len(rows), -1)
        if targets.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} columns, as in fit, got {targets.shape[1]}.")
        with np.errstate(over="ignore"):
            if not np.isfinite(np.ptp(targets, axis=0)).all():
                raise ValueError(f"y must span less than {np.finfo(targets.dtype).max:.1e}. Divide it by a constant.")
        return np.concatenate([rows, targets], 1)

    def _context(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Standardise the columns of X that vary, in the dtype of the flow; see `standardized_context`."""
        return standardized_context(self._specification, rows)

    def score_samples(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Compute the log-density of the targets of each row, given its columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The targets. None stands for their means, `predict`: what comes out then tells how sharply the density is
            peaked, not how well it fits.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats, in the units of the ``y`` that was fitted.
        """
        check_is_fitted(self)
        pairs = self._check_pairs(X, self.predict(X) if y is None else y, reset=False)
        rows, targets = np.split(pairs, [self.n_features_in_], axis=1)
        targets = restore_constants(targets, self._specification.scaling)
        return finite_log_density(self._density, targets, self._context(rows))

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the total log-likelihood of the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative. A row of weight zero adds nothing.

        Returns
        -------
        log_likelihood : float
            The sum of `score_samples`, each times its weight, in nats.

        Raises
        ------
        ValueError
            If ``X``, ``y`` or ``sample_weight`` breaks its rule.
        """
        return weighted_total(self.score_samples(X, y), sample_weight)

    def sample(
        self, X: ArrayLike, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[Any]:
        """Draw targets for each row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows to condition on.
        n_samples : int, default=1
            The number of draws for each row.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same draws at every call.

        Returns
        -------
        y : ndarray of shape (n_rows, n_samples) or (n_rows, n_samples, n_outputs)
            Independent draws, of the dtype of the ``y`` that was fitted; of the former shape if ``y`` had one dimension
            in `fit`.

        Raises
        ------
        ValueError
            If ``n_samples`` breaks its rule, or the flows have diverged in training and draw no finite targets.
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        context = np.repeat(self._context(self._check_rows(X, reset=False)), n_samples, axis=0)
        y = self._draw(len(context), random_state, context)
        return self._as_in_fit(y.reshape(-1, n_samples, self.n_outputs_))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Compute the mean of the targets for each row.

        For one target this is an integral over the flows' noise by the trapezoidal rule on 100 points, with an error of
        about 1e-5 standard deviations, or of up to a few hundredths where y jumps between modes that lie apart. For
        several targets it is the mean of 512 quasi-random draws, the same for every row, with an error of about a
        hundredth of a standard deviation. The regression's share is exact.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Of the dtype of the ``y`` that was fitted.
        """
        check_is_fitted(self)
        context, density = self._context(self._check_rows(X, reset=False)), self._density
        with default_torch_modes():
            points, weights = noise_points(self.n_outputs_, N_POINTS if self.n_outputs_ == 1 else N_POINTS_OF_SEVERAL)

        def means(context: Tensor) -> Tensor:
            return mean(density, context, points, weights)

        batch_size = max(1, density.chunk_size // len(points))
        return self._as_in_fit(evaluate(means, batch_size, density.reference, context))

    def predict_quantile(self, X: ArrayLike, q: ArrayLike = 0.5) -> NDArray[Any]:
        """Compute quantiles of the target for each row: where its distribution function, given the row, is ``q``.

        They belong to the density that `score_samples` evaluates, all flows and the regression together, and are exact
        but for rounding; so between the quantiles for 0.1 and 0.9 lie 80 percent of its mass.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        q : float or array-like of shape (n_quantiles,), default=0.5
            Between 0 and 1, both excluded.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_quantiles)
            Of the dtype of the ``y`` that was fitted; of the former shape if ``q`` is a number.

        Raises
        ------
        ValueError
            If there are several targets, or ``q`` breaks its rule.
        """
        check_is_fitted(self)
        if self.n_outputs_ > 1:
            raise ValueError(
                f"predict_quantile needs a single target, got {self.n_outputs_} in fit. Take quantiles of what "
                "sample(X, n_samples) draws, or fit one density for each target."
            )
        shares = np.asarray(q, dtype=np.float64)
        if shares.ndim > 1 or not ((shares > 0) & (shares < 1)).all():
            raise ValueError(f"q must be a number strictly between 0 and 1, or a list of such numbers, got {q!r}.")
        context, density = self._context(self._check_rows(X, reset=False)), self._density

        def quantiles(context: Tensor) -> Tensor:
            return torch.stack([quantile(density, float(share), context) for share in np.atleast_1d(shares)], 1)

        if len(self._specification.scaling.columns):
            y = evaluate(quantiles, density.chunk_size, density.reference, context)
        else:  # the target is constant
            y = np.full((len(context), shares.size), self._specification.scaling.loc)
        y = y.astype(self._target_dtype)
        return y if shares.ndim else y[:, 0]

    def _as_in_fit(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return targets in the dtype of those that were fitted, with one dimension less if ``y`` had but one."""
        y = y.astype(self._target_dtype)
        return y[..., 0] if self._squeeze else y


def standardized_context(specification: Specification, rows: NDArray[Any]) -> NDArray[Any]:
    """Standardise the columns of X that vary, in the dtype of the flow; return an array of shape (n_rows, n_context).

    A number beyond `MAX_CONTEXT`, where the answer of a network no longer changes, is moved there.
    """
    assert isinstance(specification, RealNVPSpecification)
    assert specification.context is not None
    scaling, columns = specification.context, specification.context.columns
    with np.errstate(over="ignore"):
        z = (rows[:, columns] - scaling.loc[columns]) / scaling.scale[columns]
    context: NDArray[Any] = np.clip(z, -MAX_CONTEXT, MAX_CONTEXT).astype(specification.dtype)
    return context


def refuse_missing_targets(y: ArrayLike) -> None:
    """Raise a ValueError that names the cure, as scikit-learn does for a missing value in ``X``."""
    targets = np.asarray(y)
    if targets.dtype.kind == "f" and np.isnan(targets).any():
        n_missing = np.isnan(targets).reshape(len(targets), -1).any(1).sum()
        raise ValueError(
            f"Input y contains NaN in {n_missing} of {len(targets)} rows. Drop these rows, from which nothing can be "
            "learned; predict or sample can fill them once the others are fitted."
        )
