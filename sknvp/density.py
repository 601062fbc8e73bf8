"""Density estimation with Real NVP flows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ._estimators.density import FlowDensity
from ._estimators.fitting import NO_EXPERTS, Experts
from ._estimators.learning import FittedFlow, Start
from ._estimators.rows import Rows, scaling_of
from ._estimators.specify import real_nvp_specification
from ._experts.stacking import stack, weights_by_name
from ._experts.table import Table
from ._experts.unconditional import ExpertFitter
from .flows import Flow
from .flows.specification import RealNVPSpecification, Specification


class RealNVPDensity(FlowDensity):
    """Density of a table of numbers, by Real NVP normalizing flows and simple experts beside them.

    The flows have Real NVP's architecture [1]_, with its affine couplings replaced, unless told otherwise, by the
    monotone splines of neural spline flows [2]_, which reach higher likelihoods; ``coupling="affine"`` gives Real NVP
    as published.

    A flow maps the rows, standardised, to normal noise through a stack of coupling layers; the density of a row is
    the noise's density there times the Jacobian determinant of the map. The stack starts as the identity, that is
    from the normal distribution with the columns' means and variances, and is trained by maximum likelihood.
    ``n_estimators`` flows are trained at once, each validated on rows of its own, and their densities averaged.

    No family of densities is best for every table: clusters suit Gaussian mixtures, near-duplicates suit kernels. So
    with ``stacking`` the estimate is a weighted mean of the flows' density and those of a Gaussian mixture, of
    kernels and of a t-distribution, with the weights under which the rows that were held out are likeliest [4]_;
    ``stacking_weights_`` tells them. With ``stacking=False`` it is the flows' alone.

    Methods and their meaning follow :class:`sklearn.neighbors.KernelDensity`. Log-densities are in nats, in the
    units of ``X``: the Jacobian of the standardisation is part of them. A constant column counts as a normal one of
    variance one.

    Parameters
    ----------
    n_layers : int, default=6
        Number of coupling layers of each flow.
    hidden_layer_sizes : int or sequence of int, default=(32, 32)
        Widths of the hidden layers of the network in each coupling.
    activation : {"relu", "silu", "tanh"}, default="silu"
        Activation of the hidden layers.
    coupling : {"affine", "spline"}, default="spline"
        What a coupling does to a column: scale and shift it (Real NVP [1]_), or bend it by a monotone
        rational-quadratic spline (neural spline flow [2]_), which takes two to three times as long for a better fit;
        linear maps, trained too, then mix the columns between the layers. A single column always gets splines, since
        nothing but a normal distribution could come from scaling and shifting it.
    mask : {"random", "alternating", "half"} or array of shape (n_layers, n_features), default="random"
        Which columns condition (one) and which are transformed (zero) in each layer. "random" draws two new halves
        for every two layers of every flow (two columns just alternate), "alternating" takes even and odd columns in
        turn, "half" the first and the second half.
    batch_norm : bool, default=False
        Whether to normalise by running statistics of the batches between every two couplings, as the Real NVP paper
        does. Then all rows must have equal weight, apart from those of weight zero.
    standardize : bool, default=True
        Whether to subtract each column's mean and divide by its standard deviation first.
    n_estimators : int, default=4
        Number of flows whose densities are averaged.
    stacking : bool, default=True
        Whether a Gaussian mixture, kernels and a t-distribution stand beside the flows. Each is fitted once per flow,
        to the rows that this flow is trained on, to be compared on the rows held out; numbers of components,
        bandwidths and the like are chosen there too, and a mixture or kernels that get less than a hundredth of the
        weight are left out, while the t-distribution keeps a thousandth at least. At most 10,000 rows, drawn by their
        weights, are used for all this. Needs ``early_stopping``, without which nothing is held out and the flows stay
        alone.
    alpha : float, default=0.1
        Strength of the decoupled L2 penalty on weights and biases: each step shrinks them by ``alpha`` times the
        learning rate [3]_.
    batch_size : int, default=128
        Largest number of rows in a mini-batch.
    learning_rate_init : float, default=0.01
        The learning rate at the start. It falls linearly, to zero where ``max_iter`` is reached, and in steps; see
        ``n_iter_no_change``.
    max_iter : int or "auto", default="auto"
        Largest number of epochs. "auto" stands for as many, or as small a part of one, as make 3,000 gradient steps,
        so that a fit takes a bounded time however many rows there are.
    early_stopping : bool, default=True
        Whether to hold out rows for validation, to stop when the validation score stalls, and to keep the weights
        that did best on them. Otherwise all rows train, the training loss is watched, and the last weights stay,
        which overfits small tables.
    validation_fraction : float, default=0.25
        Share of the rows that each flow holds out, equal rows together. The flows take turns: with a share of one in
        ``n_estimators`` every row is held out once. Used only if ``early_stopping`` is True.
    n_iter_no_change : int, default=6
        The loss is looked at every 25 gradient steps. When so many looks have found no improvement of ``tol``, the
        learning rate is multiplied by 0.3; the third time, training ends.
    tol : float, default=1e-3
        The least improvement that counts, in nats a row.
    warm_start : bool, default=False
        Whether `fit` continues from the flow fitted before, with its location, scale and constant columns, instead
        of a new one. The same rows are then held out by the same flows. New rows, or a first fit without
        ``early_stopping``, let the flows be weighed by rows that they have seen.
    device : str, default="cpu"
        The torch device to train the flows and to score on, such as "cuda".
    random_state : int, RandomState instance or None, default=None
        Determines validation rows, random masks, initial weights, the order of the batches, and what stacking draws.
        Pass an int for the same fit, bit for bit, at every call.
    verbose : bool or int, default=False
        Whether to print the loss and the validation score at every look.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns seen during `fit`.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns seen during `fit`, if all are strings.
    loc_, scale_ : ndarray of shape (n_features,)
        What was subtracted from the columns, and what they were divided by: mean and standard deviation, with gross
        outliers drawn in to ten times the distance between the outer twentieths of the column beyond these.
    n_iter_ : int
        Number of epochs begun, or of calls of `partial_fit`.
    loss_curve_ : list of float
        Mean negative log-likelihood a row of every 25 batches, or of every call of `partial_fit`, averaged over the
        flows.
    validation_scores_ : list of float or None
        Mean log-likelihood a row of the validation rows (1,000 of them at most) after every 25 batches, averaged over
        the flows; None without ``early_stopping`` or after `partial_fit`.
    best_validation_score_ : float or None
        The average over the flows of their own best validation score, that of the untrained flow included.
    stacking_weights_ : dict of str to float
        The weights of "flows", "gaussian_mixture", "kernels" and "student_t" in the density, as far as they take part;
        they add up to one.

    See Also
    --------
    sklearn.neighbors.KernelDensity : Density by a kernel on every row.
    sklearn.mixture.GaussianMixture : Density by a mixture of normal distributions.

    Notes
    -----
    Rows are standardised in float64 and flows trained in float32 (with ``standardize=False`` in the dtype of ``X``).
    What is fitted computes in the dtype of ``X``, float32 or else float64. Log-densities are float64, finite for every
    finite row: none is below -1e300.

    Losses and validation scores are those of a flow with a trifle of a t-distribution (1e-30 of it) added to its
    density, so that a row which no flow can explain neither decides the gradient nor when to stop.

    scikit-learn 1.9 and later can call callbacks: ``density.set_callbacks(ProgressBar())`` before `fit`. They hear of
    the tasks "fit", in it "train" and "stack", and in "train" of a "look" at every 25 batches, at whose end they may
    stop training.

    References
    ----------
    .. [1] L. Dinh, J. Sohl-Dickstein and S. Bengio, "Density estimation using Real NVP", ICLR 2017.
       https://arxiv.org/abs/1605.08803
    .. [2] C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, "Neural Spline Flows", NeurIPS 2019.
       https://arxiv.org/abs/1906.04032
    .. [3] I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
       https://arxiv.org/abs/1711.05101
    .. [4] P. Smyth and D. Wolpert, "Linearly Combining Density Estimators via Stacking", Machine Learning 36, 1999.

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

    stacking: bool
    stacking_weights_: dict[str, float]

    def __init__(
        self,
        *,
        n_layers: int = 6,
        hidden_layer_sizes: int | Sequence[int] = (32, 32),
        activation: str = "silu",
        coupling: str = "spline",
        mask: str | ArrayLike = "random",
        batch_norm: bool = False,
        standardize: bool = True,
        n_estimators: int = 4,
        stacking: bool = True,
        alpha: float = 0.1,
        batch_size: int = 128,
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
        self.mask = mask
        self.batch_norm = batch_norm
        self.standardize = standardize
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

    def _specify(self, rows: Rows, generator: torch.Generator) -> RealNVPSpecification:
        return real_nvp_specification(
            scaling_of(rows.x, rows.weights, self.standardize),
            rows.x.dtype.name,
            generator,
            n_layers=self.n_layers,
            n_estimators=self.n_estimators,
            hidden_layer_sizes=self.hidden_layer_sizes,
            activation=self.activation,
            coupling=self.coupling,
            mask=self.mask,
            batch_norm=self.batch_norm,
        )

    def _fit_experts(
        self, fitted: FittedFlow, specification: Specification, rows: Rows, rng: np.random.RandomState
    ) -> Experts:
        if not self.stacking or not fitted.validation.any():
            return NO_EXPERTS
        table = Table.of(scaling_of(rows.x, rows.weights), rows, fitted.validation, rng)
        return stack(fitted.flow, table, lambda: ExpertFitter(table, rng).candidates())

    def _fitted_state(self, start: Start, flow: Flow, experts: Experts, *args: Any) -> dict[str, Any]:
        state = super()._fitted_state(start, flow, experts, *args)
        return {**state, "stacking_weights_": weights_by_name(experts)}
