"""Conditional densities with Real NVP flows."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags, _safe_indexing

from ._estimators.base import unchanged_on_error
from ._estimators.callbacks import Task, with_callbacks
from ._estimators.conditional import ConditionalDensityMethods
from ._estimators.docs import document
from ._estimators.rows import Rows
from ._estimators.scaling import scaling_of
from ._estimators.specify import real_nvp_specification
from ._estimators.stacked import StackedFitter
from ._estimators.weights import check_weights, count_rows, rows_per_entry
from ._experts.regression import regression_candidates
from ._experts.stacking import Candidate
from ._experts.table import Table
from .flows.builders.parts import MakeCoupling
from .flows.builders.specification import RealNVPSpecification


@document
class ConditionalRealNVPDensity(ConditionalDensityMethods, StackedFitter):
    """Density of one or several targets given the columns of X, by Real NVP flows.

    A flow maps the targets of a row to normal noise, by couplings whose networks see the row's other columns too,
    the context::

        log p(y | x) = log N(f(y; x); 0, I) + log |det df(y; x) / dy|

    So the whole distribution of y depends on x: where it lies, how wide it is, its shape, the number of its modes.
    A single target is bent in every layer by a monotone spline that x alone decides. ``n_estimators`` flows are
    trained at once by maximum likelihood, each validated on rows of its own.

    With ``stacking`` two linear regressions stand beside the flows, one with normal and one with t-distributed noise,
    since where little is known a line is hard to beat. The density is a weighted mean of all of them, with the weights
    under which the rows that were held out are likeliest; with ``stacking=False`` it is the mean of the flows.

    Log-densities are in nats, in the units of ``y``. All probability of a constant target lies at its value, where it
    adds nothing to the log-density; each other value of it takes 69 nats off.

    Read more in the :doc:`User Guide </conditional>`.

    Parameters
    ----------
    {n_layers}
    {hidden_layer_sizes}
    activation : {"elu", "leaky_relu", "relu", "silu", "tanh"}, default="relu"
        Activation of the hidden layers. "silu" suits densities that change smoothly with ``X``.
    coupling : {"affine", "spline"} or callable, default="spline"
        What a coupling does to a target: scale and shift it, or bend it by a monotone rational-quadratic spline, with
        trained linear maps between the layers. With a name, a single target always gets splines. A map of your own is
        a subclass of :class:`sknvp.flows.Coupling`, or a function that makes one.
    discrete_targets : "auto", None or array-like of bool, int or str, default="auto"
        The targets that are discrete: a mask, their numbers or their names; None for none. "auto" finds them as
        :class:`RealNVPDensity` does its columns: strings, booleans, categories, whole numbers of which some repeat, and
        zeros of continuous targets that have a probability, such as those of claims or of rain.
    bounds : None or tuple (low, high) of floats or array-likes of shape (n_outputs,), default=None
        The least and the greatest number that each target can be, -inf and inf where there is no end to it. See
        :class:`RealNVPDensity`.
    periods : None, dict or array-like of float, of shape () or (n_outputs,), default=None
        The periods of targets that are angles, hours, longitudes and the like, at most five of them: ``dict(hour=24)``
        by the names or numbers of the targets, or a number for each target, with None where there is no period. See
        :class:`RealNVPDensity`. Such targets have a mean direction, `predict`, but no quantiles. Columns of ``X`` that
        have a period are best given as cosine and sine.
    {n_estimators}
    stacking : bool, default=True
        Whether linear regressions stand beside the flows. The one with t-distributed noise gets a thousandth of the
        weight at least. Needs ``early_stopping``, without which nothing is held out and the flows stay alone.
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
    n_features_in_ : int
        Number of columns of ``X`` seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns of ``X`` seen during `fit`, if all are strings.
    n_outputs_ : int
        Number of targets seen during `fit`.
    columns_ : list of str
        What each target was found to hold in `fit`, a line for each.
    {flow_}
    {density_}
    loc_ : ndarray of shape (n_outputs,)
        The location that was subtracted from each target, in the units of the target.
    scale_ : ndarray of shape (n_outputs,)
        The scale that each target was divided by, in the units of the target.
    stacking_weights_ : dict of str to float
        The weights of "flows", "linear_regression" and "student_t_regression" in the density, as far as they take part;
        they add up to one.
    {n_iter_}
    {loss_curve_}
    {validation_scores_}
    {best_validation_score_}

    See Also
    --------
    RealNVPDensity : Density of all columns together.
    sklearn.gaussian_process.GaussianProcessRegressor : Normal distributions around a smooth function.

    Notes
    -----
    Being a regressor it can stand wherever scikit-learn wants one, but `score` is the total log-likelihood, which a
    :class:`~sklearn.model_selection.GridSearchCV` then maximises. Flows are trained in float32. Once fitted, they
    compute in float32 if both ``X`` and ``y`` are float32, and otherwise in float64. Targets are returned in the dtype
    of ``y``, float32 or else float64.

    References
    ----------
    Winkler, Worrall, Hoogeboom and Welling, "Learning Likelihoods with Conditional Normalizing Flows", 2019,
    https://arxiv.org/abs/1912.00042

    Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows", NeurIPS 2019, https://arxiv.org/abs/1906.04032

    Examples
    --------
    Noise that grows with x:

    >>> import numpy as np
    >>> from sknvp import ConditionalRealNVPDensity
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 1, (500, 1))
    >>> y = X[:, 0] + (0.1 + X[:, 0]) * rng.normal(size=500)
    >>> density = ConditionalRealNVPDensity(n_estimators=1, random_state=0).fit(X, y)
    >>> low, high = density.predict_quantile([[0.1], [0.9]], [0.05, 0.95]).T
    >>> bool(high[1] - low[1] > 2 * (high[0] - low[0]))
    True
    >>> density.sample([[0.1], [0.9]], n_samples=3, random_state=0).shape
    (2, 3)

    An angle that turns with x, whose density is equal at both ends of the circle:

    >>> angle = (180 + 90 * X[:, 0] + 20 * rng.normal(size=500)) % 360
    >>> density = ConditionalRealNVPDensity(periods=360, n_estimators=1, random_state=0).fit(X, angle)
    >>> low, high = density.score_samples([[0.9], [0.9]], [0.0, 360.0])
    >>> bool(abs(low - high) < 1e-6)
    True
    """

    def __init__(
        self,
        *,
        n_layers: int = 6,
        hidden_layer_sizes: int | Sequence[int] = (32, 32),
        activation: str = "relu",
        coupling: str | MakeCoupling = "spline",
        discrete_targets: str | ArrayLike | None = "auto",
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
        self.n_layers = n_layers
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.coupling = coupling
        self.discrete_targets = discrete_targets
        self.bounds = bounds
        self.periods = periods
        self.n_estimators = n_estimators
        self.stacking = stacking
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # The score is a log-likelihood, which may well be negative.
        return tags

    @with_callbacks
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit the flows to pairs of rows and targets.

        If anything raises, what was fitted before stays as it was. Ctrl-C ends training early with the best weights
        so far, or without ``early_stopping`` with the last ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on; at least two, finite. Cells may be missing (NaN, None, pandas.NA), of which more
            is said in the page "Missing cells".
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets. Their number of dimensions decides the shapes that the other methods return.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each pair counts, not negative. One of weight zero is as if absent, one of weight two as if it
            were there twice.
        groups : array-like of shape (n_samples,), default=None
            The group of each pair, as in :class:`sklearn.model_selection.GroupKFold`. Pairs that are held out for
            validation must be new to the flow, so give pairs that depend on each other one label: those of a patient, a
            machine or a source, or in time blocks of pairs that follow each other, such as
            ``np.arange(len(X)) * 8 // len(X)``. Each group is held out as a whole. None: all pairs are independent,
            apart from pairs that are equal or nearly so. ``np.arange(len(X))`` says that all are.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, ``X``, ``y``, ``sample_weight`` or ``groups`` breaks its rule.

        Warns
        -----
        UserWarning
            If ``groups`` is None and the pairs do not look independent: most have near copies, many lie on the line
            between two others, or each is near the one before.
        ConvergenceWarning
            If training had not settled after ``max_iter`` epochs, a number of them being given.
        """
        task = Task.root(self, 2)
        with unchanged_on_error(self):
            task.begin(X)
            continues = self.warm_start and self._is_fitted
            device = self._check_parameters()
            pairs, weights, n_pairs = self._weighed_pairs(X, y, sample_weight, continues, n_least=2)
            rows = self._rows_to_fit(pairs, weights, groups, n_context=pairs.shape[1] - self.n_outputs_)
            rows = self._with_cells(rows, n_pairs, continues)
            self._fit_rows(rows, device, continues, task)
            task.end(X)
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the flows for one epoch on pairs, which may be a part of a stream.

        A first call starts new flows, standardised by the pairs that it gets, so these should be typical: pass enough
        of them, or `fit` to the first thousands. Later calls keep location, scale, constant targets, the margins of
        discrete ones and the optimiser's state, which pickles carry along. No pairs are held out. The regressions that
        stand beside the flows since `fit` stay as they are, but are weighed anew by the pairs of each call, before the
        flows learn from them. Without a `fit` there are none.

        If anything raises, Ctrl-C included, what was fitted before stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to condition on; at least two in the first call, finite. Cells may be missing as in `fit`, in the
            columns that had missing cells in the first call.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each pair counts, not negative, relative to the others of this call.

        Returns
        -------
        self : object
            The estimator, trained further.

        Raises
        ------
        ValueError
            If a parameter, ``X``, ``y`` or ``sample_weight`` breaks its rule, or a parameter of the architecture has
            changed.

        Warns
        -----
        UserWarning
            If half of the targets lie more than five scales from their location, where splines bend nothing, if most
            discrete targets lie outside of those that the first pairs led to expect, or if a target that was constant
            in the first pairs has other values. Then call `fit` on recent pairs, and go on from there.
        """
        with unchanged_on_error(self):
            continues, device = self._is_fitted, self._check_parameters()
            n_least = 1 if continues else 2
            pairs, weights, n_pairs = self._weighed_pairs(X, y, sample_weight, continues, n_least)
            rows = self._merge(pairs, weights, n_context=pairs.shape[1] - self.n_outputs_)
            self._advance_rows(self._with_cells(rows, n_pairs, continues), device)
        return self

    def _weighed_pairs(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, continues: bool, n_least: int
    ) -> tuple[NDArray[Any], NDArray[np.float64], float]:
        """Check pairs, and return them with their weights and the number of pairs that these stand for."""
        pairs = self._check_pairs(X, y, reset=not continues, n_least=n_least)
        weights = check_weights(sample_weight, pairs, n_least=n_least)
        n_pairs = count_rows(sample_weight, pairs)
        if continues:
            self._warn_of_moved_values(pairs[:, -self.n_outputs_ :], weights, "y")
        if not continues and np.ptp(weights):
            # Describe the columns anew by the pairs of positive weight, each as often as it counts.
            positive = np.flatnonzero(weights)
            parts = (_safe_indexing(part, positive) for part in (X, y))
            some = self._check_pairs(*parts, reset=True, counts=rows_per_entry(weights[positive], n_pairs))
            pairs = np.zeros((len(weights), some.shape[1]), some.dtype)
            pairs[positive] = some
        return pairs, weights, n_pairs

    def _specify(self, rows: Rows, generator: torch.Generator) -> RealNVPSpecification:
        return real_nvp_specification(
            scaling_of(rows.x, rows.weights),
            rows.x.dtype.name,
            generator,
            n_layers=self.n_layers,
            n_estimators=self.n_estimators,
            hidden_layer_sizes=self.hidden_layer_sizes,
            activation=self.activation,
            coupling=self.coupling,
            context=scaling_of(rows.context, rows.weights),
        )

    def _candidates(self, table: Table, flow_log_density: torch.Tensor, rng: np.random.RandomState) -> list[Candidate]:
        return regression_candidates(table, self._standardized_periods(table.scaling))
