"""A transformer that carries rows to normal noise and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from ._estimators.base import FLOATS
from ._estimators.density import FlowDensity
from ._estimators.docs import document
from ._estimators.latent import LatentMixin
from ._estimators.rows import Rows
from ._estimators.specify import specify_real_nvp
from .flows.builders.parts import MakeCoupling
from .flows.builders.specification import RealNVPSpecification


@document
class RealNVPTransformer(LatentMixin, FlowDensity):
    """Rows to independent standard normal noise and back, by one Real NVP normalizing flow.

    The flow f is invertible and trained by maximum likelihood, ``log p(x) = log N(f(x); 0, I) + log |det df/dx|``, so
    that rows like the training rows come out as standard normal numbers, independent of each other. Methods and their
    meaning follow :class:`sklearn.preprocessing.QuantileTransformer`, which makes each column normal by itself and
    leaves their dependence; `score_samples`, `score` and `sample` are those of :class:`RealNVPDensity` with this flow
    alone.

    Read more in the :doc:`User Guide </how_a_flow_works>`.

    Parameters
    ----------
    {n_layers}
    {hidden_layer_sizes}
    {activation}
    {coupling}
    {mask}
    {batch_norm}
    {standardize}
    {discrete_features}
    {bounds}
    {periods}
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

    See Also
    --------
    RealNVPDensity : A better density, of several flows and simple experts.
    sklearn.preprocessing.QuantileTransformer : Each column to noise by itself.

    Notes
    -----
    There are as many columns of noise as of data, but as with :class:`sklearn.decomposition.PCA` each can depend on all
    columns of the data. So they get names of their own, "realnvptransformer0" and so on. A constant column is left as
    it is, less its value.

    Computation follows the dtype of the ``X`` that was fitted, and noise and rows come out in the dtype of what is
    given. In float64 rows are found again within rounding errors.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from sknvp import RealNVPTransformer
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> transformer = RealNVPTransformer(random_state=0).fit(X)
    >>> noise = transformer.transform(X)
    >>> noise.shape
    (200, 2)
    >>> np.allclose(transformer.inverse_transform(noise), X)
    True
    """

    def __init__(
        self,
        *,
        n_layers: int = 6,
        hidden_layer_sizes: int | Sequence[int] = (32, 32),
        activation: str = "silu",
        coupling: str | MakeCoupling = "spline",
        mask: str | ArrayLike = "random",
        batch_norm: bool = False,
        standardize: bool = True,
        discrete_features: str | ArrayLike | None = "auto",
        bounds: tuple[ArrayLike, ArrayLike] | None = None,
        periods: dict[Any, float] | ArrayLike | None = None,
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
        self.mask = mask
        self.batch_norm = batch_norm
        self.standardize = standardize
        self.discrete_features = discrete_features
        self.bounds = bounds
        self.periods = periods
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
        return specify_real_nvp(self, rows, generator, n_estimators=1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = None  # PCA scores rows too and has no estimator type either.
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Carry rows to noise.

        A value that has a probability lies anywhere in an interval. It is drawn at random there, from a generator that
        starts anew at every call, so that equal tables have equal noise. So is the side of the line on which a number
        with a period lies that is near the place where its circle is cut open.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features)
            The noise, of the dtype of ``X`` if that is float32 or float64.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        return self._carry_rows(self._points(rows), self._flow.transform, rows.dtype)

    def inverse_transform(self, X: ArrayLike) -> Any:
        """Carry noise to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The noise.

        Returns
        -------
        X_original : ndarray or DataFrame of shape (n_samples, n_features)
            The rows, in the units that were fitted, of the dtype of ``X`` if that is float32 or float64; a DataFrame if
            one was fitted.

        Raises
        ------
        ValueError
            If ``X`` has another number of columns than the rows that were fitted.
        """
        check_is_fitted(self)
        noise = self._check_noise(X, FLOATS)
        return self._points_to_input_format(self._carry_rows(noise, self._flow.transform.inverse, noise.dtype))
