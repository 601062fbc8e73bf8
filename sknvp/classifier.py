"""Bayes' rule over one density per class."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.utils import Tags, _safe_indexing, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, get_routing_for_object, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, check_X_y, validate_data

from ._columns.kinds import check_labels
from ._estimators.inner import check_inner
from ._estimators.per_class import (
    clone_with_seed,
    describe_together,
    entries_of,
    fit_class_density,
    n_entries,
    places_and_weights,
    seeds_of_classes,
    weight_parameter,
)
from ._estimators.point_masses import check_kinds, log_units
from ._estimators.seeds import RandomState
from ._estimators.weights import check_weights, count_rows
from .density import RealNVPDensity


class DensityClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """Classification by Bayes' rule, ``P(c | x) = P(c) p(x | c) / p(x)``, over one density per class.

    Any density will do: with normal distributions this is quadratic discriminant analysis, with independent normal
    columns naive Bayes, with kernels kernel discriminant analysis. Methods and their meaning follow
    :class:`sklearn.naive_bayes.GaussianNB`; beside them stands `score_samples`, low for rows that belong to no class.

    Read more in the :doc:`User Guide </choosing>`.

    Parameters
    ----------
    estimator : estimator with `fit` and `score_samples`, default=None
        The density of a class, of which each class gets a clone; None stands for ``RealNVPDensity()``. It gets the rows
        of its class as they are in ``X``, so that it may be a pipeline that fills missing cells, picks columns by name
        or encodes strings. `score_samples` must give log-densities in the units of ``X``: behind a scaler that each
        class fits for itself they are not, and no two classes can be compared.
    priors : array-like of shape (n_classes,), default=None
        The probabilities of the classes, in the order of ``classes_``; None takes their shares of the training rows,
        by weight.
    n_jobs : int or None, default=None
        How many classes are fitted at once; None is one, unless a :obj:`joblib.parallel_backend` says otherwise, and
        -1 as many as there are processors.
    random_state : int, RandomState instance or None, default=None
        Gives each class's density a seed of its own, if it takes ``random_state``. None leaves it as in ``estimator``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted. Those of which all rows weigh zero are not among them.
    class_prior_ : ndarray of shape (n_classes,)
        The probability of each class.
    estimators_ : list of estimators, one per class
        The fitted densities.
    n_features_in_ : int
        Number of columns seen during `fit`, if ``X`` has columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns seen during `fit`, if all are strings.

    See Also
    --------
    sklearn.naive_bayes.GaussianNB : Bayes' rule with independent normal columns.
    sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis : Bayes' rule with normal distributions.

    Notes
    -----
    Where the density of every class is zero, far outside, the data say nothing, and the prior probabilities stay.

    A column that is constant in one class and varies in another decides between them in whatever units: the probability
    of the constant is spread over 3e-5 standard deviations of the column, as wide as in ``GaussianNB``.

    The densities check the rows. Every step of a pipeline in ``estimator`` is fitted to each class by itself, so that
    the categories of an encoder should be given; what all classes learn together belongs before the classifier. Whole
    numbers stay whole numbers, which the ``GaussianMixture`` of scikit-learn 1.7 to 1.9 scores wrongly: give it floats.

    With ``sklearn.set_config(enable_metadata_routing=True)`` the density gets the parameters of `fit` that it requests,
    ``sample_weight`` too; the default density requests all that it takes. The prior probabilities always heed weights.

    The errors of the densities enter the probabilities whole. From few rows in many columns these become too sure;
    ``CalibratedClassifierCV(DensityClassifier(), cv=3)`` learns from rows held out how sure they may be.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KernelDensity
    >>> from sknvp import DensityClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = DensityClassifier(KernelDensity(bandwidth=0.3)).fit(X, y)
    >>> classifier.predict(X[[0, 60, 120]])
    array([0, 1, 2])
    >>> bool(classifier.score_samples([[50.0, 3.0, 1.4, 0.2]])[0] < classifier.score_samples(X).min())
    True
    """

    classes_: NDArray[Any]
    class_prior_: NDArray[np.float64]
    estimators_: list[Any]
    # What is added to log-densities to make densities and probabilities comparable, of shape (n_classes,).
    _log_units: NDArray[np.float64]

    def __init__(
        self,
        estimator: Any = None,
        *,
        priors: ArrayLike | None = None,
        n_jobs: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.priors = priors
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags, density = super().__sklearn_tags__(), self._density()
        if hasattr(density, "__sklearn_tags__"):
            tags.input_tags = get_tags(density).input_tags  # The density checks the rows.
        return tags

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, **fit_params: Any) -> Self:
        """Fit a density to the rows of each class.

        If anything raises, what was fitted before stays as it was.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            The rows, of any kind that the density takes, and as many of each class as it needs.
        y : array-like of shape (n_samples,)
            The class of each row.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative, for the densities and the prior probabilities. A row of weight zero
            is as if absent. Without metadata routing the weights of a pipeline go to its last step alone, as
            ``<step>__sample_weight``.
        **fit_params : dict
            Further parameters for `fit` of the densities. If one has an entry for each row, each density gets the
            entries of its rows.

        Returns
        -------
        self : DensityClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If an argument breaks its rule, or a density cannot be fitted to the rows of its class; the message names
            that.
        """
        X, labels = self._checked_rows(X, y)
        density = self._checked_estimator(weighted=sample_weight is not None)
        bounded_weights = check_weights(sample_weight, labels)
        positive = bounded_weights > 0
        weights = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        classes, codes = np.unique(labels[positive], return_inverse=True)
        prior = _priors(self.priors, np.bincount(codes, None if weights is None else weights[positive]))
        members = [np.flatnonzero(positive)[codes == c] for c in range(len(classes))]
        parts = [self._fit_arguments(own, weights, fit_params, len(labels)) for own in members]
        twins = [clone_with_seed(density, seed) for seed in seeds_of_classes(self.random_state, len(classes))]
        describe_together(twins, X, bounded_weights, count_rows(weights, labels))
        estimators = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_class_density)(twin, _safe_indexing(X, places), arguments, label)
            for twin, (places, arguments), label in zip(twins, parts, classes.tolist(), strict=True)
        )
        check_kinds(estimators, classes.tolist())
        log_units_of_classes = log_units(estimators, X, bounded_weights)
        validate_data(self, X, skip_check_array=True)  # The columns are remembered, now that no fit can fail any more.
        self.classes_, self.class_prior_, self.estimators_ = classes, prior, estimators
        self._log_units = log_units_of_classes
        return self

    def _density(self) -> Any:
        """Return the estimator to clone; the default one requests all parameters that its `fit` takes."""
        if self.estimator is not None:
            return self.estimator
        density = RealNVPDensity()
        if _routes_metadata():
            density.set_fit_request(**dict.fromkeys(density.get_metadata_routing().fit.requests, True))
        return density

    def _checked_rows(self, X: Any, y: ArrayLike) -> tuple[Any, NDArray[Any]]:
        """Check the labels, and that each row has one; return rows that can be indexed, and the labels."""
        check_labels(X)
        (X,) = indexable(X)
        n_rows = n_entries(X)
        if not n_rows:
            raise ValueError(f"X must be a table of at least one row, got {X!r}.")
        _, labels = check_X_y(np.zeros((n_rows, 1)), y, estimator=self)  # The densities check X.
        check_classification_targets(labels)
        return X, labels

    def _checked_estimator(self, weighted: bool) -> Any:
        """Return the estimator to clone, or raise a ValueError if it cannot be fitted as asked."""
        density = self._density()
        routes = _routes_metadata() and isinstance(get_routing_for_object(density), MetadataRouter)
        loses_weights = weighted and not routes and weight_parameter(density) is None
        other_cure = f", or enable metadata routing if one inside of {type(density).__name__} does"
        check_inner(density, loses_weights, other_cure)
        return density

    def _fit_arguments(
        self, own: NDArray[np.intp], weights: NDArray[np.float64] | None, params: dict[str, Any], n_rows: int
    ) -> tuple[NDArray[np.intp], dict[str, Any]]:
        """Return the places of the rows of one class, and what `fit` of its density gets beside these rows."""
        places, own_weights = places_and_weights(own, weights)
        own_params = {name: entries_of(value, places, n_rows) for name, value in params.items()}
        if _routes_metadata():
            return places, process_routing(self, "fit", sample_weight=own_weights, **own_params).estimator.fit
        if own_weights is not None:
            own_params[str(weight_parameter(self._density()))] = own_weights
        return places, own_params

    def get_metadata_routing(self) -> MetadataRouter:
        """Return what this estimator and its density request of the parameters of `fit`, for metadata routing.

        Returns
        -------
        routing : MetadataRouter
            The requests.
        """
        router = MetadataRouter(owner=type(self).__name__).add_self_request(self)
        return router.add(estimator=self._density(), method_mapping=MethodMapping().add(caller="fit", callee="fit"))

    def predict_joint_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log of the density of each row and class together, ``log P(c) + log p(x | c)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        joint : ndarray of shape (n_samples, n_classes)
            In nats, the classes in the order of ``classes_``.
        """
        check_is_fitted(self)
        if not hasattr(self.estimators_[0], "n_features_in_"):  # The densities compare no columns.
            validate_data(self, X, skip_check_array=True, reset=False)
        log_density = [estimator.score_samples(X) for estimator in self.estimators_]
        return np.stack(log_density, 1).astype(np.float64) + self._log_units + _log(self.class_prior_)

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            The classes in the order of ``classes_``.
        """
        joint = self.predict_joint_log_proba(X)
        joint[np.isneginf(joint).all(1)] = _log(self.class_prior_)
        log_proba: NDArray[np.float64] = joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)
        return log_proba

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            The classes in the order of ``classes_``; each row adds up to one.
        """
        return np.exp(self.predict_log_proba(X))

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-odds of the second class, or of more than two classes the log-probability of each.

        On this scale :class:`~sklearn.calibration.CalibratedClassifierCV` mends probabilities that are too sure.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            In nats, the classes in the order of ``classes_``.
        """
        log_proba = self.predict_log_proba(X)
        return log_proba[:, 1] - log_proba[:, 0] if len(self.classes_) == 2 else log_proba

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Find the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Labels from ``classes_``.
        """
        codes = self.predict_log_proba(X).argmax(1)
        labels: NDArray[Any] = self.classes_[codes]
        return labels

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-density of each row, whatever its class, ``log sum_c P(c) p(x | c)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats, in the units of the ``X`` that was fitted; low for rows that belong to no class.
        """
        log_density: NDArray[np.float64] = np.logaddexp.reduce(self.predict_joint_log_proba(X), axis=1)
        return log_density


def _priors(given: ArrayLike | None, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Check the priors and return them; None stands for the share of the weight that each class has."""
    try:
        priors = np.asarray(weights / weights.sum() if given is None else given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"priors must be None or an array of {len(weights)} probabilities, got {given!r}. List them in the order "
            "of the sorted labels."
        ) from error
    if priors.shape != weights.shape:
        raise ValueError(f"priors must have shape (n_classes,) = {weights.shape}, got {priors.shape}.")
    if not (priors >= 0).all() or not np.isclose(priors.sum(), 1):
        raise ValueError(f"priors must not be negative and must add up to 1, got {given!r}. Divide them by their sum.")
    normalised: NDArray[np.float64] = priors / priors.sum()
    return normalised


def _routes_metadata() -> bool:
    """Return whether scikit-learn routes metadata."""
    return bool(get_config()["enable_metadata_routing"])


def _log(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute logarithms, minus infinity for zero."""
    with np.errstate(divide="ignore"):
        return np.log(probabilities)
