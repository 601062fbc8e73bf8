"""Pictures of densities; needs matplotlib (``pip install sknvp[plot]``)."""

import inspect
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_regressor
from sklearn.utils import check_array

from ._columns.lattice import LatticeMargin
from ._columns.margins import Margin
from ._estimators import parameters as rule
from ._estimators.rows import outlier_limits

MARGIN = 0.2  # how far beyond the rows a picture goes, as a share of their range
MAX_BEND = 1e-3  # an interval is halved if the curve bends from its chord by more than this share of the mean area
MAX_HALVINGS = 30  # how often an interval is halved at most


class DensityDisplay:
    """A density of one column as a curve, of two columns as a heat map, with rows on top.

    Make one with :meth:`from_estimator`. Gross outliers among the rows are left out of the picture.

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
    def from_estimator(cls, estimator: Any, X: ArrayLike, *, grid_resolution: int = 200, ax: Any = None) -> Self:
        """Evaluate a density around rows and draw it.

        Parameters
        ----------
        estimator : fitted estimator with `score_samples`
            The density of one or two columns, without a condition.
        X : array-like of shape (n_samples, 1 or 2)
            The rows to draw. They set the range of the picture, except gross outliers: those that lie more than ten
            times the distance between the 5 and the 95 percent quantile of a column beyond these. Gross outliers are
            not drawn.
        grid_resolution : int, default=200
            Number of grid points along each axis. A single axis starts with so many, half of them evenly spaced and
            half at quantiles of the rows; then the intervals in which the curve bends are halved until it is smooth. A
            discrete column has a point at each value that it can have instead.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            If ``X`` has more than two columns, or the density is a conditional one.
        ImportError
            If matplotlib is not installed.
        """
        _pyplot()
        rule.check("grid_resolution", grid_resolution, rule.integer(2))
        _check_unconditional(estimator)
        rows: NDArray[Any] = check_array(X, dtype=np.float64)
        n_features = rows.shape[1]
        if n_features > 2:
            raise ValueError(
                f"DensityDisplay draws one or two columns, got X with {n_features}. Fit the density of two columns, or "
                "plot rows from sample()."
            )

        def density(points: NDArray[Any]) -> NDArray[Any]:
            log_density = estimator.score_samples(_like(X, points.reshape(-1, n_features)))
            values: NDArray[Any] = np.exp(log_density).reshape(points.shape[:-1])
            return values

        rows = rows[_drawn(rows)]
        names = [str(name) for name in getattr(X, "columns", [f"x{i}" for i in range(n_features)])]
        if n_features == 1 and not _margins(estimator):
            grid, values = _curve(density, rows, int(grid_resolution))
        else:
            grid = _possible(estimator, _axes(rows, int(grid_resolution)))
            values = density(np.stack(np.meshgrid(*grid, indexing="ij"), -1))
        return cls(grid=grid, density=values, X=rows, names=names).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        self : DensityDisplay
        """
        self.ax_ = _pyplot().subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        self.ax_.set_xlabel(self.names[0])
        if self.density.ndim == 1:
            self.ax_.plot(self.grid[0], self.density)
            self.ax_.plot(self.X[:, 0], np.zeros(len(self.X)), "|", color="black", alpha=0.5)
            self.ax_.set_ylabel("density")
        else:
            self.ax_.pcolormesh(*self.grid, self.density.T, shading="gouraud", cmap="viridis", rasterized=True)
            self.ax_.plot(*self.X.T, ".", color="white", markersize=1.5, alpha=0.5)
            self.ax_.set_ylabel(self.names[1])
        return self


def _check_unconditional(estimator: Any) -> None:
    """Refuse densities of targets given rows, whose scores are no density of the rows."""
    parameters = list(inspect.signature(estimator.score_samples).parameters.values())[1:]
    needs_y = any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    if needs_y or (hasattr(estimator, "__sklearn_tags__") and is_regressor(estimator)):
        raise ValueError(
            f"DensityDisplay draws densities without a condition, got {type(estimator).__name__}, whose density "
            "is that of targets given X. Repeat one row of X for a grid of targets y, and plot "
            "np.exp(score_samples(X, y)) over y."
        )


def _drawn(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows are no gross outliers."""
    low, high = outlier_limits(rows, np.ones(len(rows)))
    inside: NDArray[np.bool_] = ((low <= rows) & (rows <= high)).all(1)
    return inside


def _axes(rows: NDArray[Any], n_points: int) -> list[NDArray[Any]]:
    """Return evenly spaced points along each column, from below the rows to above them."""
    low, high = rows.min(0), rows.max(0)
    margin = MARGIN * np.where(high > low, high - low, np.maximum(1, np.abs(low)))
    return [np.linspace(*ends, n_points) for ends in zip(low - margin, high + margin, strict=True)]


def _margins(estimator: Any) -> dict[int, Margin | LatticeMargin]:
    """Return the margins of the discrete columns of a density of ours, by their numbers."""
    cell_map = getattr(estimator, "_cell_map", None)
    margins = {} if cell_map is None else cell_map.margins
    return {j: margin for j, margin in margins.items() if isinstance(margin, Margin | LatticeMargin)}


def _possible(estimator: Any, grid: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Put the values that a discrete column can have in the place of evenly spaced points."""
    possible = list(grid)
    for j, margin in _margins(estimator).items():
        first, last = ((grid[j][[0, -1]] - margin.first) / margin.spacing).round()
        possible[j] = margin.first + margin.spacing * np.arange(first, last + 1)
    return possible


def _curve(
    density: Callable[[NDArray[Any]], NDArray[Any]], rows: NDArray[Any], n_points: int
) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Evaluate a density of one column on a grid that is finer where the density bends.

    Those intervals are halved between whose ends the density differs from a straight line. A tail that the rows reach
    once in a while is found by even spacing, a narrow peak by quantiles of the rows.
    """
    even = _axes(rows, max(2, n_points - n_points // 2))[0]
    grid = np.union1d(even, np.quantile(rows, (np.arange(n_points // 2) + 0.5) / max(1, n_points // 2)))
    values = density(grid[:, None])
    bent = np.ones(len(grid) - 1, dtype=bool)
    for _ in range(MAX_HALVINGS):
        left, width = np.flatnonzero(bent), np.diff(grid)
        middle = grid[left] + width[left] / 2
        value, chord = density(middle[:, None]), (values[left] + values[left + 1]) / 2
        area = np.sum(width * (values[1:] + values[:-1]) / 2)
        bent[left] = np.abs(value - chord) * width[left] > MAX_BEND * area / len(bent)
        inserted = ((grid, middle), (values, value), (bent, bent[left]))
        grid, values, bent = (np.insert(old, left + 1, new) for old, new in inserted)
        if not bent.any():
            break
    return [grid], values


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("DensityDisplay needs matplotlib: pip install sknvp[plot].") from error
    return plt


def _like(X: Any, points: NDArray[Any]) -> Any:
    """The points as the same kind of table as X, so that feature names agree."""
    return type(X)(dict(zip(X.columns, points.T, strict=True))) if hasattr(X, "columns") else points
