"""Density estimation with planar flows."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ._estimators.density import FlowDensity
from ._estimators.docs import document
from ._estimators.rows import Rows
from ._estimators.scaling import scaling_of
from .flows.builders.specification import PlanarSpecification


@document
class PlanarFlowDensity(FlowDensity):
    """Density of a table of numbers, by planar flows.

    A planar flow maps the rows, standardised, to normal noise through layers that each move them along one
    direction, as far as their place across one plane says. With 2 d + 1 parameters a layer it is the smallest of flows:
    32 layers of two columns have 160. Here data go to noise by the layer's own formula, so that training and scoring
    need nothing else, and noise goes to data by its inverse, exact to rounding, through one increasing scalar equation
    a layer. Prefer `RealNVPDensity` where the density is what matters; this is for comparing the two.

    The stack starts as the identity, that is from the normal distribution with the columns' means and variances, and is
    trained by maximum likelihood. ``n_estimators`` flows are trained at once, each validated on rows of its own, and
    their densities averaged.

    Read more in the :doc:`User Guide </choosing>`.

    Parameters
    ----------
    n_layers : int, default=32
        Number of planar layers of each flow.
    {standardize}
    {periods}
    {n_estimators}
    alpha : float, default=0.0
        Strength of the decoupled L2 penalty (AdamW), which flattens the planes. Where ``batch_size="auto"`` lets
        batches grow, it is divided by n / 10,000, by 50 at most.
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

    See Also
    --------
    RealNVPDensity : The same methods, over coupling layers.

    References
    ----------
    Rezende and Mohamed, "Variational Inference with Normalizing Flows", ICML 2015, https://arxiv.org/abs/1505.05770

    Examples
    --------
    >>> from sklearn.datasets import make_circles
    >>> from sknvp import PlanarFlowDensity
    >>> X, _ = make_circles(400, noise=0.05, factor=0.5, random_state=0)
    >>> density = PlanarFlowDensity(n_layers=8, n_estimators=1, random_state=0).fit(X)
    >>> on_a_circle, outside = density.score_samples([[1.0, 0.0], [1.0, 1.0]])
    >>> bool(on_a_circle > outside)
    True
    >>> density.sample(3, random_state=0).shape
    (3, 2)
    """

    def __init__(
        self,
        *,
        n_layers: int = 32,
        standardize: bool = True,
        periods: dict[Any, float] | ArrayLike | None = None,
        n_estimators: int = 4,
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.03,
        max_iter: int | str = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.25,
        n_iter_no_change: int = 10,
        tol: float = 1e-3,
        warm_start: bool = False,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_layers = n_layers
        self.standardize = standardize
        self.periods = periods
        self.n_estimators = n_estimators
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

    def _specify(self, rows: Rows, generator: torch.Generator) -> PlanarSpecification:
        return PlanarSpecification(
            scaling=scaling_of(rows.x, rows.weights, self.standardize),
            dtype=rows.x.dtype.name,
            n_layers=int(self.n_layers),
            n_members=int(self.n_estimators),
        )
