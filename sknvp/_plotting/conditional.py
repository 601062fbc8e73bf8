"""Bands between quantiles of a conditional density, with targets on top."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length, column_or_1d

from .._estimators import parameters as rule
from .grid import like
from .style import BLUE, Style, pyplot, styled


class ConditionalDensityDisplay:
    """Bands between quantiles of targets given rows, with the targets on top.

    Make one with :meth:`from_estimator`. Along a single column of numbers the bands follow the column. Otherwise the
    rows stand side by side in the order of their medians. If the density is right, the band between the quantiles for
    0.05 and 0.95 holds nine tenths of the targets of new rows.

    Read more in the :doc:`User Guide </displays>`.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Places along the horizontal axis, in increasing order.
    quantiles : ndarray of shape (n, n_quantiles)
        The quantiles of the target at these places.
    q : ndarray of shape (n_quantiles,)
        The probabilities of the quantiles, in increasing order.
    x_rows : ndarray of shape (n_samples,)
        The places of the rows.
    y : ndarray of shape (n_samples,)
        The targets of the rows.
    names : sequence of str
        Labels of the two axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.

    Examples
    --------
    >>> import numpy as np
    >>> from sknvp import ConditionalDensityDisplay, ConditionalRealNVPDensity
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 1, (200, 1))
    >>> y = X[:, 0] * rng.normal(size=200)
    >>> density = ConditionalRealNVPDensity(n_estimators=1, random_state=0).fit(X, y)
    >>> display = ConditionalDensityDisplay.from_estimator(density, X, y, q=[0.1, 0.5, 0.9])
    >>> display.quantiles.shape
    (200, 3)
    """

    def __init__(
        self,
        *,
        x: NDArray[Any],
        quantiles: NDArray[Any],
        q: NDArray[Any],
        x_rows: NDArray[Any],
        y: NDArray[Any],
        names: Sequence[str],
    ) -> None:
        self.x = x
        self.quantiles = quantiles
        self.q = q
        self.x_rows = x_rows
        self.y = y
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        q: ArrayLike = (0.05, 0.25, 0.5, 0.75, 0.95),
        grid_resolution: int = 200,
        ax: Any = None,
        band_kw: Style = None,
        median_kw: Style = None,
        rows_kw: Style = None,
    ) -> Self:
        """Compute quantiles of targets given rows and draw them.

        Parameters
        ----------
        estimator : fitted estimator with ``predict_quantile(X, q)``
            The density of a single target given rows, such as :class:`~sknvp.ConditionalRealNVPDensity`.
        X : array-like of shape (n_samples, n_features)
            The rows. New ones show whether the density is right.
        y : array-like of shape (n_samples,)
            Their targets.
        q : array-like of shape (n_quantiles,), default=(0.05, 0.25, 0.5, 0.75, 0.95)
            The probabilities of the quantiles, two or more, strictly between 0 and 1. A band lies between the least and
            the greatest of them, another one between the second and the last but one, and so on. If their number is
            odd, a line shows the middle one.
        grid_resolution : int, default=200
            The number of places along a single column of numbers at which quantiles are computed.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        band_kw : dict, default=None
            Keywords for ``Axes.fill_between`` of the bands, such as ``dict(color="grey")``.
        median_kw : dict, default=None
            Keywords for ``Axes.plot`` of the middle quantile.
        rows_kw : dict, default=None
            Keywords for ``Axes.plot`` of the targets, such as ``dict(alpha=0.1)``.

        Returns
        -------
        display : ConditionalDensityDisplay

        Raises
        ------
        ValueError
            If the estimator has no quantiles, ``X`` and ``y`` have different lengths, or ``q`` breaks its rule.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("ConditionalDensityDisplay")
        rule.check("grid_resolution", grid_resolution, rule.integer(2))
        if not hasattr(estimator, "predict_quantile"):
            raise ValueError(
                "ConditionalDensityDisplay draws quantiles of targets given X, got "
                f"{type(estimator).__name__}, which has no predict_quantile. Take DensityDisplay or PairDisplay for "
                "densities without a condition."
            )
        levels = np.sort(np.asarray(q, dtype=np.float64).reshape(-1))
        if len(levels) < 2:
            raise ValueError(f"q must hold two probabilities or more, got {q!r}. Pass for instance [0.05, 0.95].")
        targets: NDArray[Any] = column_or_1d(y)
        check_consistent_length(X, targets)
        column = _single_column(X)
        if column is None:
            quantiles = estimator.predict_quantile(X, levels)
            order = np.argsort(quantiles[:, len(levels) // 2], kind="stable")
            x: NDArray[Any] = np.arange(len(targets))
            x_rows: NDArray[Any] = x
            quantiles, targets, name = quantiles[order], targets[order], "rows in the order of their medians"
        else:
            x_rows, name = column, str(getattr(X, "columns", ["x0"])[0])
            x = np.linspace(np.nanmin(x_rows), np.nanmax(x_rows), int(grid_resolution))
            quantiles = estimator.predict_quantile(like(X, x[:, None]), levels)
        names = (name, str(getattr(y, "name", None) or "y"))
        display = cls(x=x, quantiles=quantiles, q=levels, x_rows=x_rows, y=targets, names=names)
        return display.plot(ax=ax, band_kw=band_kw, median_kw=median_kw, rows_kw=rows_kw)

    def plot(self, *, ax: Any = None, band_kw: Style = None, median_kw: Style = None, rows_kw: Style = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        band_kw : dict, default=None
            Keywords for ``Axes.fill_between`` of the bands, such as ``dict(color="grey")``.
        median_kw : dict, default=None
            Keywords for ``Axes.plot`` of the middle quantile.
        rows_kw : dict, default=None
            Keywords for ``Axes.plot`` of the targets, such as ``dict(alpha=0.1)``.

        Returns
        -------
        self : ConditionalDensityDisplay
        """
        self.ax_ = pyplot("ConditionalDensityDisplay").subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        dots = styled(rows_kw, linestyle="none", marker=".", color="grey", markersize=3, alpha=0.6)
        self.ax_.plot(self.x_rows, self.y, **dots)
        n_bands = len(self.q) // 2
        for low in range(n_bands):
            label = f"{self.q[low]:g} to {self.q[-1 - low]:g}"
            look = {"color": BLUE, "alpha": 0.3 + 0.3 * low / n_bands, "linewidth": 0, "label": label}
            self.ax_.fill_between(
                self.x, self.quantiles[:, low], self.quantiles[:, -1 - low], **{**look, **(band_kw or {})}
            )
        if len(self.q) % 2:
            middle = len(self.q) // 2
            label = "median" if self.q[middle] == 0.5 else f"{self.q[middle]:g}"
            self.ax_.plot(self.x, self.quantiles[:, middle], **styled(median_kw, color="black", label=label))
        self.ax_.set(xlabel=self.names[0], ylabel=self.names[1])
        self.ax_.legend()
        return self


def _single_column(X: Any) -> NDArray[np.float64] | None:
    """Return the numbers of the only column of X, or None if there are more columns or no numbers."""
    table: NDArray[Any] = np.asarray(X)
    if table.shape[1:] != (1,) or table.dtype.kind not in "iuf":
        return None
    return table[:, 0].astype(np.float64)
