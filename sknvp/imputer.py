"""A transformer that fills missing cells by a density of all columns."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Tags, _safe_indexing, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ._columns.kinds import check_labels, known_values, library_of, series_of
from ._estimators import parameters as rule
from ._estimators.seeds import new_seed
from ._warn import warn_caller
from .density import RealNVPDensity


class RealNVPImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fill missing cells by a density of all columns, which is fitted to the rows with their missing cells.

    A missing cell gets its mean given the known cells of the row, or the likeliest category, or where its column has a
    period the mean direction; with ``sample_posterior`` it gets a draw. Methods and their meaning follow
    :class:`sklearn.impute.IterativeImputer`.

    Read more in the :doc:`User Guide </missing>`.

    Parameters
    ----------
    estimator : RealNVPDensity, default=None
        The density. None stands for ``RealNVPDensity()`` with the ``random_state`` of the imputer.
    sample_posterior : bool, default=False
        Whether missing cells are drawn from their distribution given the known cells, all those of a row together.
        Tables that are filled so several times, with different ``random_state``, show how uncertain results are
        (multiple imputation, Rubin 1987). Otherwise cells get means, which are best where single values are wanted,
        and vary less than the cells did.
    add_indicator : bool, default=False
        Whether columns are added that tell which cells were missing, one for each column that had missing cells in
        `fit`.
    keep_empty_features : bool, default=False
        Whether columns without any known cell in `fit` are kept, filled with zeros. Otherwise they are left out.
    random_state : int, RandomState instance or None, default=None
        Determines the fit, if ``estimator`` is None, and the draws. Pass an int for the same results at every call.

    Attributes
    ----------
    density_ : RealNVPDensity
        The fitted density of the columns that have known cells.
    n_features_in_ : int
        Number of columns of ``X`` seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of ``X`` seen during `fit`, if all are strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : Fill each column by a regression on the others.
    RealNVPDensity.impute : Several draws of each row.

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
    n_features_in_: int
    _kept: NDArray[np.intp]  # The numbers of the columns that have known cells.
    _incomplete: NDArray[np.intp]  # The numbers of the columns that have missing cells.

    def __init__(
        self,
        estimator: RealNVPDensity | None = None,
        *,
        sample_posterior: bool = False,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.sample_posterior = sample_posterior
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
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
            The rows; cells may be missing (NaN, None, pandas.NA).
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

        Warns
        -----
        UserWarning
            If a column has no known cell and is left out.
        """
        for name in ("sample_posterior", "add_indicator", "keep_empty_features"):
            rule.check(name, getattr(self, name), rule.boolean())
        if not (self.estimator is None or isinstance(self.estimator, RealNVPDensity)):
            raise ValueError(
                f"estimator must be None or a RealNVPDensity, got {self.estimator!r}. Others cannot be conditioned."
            )
        table = self._table(X)
        known = np.stack([known_values(series_of(table, j))[1] for j in range(table.shape[1])], 1)
        kept = np.flatnonzero(known.any(0))
        if not len(kept):
            raise ValueError("X must have a known cell, got missing ones alone.")
        if not self.keep_empty_features:
            for j in np.setdiff1d(np.arange(table.shape[1]), kept).tolist():
                name = j if library_of(table) is None else table.columns[j]
                warn_caller(f"Column {name} of X has no known value, and is left out.")
        seed = new_seed(self.random_state)
        density = RealNVPDensity(random_state=seed) if self.estimator is None else clone(self.estimator)
        self.density_ = density.fit(_columns(table, kept))
        self._kept, self._incomplete = kept, np.flatnonzero(~known.all(0))
        validate_data(self, table, skip_check_array=True)
        return self

    def transform(self, X: ArrayLike) -> Any:
        """Fill the missing cells of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        X_filled : ndarray or DataFrame of shape (n_samples, n_features_out)
            The rows without missing cells; a DataFrame if one was fitted.
        """
        check_is_fitted(self)
        table = self._table(X)
        validate_data(self, table, skip_check_array=True, reset=False)
        filled = self._filled(_columns(table, self._kept))
        if len(self._kept) < self.n_features_in_ and self.keep_empty_features:
            empty = np.setdiff1d(np.arange(self.n_features_in_), self._kept)
            names = self._names()
            filled = _appended(filled, {names[j]: np.zeros(len(table)) for j in empty.tolist()})
            filled = _columns(filled, np.argsort(np.r_[self._kept, empty]))
        if self.add_indicator and len(self._incomplete):
            missing = {j: ~known_values(series_of(table, j))[1] for j in self._incomplete.tolist()}
            names = self._names()
            filled = _appended(filled, {f"missingindicator_{names[j]}": column for j, column in missing.items()})
        return _with_index_of(X, filled)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features,), default=None
            The names of the columns of ``X``. None stands for those seen during `fit`, or x0, x1, ... without these.

        Returns
        -------
        feature_names_out : ndarray of str
        """
        check_is_fitted(self)
        names = super().get_feature_names_out(input_features)
        kept = names if self.keep_empty_features else names[self._kept]
        indicators = [f"missingindicator_{name}" for name in names[self._incomplete]] if self.add_indicator else []
        return np.asarray([*kept, *indicators], dtype=object)

    def _filled(self, X: Any) -> Any:
        """Fill the missing cells of rows by means or draws."""
        density = self.density_
        if self.sample_posterior:
            drawn = density.impute(X, 1, check_random_state(self.random_state))
            return drawn[:, 0] if isinstance(drawn, np.ndarray) else drawn
        rows = density._check_rows(X, reset=False)
        return density._numbers_to_input_format(density._filled_by_means(rows))

    def _table(self, X: Any) -> Any:
        """Check X, and return it as an array or a DataFrame."""
        if library_of(X) is not None:
            check_labels(X)
            return X
        return check_array(X, dtype=None, ensure_all_finite="allow-nan", estimator=self, input_name="X")

    def _names(self) -> list[str]:
        """Return the names of the columns of X."""
        names: list[str] = super().get_feature_names_out().tolist()
        return names


def _columns(X: Any, columns: NDArray[np.intp]) -> Any:
    """Return some columns of an array or a DataFrame."""
    return X if np.array_equal(columns, np.arange(X.shape[1])) else _safe_indexing(X, columns.tolist(), axis=1)


def _appended(X: Any, columns: dict[str, NDArray[Any]]) -> Any:
    """Append columns to an array or a DataFrame."""
    if library_of(X) == "pandas":
        return X.assign(**columns)
    if library_of(X) == "polars":
        return X.with_columns(**columns)
    return np.column_stack([X, *(column.astype(X.dtype) for column in columns.values())])


def _with_index_of(X: Any, filled: Any) -> Any:
    """Give a DataFrame of pandas the index of another one."""
    if hasattr(filled, "index") and hasattr(X, "index"):
        filled.index = X.index
    return filled
