"""What a fitted conditional density is asked: how likely targets are given rows, their mean, their quantiles, draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from . import _parameters as rule
from ._base import FLOATS, FlowEstimator, to_tensor
from ._estimator import LEAST
from ._rows import in_chunks
from ._state import build_expert, usual_modes
from .flows import Ensemble
from .flows.summaries import mean, noise_points, quantile

FARTHEST = 1e18  # standard deviations; its square is a number in every dtype
N_POINTS = 100  # of noise, that `predict` averages over if there is one target, ...
N_POINTS_OF_SEVERAL = 512  # ... and if there are several


class ConditionalScoringEstimator(RegressorMixin, FlowEstimator):  # type: ignore[misc]
    """A fitted density of targets given rows behind scikit-learn's methods; a subclass adds `fit`."""

    n_outputs_: int
    _squeeze: bool
    _inputs: dict[str, NDArray[Any]]  # location and scale of the columns of X, and which of them vary
    _experts: list[dict[str, Any]]
    _log_weights: NDArray[np.float64]

    def _check_pairs(self, X: ArrayLike, y: ArrayLike, *, reset: bool, n_least: int = 1) -> NDArray[Any]:
        """Rows and targets side by side, float64 or float32 as the rows are."""
        refuse_missing_targets(y)
        rows, _ = validate_data(
            self, X, y, dtype=FLOATS, reset=reset, ensure_min_samples=n_least, multi_output=True, y_numeric=True
        )
        targets = check_array(y, ensure_2d=False, dtype=rows.dtype, input_name="y")
        if reset:
            self._squeeze, self.n_outputs_ = targets.ndim == 1, 1 if targets.ndim == 1 else targets.shape[1]
        targets = targets.reshape(len(rows), -1)
        if targets.shape[1] != self.n_outputs_:
            raise ValueError(f"y must have {self.n_outputs_} columns, as in fit, got {targets.shape[1]}.")
        with np.errstate(over="ignore"):
            if not np.isfinite(np.ptp(targets, axis=0)).all():
                raise ValueError(f"y must span less than {np.finfo(rows.dtype).max:.1e}. Divide it by a constant.")
        return np.concatenate([rows, targets], 1)

    def _halves(self, pairs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return pairs[:, : self.n_features_in_], pairs[:, self.n_features_in_ :]

    def _context(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The columns of X that vary, standardised, in the dtype that was fitted.

        What lies beyond `FARTHEST`, where a network's answers have long been the same, is put there.
        """
        own = self._inputs
        with np.errstate(over="ignore"):
            standardised = (rows[:, own["columns"]] - own["loc"]) / own["scale"]
        context: NDArray[Any] = np.clip(standardised, -FARTHEST, FARTHEST).astype(self._recipe["dtype"])
        return context

    @property
    def _density(self) -> Ensemble:
        """The flows and the regression as one density."""
        with usual_modes():
            device = self._flow.like.device
            experts = [build_expert(recipe).to(device) for recipe in self._experts]
            return Ensemble([self._flow, *experts], torch.tensor(self._log_weights, device=device))

    def score_samples(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Log-density of the targets of each row, given its columns.

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
        rows, targets = self._halves(pairs)
        density = self._density
        log_density = self._in_chunks(density.log_prob, density.chunk_size, targets, self._context(rows))
        bounded: NDArray[np.float64] = np.maximum(log_density, LEAST)
        return bounded

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Total log-likelihood of the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.

        Returns
        -------
        log_likelihood : float
            The sum of `score_samples`, in nats.
        """
        return float(self.score_samples(X, y).sum())

    def sample(
        self, X: ArrayLike, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[Any]:
        """Draw targets for each row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows to condition on.
        n_samples : int, default=1
            How many draws for each row.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same draws at every call.

        Returns
        -------
        y : ndarray of shape (n_rows, n_samples) or (n_rows, n_samples, n_outputs)
            Independent draws, of the dtype that was fitted; of the former shape if ``y`` had one dimension in `fit`.
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        context = np.repeat(self._context(self._check_rows(X, reset=False)), n_samples, axis=0)
        generator = torch.Generator().manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))
        density = self._density

        def draw(context: Tensor) -> Tensor:
            return density.sample(len(context), generator, context)

        y = self._in_chunks(draw, density.chunk_size, context)
        return self._as_in_fit(y.reshape(-1, n_samples, self.n_outputs_))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Mean of the targets for each row.

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
            Of the dtype that was fitted.
        """
        check_is_fitted(self)
        context, density = self._context(self._check_rows(X, reset=False)), self._density
        with usual_modes():
            points, weights = noise_points(self.n_outputs_, N_POINTS if self.n_outputs_ == 1 else N_POINTS_OF_SEVERAL)

        def means(context: Tensor) -> Tensor:
            return mean(density, context, points, weights)

        return self._as_in_fit(self._in_chunks(means, max(1, density.chunk_size // len(points)), context))

    def predict_quantile(self, X: ArrayLike, q: ArrayLike = 0.5) -> NDArray[Any]:
        """Quantiles of the target for each row: where its distribution function, given the row, is ``q``.

        They are those of the density that `score_samples` gives, all flows and the regression together, exact but for
        rounding; so between the quantiles for 0.1 and 0.9 lie 80 percent of its mass.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        q : float or array-like of shape (n_quantiles,), default=0.5
            Between 0 and 1, both excluded.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_quantiles)
            Of the dtype that was fitted; of the former shape if ``q`` is a number.

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

        y = self._in_chunks(quantiles, density.chunk_size, context).astype(self._recipe["dtype"])
        return y if shares.ndim else y[:, 0]

    def _in_chunks(self, function: Callable[..., Tensor], size: int, *arrays: NDArray[Any]) -> NDArray[Any]:
        """What a function of tensors gives for so many rows at a time."""
        like = self._flow.like
        with usual_modes(), torch.no_grad():
            parts = [
                function(*(to_tensor(array[chunk], like) for array in arrays)).cpu().numpy()
                for chunk in in_chunks(len(arrays[0]), size)
            ]
        return np.concatenate(parts)

    def _as_in_fit(self, y: NDArray[Any]) -> NDArray[Any]:
        """The dtype that was fitted, and one dimension less if ``y`` had but one."""
        y = y.astype(self._recipe["dtype"])
        return y[..., 0] if self._squeeze else y


def refuse_missing_targets(y: ArrayLike) -> None:
    """Raise a ValueError that names the cure, as scikit-learn's own does for ``X`` alone."""
    targets = np.asarray(y)
    if targets.dtype.kind == "f" and np.isnan(targets).any():
        n_missing = np.isnan(targets).reshape(len(targets), -1).any(1).sum()
        raise ValueError(
            f"Input y contains NaN in {n_missing} of {len(targets)} rows. Drop these rows, from which nothing can be "
            "learned; predict or sample can fill them once the others are fitted."
        )
