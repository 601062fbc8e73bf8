"""The methods that a conditional density has: scores, means, quantiles and draws of targets given rows."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._columns.averages import averages, to_average
from .._columns.cells import Cells, normal_quantile
from ..flows import Ensemble
from ..flows.summaries import mean, noise_points, quantile
from . import parameters as rule
from .context import standardized_context
from .distribution import (
    check_ordered,
    cumulative_probability,
    edges_of_values,
    ends_of,
    probabilities_of_values,
    probability_up_to,
)
from .evaluation import evaluate
from .modes import default_torch_modes
from .scaling import restore_constants
from .targets import DensityOfTargets
from .weights import weighted_total

N_POINTS = 100  # `predict` averages over this many points of noise for a single target.
N_POINTS_OF_SEVERAL = 512  # It averages over this many points for several targets, and where some have probabilities.
MIN_DIFFERENCE = 1e-9  # A smaller difference of two values of a distribution function has too few digits.


class ConditionalDensityMethods(RegressorMixin, DensityOfTargets):  # type: ignore[misc]
    """A fitted density of targets given rows behind scikit-learn's methods; a subclass adds `fit`."""

    def score_samples(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Compute the log-density of the targets of each row, given its columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            The targets. None stands for their means, `predict`, or the possible values next to these: what comes out
            then tells how sharply the density is peaked, not how well it fits.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats, in the units of the ``y`` that was fitted. Discrete targets have log-probabilities.
        """
        check_is_fitted(self)
        pairs = self._check_pairs(X, self._nearest(self.predict(X)) if y is None else y, reset=False)
        rows, targets = np.split(pairs, [-self.n_outputs_], axis=1)
        targets = restore_constants(targets, self._specification.scaling)
        return self._score_rows(targets, standardized_context(self._specification, rows))

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
            in `fit`. Those of a target with a period lie between zero and the period, or, if it was negative somewhere
            in `fit`, between minus and plus half of it.

        Raises
        ------
        ValueError
            If ``n_samples`` breaks its rule, or the flows have diverged in training and draw no finite targets.
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        context = np.repeat(self._context(X), n_samples, axis=0)
        numbers = self._numbers_at(self._draw(len(context), random_state, context))
        return self._targets_to_input_format(numbers.reshape(-1, n_samples, self.n_outputs_))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Compute the mean of the targets for each row; of a category, the likeliest value; of an angle, the direction.

        For one target this is an integral over the flows' noise by the trapezoidal rule on 100 points, with an error of
        about 1e-5 standard deviations, or of up to a few hundredths where y jumps between modes that lie apart. For
        several targets it is the mean of 512 quasi-random draws, the same for every row, with an error of about a
        hundredth of a standard deviation. The share of the regressions is exact. For a single discrete target it is the
        sum of up to a hundred values, each times its probability, and where others have probabilities the mean of 512
        points too.

        For a target with a period it is the mean direction: that of the mean of its points on the circle. Where the
        density is nearly even around the circle, or has two opposite modes, this direction means little.

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
        context, density = self._context(X), self._density
        edges = edges_of_values(self._cell_map, N_POINTS) if self.n_outputs_ == 1 else None
        if edges is not None:
            middle = normal_quantile((edges[1:] + edges[:-1]) / 2)
            numbers = probabilities_of_values(density, edges, context) @ self._to_average(middle[:, None])
            return self._targets_to_input_format(averages(numbers, self._columns, self._circles))
        is_smooth = self._cell_map is None or not self._cell_map.has_intervals
        with default_torch_modes():
            n_points = N_POINTS if self.n_outputs_ == 1 and is_smooth else N_POINTS_OF_SEVERAL
            points, weights = noise_points(self.n_outputs_, n_points)

        def values(y: Tensor) -> Tensor:
            return y if self._cell_map is None else y.new_tensor(self._to_average(y.cpu().numpy()))

        def means(context: Tensor) -> Tensor:
            return mean(density, context, points, weights, values)

        numbers = evaluate(means, density, context, n_each=len(points))
        return self._targets_to_input_format(
            averages(numbers, self._columns, self._circles) if self._columns else numbers
        )

    def predict_quantile(self, X: ArrayLike, q: ArrayLike = 0.5) -> NDArray[Any]:
        """Compute quantiles of the target for each row: where its distribution function, given the row, is ``q``.

        They belong to the density that `score_samples` evaluates, all flows and regressions together, and are exact
        but for rounding; so between the quantiles for 0.1 and 0.9 lie 80 percent of its mass. The quantile of a
        discrete target is one of its values, the least up to which lies at least that probability.

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
            If there are several targets, the target has a period or is a category without order, or ``q`` breaks its
            rule.
        """
        check_is_fitted(self)
        check_ordered(
            self._columns, self.n_outputs_, "predict_quantile", "Take quantiles of what sample(X, n_samples) draws"
        )
        shares = np.asarray(q, dtype=np.float64)
        if shares.ndim > 1 or not shares.size or not ((shares > 0) & (shares < 1)).all():
            raise ValueError(
                f"q must be a number strictly between 0 and 1, or a list of one such number or more, got {q!r}."
            )
        context, density = self._context(X), self._density

        def quantiles(context: Tensor) -> Tensor:
            return torch.stack([quantile(density, float(share), context) for share in np.atleast_1d(shares)], 1)

        if len(self._specification.scaling.columns):
            y = evaluate(quantiles, density, context)
        else:  # The target is constant.
            y = np.full((len(context), shares.size), self._specification.scaling.loc)
        numbers = self._numbers_at(y.reshape(-1, 1)).reshape(y.shape)
        each = np.stack([self._targets_to_input_format(column[:, None]).reshape(-1) for column in numbers.T], 1)
        return each if shares.ndim else each[:, 0]

    def predict_cdf(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Compute the distribution function of the target of each row at a number: the probability of at most that.

        At the targets of new rows these numbers are evenly spread between 0 and 1 if the density is right, whatever its
        shape (the probability integral transform), so that a histogram of them shows how it is wrong: a U means too
        narrow, a hump too wide, a slope too low or too high. Those of discrete targets are not, since a probability is
        taken at once: :class:`~sknvp.PITDisplay` draws them at random between both sides of it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, 1)
            A target for each row.

        Returns
        -------
        probability : ndarray of shape (n_samples,), dtype float64
            Between 0 and 1. The inverse of `predict_quantile`.

        Raises
        ------
        ValueError
            If there are several targets, the target has a period or is a category without order, or ``X`` or ``y``
            breaks its rule.

        References
        ----------
        T. Gneiting, F. Balabdaoui and A. Raftery, "Probabilistic forecasts, calibration and sharpness", Journal of the
        Royal Statistical Society B 69, 2007.
        """
        return self._cdf_around(X, y)[1]

    def _cdf_around(self, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute the probabilities of less than the target of each row, and of at most that."""
        check_is_fitted(self)
        check_ordered(self._columns, self.n_outputs_, "predict_cdf", "Compare draws by sknvp.metrics.energy_score")
        rows, targets = np.split(self._check_pairs(X, y, reset=False), [-1], axis=1)
        scaling = self._specification.scaling
        values = restore_constants(targets, scaling)[:, 0]
        if not len(scaling.columns):
            return (values > scaling.loc[0]).astype(np.float64), (values >= scaling.loc[0]).astype(np.float64)
        lower, upper = ends_of(self._cell_map, values)
        context = standardized_context(self._specification, rows)
        at_most = probability_up_to(self._density, upper, context)
        less = at_most if np.array_equal(lower, upper) else probability_up_to(self._density, lower, context)
        return less, at_most

    def _to_average(self, y: NDArray[Any]) -> NDArray[Any]:
        """Return the targets in whose cells points lie, as numbers whose means tell their averages."""
        numbers = self._numbers_at(y.reshape(-1, self.n_outputs_))
        return to_average(numbers, self._columns, self._circles).reshape(*y.shape[:-1], -1)

    def _mean_over_cells(
        self, density: Ensemble, rows: NDArray[Any], cells: Cells, context: NDArray[Any] | None
    ) -> NDArray[np.float64]:
        """Compute the logarithm of the mean density over cells; of a single target, exactly, by differences of F."""
        if self.n_outputs_ > 1:
            return super()._mean_over_cells(density, rows, cells, context)
        assert context is not None
        low, high = (
            cumulative_probability(self._density, normal_quantile(edges), context) for edges in (cells.low, cells.high)
        )
        total = np.where(cells.high[:, 0] < 1, high, 1) - np.where(cells.low[:, 0] > 0, low, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean: NDArray[np.float64] = np.log(total / (cells.high - cells.low)[:, 0]) + cells.log_measure
        small = total < MIN_DIFFERENCE  # The rounding errors of smaller differences matter.
        if small.any():
            mean[small] = super()._mean_over_cells(density, rows[small], cells.of(small), context[small])
        return mean
