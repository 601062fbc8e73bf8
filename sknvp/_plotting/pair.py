"""A corner plot: rows beside draws from a density, for every pair of columns."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import _safe_indexing, check_random_state

from .._columns.kinds import library_of
from .._estimators import parameters as rule
from .._estimators.draws import seeded_draws
from .checks import check_draws, check_names, check_unconditional
from .features import Axis, chosen_columns, numbers_of
from .style import BLUE, ORANGE, Style, pyplot, styled

MAX_FEATURES = 10  # A picture of more columns would have hundreds of panels.
INCHES = 2.0  # The width of a panel in inches.
MAX_LETTERS = 16  # The names of categories are written aslant if they have more letters than this together.


class PairDisplay:
    """A corner plot of rows and of draws from a density: every pair of columns, and every column by itself.

    Make one with :meth:`from_estimator`. Where a density is right, rows and draws cannot be told apart. Points of
    discrete columns are spread at random around their values, so that one sees how many there are. The diagonal shows
    the shares of rows and of draws: one bar for each category or whole number, as long as there are few of them. Gross
    outliers lie outside of the picture.

    Read more in the :doc:`User Guide </displays>`.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
        The rows to draw, as numbers. A category is its place among the categories, and a missing cell NaN.
    draws : ndarray of shape (n_draws, n_features)
        The draws, as numbers.
    names : list of str
        Labels of the columns.
    categories : list of (list of str or None)
        The categories of each column, None for a column of numbers.

    Attributes
    ----------
    axes_ : ndarray of shape (n_features, n_features)
        The panels, which are matplotlib's Axes; None above the diagonal.
    figure_ : matplotlib Figure
        The figure of ``axes_``.

    See Also
    --------
    DensityDisplay : The density itself, of one or two columns.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknvp import PairDisplay, RealNVPDensity
    >>> X = load_iris(as_frame=True).frame
    >>> density = RealNVPDensity(n_estimators=1, random_state=0).fit(X)
    >>> display = PairDisplay.from_estimator(density, X, random_state=0)
    >>> display.axes_.shape
    (5, 5)
    """

    def __init__(
        self,
        *,
        rows: NDArray[np.float64],
        draws: NDArray[np.float64],
        names: list[str],
        categories: list[list[str] | None],
    ) -> None:
        self.rows = rows
        self.draws = draws
        self.names = names
        self.categories = categories

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        features: Sequence[Any] | None = None,
        n_samples: int = 1000,
        random_state: int | np.random.RandomState | None = None,
        axes: Any = None,
        rows_kw: Style = None,
        draws_kw: Style = None,
        hist_kw: Style = None,
    ) -> Self:
        """Draw new rows from a density and show them beside rows.

        Parameters
        ----------
        estimator : fitted estimator with `sample`
            The density of rows, without a condition.
        X : array-like of shape (n_samples, n_features)
            The rows. Cells may be missing.
        features : sequence of str or int, default=None
            Names or numbers of the columns to show, ten at most; None shows all.
        n_samples : int, default=1000
            The largest number of rows to show, chosen at random if ``X`` has more. As many draws are shown as rows.
        random_state : int, RandomState instance or None, default=None
            Pass an int for the same picture at every call.
        axes : ndarray of matplotlib Axes of shape (n_features, n_features), default=None
            Where to draw; None makes a new figure.
        rows_kw : dict, default=None
            Keywords for ``Axes.plot`` of the rows, such as ``dict(color="black")``; their histograms have their colour.
        draws_kw : dict, default=None
            Keywords for ``Axes.plot`` of the draws.
        hist_kw : dict, default=None
            Keywords for ``Axes.stairs`` of all histograms.

        Returns
        -------
        display : PairDisplay

        Raises
        ------
        ValueError
            If an argument breaks its rule, the columns are not those of `fit`, or the density is a conditional one.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("PairDisplay")
        rule.check("n_samples", n_samples, rule.integer(1))
        check_unconditional(estimator, "PairDisplay", "Draw targets with its sample(X), and plot them over X.")
        check_draws(estimator)
        check_names(estimator, X)
        table: Any = np.asarray(X) if library_of(X) is None else X
        columns = chosen_columns(table, features, MAX_FEATURES)
        rng = check_random_state(random_state)
        n_shown = min(int(n_samples), len(table))
        shown = _safe_indexing(table, rng.choice(len(table), n_shown, replace=False))
        rows, draws, names, categories = numbers_of(table, columns, shown, seeded_draws(estimator, n_shown, rng))
        display = cls(rows=rows, draws=draws, names=names, categories=categories)
        return display.plot(axes=axes, rows_kw=rows_kw, draws_kw=draws_kw, hist_kw=hist_kw)

    def plot(self, *, axes: Any = None, rows_kw: Style = None, draws_kw: Style = None, hist_kw: Style = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        axes : ndarray of matplotlib Axes of shape (n_features, n_features), default=None
            Where to draw; None makes a new figure.
        rows_kw : dict, default=None
            Keywords for ``Axes.plot`` of the rows.
        draws_kw : dict, default=None
            Keywords for ``Axes.plot`` of the draws.
        hist_kw : dict, default=None
            Keywords for ``Axes.stairs`` of all histograms.

        Returns
        -------
        self : PairDisplay
        """
        n = len(self.names)
        self.axes_ = self._panels(n, axes)
        self.figure_ = self.axes_[0, 0].figure
        dots = {"marker": ".", "linestyle": "none", "markeredgewidth": 0}
        styles = {  # Draws lie on top of rows and are smaller, so that both are seen.
            "rows": (self.rows, styled(rows_kw, color=BLUE, markersize=6, alpha=0.5, **dots)),
            "draws": (self.draws, styled(draws_kw, color=ORANGE, markersize=3.5, alpha=0.8, **dots)),
        }
        scales = [Axis.of(*column) for column in zip(self.rows.T, self.draws.T, self.categories, strict=True)]
        for i, j in ((row, column) for row in range(n) for column in range(row + 1)):
            panel = self.axes_[i, j]
            if i == j:
                self._draw_histograms(panel, j, scales[j], styles, hist_kw)
            else:
                self._draw_points(panel, i, j, scales, styles)
            self._label(panel, i, j, scales)
        self._draw_legend(styles)
        return self

    def _panels(self, n: int, axes: Any) -> NDArray[Any]:
        """Return the panels of the lower triangle, new ones if there are none; take those above the diagonal away."""
        size = max(INCHES * n, 4.0)
        if axes is None:
            axes = pyplot("PairDisplay").subplots(n, n, figsize=(size, size), layout="constrained", squeeze=False)[1]
        given: NDArray[Any] = np.array(axes, dtype=object)
        if given.shape != (n, n):
            raise ValueError(f"axes must have shape (n_features, n_features) = ({n}, {n}), got {given.shape}.")
        for panel in given[np.triu_indices(n, 1)]:
            panel.remove()
        given[np.triu_indices(n, 1)] = None
        return given

    def _draw_histograms(self, panel: Any, j: int, scale: Axis, styles: dict[str, Any], hist_kw: Style) -> None:
        for (values, style), fill in zip(styles.values(), (True, False), strict=True):
            shares = np.histogram(values[:, j], scale.edges)[0] / max(1, (~np.isnan(values[:, j])).sum())
            look = {"color": style["color"], "fill": fill, "alpha": 0.4 if fill else 1.0, "linewidth": 1.5}
            panel.stairs(shares, scale.edges, **styled(hist_kw, **look))
        panel.set_yticks([])
        panel.set_xlim(scale.limits)
        panel.set_ylim(0, None)

    def _draw_points(self, panel: Any, i: int, j: int, scales: list[Axis], styles: dict[str, Any]) -> None:
        rng = np.random.default_rng(0)
        for values, style in styles.values():
            panel.plot(scales[j].spread(values[:, j], rng), scales[i].spread(values[:, i], rng), **style)
        panel.set_xlim(scales[j].limits)
        panel.set_ylim(scales[i].limits)

    def _label(self, panel: Any, i: int, j: int, scales: list[Axis]) -> None:
        """Write names and ticks at the outer panels alone."""
        ticks = [scales[k].ticks(self.categories[k]) for k in (j, i)]
        for axis, (places, labels) in zip((panel.xaxis, panel.yaxis), ticks, strict=True):
            if places is not None and not (i == j and axis is panel.yaxis):
                axis.set_ticks(places, labels)
        if sum(map(len, ticks[0][1] or [])) > MAX_LETTERS:
            panel.tick_params("x", labelrotation=45)
        last = i == len(self.names) - 1
        panel.tick_params(labelbottom=last, labelleft=j == 0)
        if last:
            panel.set_xlabel(self.names[j])
        if j == 0 and i > 0:
            panel.set_ylabel(self.names[i])

    def _draw_legend(self, styles: dict[str, Any]) -> None:
        handles = [
            self.axes_[0, 0].plot([], [], **{**style, "markersize": 8, "alpha": 1}, label=name)[0]
            for name, (_, style) in styles.items()
        ]
        where = self.axes_[0, 0] if len(self.names) == 1 else self.figure_
        where.legend(handles=handles, loc="upper right")
