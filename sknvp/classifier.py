"""Bayes' rule over one density per class."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, check_X_y, has_fit_parameter, validate_data

from ._estimators.base import FLOATS
from ._estimators.rows import check_weights
from .density import RealNVPDensity

Seed = int | np.random.RandomState | None


class DensityClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """Classification by Bayes' rule, ``P(c | x) = P(c) p(x | c) / p(x)``, over one density per class.

    Any density will do: with normal distributions this is quadratic discriminant analysis, with independent normal
    columns naive Bayes, with kernels kernel discriminant analysis. Methods and their meaning follow
    :class:`sklearn.naive_bayes.GaussianNB`; beside them stands `score_samples`, low for rows that belong to no class.

    Parameters
    ----------
    estimator : estimator with `fit` and `score_samples`, default=None
        The density of a class, of which each class gets a clone; None stands for ``RealNVPDensity()``. `score_samples`
        must give log-densities in the units of ``X``: behind a scaler that each class fits for itself they are not, and
        no two classes can be compared.
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
        Number of columns seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns seen during `fit`, if all are strings.

    See Also
    --------
    sklearn.naive_bayes.GaussianNB : Bayes' rule with independent normal columns.
    sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis : Bayes' rule with normal distributions.

    Notes
    -----
    So far outside that the density of every class is zero the data say nothing, and the prior probabilities stay.

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

    def __init__(
        self,
        estimator: Any = None,
        *,
        priors: ArrayLike | None = None,
        n_jobs: int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.estimator = estimator
        self.priors = priors
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit a density to the rows of each class.

        If anything raises, what was fitted before stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows; finite, without missing values, and as many of each class as its density needs.
        y : array-like of shape (n_samples,)
            The class of each row.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, not negative, for the densities and the prior probabilities. A row of weight zero
            is as if absent.

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
        rows, labels = check_X_y(X, y, dtype=FLOATS, estimator=self)
        check_classification_targets(labels)
        density = self._checked_estimator(weighted=sample_weight is not None)
        counts = check_weights(sample_weight, rows) > 0
        weights = np.ones(len(rows)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        classes, codes = np.unique(labels[counts], return_inverse=True)
        prior = _priors(self.priors, np.bincount(codes, weights[counts]))
        members = [np.flatnonzero(counts)[codes == c] for c in range(len(classes))]
        seeds = _seeds(self.random_state, len(classes))
        fits = (
            delayed(_fitted)(_seeded(density, seed), rows[own], None if sample_weight is None else weights[own], label)
            for own, seed, label in zip(members, seeds, classes.tolist(), strict=True)
        )
        estimators = Parallel(n_jobs=self.n_jobs)(fits)
        validate_data(self, X, skip_check_array=True)  # remembers the columns, now that no fit can fail any more
        self.classes_, self.class_prior_, self.estimators_ = classes, prior, estimators
        return self

    def _checked_estimator(self, weighted: bool) -> Any:
        """Return the estimator to clone, or raise a ValueError if it cannot be fitted as asked."""
        density = RealNVPDensity() if self.estimator is None else self.estimator
        name = type(density).__name__
        if not hasattr(density, "score_samples"):
            raise ValueError(f"estimator must have score_samples, got {name}, which has not. Give a density.")
        if weighted and not has_fit_parameter(density, "sample_weight"):
            raise ValueError(f"sample_weight must be None with {name}, whose fit takes none, got weights.")
        return density

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
        rows = validate_data(self, X, dtype=FLOATS, reset=False)
        log_density = [estimator.score_samples(rows) for estimator in self.estimators_]
        return np.stack(log_density, 1).astype(np.float64) + _log(self.class_prior_)

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
            Of ``classes_``.
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
    priors = np.asarray(weights / weights.sum() if given is None else given, dtype=np.float64)
    if priors.shape != weights.shape:
        raise ValueError(f"priors must have shape (n_classes,) = {weights.shape}, got {priors.shape}.")
    if not (priors >= 0).all() or not np.isclose(priors.sum(), 1):
        raise ValueError(f"priors must not be negative and must add up to 1, got {given!r}. Divide them by their sum.")
    normalised: NDArray[np.float64] = priors / priors.sum()
    return normalised


def _seeds(random_state: Seed, n: int) -> list[int | None]:
    """Draw a seed for each class; None for each class if the densities are to keep their own."""
    if random_state is None:
        return [None] * n
    seeds: list[int | None] = check_random_state(random_state).randint(2**31 - 1, size=n).tolist()
    return seeds


def _seeded(estimator: Any, seed: int | None) -> Any:
    """Clone an estimator and give the seed to every part of it that takes one."""
    twin = clone(estimator)
    if seed is None:
        return twin
    names = [name for name in twin.get_params() if name.split("__")[-1] == "random_state"]
    return twin.set_params(**dict.fromkeys(names, seed))


def _fitted(estimator: Any, X: NDArray[Any], weights: NDArray[np.float64] | None, label: Any) -> Any:
    """Fit the estimator to the rows of one class."""
    if weights is not None and len(X) == 1 and weights[0] >= 2:  # that is two rows, for a density that wants as many
        X, weights = X.repeat(2, axis=0), weights.repeat(2) / 2
    try:
        return estimator.fit(X) if weights is None else estimator.fit(X, sample_weight=weights)
    except ValueError as error:
        raise ValueError(f"The density of class {label!r} does not fit its {len(X)} row(s): {error}") from error


def _log(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute logarithms, minus infinity for zero."""
    with np.errstate(divide="ignore"):
        return np.log(probabilities)
