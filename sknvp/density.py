"""Density estimation with Real NVP flows."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ._columns.kinds import library_of
from ._estimators import parameters as rule
from ._estimators.density import FlowDensity
from ._estimators.docs import document
from ._estimators.normal_scores import estimate_all_normal_scores, estimate_normal_scores
from ._estimators.rows import Rows
from ._estimators.scaling import scaling_in_columns
from ._estimators.specify import specify_real_nvp
from ._estimators.stacked import StackedFitter
from ._experts.stacking import Candidate
from ._experts.table import Table
from ._experts.unconditional import ExpertFitter
from .flows.builders.parts import MakeBase, MakeCoupling
from .flows.builders.specification import NormalScoreMaps, RealNVPSpecification, Specification, TabularSpecification

ScoresAndErrors = tuple[NDArray[np.float64], NDArray[np.float64]]


@document
class RealNVPDensity(StackedFitter, FlowDensity):
    """Density of a table of numbers, by Real NVP normalizing flows and simple experts beside them.

    The flows have Real NVP's architecture [1]_, with its affine couplings replaced, unless told otherwise, by the
    monotone splines of neural spline flows [2]_, which reach higher likelihoods; ``coupling="affine"`` gives Real NVP
    as published.

    A flow maps the rows, standardised, to normal noise through a stack of coupling layers; the density of a row is
    the noise's density there times the Jacobian determinant of the map. The stack starts as the identity, that is
    from the normal distribution with the columns' means and variances, and is trained by maximum likelihood with
    AdamW [3]_. ``n_estimators`` flows are trained at once, each validated on rows of its own. The last half of them,
    rounded down, sees continuous columns as normal scores: each column is mapped first by an estimate of its
    distribution function, then by the quantile function of the normal distribution, whose slopes are part of the
    density. Such flows start from the margins of the columns, narrow parts and long tails included.
    Without ``standardize``, and in streams that begin with `partial_fit`, all flows see the columns as they are.

    No family of densities is best for every table: clusters suit Gaussian mixtures, near-duplicates suit kernels. So
    with ``stacking`` the estimate is a weighted mean of the densities of the flows, of a Gaussian mixture, of a
    Gaussian mixture of normal scores [5]_, of kernels and of a t-distribution, with the weights under which the rows
    that were held out are likeliest [4]_; ``stacking_weights_`` tells them, that of all flows together. With
    ``stacking=False`` it is the mean density of the flows.

    Methods and their meaning follow :class:`sklearn.neighbors.KernelDensity`. Log-densities are in nats, in the
    units of ``X``: the Jacobian of the standardisation is part of them. Whole numbers and categories have probabilities
    instead; see ``discrete_features``. All probability of a constant column lies at its value, where it adds nothing to
    the log-density; each other value of it takes 69 nats off.

    Read more in the :doc:`User Guide </how_a_flow_works>`.

    Parameters
    ----------
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
    sklearn.neighbors.KernelDensity : Density by a kernel on every row.
    sklearn.mixture.GaussianMixture : Density by a mixture of normal distributions.

    Notes
    -----
    Rows are standardised in float64 and flows trained in float32 (with ``standardize=False`` in the dtype of ``X``).
    What is fitted computes in the dtype of ``X``, float32 or else float64. Log-densities are float64, finite for every
    finite row: none is below -1e300.

    Losses and validation scores are those of a flow with a t-distribution of weight 1e-30 added to its
    density, so that a row which no flow can explain neither decides the gradient nor when to stop.

    scikit-learn 1.9 and later can call callbacks: ``density.set_callbacks(ProgressBar())`` before `fit`. They are told
    of the task "fit", in it of "train" and "stack", and in "train" of an "evaluation" every 25 batches, at the end of
    which they may stop training.

    References
    ----------
    .. [1] L. Dinh, J. Sohl-Dickstein and S. Bengio, "Density estimation using Real NVP", ICLR 2017.
       https://arxiv.org/abs/1605.08803
    .. [2] C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, "Neural Spline Flows", NeurIPS 2019.
       https://arxiv.org/abs/1906.04032
    .. [3] I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
       https://arxiv.org/abs/1711.05101
    .. [4] P. Smyth and D. Wolpert, "Linearly Combining Density Estimators via Stacking", Machine Learning 36, 1999.
    .. [5] A. Tewari, M. Giering and A. Raghunathan, "Parametric Characterization of Multimodal Distributions with
       Non-Gaussian Modes", ICDM Workshops 2011.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sknvp import RealNVPDensity
    >>> X, _ = make_moons(400, noise=0.1, random_state=0)
    >>> density = RealNVPDensity(random_state=0).fit(X)
    >>> on_a_moon, between_them = density.score_samples([[0.0, 1.0], [0.5, 0.25]])
    >>> bool(on_a_moon > between_them)
    True
    >>> density.sample(3, random_state=0).shape
    (3, 2)
    """

    _takes_missing: ClassVar[bool] = True

    def __init__(
        self,
        *,
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
        self.n_layers = n_layers
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.coupling = coupling
        self.base = base
        self.mask = mask
        self.batch_norm = batch_norm
        self.standardize = standardize
        self.discrete_features = discrete_features
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

    @overload
    def score_samples(self, X: ArrayLike, *, return_std: Literal[False] = False) -> NDArray[np.float64]: ...

    @overload
    def score_samples(self, X: ArrayLike, *, return_std: Literal[True]) -> ScoresAndErrors: ...

    @overload
    def score_samples(self, X: ArrayLike, *, return_std: bool) -> NDArray[np.float64] | ScoresAndErrors: ...

    def score_samples(self, X: ArrayLike, *, return_std: bool = False) -> NDArray[np.float64] | ScoresAndErrors:
        """Compute the log-density of each row; of its known cells, if some are missing.

        The density of known cells is an integral over the missing ones. In a table of continuous columns it is
        computed by quadrature where one cell is missing, and otherwise by importance sampling from at most 512 points.
        A row gets the same value at every call, whatever the other rows are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        return_std : bool, default=False
            Whether to return the standard errors of these estimates too.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats, in the units of the ``X`` that was fitted. Zero for a row without any known cell.
        std : ndarray of shape (n_samples,), dtype float64
            Only if ``return_std``: the estimated standard error of each log-density, in nats. Zero for a row without
            missing cells.

        Raises
        ------
        ValueError
            If ``X`` or ``return_std`` breaks its rule.
        """
        rule.check("return_std", return_std, rule.boolean())
        if not return_std:
            return super().score_samples(X)
        return self._scores_and_errors(self._rows_to_score(X))

    def impute(self, X: ArrayLike, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Any:
        """Draw whole rows given the known cells of each.

        So a table with missing cells in some columns gives draws conditioned on the other columns. Draws are chosen
        from 256 proposals of a Gaussian mixture, or from four for each draw, with probabilities in proportion to the
        density divided by that of the proposals (Rubin 1988).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The rows; cells that are missing (NaN, None, pandas.NA) are drawn.
        n_samples : int, default=1
            The number of draws of each row.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same draws at every call.

        Returns
        -------
        X_drawn : ndarray of shape (n_rows, n_samples, n_features), or DataFrame of n_rows * n_samples rows
            The rows with all cells known. In a DataFrame, if one was fitted, the draws of a row follow each other, and
            in pandas they have the label of their row in the index.

        Raises
        ------
        ValueError
            If ``X`` or ``n_samples`` breaks its rule.

        References
        ----------
        D. Rubin, "Using the SIR algorithm to simulate posterior distributions", Bayesian Statistics 3, 1988.

        Examples
        --------
        >>> import numpy as np
        >>> from sknvp import RealNVPDensity
        >>> Z = np.random.default_rng(0).normal(size=(400, 2))
        >>> density = RealNVPDensity(random_state=0).fit(np.c_[Z[:, 0], Z[:, 0] + 0.1 * Z[:, 1]])
        >>> drawn = density.impute([[1.0, np.nan], [-1.0, np.nan]], n_samples=100, random_state=0)
        >>> drawn.shape
        (2, 100, 2)
        >>> np.round(drawn[:, :, 1].mean(1))
        array([ 1., -1.])
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        rows = self._check_rows(X, reset=False)
        drawn = self._imputed(rows, int(n_samples), random_state)
        table = self._numbers_to_input_format(drawn.reshape(-1, rows.shape[1]))
        return table.reshape(drawn.shape) if self._library is None else _with_index_of(X, table, n_samples)

    def score_cells(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-density of each cell given the other known cells of its row.

        The cell with the least value is the one that makes a row odd. It is the log-density of the row less that of the
        row without the cell, an integral over the cell: see `score_samples`. A quarter of its points lie near the cell
        as it is, since around a row that the density has learned it may be narrow.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples, n_features), dtype float64
            In nats, in the units of the column; the log-probability of a discrete value. NaN where a cell is missing.
        """
        rows = self._rows_to_score(X)
        whole, cells = self._score_rows(rows), np.full(rows.shape, np.nan)
        for j in range(rows.shape[1]):
            known = ~np.isnan(rows[:, j])
            if known.any():
                cells[known, j] = whole[known] - self._scores_without(rows[known], j)
        return cells

    @property
    def _uses_normal_scores(self) -> bool:
        """Whether some flows and experts see the normal scores of columns."""
        return bool(self.standardize)

    def _specify(self, rows: Rows, generator: torch.Generator) -> RealNVPSpecification:
        return specify_real_nvp(self, rows, generator, n_estimators=self.n_estimators)

    def _normal_score_maps(
        self, specification: Specification, rows: Rows, validation: NDArray[np.bool_]
    ) -> NormalScoreMaps | None:
        assert isinstance(specification, RealNVPSpecification)
        n_plain = len(validation) - len(validation) // 2  # The last half of the members sees normal scores.
        return estimate_normal_scores(specification, rows, validation[n_plain:]) if self._uses_normal_scores else None

    def _table(
        self, specification: TabularSpecification, rows: Rows, validation: NDArray[np.bool_], rng: np.random.RandomState
    ) -> Table:
        assert isinstance(specification, RealNVPSpecification)
        scaling = scaling_in_columns(rows, specification.scaling)
        table = Table.of(scaling, rows, validation, rng)
        # Where the experts have another scaling than the flows, the normal scores would be those of other units.
        if self._uses_normal_scores and scaling.equals(specification.scaling):
            table = table._replace(scores=partial(estimate_all_normal_scores, specification, rows, validation))
        return table

    def _candidates(self, table: Table, flow_log_density: torch.Tensor, rng: np.random.RandomState) -> list[Candidate]:
        return ExpertFitter(table, rng).candidates(flow_log_density)


def _with_index_of(X: Any, drawn: Any, n_each: int) -> Any:
    """Give the draws of each row of a DataFrame of pandas the label of that row."""
    if library_of(X) == library_of(drawn) == "pandas":
        drawn.index = X.index.repeat(n_each)
    return drawn
