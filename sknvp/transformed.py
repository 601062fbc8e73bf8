"""A density behind a transformation of the columns, in the units of the columns."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, MetaEstimatorMixin, clone
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from ._columns.kinds import check_columns
from ._estimators import parameters as rule
from ._estimators.base import FLOATS, unchanged_on_error
from ._estimators.draws import seeded_draws
from ._estimators.inner import check_inner
from ._estimators.jacobians import INVERSES, is_jacobian, log_derivative_of, log_jacobian, sum_per_row
from ._estimators.weights import check_weights, weighted_total
from ._warn import warn_caller
from .density import RealNVPDensity

MAX_DIFFERENCE = 1e-3  # Rows and inverse images differ by at most this many standard deviations.


class TransformedDensity(DensityMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """The density of rows whose transformation another estimator models, in the units of the rows.

    With an invertible map t and a density q of ``t(x)``, the density of a row is ``p(x) = q(t(x)) |det dt/dx|``. Behind
    a transformer in a pipeline the determinant is missing, and log-densities are in the units of ``t(x)``. It is to
    densities what :class:`sklearn.compose.TransformedTargetRegressor` is to regressors, with the Jacobian.

    Read more in the :doc:`User Guide </pipelines>`.

    Parameters
    ----------
    estimator : estimator with `fit`, `score_samples` and `sample`, default=None
        The density of transformed rows, such as a :class:`~sklearn.neighbors.KernelDensity` or a
        :class:`~sklearn.mixture.GaussianMixture`. None stands for ``RealNVPDensity()``.
    transformer : transformer, default=None
        One of ``StandardScaler``, ``MinMaxScaler``, ``MaxAbsScaler``, ``RobustScaler``, ``PowerTransformer``, ``PCA``
        with all components, ``FunctionTransformer`` of one of the functions below, a ``Pipeline`` of these, or any with
        `inverse_transform` and a method ``log_abs_det_jacobian(X)``. None leaves rows as they are, unless ``func`` is
        given.
    func : callable, default=None
        The map, in the place of a transformer: it takes and returns rows of shape (n_samples, n_features).
    inverse_func : callable, default=None
        The inverse of ``func``, by which rows are drawn. None finds that of ``log``, ``exp``, ``log1p``, ``expm1``,
        ``sqrt``, ``sinh`` and ``arcsinh`` of NumPy, ``logit`` and ``expit`` of SciPy.
    log_abs_det_jacobian : callable, default=None
        It takes rows and returns the logarithm of the absolute determinant of the Jacobian of ``func`` at each, of
        shape (n_samples,), in nats; or for functions of single columns the logarithms of their derivatives, of shape
        (n_samples, n_features), which are added up. None finds that of the functions named above.

    Attributes
    ----------
    estimator_ : estimator
        The fitted density of transformed rows.
    transformer_ : transformer
        The fitted transformer.
    n_features_in_ : int
        Number of columns seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns seen during `fit`, if all are strings.

    See Also
    --------
    sklearn.compose.TransformedTargetRegressor : A regressor behind a transformation of the target.
    RealNVPDensity : Its ``bounds`` do for columns with ends what a logarithm or a logit does.

    Notes
    -----
    A row that ``func`` maps to no finite numbers, such as a negative one to a logarithm, has a density of zero, and a
    log-density of minus infinity.

    ``QuantileTransformer`` is none of the transformers: it maps all numbers beyond those of `fit` to two.

    A transformer whose `fit` takes no weights sees every row of positive weight once.

    Examples
    --------
    The density of amounts, by kernels on their logarithms:

    >>> import numpy as np
    >>> from sklearn.neighbors import KernelDensity
    >>> from sknvp import TransformedDensity
    >>> X = np.random.default_rng(0).lognormal(size=(500, 1))
    >>> density = TransformedDensity(KernelDensity(bandwidth=0.3), func=np.log).fit(X)
    >>> grid = np.linspace(0.001, 60, 20_000)
    >>> round(float(np.exp(density.score_samples(grid[:, None])).sum() * (grid[1] - grid[0])), 2)
    1.0
    >>> density.score_samples([[-1.0]])
    array([-inf])
    >>> bool((density.sample(100, random_state=0) > 0).all())
    True
    """

    estimator_: Any
    transformer_: Any
    _jacobian: Callable[[Any], Any] | None
    _dtype: str

    def __init__(
        self,
        estimator: Any = None,
        transformer: Any = None,
        *,
        func: Callable[[Any], Any] | None = None,
        inverse_func: Callable[[Any], Any] | None = None,
        log_abs_det_jacobian: Callable[[Any], Any] | None = None,
    ) -> None:
        self.estimator = estimator
        self.transformer = transformer
        self.func = func
        self.inverse_func = inverse_func
        self.log_abs_det_jacobian = log_abs_det_jacobian

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the transformer to rows, and the density to the transformed rows.

        If anything raises, what was fitted before stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows, finite.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative, for a density and a transformer that take weights. A row of weight
            zero is as if absent.

        Returns
        -------
        self : TransformedDensity
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, ``X`` or ``sample_weight`` breaks its rule, the map has no Jacobian that is known or given,
            or it gives numbers that are not finite.

        Warns
        -----
        UserWarning
            If ``inverse_func`` does not find rows again, or ``log_abs_det_jacobian`` does not agree with differences of
            ``func``.
        """
        transformer = self._map()
        with unchanged_on_error(self):
            check_columns(X)
            rows = validate_data(self, X, dtype=FLOATS)
            settings = {}
            if sample_weight is not None:
                counted = check_weights(sample_weight, rows, n_least=1) > 0
                rows, settings = rows[counted], {"sample_weight": np.asarray(sample_weight, np.float64)[counted]}
            density = RealNVPDensity() if self.estimator is None else clone(self.estimator)
            check_inner(density, loses_weights=bool(settings) and not has_fit_parameter(density, "sample_weight"))
            takes_weights = has_fit_parameter(transformer, "sample_weight")
            self.transformer_ = transformer.fit(rows, **(settings if takes_weights else {}))
            self._jacobian, self._dtype = self.log_abs_det_jacobian, rows.dtype.name
            images = self._images(rows)
            if not np.isfinite(images).all():
                raise ValueError(
                    "The transformer or func must give finite numbers for all rows of X, got "
                    f"{images[~np.isfinite(images)][0]}. Leave such rows out, or move the columns first."
                )
            self._check_map(rows, images)
            self.estimator_ = density.fit(images, **settings)
        return self

    def _map(self) -> Any:
        """Return the transformer to fit."""
        functions = {name: getattr(self, name) for name in ("func", "inverse_func", "log_abs_det_jacobian")}
        given = {name: function for name, function in functions.items() if function is not None}
        for name, function in given.items():
            rule.check(name, function, rule.Rule(callable, "None or callable"))
        if self.transformer is not None and given:
            raise ValueError(f"transformer must be None if {next(iter(given))} is given, got {self.transformer!r}.")
        if self.func is None and given:
            raise ValueError(f"func must be given if {next(iter(given))} is, got None.")
        if self.func is None:
            return FunctionTransformer() if self.transformer is None else clone(self.transformer)
        if self.log_abs_det_jacobian is None:
            log_derivative_of(self.func)
        inverse = INVERSES.get(self.func) if self.inverse_func is None else self.inverse_func
        return FunctionTransformer(self.func, inverse, check_inverse=False)

    def _check_map(self, rows: NDArray[Any], images: NDArray[Any]) -> None:
        """Raise an error if there is no Jacobian, and warn if functions that were given do not fit together."""
        log_det = self._log_jacobian(rows)
        if not np.isfinite(log_det).all():
            raise ValueError(
                "log_abs_det_jacobian must be finite at all rows of X, got "
                f"{log_det[~np.isfinite(log_det)][0]}. Leave out rows where the map has no slope."
            )
        if self._jacobian is not None and not is_jacobian(self._images, self._jacobian, rows):
            warn_caller("log_abs_det_jacobian differs from differences of func; no log-density can be right then.")
        if self.inverse_func is not None:
            with np.errstate(all="ignore"):
                gap = np.abs(self.inverse_func(images) - rows).max(0)
            if not (gap <= MAX_DIFFERENCE * np.maximum(rows.std(0), np.abs(rows).max(0) * 1e-3)).all():
                warn_caller("inverse_func does not find rows again from what func makes of them; draws will be wrong.")

    def _images(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Transform rows; those outside of the domain of the map are not finite."""
        with np.errstate(all="ignore"):
            images = np.asarray(self.transformer_.transform(rows))
        if images.shape != rows.shape:
            raise ValueError(
                f"The transformer or func must keep the shape of the rows, {rows.shape}, got {images.shape}. A map to "
                "more or fewer columns has no density."
            )
        return images

    def _log_jacobian(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return the logarithm of the absolute determinant of the Jacobian at rows."""
        with np.errstate(all="ignore"):
            if self._jacobian is None:
                return log_jacobian(self.transformer_, rows)
            return sum_per_row(self._jacobian(rows.astype(np.float64)), rows)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-density of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats, in the units of the ``X`` that was fitted; minus infinity for rows that the map cannot take.
        """
        check_is_fitted(self)
        check_columns(X)
        rows = validate_data(self, X, dtype=FLOATS, reset=False)
        images, log_det = self._images(rows), self._log_jacobian(rows)
        possible = np.isfinite(images).all(1) & np.isfinite(log_det)
        log_density = np.full(len(rows), -np.inf)
        if possible.any():
            log_density[possible] = self.estimator_.score_samples(images[possible]) + log_det[possible]
        return log_density

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Compute the total log-likelihood of the rows.

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
            The sum of `score_samples`, each times its weight, in nats.
        """
        return weighted_total(self.score_samples(X), sample_weight)

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> NDArray[Any]:
        """Draw new rows from the density.

        Parameters
        ----------
        n_samples : int, default=1
            The number of rows.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same rows at every call.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Independent rows, of the dtype that was fitted.

        Raises
        ------
        ValueError
            If ``n_samples`` breaks its rule, or there is no inverse of the map.
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        of_func = isinstance(self.transformer_, FunctionTransformer) and self.transformer_.func is not None
        if of_func and self.transformer_.inverse_func is None:
            raise ValueError(f"inverse_func must be given for sample, got None with func={self.transformer_.func!r}.")
        drawn = seeded_draws(self.estimator_, int(n_samples), random_state)
        rows: NDArray[Any] = np.asarray(self.transformer_.inverse_transform(np.asarray(drawn)))
        return rows.astype(self._dtype)
