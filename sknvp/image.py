"""Density estimation of images, by a multi-scale Real NVP."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags, gen_batches
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from ._estimators import parameters as rule
from ._estimators.density import FlowDensity
from ._estimators.docs import document
from ._estimators.evaluation import finite_log_density
from ._estimators.latent import LatentMixin
from ._estimators.objectives import dequantization
from ._estimators.rows import Rows
from ._estimators.training import Start
from ._images.pixels import check_pixels, dtype_of_levels, pixels_around, shape_of_images, spread
from .flows.builders.specification import ImageSpecification
from .flows.train.dequantization import Dequantized

N_NOISES = 4  # A probability is averaged over this many draws of noise.


@document
class RealNVPImageDensity(LatentMixin, FlowDensity):
    """Probability of images, by a multi-scale Real NVP.

    A row is an image of whole numbers, its pixels, from 0 to ``n_levels - 1``. Spread evenly over the unit cube above
    them (dequantisation), and through a logit, images become normal noise by a flow f of affine couplings, in which
    residual networks of convolutions see one half of the pixels and scale and shift the other (Dinh and others 2017).
    Couplings of checkerboards take turns with couplings of channels, that is of coarser pixels; half of the variables
    leave the flow after each scale. The probability of an image x is the density's integral over its cube,
    ``P(x) = E p(x + u)``, with u uniform on the unit cube.

    Read more in the :doc:`User Guide </images>`.

    Parameters
    ----------
    image_shape : tuple (n_channels, height, width), default=None
        What a row is when it is not flattened, in that order; None for square images of one channel. Heights and
        widths are halved as long as both are even and at least 8, so that multiples of 4 or 8 make the best use of
        scales: 8 -> 4, 28 -> 14 -> 7, 32 -> 16 -> 8 -> 4. Images of any other sides have fewer scales, down to one.
    n_levels : int, default=256
        How many values a pixel can have.
    n_filters : int, default=32
        Channels of the networks.
    n_blocks : int, default=2
        Residual blocks of the networks.
    batch_norm : bool, default=True
        Whether running averages normalise every coupling's channels.
    flip : bool, default=False
        Whether training mirrors each image left to right with probability one half. It suits images that are as
        plausible when mirrored.
    alpha : float, default=5e-05
        Strength of the decoupled L2 penalty on weights, which are normalised but for their scales, and biases.
    batch_size : int, default=64
        Largest number of images in a mini-batch.
    {learning_rate_init}
    max_iter : int or "auto", default="auto"
        Largest number of epochs. "auto" stands for as many as make 3,000 gradient steps: enough for some thousand small
        images, and few for large sets.
    early_stopping : bool, default=True
        Whether to hold out images for validation, to stop when the validation score stalls, and to keep the weights
        that did best on them.
    validation_fraction : float, default=0.1
        Share of the images that is held out, of which 1,000 at most are evaluated.
    {n_iter_no_change}
    tol : float, default=0.001
        The least improvement that counts, in nats per image.
    warm_start : bool, default=False
        Whether `fit` continues from the flow fitted before, from a pickle as well.
    device : str, default="cpu"
        The torch device to train the flow and to score on, such as "cuda". Networks are trained in bfloat16 there, and
        on CPUs that have units for its products (Intel AMX), so that fits on other CPUs are a little different.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, validation images, the order of the batches, and their noise.
    {verbose}

    Attributes
    ----------
    n_features_in_ : int
        Number of pixels, channels counted.
    {feature_names_in_}
    {flow_}
    {n_iter_}
    loss_curve_ : list of float
        Mean loss, in nats per image, of every 25 batches, or of every call of `partial_fit`. A training that continues
        extends it.
    validation_scores_ : list of float or None
        Mean log-probability, in nats per image, of the validation images after every 25 batches; None without
        ``early_stopping`` or after `partial_fit`.
    best_validation_score_ : float or None
        The best validation score, that of the untrained flow included, in nats per image.

    See Also
    --------
    RealNVPDensity : For tables, whose columns have no neighbours.

    Notes
    -----
    Apart from networks in training, computation is in single precision whatever the dtype of ``X``. Images come out of
    `sample` and `inverse_transform` in the dtype that was fitted, or in a larger one if that does not hold all levels.
    On a GPU convolutions round as ``torch.backends.cudnn.allow_tf32`` says, by torch's default to ten bits.

    Images that are simpler than those fitted, a blank one above all, can be likelier than these: a low probability is
    a sign of an outlier, a high one no proof of the contrary (Nalisnick and others 2019).

    References
    ----------
    L. Dinh, J. Sohl-Dickstein and S. Bengio, "Density estimation using Real NVP", ICLR 2017.
    https://arxiv.org/abs/1605.08803

    E. Nalisnick, A. Matsukawa, Y. W. Teh, D. Gorur and B. Lakshminarayanan, "Do Deep Generative Models Know What They
    Don't Know?", ICLR 2019. https://arxiv.org/abs/1810.09136

    L. Theis, A. van den Oord and M. Bethge, "A note on the evaluation of generative models", ICLR 2016.
    https://arxiv.org/abs/1511.01844

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sknvp import RealNVPImageDensity
    >>> X, _ = load_digits(return_X_y=True)  # 8 x 8 pixels from 0 to 16
    >>> density = RealNVPImageDensity(n_levels=17, n_filters=8, n_blocks=0, learning_rate_init=0.01, random_state=0)
    >>> density.partial_fit(X).sample(3, random_state=0).shape  # `fit` takes more epochs than one
    (3, 64)
    >>> bool(density.bits_per_dim(X) < 4)  # evenly spread values have log2(17) = 4.1
    True
    """

    _architecture_parameters = ("n_levels", "n_filters", "n_blocks", "batch_norm")
    _rules: ClassVar[dict[str, rule.Rule]] = {"batch_size": rule.integer(1)}
    _finds_dependence = False  # Images of few levels repeat each other in most pixels.
    _advice = "Raise max_iter or learning_rate_init."

    image_shape: tuple[int, int, int] | None
    n_levels: int
    n_filters: int
    n_blocks: int
    flip: bool

    _specification: ImageSpecification

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int] | None = None,
        n_levels: int = 256,
        n_filters: int = 32,
        n_blocks: int = 2,
        batch_norm: bool = True,
        flip: bool = False,
        alpha: float = 5e-5,
        batch_size: int = 64,
        learning_rate_init: float = 2e-3,
        max_iter: int | str = "auto",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-3,
        warm_start: bool = False,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.image_shape = image_shape
        self.n_levels = n_levels
        self.n_filters = n_filters
        self.n_blocks = n_blocks
        self.batch_norm = batch_norm
        self.flip = flip
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
        tags.estimator_type = "density_estimator"
        tags.transformer_tags.preserves_dtype = []  # Noise is float32.
        tags.input_tags.positive_only = True
        return tags

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit the flow to images.

        If anything raises, what was fitted before stays as it was. Ctrl-C ends training early with the best weights so
        far, or without ``early_stopping`` with the last ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The images, one a row; at least two, of whole numbers from 0 to ``n_levels - 1``.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each image counts, not negative. With ``batch_norm`` all positive weights must be equal.
        groups : array-like of shape (n_samples,), default=None
            The group of each image, such as the person in it; images of a group are held out together.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, ``X``, ``sample_weight`` or ``groups`` breaks its rule.

        Warns
        -----
        ConvergenceWarning
            If training had not settled after ``max_iter`` epochs, a number of them being given.
        """
        return super().fit(X, y, sample_weight, groups)

    def partial_fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train the flow for one epoch on images, which may be a part of a stream; a first call starts a new flow.

        The optimiser's state goes on from call to call, and pickles carry it along: a long fit in parts can end at any
        of them and go on from there, with another ``learning_rate_init`` too. No images are held out. If anything
        raises, Ctrl-C included, what was fitted before stays as it was.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The images, as in `fit`.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`.

        Returns
        -------
        self : object
            The estimator, trained further.

        Raises
        ------
        ValueError
            If a parameter, ``X`` or ``sample_weight`` breaks its rule, or a parameter of the architecture has changed.
        """
        return super().partial_fit(X, y, sample_weight)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Compute the logarithm of each image's probability, on average a lower bound on it.

        This is the logarithm of the mean of ``p(x + u)`` over four draws of the noise u. On average over draws it is
        below ``log P(x)``, by Jensen's inequality, and less so than the logarithm for a single draw, which is what is
        mostly published. The draws depend on the pixels of the image alone, so an image gets equal draws at every call.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        log_probability : ndarray of shape (n_samples,), dtype float64
            In nats per image.

        Raises
        ------
        ValueError
            If ``X`` holds anything but whole numbers from 0 to ``n_levels - 1``.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        log_probability = np.empty(len(rows))
        for chunk in gen_batches(len(rows), self._density.chunk_size):
            points = spread(rows[chunk], N_NOISES).reshape(-1, rows.shape[1])
            log_densities = finite_log_density(self._density, points).reshape(-1, N_NOISES)
            log_probability[chunk] = np.logaddexp.reduce(log_densities, 1) - np.log(N_NOISES)
        return log_probability

    def bits_per_dim(self, X: ArrayLike) -> float:
        """Compute how many bits a pixel (of a channel) takes: ``-mean(score_samples(X)) / (n_features log 2)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        bits : float
            On average an upper bound, as the log-probabilities are lower bounds; ``log2(n_levels)`` if all values are
            equally likely.
        """
        return float(-self.score_samples(X).mean() / (self.n_features_in_ * np.log(2)))

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Carry images to noise, each from the middle of its unit cube.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The images.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_features), dtype float32
            The noise; the numbers of finer details come first.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        return self._carry_rows(rows, lambda x: self._flow.transform(x + 0.5), np.float32)

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Carry noise to images.

        The noise that `transform` returned becomes the images that it came from.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The noise.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Whole numbers from 0 to ``n_levels - 1``, of the dtype that was fitted.

        Raises
        ------
        ValueError
            If ``X`` has another number of columns than the images that were fitted.
        """
        check_is_fitted(self)
        noise = self._check_noise(X, np.float32)
        return self._pixels(self._carry_rows(noise, self._flow.transform.inverse, np.float32))

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> NDArray[Any]:
        """Draw new images.

        Parameters
        ----------
        n_samples : int, default=1
            The number of images.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same images at every call.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Whole numbers from 0 to ``n_levels - 1``, of the dtype that was fitted.

        Raises
        ------
        ValueError
            If ``n_samples`` breaks its rule, or the flow has diverged in training and draws no finite images.
        """
        return self._pixels(super().sample(n_samples, random_state))

    def _pixels(self, points: NDArray[np.float32]) -> NDArray[Any]:
        """Return images in the dtype that was fitted."""
        return pixels_around(points, self._specification.n_levels, self._pixel_dtype)

    def _check_rows(self, X: ArrayLike, *, reset: bool, n_least: int = 1) -> NDArray[Any]:
        """Check that X holds images."""
        rows: NDArray[Any] = validate_data(self, X, dtype="numeric", reset=reset, ensure_min_samples=n_least)
        check_non_negative(rows, whom=f"X of {type(self).__name__}")
        if reset:
            shape_of_images(self.image_shape, rows.shape[1])
            self._pixel_dtype = dtype_of_levels(self.n_levels, rows.dtype).name
        return check_pixels(rows, self.n_levels if reset else self._specification.n_levels)

    def _merge(
        self,
        table: NDArray[Any],
        weights: NDArray[np.float64],
        n_context: int = 0,
        groups: NDArray[Any] | None = None,
        at_most: int | None = None,
    ) -> Rows:
        return super()._merge(table.astype(np.float32, copy=False), weights, n_context, groups, at_most)

    def _objective(self, start: Start, rows: Rows, validation: NDArray[np.bool_], batch_size: int) -> Dequantized:
        return dequantization(start, rows, validation, batch_size, flip=self.flip)

    def _specify(self, rows: Rows, generator: torch.Generator) -> ImageSpecification:
        return ImageSpecification(
            image_shape=shape_of_images(self.image_shape, rows.x.shape[1]),
            n_levels=int(self.n_levels),
            n_filters=int(self.n_filters),
            n_blocks=int(self.n_blocks),
            batch_norm=bool(self.batch_norm),
            dtype="float32",
        )

    def _present_architecture(self) -> dict[str, Any]:
        own = super()._present_architecture()
        return {**own, "image_shape": list(shape_of_images(self.image_shape, self.n_features_in_))}
