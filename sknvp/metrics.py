"""Scores of predicted distributions: the continuous ranked probability score and the energy score.

They compare targets with draws, and so rank whatever draws targets, a flow or another model, without densities.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.metadata_routing import UNUSED

from ._estimators import parameters as rule
from ._estimators.weights import check_weights

__all__ = ["crps", "energy_score", "neg_crps_scorer", "neg_energy_scorer"]

N_SAMPLES = 100  # Scorers take this many draws of each row.


def crps(y_true: ArrayLike, y_drawn: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Compute the continuous ranked probability score of draws, averaged over rows; lower is better.

    For a target y and independent draws Y and Y' of its predicted distribution it is ``E|Y - y| - E|Y - Y'| / 2``, the
    integral of the squared difference between the distribution function and the step at y. It is in the units of y, and
    for a single draw without spread it is the absolute error. On average no distribution does better than the true one.

    Read more in the :doc:`User Guide </conditional>`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        The targets.
    y_drawn : array-like of shape (n_samples, n_draws)
        Two draws or more for each target, as from :meth:`sknvp.ConditionalRealNVPDensity.sample`.
    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts, not negative.

    Returns
    -------
    score : float
        Without bias, whatever the number of draws.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    See Also
    --------
    energy_score : The score of several targets together.

    References
    ----------
    T. Gneiting and A. Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal of the American
    Statistical Association 102, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sknvp.metrics import crps
    >>> rng = np.random.default_rng(0)
    >>> y, drawn = rng.normal(size=1000), rng.normal(size=(1000, 100))
    >>> crps(y, drawn) < crps(y, 2 * drawn)
    True
    """
    targets, drawn = checked_draws(y_true, y_drawn, n_axes=1)
    n_draws, ordered = drawn.shape[1], np.sort(drawn[..., 0], axis=1)
    spread = ordered @ (2 * np.arange(1, n_draws + 1) - n_draws - 1) / (n_draws * (n_draws - 1))
    scores = np.abs(ordered - targets).mean(1) - spread
    return float(np.average(scores, weights=check_weights(sample_weight, scores, n_least=1)))


def energy_score(y_true: ArrayLike, y_drawn: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Compute the energy score of draws of several targets, averaged over rows; lower is better.

    For targets y and independent draws Y and Y' of their predicted distribution it is ``E|Y - y| - E|Y - Y'| / 2`` with
    Euclidean distances. Of one target it is the `crps`. Bring targets to one unit first, or the widest one decides.

    Read more in the :doc:`User Guide </conditional>`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_outputs) or (n_samples,)
        The targets.
    y_drawn : array-like of shape (n_samples, n_draws, n_outputs) or (n_samples, n_draws)
        Two draws or more for each row, as from :meth:`sknvp.ConditionalRealNVPDensity.sample`.
    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts, not negative.

    Returns
    -------
    score : float
        Without bias, whatever the number of draws.

    Raises
    ------
    ValueError
        If an argument breaks its rule.

    See Also
    --------
    crps : The score of a single target.

    References
    ----------
    T. Gneiting and A. Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal of the American
    Statistical Association 102, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sknvp.metrics import energy_score
    >>> rng = np.random.default_rng(0)
    >>> y, drawn = rng.normal(size=(1000, 2)), rng.normal(size=(1000, 50, 2))
    >>> energy_score(y, drawn) < energy_score(y, 3 * drawn)
    True
    """
    targets, drawn = checked_draws(y_true, y_drawn, n_axes=2)
    n_draws, spread = drawn.shape[1], np.zeros(len(drawn))
    for lag in range(1, n_draws):  # Each pair of draws is counted twice.
        spread += np.linalg.norm(drawn - np.roll(drawn, lag, axis=1), axis=2).mean(1) / (n_draws - 1)
    scores = np.linalg.norm(drawn - targets[:, None], axis=2).mean(1) - spread / 2
    return float(np.average(scores, weights=check_weights(sample_weight, scores, n_least=1)))


class DrawsScorer(BaseEstimator):  # type: ignore[misc]
    """Score a fitted estimator by minus a score of its draws, for ``scoring=`` of scikit-learn; higher is better.

    ``neg_crps_scorer`` is that of `crps`, and ``neg_energy_scorer`` that of `energy_score`. They are called with a
    fitted estimator that has ``sample(X, n_samples, random_state)``, such as a
    :class:`sknvp.ConditionalRealNVPDensity`, with rows and with their targets. They take 100 draws of each row, which
    are equal at every call.

    With metadata routing a copy of a scorer can request the weights of the rows:
    ``sklearn.base.clone(neg_crps_scorer).set_score_request(sample_weight=True)``.

    Read more in the :doc:`User Guide </conditional>`.

    Parameters
    ----------
    metric : callable
        It takes targets, draws and ``sample_weight``, and returns a number, lower being better.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_val_score
    >>> from sknvp import ConditionalRealNVPDensity
    >>> from sknvp.metrics import neg_crps_scorer
    >>> X = np.random.default_rng(0).normal(size=(200, 1))
    >>> y = X[:, 0] + np.random.default_rng(1).normal(size=200)
    >>> density = ConditionalRealNVPDensity(n_estimators=1, random_state=0)
    >>> cross_val_score(density, X, y, scoring=neg_crps_scorer, cv=2).shape
    (2,)
    """

    __metadata_request__score: ClassVar[dict[str, str]] = {"estimator": UNUSED}  # Only weights can be requested.

    def __init__(self, metric: Callable[..., float]) -> None:
        self.metric = metric

    def score(self, estimator: Any, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Score a fitted estimator, as a call does.

        Parameters
        ----------
        estimator : estimator with ``sample(X, n_samples, random_state)``
            The predicted distribution.
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative.

        Returns
        -------
        score : float
        """
        return -self.metric(y, estimator.sample(X, N_SAMPLES, random_state=0), sample_weight=sample_weight)

    __call__ = score


neg_crps_scorer = DrawsScorer(crps)
neg_energy_scorer = DrawsScorer(energy_score)


def checked_draws(
    y_true: ArrayLike, y_drawn: ArrayLike, n_axes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return targets of shape (n_samples, n_outputs) and draws of shape (n_samples, n_draws, n_outputs)."""
    numbers = {"dtype": np.float64, "ensure_2d": False, "allow_nd": True}
    targets = check_array(y_true, **numbers, input_name="y_true")
    drawn = check_array(y_drawn, **numbers, input_name="y_drawn")
    targets = targets.reshape(len(targets), -1) if targets.ndim < 2 else targets
    drawn = drawn[..., None] if drawn.ndim == 2 else drawn
    check_consistent_length(targets, drawn)
    n_outputs = targets.shape[1]
    if targets.ndim != 2 or drawn.ndim != 3 or drawn.shape[2] != n_outputs or (n_axes == 1 and n_outputs > 1):
        outputs = ", n_outputs" * (n_axes - 1)
        raise ValueError(
            f"y_true and y_drawn must have shapes (n_samples{outputs or ','}) and (n_samples, n_draws{outputs}), got "
            f"{np.shape(y_true)} and {np.shape(y_drawn)}."
        )
    rule.check("the number of draws in y_drawn", drawn.shape[1], rule.integer(2))
    return targets, drawn
