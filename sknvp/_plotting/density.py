"""A density of one or two columns as a picture."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from .._estimators import parameters as rule
from .checks import check_unconditional
from .grid import curve, even_axes, like, margins_of, possible_values, without_outliers
from .style import BLUE, Style, pyplot, styled


class DensityDisplay:
    """A density of one column as a curve, of two columns as a heat map, with rows on top.

    Make one with :meth:`from_estimator`. Gross outliers among the rows are left out of the picture.

    Read more in the :doc:`User Guide </displays>`.

    Parameters
    ----------
    grid : list of ndarray
        Grid points along each of the one or two axes, in increasing order. Their distances differ if there is one axis.
    density : ndarray of shape (n,) or (n, n)
        The density at the grid points; the first axis is the first column.
    X : ndarray of shape (n_samples, 1 or 2)
        The rows to draw.
    names : sequence of str
        Labels of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sknvp import DensityDisplay, RealNVPDensity
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> density = RealNVPDensity(n_estimators=1, random_state=0).fit(X)
    >>> display = DensityDisplay.from_estimator(density, X)
    >>> display.density.shape
    (200, 200)

    The curve of a single column has more points where it bends, so that the area below it is right:

    >>> import numpy as np
    >>> from scipy.integrate import trapezoid
    >>> from sklearn.neighbors import KernelDensity
    >>> X = np.r_[np.linspace(-1, 1, 99), -999].reshape(-1, 1)  # with an outlier, which is left out
    >>> display = DensityDisplay.from_estimator(KernelDensity(bandwidth=0.01).fit(X), X)
    >>> round(float(trapezoid(display.density, display.grid[0])), 2)
    0.99
    """

    def __init__(self, *, grid: list[NDArray[Any]], density: NDArray[Any], X: NDArray[Any], names: list[str]) -> None:
        self.grid = grid
        self.density = density
        self.X = X
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        grid_resolution: int = 200,
        ax: Any = None,
        density_kw: Style = None,
        rows_kw: Style = None,
    ) -> Self:
        """Evaluate a density around rows and draw it.

        Parameters
        ----------
        estimator : fitted estimator with `score_samples`
            The density of one or two columns, without a condition.
        X : array-like of shape (n_samples, 1 or 2)
            The rows to draw. They set the range of the picture, except gross outliers: those that lie more than ten
            times the distance between the 5 and the 95 percent quantile of a column beyond these. Gross outliers and
            rows with missing cells are not drawn.
        grid_resolution : int, default=200
            Number of grid points along each axis. A single axis starts with so many, half of them evenly spaced and
            half at quantiles of the rows; then the intervals in which the curve bends are halved until it is smooth. A
            discrete column has a point at each value that it can have instead.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        density_kw : dict, default=None
            Keywords for ``Axes.plot`` of the curve or ``Axes.pcolormesh`` of the heat map, such as
            ``dict(cmap="cividis")``.
        rows_kw : dict, default=None
            Keywords for ``Axes.plot`` of the rows, such as ``dict(alpha=0.1)``.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            If ``X`` has more than two columns, words or no complete row, or the density is a conditional one.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("DensityDisplay")
        rule.check("grid_resolution", grid_resolution, rule.integer(2))
        check_unconditional(
            estimator,
            "DensityDisplay",
            "Take ConditionalDensityDisplay, which draws quantiles.",
        )
        rows = _drawable_rows(X)
        n_features = rows.shape[1]

        def density(points: NDArray[Any]) -> NDArray[Any]:
            log_density = estimator.score_samples(like(X, points.reshape(-1, n_features)))
            values: NDArray[Any] = np.exp(log_density).reshape(points.shape[:-1])
            return values

        rows = rows[without_outliers(rows)]
        names = [str(name) for name in getattr(X, "columns", [f"x{i}" for i in range(n_features)])]
        if n_features == 1 and not margins_of(estimator):
            grid, values = curve(density, rows, int(grid_resolution))
        else:
            grid = possible_values(estimator, even_axes(rows, int(grid_resolution)))
            values = density(np.stack(np.meshgrid(*grid, indexing="ij"), -1))
        return cls(grid=grid, density=values, X=rows, names=names).plot(ax=ax, density_kw=density_kw, rows_kw=rows_kw)

    def plot(self, *, ax: Any = None, density_kw: Style = None, rows_kw: Style = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        density_kw : dict, default=None
            Keywords for ``Axes.plot`` of the curve or ``Axes.pcolormesh`` of the heat map, such as
            ``dict(cmap="cividis")``.
        rows_kw : dict, default=None
            Keywords for ``Axes.plot`` of the rows, such as ``dict(alpha=0.1)``.

        Returns
        -------
        self : DensityDisplay
        """
        self.ax_ = pyplot("DensityDisplay").subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        self.ax_.set_xlabel(self.names[0])
        look = {"linestyle": "none", "alpha": 0.5}
        if self.density.ndim == 1:
            self.ax_.plot(self.grid[0], self.density, **styled(density_kw, color=BLUE))
            ticks = styled(rows_kw, marker="|", color="black", **look)
            self.ax_.plot(self.X[:, 0], np.zeros(len(self.X)), **ticks)
            self.ax_.set_ylabel("density")
        else:
            mesh = styled(density_kw, shading="gouraud", cmap="viridis", rasterized=True)
            self.ax_.pcolormesh(*self.grid, self.density.T, **mesh)
            self.ax_.plot(*self.X.T, **styled(rows_kw, marker=".", color="white", markersize=1.5, **look))
            self.ax_.set_ylabel(self.names[1])
        return self


def _drawable_rows(X: ArrayLike) -> NDArray[np.float64]:
    """Return the rows without missing cells as numbers, or raise a ValueError if X cannot be drawn."""
    shape = np.shape(X)
    if len(shape) == 2 and shape[1] > 2:
        raise ValueError(
            f"DensityDisplay draws one or two columns, got X with {shape[1]}. Fit the density of two columns, or take "
            "PairDisplay, which draws rows beside draws."
        )
    try:
        rows: NDArray[np.float64] = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")
    except ValueError as error:
        word = str(error).removeprefix("could not convert string to float: ")
        if word == str(error):
            raise
        raise ValueError(
            f"DensityDisplay draws columns of numbers, got {word} in X. Take PairDisplay, which draws categories too."
        ) from error
    complete = rows[~np.isnan(rows).any(1)]
    if not len(complete):
        raise ValueError(f"DensityDisplay draws rows without missing cells, got none among {len(rows)}. Add some to X.")
    return complete
