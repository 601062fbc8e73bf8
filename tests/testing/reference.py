"""A normal distribution as a density estimator: small, weighted, and right in every respect."""

from numbers import Integral
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data


class Normal(DensityMixin, BaseEstimator):
    """Location, scale of each column, and Cholesky factor of the ridged correlations."""

    finite: bool | str = True  # what `validate_data` asks of cells

    def __init__(self, ridge=1e-6, random_state=None):
        self.ridge = ridge
        self.random_state = random_state

    def fit(self, X, y=None, sample_weight=None) -> Self:
        before = dict(vars(self))
        try:
            rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=2, ensure_all_finite=self.finite)
            self._learn(rows, self._weights(rows, sample_weight))
        except Exception:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _weights(self, X, sample_weight):
        if sample_weight is None:
            return np.ones(len(X))
        weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64)
        check_consistent_length(X, weights)
        if weights.ndim != 1 or (weights < 0).any() or not weights.any():
            raise ValueError("sample_weight must be a number of at least zero for each row, not all zero.")
        return weights / weights.max()

    def _learn(self, X, weights):
        deviations = X - X[0]
        mean = np.average(deviations, axis=0, weights=weights)
        deviations -= mean
        scale = np.sqrt(np.average(deviations**2, axis=0, weights=weights))
        self.loc_, self.scale_ = X[0] + mean, np.where(scale > 1e-12 * np.abs(X[0]), scale, 1.0)
        Z = deviations / self.scale_
        correlations = (Z * weights[:, None]).T @ Z / weights.sum()
        self.factor_ = np.linalg.cholesky(correlations + self._ridge() * np.eye(X.shape[1]))

    def _ridge(self):
        return self.ridge

    def score_samples(self, X):
        check_is_fitted(self)
        return self._log_density(validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=self.finite))

    def _log_density(self, rows):
        noise = np.linalg.solve(self.factor_, ((rows - self.loc_) / self.scale_).T)
        log_volume = np.log(np.diag(self.factor_)).sum() + np.log(self.scale_).sum()
        return -0.5 * (noise**2).sum(0) - log_volume - 0.5 * len(noise) * np.log(2 * np.pi)

    def score(self, X, y=None, sample_weight=None):
        log_density = self.score_samples(X)
        return float(log_density.sum() if sample_weight is None else np.dot(log_density, sample_weight))

    def sample(self, n_samples=1, random_state=None):
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be an integer of at least 1, got {n_samples!r}.")
        noise = check_random_state(random_state).standard_normal((n_samples, self.n_features_in_))
        return self.loc_ + noise @ self.factor_.T * self.scale_


class NormalOfKnownCells(Normal):
    """The normal distribution of the known cells of rows; it is fitted to the complete rows."""

    finite = "allow-nan"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _learn(self, X, weights):
        complete = ~np.isnan(X).any(1)
        if complete.sum() < 2:
            raise ValueError("X must have two rows without missing cells.")
        super()._learn(X[complete], weights[complete])

    def _log_density(self, rows):
        return np.array([self._log_density_of(row, ~np.isnan(row)) for row in rows])

    def _covariance(self):
        factor = self.factor_ * self.scale_[:, None]
        return factor @ factor.T

    def _log_density_of(self, row, known):
        if not known.any():
            return 0.0
        factor = np.linalg.cholesky((self.factor_ @ self.factor_.T)[np.ix_(known, known)])
        noise = np.linalg.solve(factor, ((row - self.loc_) / self.scale_)[known])
        log_volume = np.log(np.diag(factor)).sum() + np.log(self.scale_[known]).sum()
        return -0.5 * (noise**2).sum() - log_volume - 0.5 * len(noise) * np.log(2 * np.pi)

    def impute(self, X, n_samples=1, random_state=None):
        rows = validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=self.finite)
        rng = check_random_state(random_state)
        return np.stack([self._drawn(row, ~np.isnan(row), n_samples, rng) for row in rows])

    def _drawn(self, row, known, n_samples, rng):
        covariance, drawn = self._covariance(), np.repeat(row[None], n_samples, axis=0)
        slope = covariance[np.ix_(~known, known)] @ np.linalg.inv(covariance[np.ix_(known, known)])
        mean = self.loc_[~known] + slope @ (row[known] - self.loc_[known])
        rest = covariance[np.ix_(~known, ~known)] - slope @ covariance[np.ix_(known, ~known)]
        drawn[:, ~known] = rng.multivariate_normal(mean, rest, n_samples)
        return drawn
