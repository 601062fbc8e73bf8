"""What densities share: rows scored and drawn, from one ensemble of flows."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import _parameters as rule
from ._base import FlowEstimator, to_tensor
from ._rows import in_chunks
from ._state import usual_modes
from .flows import Ensemble


class DensityEstimator(DensityMixin, FlowEstimator):  # type: ignore[misc]
    """A density behind scikit-learn's methods: `fit` sets the flow, then `_density` to `_ensemble()`."""

    _density: Ensemble

    def _ensemble(self) -> Ensemble:
        """The flows, and what stands beside them, as one density."""
        return Ensemble([self._flow], torch.zeros(1, dtype=torch.float64, device=self._flow.like.device))

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
        rows = self._check_rows(X, reset=False)
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
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        X = np.empty((n_samples, self.n_features_in_), dtype=self._recipe["dtype"])
        with torch.no_grad():
            for chunk in in_chunks(n_samples, self._density.chunk_size):
                X[chunk] = self._density.sample(chunk.stop - chunk.start, generator).cpu().numpy()
        return X
