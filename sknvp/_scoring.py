"""What densities share: rows scored and drawn, by one ensemble of flows."""

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
from ._state import no_autocast, usual_modes
from .flows import Ensemble

MOST_DRAWS = 20


class ScoringEstimator(DensityMixin, FlowEstimator):  # type: ignore[misc]
    """A fitted density behind scikit-learn's methods; fitting sets the flow, then `_density` to `_ensemble()`."""

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
        return self._log_density(self._check_rows(X, reset=False))

    def _log_density(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Log-density of rows that have been checked, in chunks."""
        log_density = np.empty(len(rows))
        with torch.inference_mode(), no_autocast():
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
        with torch.inference_mode(), no_autocast():
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
