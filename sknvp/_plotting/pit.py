"""Whether a conditional density is right: the probability integral transform of targets."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_random_state, column_or_1d

from .._estimators import parameters as rule
from ..metrics import checked_draws
from .style import BLUE, ORANGE, Style, pyplot, styled

KINDS = ("histogram", "cumulative")
BAND = 1.96  # Within this many standard errors lie 95 percent of the counts of a right density.


class PITDisplay:
    """The distribution function of predicted distributions at the targets: the probability integral transform (PIT).

    For each row it is the probability that the target is at most what it was. If the predicted distributions are right,
    these numbers are spread evenly between 0 and 1, whatever the shapes of the distributions. A histogram of them shows
    what is wrong: a U means distributions that are too narrow, a hump too wide ones, a slope a location that is too low
    or too high. Targets that have a probability, such as counts, get a number drawn evenly from the step of the
    distribution function, which makes the numbers of right predictions even again.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`, from rows that were not fitted.

    Read more in the :doc:`User Guide </displays>`.

    Parameters
    ----------
    pit : array-like of shape (n_samples,)
        The numbers, between 0 and 1, such as ``scipy.stats.norm.cdf(y, mean, std)`` of another model.
    name : str, default=None
        The label of the curve.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.
    line_ : matplotlib Line2D
        The curve.

    See Also
    --------
    sknvp.metrics.crps : One number for how good predicted distributions are.
    sklearn.calibration.CalibrationDisplay : The same question for the probabilities of classes.

    References
    ----------
    T. Gneiting, F. Balabdaoui and A. Raftery, "Probabilistic forecasts, calibration and sharpness", Journal of the
    Royal Statistical Society B 69, 2007.

    C. Czado, T. Gneiting and L. Held, "Predictive model assessment for count data", Biometrics 65, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sknvp import ConditionalRealNVPDensity, PITDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 1))
    >>> y = X[:, 0] + rng.normal(size=600)
    >>> density = ConditionalRealNVPDensity(n_estimators=1, random_state=0).fit(X[:400], y[:400])
    >>> display = PITDisplay.from_estimator(density, X[400:], y[400:])
    >>> display.pit.shape
    (200,)
    """

    def __init__(self, *, pit: ArrayLike, name: str | None = None) -> None:
        self.pit = pit
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        random_state: int | np.random.RandomState | None = None,
        kind: str = "histogram",
        n_bins: int = 10,
        name: str | None = None,
        ax: Any = None,
        line_kw: Style = None,
    ) -> Self:
        """Draw the distribution function of a fitted conditional density at targets.

        Parameters
        ----------
        estimator : fitted estimator with ``predict_cdf(X, y)``
            A conditional density, such as a :class:`ConditionalRealNVPDensity`.
        X : array-like of shape (n_samples, n_features)
            The rows to condition on.
        y : array-like of shape (n_samples,)
            The targets.
        random_state : int, RandomState instance or None, default=None
            Draws the numbers of targets that have a probability.
        kind : {"histogram", "cumulative"}, default="histogram"
            What to draw; see :meth:`plot`.
        n_bins : int, default=10
            The number of bins of the histogram.
        name : str, default=None
            The label of the curve; None stands for the name of the estimator's class.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        line_kw : dict, default=None
            Keywords for ``Axes.plot`` of the curve.

        Returns
        -------
        display : PITDisplay

        Raises
        ------
        ValueError
            If the estimator has no ``predict_cdf``, or an argument breaks its rule.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("PITDisplay")
        if not hasattr(estimator, "predict_cdf"):
            raise ValueError(
                f"PITDisplay.from_estimator needs an estimator with predict_cdf, got {type(estimator).__name__}. Pass "
                "draws of the targets to PITDisplay.from_predictions."
            )
        around = getattr(estimator, "_cdf_around", None)
        below, at = around(X, y) if around else (estimator.predict_cdf(X, y),) * 2
        name = type(estimator).__name__ if name is None else name
        return cls(pit=_between(below, at, random_state), name=name).plot(
            kind=kind, n_bins=n_bins, ax=ax, line_kw=line_kw
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_drawn: ArrayLike,
        *,
        random_state: int | np.random.RandomState | None = None,
        kind: str = "histogram",
        n_bins: int = 10,
        name: str | None = None,
        ax: Any = None,
        line_kw: Style = None,
    ) -> Self:
        """Draw the places of targets among draws of their predicted distributions.

        The number of a target with k of n draws below it is drawn evenly between ``k / (n + 1)`` and
        ``(k + 1) / (n + 1)``, with a wider step where draws equal it. Such numbers of right predictions are even for
        any number of draws.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            The targets.
        y_drawn : array-like of shape (n_samples, n_draws)
            Two draws or more for each target.
        random_state, kind, n_bins, name, ax, line_kw
            See :meth:`from_estimator`.

        Returns
        -------
        display : PITDisplay

        Raises
        ------
        ValueError
            If an argument breaks its rule.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("PITDisplay")
        targets, drawn = checked_draws(y_true, y_drawn, n_axes=1)
        n_places = drawn.shape[1] + 1
        below = (drawn[..., 0] < targets).sum(1) / n_places
        at = ((drawn[..., 0] <= targets).sum(1) + 1) / n_places
        return cls(pit=_between(below, at, random_state), name=name).plot(
            kind=kind, n_bins=n_bins, ax=ax, line_kw=line_kw
        )

    def plot(
        self,
        *,
        kind: str = "histogram",
        n_bins: int = 10,
        name: str | None = None,
        ax: Any = None,
        line_kw: Style = None,
    ) -> Self:
        """Draw the display, with what right predictions give as a dashed line.

        A grey band holds 95 percent of the curves' values of right predictions, at each place by itself. Further
        displays can be drawn into the same axes by ``ax=display.ax_``; the band of each kind is that of the first.

        Parameters
        ----------
        kind : {"histogram", "cumulative"}, default="histogram"
            A histogram with a mean height of one, or the share of the numbers up to each, which needs no bins and shows
            several models in one picture.
        n_bins : int, default=10
            The number of bins of the histogram.
        name : str, default=None
            The label of the curve; None stands for the name that the display has.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        line_kw : dict, default=None
            Keywords for ``Axes.plot`` of the curve.

        Returns
        -------
        self : PITDisplay

        Raises
        ------
        ValueError
            If ``kind``, ``n_bins`` or the numbers break their rule.
        """
        rule.check("kind", kind, rule.one_of(*KINDS))
        rule.check("n_bins", n_bins, rule.integer(2))
        pit = column_or_1d(check_array(self.pit, ensure_2d=False, dtype=np.float64, input_name="pit"))
        if not ((pit >= 0) & (pit <= 1)).all():
            raise ValueError(
                f"pit must hold numbers between 0 and 1, got {pit.min():.3g} to {pit.max():.3g}. Pass what a "
                "distribution function gives at the targets."
            )
        self.ax_ = pyplot("PITDisplay").subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        name = self.name if name is None else name
        curve = f"{kind} of PITDisplay"  # By this name later displays count the curves.
        n_before = sum(line.get_gid() == curve for line in self.ax_.lines)
        color = (BLUE, ORANGE)[n_before] if n_before < 2 else f"C{n_before}"
        look = styled(line_kw, label=name or "targets", color=color, gid=curve)
        if not n_before:
            self._draw_reference(kind, len(pit), n_bins)
        if kind == "histogram":
            heights, edges = np.histogram(pit, bins=n_bins, range=(0, 1))
            heights = heights * (n_bins / len(pit))
            outline = np.r_[0, edges], np.r_[0, heights, 0]
            (self.line_,) = self.ax_.plot(*outline, drawstyle="steps-post", **look)
            self.ax_.set(xlabel="distribution function at the target", ylabel="density")
        else:
            places = np.r_[0, np.sort(pit), 1]
            shares = np.r_[np.arange(len(pit) + 1), len(pit)] / len(pit)
            (self.line_,) = self.ax_.plot(places, shares, drawstyle="steps-post", **look)
            self.ax_.set(xlabel="distribution function at the target", ylabel="share of targets")
        self.ax_.legend()
        return self

    def _draw_reference(self, kind: str, n: int, n_bins: int) -> None:
        """Draw what right predictions give, and how far chance leads them from it."""
        u = np.linspace(0, 1, 101)
        share = np.full_like(u, 1 / n_bins) if kind == "histogram" else u
        middle, height = (np.ones_like(u), n_bins) if kind == "histogram" else (u, 1)
        width = BAND * height * np.sqrt(share * (1 - share) / n)
        self.ax_.fill_between(u, middle - width, middle + width, color="0.85")
        self.ax_.plot(u, middle, color="k", linestyle="--", linewidth=1, label="right predictions")


def _between(
    below: NDArray[np.float64], at: NDArray[np.float64], random_state: int | np.random.RandomState | None
) -> NDArray[np.float64]:
    """Draw a number evenly between the two for each target."""
    below, at = np.asarray(below), np.asarray(at)
    drawn: NDArray[np.float64] = below + (at - below) * check_random_state(random_state).uniform(size=len(at))
    return drawn
