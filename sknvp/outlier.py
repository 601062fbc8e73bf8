"""Outliers by density: rows that one of several densities finds much less likely than ordinary rows."""

from collections.abc import Sequence
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import OutlierMixin
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from ._estimators.docs import document
from ._estimators.groups import groups_of_equal_rows
from ._estimators.weights import check_weights
from ._outliers.densities import OneDensity
from ._outliers.pooled import PooledDensity
from ._outliers.threshold import threshold
from .density import ScoresAndErrors
from .flows.builders.parts import MakeBase, MakeCoupling

AUTO_SHARE = 0.05  # With contamination="auto" this share of rows drawn from the density lies below the threshold.
N_DRAWN = 10_000  # That threshold is found by this many drawn rows.


@document
class RealNVPOutlierDetector(OutlierMixin, PooledDensity):  # type: ignore[misc]
    """Outliers: rows that one of several densities finds much less likely than ordinary rows.

    Three densities score a row: the mean density of the Real NVP flows of :class:`RealNVPDensity`, which all see the
    columns as they are here; a Gaussian mixture; and kernels with the bandwidth of Scott's rule [1]_, which are smooth.
    In discrete columns these kernels see how far values are from each other, whatever the probability of each. The
    mixture and the kernels are fitted to 95 percent of the rows, without those that are least likely (trimming [2]_),
    so that outliers among the rows do not make others like them likely.

    Each log-density is standardised [3]_: z is the number of standard deviations by which it lies above its mean over
    rows that are drawn from the whole density. The score is ``-log mean exp(-z)`` over the three: their mean where they
    agree, and near the least where one of them finds the row far less likely than the others do. So zero is an ordinary
    row; a row is an outlier where its score is below ``offset_``.

    The likeliest density is not the best judge of outliers: it is sharp, and a few training rows that are odd
    themselves are enough to make their neighbours likely. In the mean over many tables the pooled score ranks outliers
    better than the log-density does, though not on each.

    Methods and their meaning follow :class:`sklearn.ensemble.IsolationForest`. Beside them stand `sample`, `impute` and
    `score` of the whole density, so that a search over parameters takes the likeliest detector and needs no labels.
    Without ``stacking``, or in a stream without a `fit` before it, the flows score alone.

    Read more in the :doc:`User Guide </anomalies>`.

    Parameters
    ----------
    contamination : "auto" or float in (0, 0.5], default="auto"
        Where the threshold lies. A number is the share of the training rows, by weight, that are to be outliers; it is
        met exactly, or where ties or too few rows forbid that, as nearly as it can be from below. "auto" asks the
        density instead: one in twenty of the rows drawn from it is an outlier. Take a number to sort the rows you have,
        "auto" to watch for new ones; see the notes.
    {n_layers}
    {hidden_layer_sizes}
    {activation}
    {coupling}
    {base}
    {mask}
    {batch_norm}
    {standardize}
    {discrete_features}
    {bounds}
    {periods}
    {n_estimators}
    {stacking}
    {alpha}
    {batch_size}
    {learning_rate_init}
    {max_iter}
    {early_stopping}
    {validation_fraction}
    {n_iter_no_change}
    {tol}
    {warm_start}
    {device}
    {random_state}
    {verbose}

    Attributes
    ----------
    offset_ : float
        The threshold, in standard deviations: `decision_function` is `score_samples` less this.
    {n_features_in_}
    {feature_names_in_}
    {columns_}
    {flow_}
    {density_}
    {loc_}
    {scale_}
    {n_iter_}
    {loss_curve_}
    {validation_scores_}
    {best_validation_score_}
    {stacking_weights_}

    See Also
    --------
    RealNVPDensity : The density alone.
    sklearn.ensemble.IsolationForest : Outliers by how soon random splits part them from the rest.

    Notes
    -----
    The density has seen its training rows and finds them likelier than others, in small tables of many columns by far.
    A threshold set on them may then call half of all new rows outliers, where "auto" calls about one in twenty so; and
    "auto" may find few outliers among the training rows.

    References
    ----------
    .. [1] Scott, "Multivariate Density Estimation: Theory, Practice, and Visualization", Wiley, 1992.
    .. [2] García-Escudero, Gordaliza, Matrán and Mayo-Iscar, "A general trimming approach to robust cluster analysis",
       Annals of Statistics 36, 2008.
    .. [3] Kriegel, Kröger, Schubert and Zimek, "Interpreting and Unifying Outlier Scores", SIAM International
       Conference on Data Mining, 2011.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sknvp import RealNVPOutlierDetector
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> detector = RealNVPOutlierDetector(contamination=0.05, n_estimators=1, random_state=0).fit(X)
    >>> detector.predict([[0.0, 1.0], [0.5, 3.0]])
    array([ 1, -1])
    >>> int((detector.predict(X) == -1).sum())
    10
    """

    contamination: str | float
    offset_: float

    def __init__(
        self,
        *,
        contamination: str | float = "auto",
        n_layers: int = 6,
        hidden_layer_sizes: int | Sequence[int] = (32, 32),
        activation: str = "silu",
        coupling: str | MakeCoupling = "spline",
        base: str | MakeBase = "normal",
        mask: str | ArrayLike = "random",
        batch_norm: bool = False,
        standardize: bool = True,
        discrete_features: str | ArrayLike | None = "auto",
        bounds: tuple[ArrayLike, ArrayLike] | None = None,
        periods: dict[Any, float] | ArrayLike | None = None,
        n_estimators: int = 4,
        stacking: bool = True,
        alpha: float = 0.1,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.01,
        max_iter: int | str = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.25,
        n_iter_no_change: int = 6,
        tol: float = 1e-3,
        warm_start: bool = False,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        super().__init__(
            n_layers=n_layers,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            coupling=coupling,
            base=base,
            mask=mask,
            batch_norm=batch_norm,
            standardize=standardize,
            discrete_features=discrete_features,
            bounds=bounds,
            periods=periods,
            n_estimators=n_estimators,
            stacking=stacking,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.contamination = contamination

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit the density to rows, then set the threshold.

        If anything raises, what was fitted before stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows; at least two, finite. Cells may be missing (NaN).
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative, for the density and for ``contamination``. A row of weight zero is
            as if absent.
        groups : array-like of shape (n_samples,), default=None
            The group of each row; rows of a group are held out together. See :meth:`RealNVPDensity.fit`.

        Returns
        -------
        self : RealNVPOutlierDetector
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, ``X``, ``sample_weight`` or ``groups`` breaks its rule.
        """
        return super().fit(X, y, sample_weight, groups)

    def partial_fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train the flows for one epoch on rows, then set the threshold anew.

        See :meth:`RealNVPDensity.partial_fit`. A ``contamination`` that is a number counts the rows of this call alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows; at least two in the first call, finite. Cells may be missing (NaN).
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative.

        Returns
        -------
        self : RealNVPOutlierDetector
            The estimator, trained further.
        """
        return super().partial_fit(X, y, sample_weight)

    def _complete_fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> None:
        """Standardise the log-densities and set the threshold."""
        self._standardize_scores()
        if isinstance(self.contamination, str):
            scores = self.score_samples(self.sample(N_DRAWN, random_state=self._split_seed))
            self.offset_ = threshold(scores, np.ones(N_DRAWN), AUTO_SHARE)
        else:
            self.offset_ = threshold(*self._scores_and_weights(X, sample_weight), self.contamination)

    def _scores_and_weights(
        self, X: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Score each distinct row and sum its weights, since the scores of equal rows can differ in the last bit."""
        weights = None if sample_weight is None else np.asarray(sample_weight)
        if weights is not None and not weights.all():  # Rows of weight zero may break the rules.
            X, weights = _safe_indexing(X, np.flatnonzero(weights)), weights[weights != 0]
        rows = self._check_rows(X, reset=False)
        weights = check_weights(weights, rows, n_least=1)
        groups = groups_of_equal_rows(rows)
        first = np.unique(groups, return_index=True)[1]
        return self._score_rows(rows)[first], np.bincount(groups, weights)

    @overload
    def score_samples(self, X: ArrayLike, *, return_std: Literal[False] = False) -> NDArray[np.float64]: ...

    @overload
    def score_samples(self, X: ArrayLike, *, return_std: Literal[True]) -> ScoresAndErrors: ...

    @overload
    def score_samples(self, X: ArrayLike, *, return_std: bool) -> NDArray[np.float64] | ScoresAndErrors: ...

    def score_samples(self, X: ArrayLike, *, return_std: bool = False) -> NDArray[np.float64] | ScoresAndErrors:
        """Compute the score of each row, low for outliers; by its known cells, if some are missing.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        return_std : bool, default=False
            Whether to return the standard errors of the scores of rows with missing cells too.

        Returns
        -------
        scores : ndarray of shape (n_samples,), dtype float64
            In standard deviations of log-densities: about zero for an ordinary complete row, in whatever units.
        std : ndarray of shape (n_samples,), dtype float64
            Only if ``return_std``: a bound of the estimated standard error of each score. Zero for a row without
            missing cells.

        Raises
        ------
        ValueError
            If ``X`` or ``return_std`` breaks its rule.
        """
        return super().score_samples(X, return_std=return_std)

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Compute the total log-likelihood of the rows under the whole density, flows and experts.

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
            In nats, in the units of the ``X`` that was fitted. It is not the sum of `score_samples`.
        """
        check_is_fitted(self)
        return OneDensity.of(self, self._density, self._experts).score(X, y, sample_weight)

    def score_cells(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute what each known cell adds to the score of its row.

        The cell with the least value is the one that makes a row odd.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_features), dtype float64
            `score_samples` of the row less that of the row without the cell. NaN where a cell is missing.
        """
        return super().score_cells(X)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the score above the threshold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,), dtype float64
            `score_samples` less ``offset_``, in standard deviations; negative for outliers.
        """
        decision: NDArray[np.float64] = self.score_samples(X) - self.offset_
        return decision

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """Tell inliers from outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        is_inlier : ndarray of shape (n_samples,)
            1 for inliers and -1 for outliers, whose `decision_function` is negative.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)
