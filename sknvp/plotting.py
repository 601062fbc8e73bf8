"""Pictures of densities; needs matplotlib (``pip install sknvp[plot]``)."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from ._estimators import parameters as rule

MARGIN = 0.2  # how far beyond the rows a picture goes, as a share of their range


class DensityDisplay:
    """A density of one column as a curve, of two columns as a heat map, with rows on top.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    grid : list of ndarray
        Grid points along each of the one or two axes.
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
            Of one or two columns.
        X : array-like of shape (n_samples, 1 or 2)
            The rows to draw; they set the range of the picture.
        grid_resolution : int, default=200
            Number of grid points along each axis.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            If ``X`` has more than two columns.
        ImportError
            If matplotlib is not installed.
        """
        _pyplot()
        rule.check("grid_resolution", grid_resolution, rule.integer(2))
        rows: NDArray[Any] = check_array(X, dtype=np.float64)
        n_features = rows.shape[1]
        if n_features > 2:
            raise ValueError(
                f"DensityDisplay draws one or two columns, got X with {n_features}. Fit the density of two columns, or "
                "plot rows from sample()."
            )
        low, high = rows.min(0), rows.max(0)
        margin = MARGIN * np.where(high > low, high - low, 1.0)
        grid = [np.linspace(*ends, grid_resolution) for ends in zip(low - margin, high + margin, strict=True)]
        points = np.stack(np.meshgrid(*grid, indexing="ij"), -1)
        names = [str(name) for name in getattr(X, "columns", [f"x{i}" for i in range(n_features)])]
        log_density = estimator.score_samples(_like(X, points.reshape(-1, n_features)))
        density = np.exp(log_density).reshape(points.shape[:-1])
        return cls(grid=grid, density=density, X=rows, names=names).plot(ax=ax)

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


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("DensityDisplay needs matplotlib: pip install sknvp[plot].") from error
    return plt


def _like(X: Any, points: NDArray[Any]) -> Any:
    """The points as the same kind of table as X, so that feature names agree."""
    return type(X)(dict(zip(X.columns, points.T, strict=True))) if hasattr(X, "columns") else points
