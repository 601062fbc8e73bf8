"""Variational inference with Real NVP flows."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._estimators import parameters as rule
from ._estimators.base import unchanged_on_error
from ._estimators.density import DensityMethods
from ._estimators.docs import document
from ._estimators.evaluation import log_density
from ._estimators.modes import default_torch_modes
from ._estimators.seeds import new_generator
from ._estimators.specify import checked_bounds, per_column, real_nvp_specification
from ._estimators.state import loaded_flow, saved_flow
from ._estimators.training import report
from ._experts.weighted import NO_EXPERTS
from ._variational.diagnostics import (
    WeightedDraws,
    lacking_bounds,
    log_target,
    lost_mass,
    warn_of_fit,
    warn_of_jumps,
    warn_of_support,
)
from ._variational.jumps import has_jumps
from ._variational.target import Target
from .flows import Flow
from .flows.builders.parts import MakeCoupling
from .flows.builders.specification import RealNVPSpecification, Scaling
from .flows.train import History, train
from .flows.train.divergence import MixedKL

N_DRAWS = 10_000  # Importance weights are those of this many draws.
N_TRIAL = 100  # A log-density is tried on this many first draws.
# A step takes this many times the draws if the flows learn from values alone, which give noisier and cheaper gradients.
N_TIMES_OF_VALUES = 4


class Start(NamedTuple):
    """Where a variational fit begins."""

    specification: RealNVPSpecification
    flow: Flow  # The annealing leads from the density of this flow to the target.
    generator: torch.Generator  # The source of initial weights and of all draws in training.
    n_continued: int  # How often the flow was trained before.


@document
class VariationalRealNVP(DensityMethods):
    """An unnormalised log-density, approximated by Real NVP flows.

    The flows q are trained to have the smallest Kullback-Leibler divergence ``E_q[log q(x) - log p(x)]`` to the target,
    for which its logarithm and the gradient of that suffice; beside it the divergence the other way,
    ``E_p[log p(x) - log q(x)]``, by draws of q weighted with ``p / q``, keeps the shares of separate modes right. The
    normalising constant comes out by importance sampling.
    Training passes over a bridge of densities from a normal distribution to the target, so that separate modes are
    found if that first distribution reaches them: see ``loc`` and ``scale``.

    ``n_estimators`` flows are trained at once and their densities averaged, so that a mode which some of them lose is
    still there.

    Read more in the :doc:`User Guide </variational>`.

    Parameters
    ----------
    {n_layers}
    {hidden_layer_sizes}
    {activation}
    coupling : {"affine", "spline"} or callable, default="affine"
        What a coupling does to a column. Splines bend columns within five times ``scale`` around ``loc`` alone, so that
        tails beyond are lost, but split into separate modes far better. A map of your own is a subclass of
        :class:`sknvp.flows.Coupling`, or a function that makes one.
    {mask}
    {n_estimators}
    loc : float or array-like of shape (n_features,), default=0.0
        Mean of the normal distribution that flows start as. For a column with bounds it is the mean of ``z``, which
        ``bounds`` defines.
    scale : float or array-like of shape (n_features,), default=1.0
        Standard deviation of the normal distribution that flows start as, in the units of ``loc``. It matters: a mode
        far outside will not be found. With two bounds the defaults cover the whole column; with one bound they cover
        distances from it between a hundredth and a hundred.
    bounds : None or tuple (low, high) of floats or array-likes of shape (n_features,), default=None
        The support of each column, -inf and inf where there is no end to it, as in :class:`scipy.optimize.Bounds`.
        Between two bounds, the flows model ``z = Phi^-1((x - low) / (high - low))``, where ``Phi`` is the distribution
        function of the standard normal distribution. With a lower bound alone they model ``z = Phi^-1(d / (1 + d))`` of
        the distance ``d = x - low``, and with an upper bound alone ``z = -Phi^-1(d / (1 + d))`` of ``d = high - x``.
        So, at the default ``loc`` and ``scale``, a column starts as uniform between two bounds, and with the density
        ``1 / (1 + d)^2`` beyond a single one. A trained spline bends each bounded column before the couplings mix them.
        The Jacobian is part of every log-density. Draws lie strictly between the bounds. None: all columns are
        unbounded.
    annealing : float, default=0.8
        Share of ``max_iter`` in which the target rises from the normal distribution at the start to what it is, along
        ``t log p + (1 - t) log q_0``. Zero: it is itself from the first step, which suits targets with a single mode.
    batch_size : int, default=128
        Number of draws of each flow in a step, which evaluates the log-density at ``n_estimators * batch_size`` rows;
        at four times as many if the flows learn from its values alone, see `fit`.
    learning_rate_init : float, default=0.005
        The learning rate at the start, which falls linearly to zero at ``max_iter``.
    max_iter : int, default=3000
        Largest number of gradient steps.
    n_iter_no_change : int, default=6
        After the annealing the objective is evaluated every 25 steps. When so many evaluations have found no
        improvement of ``tol``, the learning rate is multiplied by 0.3; the third time, training ends.
    tol : float, default=0.001
        The least improvement that counts, in nats.
    warm_start : bool, default=False
        Whether `fit` continues from the flows fitted before, to the same target or another one. ``annealing`` then
        leads from these flows to the target, as by tempering in several calls; with zero training goes straight on.
    device : str, default="cpu"
        The torch device to train the flows on; tensors that the log-density gets are there.
    random_state : int, RandomState instance or None, default=None
        Determines random masks, initial weights and all draws.
    verbose : bool or int, default=False
        Whether the loss, the negative of the evidence's lower bound, is printed at every evaluation.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns.
    {flow_}
    n_iter_ : int
        Number of gradient steps taken in the last `fit`.
    elbo_curve_ : list of float
        The lower bound of the log-evidence, ``E_q[log p(x) - log q(x)]``, over the draws of every 25 steps, averaged
        over the flows. The target in it is the whole one during the annealing too. It goes on under ``warm_start``.
    log_evidence_ : float
        Logarithm of the integral of the target, in nats, by importance sampling with 10,000 draws.
    log_evidence_std_err_ : float
        Its standard error.
    effective_sample_size_ : float
        Kish's effective sample size of those draws as a share of their number, above zero and at most one.
    pareto_k_ : float
        Shape of the tail of the importance weights, as in Pareto smoothed importance sampling. Above 0.7 nothing that
        rests on them can be trusted. Minus infinity if the largest weights differ by at most a tenth.

    See Also
    --------
    RealNVPDensity : A density from rows.

    Notes
    -----
    A flow cannot know what it has never drawn: a mode far from every draw leaves neither the effective sample size nor
    Pareto's k a trace. So `fit` also looks for mass by draws that reach farther: those of the normal distribution at
    the start, and of the flows with noise twice as wide. A mode beyond these remains unknown. Computation is in
    float64. The log-density itself is not kept, nor pickled.

    References
    ----------
    D. Rezende and S. Mohamed, "Variational Inference with Normalizing Flows", ICML 2015.
    https://arxiv.org/abs/1505.05770

    G. Roeder, Y. Wu and D. Duvenaud, "Sticking the Landing: Simple, Lower-Variance Gradient Estimators for
    Variational Inference", NeurIPS 2017. https://arxiv.org/abs/1703.09194

    L. Richter, A. Boustati, N. Nüsken, F. Ruiz and Ö. D. Akyildiz, "VarGrad: A Low-Variance Gradient Estimator for
    Variational Inference", NeurIPS 2020. https://arxiv.org/abs/2010.10436

    J. Bornschein and Y. Bengio, "Reweighted Wake-Sleep", ICLR 2015. https://arxiv.org/abs/1406.2751

    A. Vehtari, D. Simpson, A. Gelman, Y. Yao and J. Gabry, "Pareto Smoothed Importance Sampling", Journal of
    Machine Learning Research 25, 2024. https://arxiv.org/abs/1507.02646

    Examples
    --------
    >>> from sknvp import VariationalRealNVP
    >>> def log_density(x):  # a banana, whose integral is 2 pi
    ...     return -(x[:, 0] ** 2 + (x[:, 1] - x[:, 0] ** 2) ** 2) / 2
    >>> fit = VariationalRealNVP(n_layers=4, n_estimators=1, max_iter=300, random_state=0).fit(log_density, 2)
    >>> fit.sample(3, random_state=0).shape
    (3, 2)
    >>> round(fit.log_evidence_, 1)  # log(2 pi) = 1.84
    1.8
    """

    loc: ArrayLike
    scale: ArrayLike
    bounds: tuple[ArrayLike, ArrayLike] | None
    annealing: float
    max_iter: int
    warm_start: bool

    _rules: ClassVar[dict[str, rule.Rule]] = {"batch_size": rule.integer(1), "max_iter": rule.integer(1)}

    _specification: RealNVPSpecification
    elbo_curve_: list[float]
    _weighted_draws: WeightedDraws

    def __init__(
        self,
        *,
        n_layers: int = 8,
        hidden_layer_sizes: int | Sequence[int] = (32, 32),
        activation: str = "silu",
        coupling: str | MakeCoupling = "affine",
        mask: str | ArrayLike = "random",
        n_estimators: int = 4,
        loc: ArrayLike = 0.0,
        scale: ArrayLike = 1.0,
        bounds: tuple[ArrayLike, ArrayLike] | None = None,
        annealing: float = 0.8,
        batch_size: int = 128,
        learning_rate_init: float = 0.005,
        max_iter: int = 3000,
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
        self.n_estimators = n_estimators
        self.loc = loc
        self.scale = scale
        self.bounds = bounds
        self.annealing = annealing
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, log_density: Callable[[Any], Any], n_features: int) -> Self:
        """Fit the flows to a log-density.

        If anything raises, what was fitted before stays as it was. Ctrl-C ends training early.

        Parameters
        ----------
        log_density : callable
            The logarithm of the target, up to a constant. Either a function of a float64 tensor of shape
            (n, n_features) that gives one of shape (n,), made of torch's operations, to be differentiated by autograd;
            or a function of an array of that shape that gives an array of shape (n,), or a tuple (value, gradient) of
            arrays of shapes (n,) and (n, n_features). It is tried with a tensor first, and may write to its argument.
            It may be minus infinity where the density is zero, although ``bounds`` are better than that. It may jump:
            if it does on lines between the first draws, or gives no gradient, the flows learn from its values alone.
        n_features : int
            Number of columns.

        Returns
        -------
        self : VariationalRealNVP
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter breaks its rule, or if the log-density is of neither kind, gives other shapes, cannot be
            differentiated, or is finite at none of the first draws.

        Warns
        -----
        UserWarning
            If Pareto's k is above 0.7, so that the approximation is far off somewhere; if draws that reach farther than
            the flows find more mass than the flows; if the log-density jumps on lines between the last draws, though
            not between the first ones; if it is NaN or plus infinity anywhere, or minus infinity at more than a
            hundredth of the last draws.
        """
        with unchanged_on_error(self):
            device = self._check_parameters()
            rule.check("n_features", n_features, rule.integer(1))
            rng = check_random_state(self.random_state)
            with default_torch_modes():
                start = self._start(int(n_features), rng, device)
                target = self._target(log_density, start)
                self._train(start, target)
                self._weigh_draws(target, rng)
                lost = lost_mass(self._weighted_draws, self._density, start.flow, target, new_generator(rng))
                jumps = target.has_gradient and self._jumps_between_draws(target)
            lacking = lacking_bounds(None if self.bounds is None else checked_bounds(self.bounds, self.n_features_in_))
            warn_of_support(target, self._weighted_draws, lacking)
            warn_of_fit(self._weighted_draws, lost, lacking)
            if jumps:
                warn_of_jumps()
        return self

    def _start(self, n_features: int, rng: np.random.RandomState, device: torch.device) -> Start:
        """Return the flow at the start: of new flows the normal distribution, otherwise the flow as it is fitted."""
        continues = self.warm_start and self._is_fitted
        n_continued = self._n_continued + 1 if continues else 0
        generator = self._new_generator(rng, n_continued)
        if not continues:
            specification = self._specify(n_features, generator)
            without_layers = replace(specification, masks=specification.masks[:, :0])
            return Start(specification, without_layers.build(device, generator), generator, n_continued)
        self._check_architecture()
        n_fitted = len(self._specification.scaling.loc)
        if n_features != n_fitted:
            raise ValueError(
                f"n_features must stay {n_fitted} to continue the fitted flow, got {n_features}. "
                "Call fit with warm_start=False to start afresh."
            )
        flow = loaded_flow(self._specification, saved_flow(self._flow), device)
        return Start(self._specification, flow, generator, n_continued)

    def _target(self, log_density: Callable[[Any], Any], start: Start) -> Target:
        """Try the log-density on first draws. If it jumps, its gradient is not used, since that sees no jumps."""
        x = start.flow.sample(N_TRIAL, generator=start.generator)[0].detach()
        target = Target(log_density, x)
        if target.has_gradient and has_jumps(target.evaluate, x):
            target.has_gradient = False
        return target

    def _train(self, start: Start, target: Target) -> None:
        """Train the flow, and set the attributes that tell of it."""
        continues, device = start.n_continued > 0, start.flow.reference.device
        flow = copy.deepcopy(start.flow) if continues else start.specification.build(device, start.generator)
        n_draws = int(self.batch_size) * (1 if target.has_gradient else N_TIMES_OF_VALUES)
        n_annealing = int(self.annealing * self.max_iter)
        history = train(
            flow,
            MixedKL(flow, target, start.flow, n_draws, n_annealing, start.generator, by_path=target.has_gradient),
            learning_rate=float(self.learning_rate_init),
            alpha=0.0,
            max_steps=int(self.max_iter),
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            min_steps=n_annealing,
            on_evaluation=_print if self.verbose else None,
        )
        self._specification, self._flow, self._experts = start.specification, flow, NO_EXPERTS
        self._density = NO_EXPERTS.density(flow)
        self.n_features_in_ = len(start.specification.scaling.loc)
        self.n_iter_ = history.n_steps
        self.elbo_curve_ = [*(self.elbo_curve_ if continues else []), *(-loss for loss in history.losses)]
        self._architecture, self._n_continued = self._present_architecture(), start.n_continued

    def _present_architecture(self) -> dict[str, Any]:
        own = {name: np.asarray(getattr(self, name)).tolist() for name in ("loc", "scale")}
        bounds = None if self.bounds is None else [np.asarray(bound).tolist() for bound in self.bounds]
        return {**super()._present_architecture(), **own, "bounds": bounds}

    def _specify(self, n_features: int, generator: torch.Generator) -> RealNVPSpecification:
        """Return the specification of the flow, its location and scale checked."""
        loc, scale = per_column("loc", self.loc, n_features), per_column("scale", self.scale, n_features)
        if not (np.isfinite(loc).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError(
                f"loc must be finite and scale finite and greater than 0, got {self.loc!r} and {self.scale!r}."
            )
        return real_nvp_specification(
            Scaling(loc, scale, np.arange(n_features)),
            "float64",
            generator,
            n_layers=self.n_layers,
            n_estimators=self.n_estimators,
            hidden_layer_sizes=self.hidden_layer_sizes,
            activation=self.activation,
            coupling=self.coupling,
            mask=self.mask,
            bounds=None if self.bounds is None else checked_bounds(self.bounds, n_features),
        )

    def _weigh_draws(self, target: Target, rng: np.random.RandomState) -> None:
        """Draw from the flows, weigh the draws by the target, and set the attributes that follow from the weights."""
        x = self.sample(N_DRAWS, rng)
        log_p = log_target(target, torch.tensor(x, device=self._flow.reference.device), int(self.batch_size))
        draws = WeightedDraws.of(x, log_p, self.score_samples(x))
        if draws.n_outside == N_DRAWS:
            raise ValueError(
                f"log_density must be finite at some of {N_DRAWS} draws from the fitted flows, got none, such as "
                f"{log_p[0]} at {x[0].tolist()}. Choose other loc, scale or bounds."
            )
        self._weighted_draws = draws
        self.log_evidence_, self.log_evidence_std_err_ = draws.log_evidence, draws.log_evidence_std_err
        self.effective_sample_size_, self.pareto_k_ = draws.effective_share, draws.pareto_k

    def _jumps_between_draws(self, target: Target) -> bool:
        """Return whether the log-density jumps on lines between the last draws."""
        x = torch.tensor(self._weighted_draws.x[:N_TRIAL], device=self._flow.reference.device)
        return has_jumps(target.evaluate, x)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the log-density of each row under the fitted flows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), dtype float64
            In nats; minus infinity outside ``bounds``.
        """
        check_is_fitted(self)
        return log_density(self._density, self._check_rows(X, reset=False))

    def resample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> NDArray[Any]:
        """Draw rows from the target, up to the error of importance sampling.

        They come, with replacement, from 10,000 draws of the fitted flows, each with a probability proportional to
        ``p(x) / q(x)``: exact as their number goes to infinity, while `sample` gives draws of the flows as they are.

        Parameters
        ----------
        n_samples : int, default=1
            The number of rows; at best below ``10_000 * effective_sample_size_``, since beyond that rows repeat.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same rows at every call.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The rows.
        """
        check_is_fitted(self)
        rule.check("n_samples", n_samples, rule.integer(1))
        return self._weighted_draws.resampled(n_samples, check_random_state(random_state))


def _print(history: History) -> bool:
    """Print an evaluation of the loss; training is not to end."""
    report(history)
    return False
