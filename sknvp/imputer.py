"""A transformer that fills missing cells by a density of all columns."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from ._columns.kinds import with_indicators, without_indicators
from ._estimators import parameters as rule
from .density import RealNVPDensity

N_DRAWS = 100  # of each row, over which means are taken


class RealNVPImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fill missing cells by a density of all columns, which is fitted to the rows with their missing cells.

    A missing cell gets its mean given the known cells of the row, or the likeliest category; with ``sample_posterior``
    it gets a draw. Methods and their meaning follow :class:`sklearn.impute.IterativeImputer`.

    Parameters
    ----------
    estimator : RealNVPDensity, default=None
        The density. None stands for ``RealNVPDensity()`` with the ``random_state`` of the imputer.
    sample_posterior : bool, default=False
        Whether missing cells are drawn from their distribution given the known cells, all those of a row together.
        Tables that are filled so several times, with different ``random_state``, show how uncertain results are
        (multiple imputation, Rubin 1987). Otherwise cells get means, which are best where single values are wanted,
        and vary less than the cells did.
    random_state : int, RandomState instance or None, default=None
        Determines the fit, if ``estimator`` is None, and the draws. Pass an int for the same results at every call.

    Attributes
    ----------
    density_ : RealNVPDensity
        The fitted density.
    n_features_in_ : int
        Number of columns of ``X`` seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of ``X`` seen during `fit`, if all are strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : Fill each column by a regression on the others.
    RealNVPDensity.impute : Several draws of each row.

    Notes
    -----
    A column without any known cell is an error: leave it out.

    References
    ----------
    D. Rubin, "Multiple Imputation for Nonresponse in Surveys", Wiley 1987.

    Examples
    --------
    >>> import numpy as np
    >>> from sknvp import RealNVPImputer
    >>> Z = np.random.default_rng(0).normal(size=(400, 2))
    >>> X = np.c_[Z[:, 0], Z[:, 0] + 0.1 * Z[:, 1]]
    >>> X[::4, 1] = np.nan
    >>> imputer = RealNVPImputer(random_state=0).fit(X)
    >>> np.round(imputer.transform([[1.0, np.nan], [np.nan, -1.0]]))
    array([[ 1.,  1.],
           [-1., -1.]])
    """

    density_: RealNVPDensity

    def __init__(
        self,
        estimator: RealNVPDensity | None = None,
        *,
        sample_posterior: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.sample_posterior = sample_posterior
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit the density to rows with missing cells.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows; cells may be missing (NaN, None, pandas.NA), but not whole columns.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : RealNVPImputer
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or ``X`` breaks its rule.
        """
        rule.check("sample_posterior", self.sample_posterior, rule.boolean())
        if not (self.estimator is None or isinstance(self.estimator, RealNVPDensity)):
            raise ValueError(
                f"estimator must be None or a RealNVPDensity, got {self.estimator!r}. Others cannot be conditioned."
            )
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        density = RealNVPDensity(random_state=seed) if self.estimator is None else clone(self.estimator)
        self.density_ = density.fit(X)
        self.n_features_in_ = density.n_features_in_
        if hasattr(density, "feature_names_in_"):
            self.feature_names_in_ = density.feature_names_in_
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return self

    def transform(self, X: ArrayLike) -> Any:
        """Fill the missing cells of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        X_filled : ndarray or DataFrame of shape (n_samples, n_features)
            The rows without missing cells; a DataFrame if one was fitted.
        """
        check_is_fitted(self)
        density = self.density_
        if self.sample_posterior:
            drawn = density.impute(X, 1, check_random_state(self.random_state))
            return _with_index_of(X, drawn[:, 0] if isinstance(drawn, np.ndarray) else drawn)
        rows = density._check_rows(X, reset=False)
        incomplete, numbers = np.isnan(rows).any(1), rows.copy()
        if incomplete.any():
            drawn = density._imputed(rows[incomplete], N_DRAWS, check_random_state(self.random_state))
            mean = with_indicators(drawn, density._columns).mean(1) if density._columns else drawn.mean(1)
            filled = without_indicators(mean, density._columns) if density._columns else mean
            numbers[incomplete] = np.where(np.isnan(rows[incomplete]), filled, rows[incomplete])
        return _with_index_of(X, density._as_fitted(numbers))


def _with_index_of(X: Any, filled: Any) -> Any:
    """Give a DataFrame of pandas the index of another one."""
    if hasattr(filled, "index") and hasattr(X, "index"):
        filled.index = X.index
    return filled
