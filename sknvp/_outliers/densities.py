"""The densities that score a row for the outlier detector, each with all methods of a density."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._experts.weighted import Experts
from .._missing.proposal import Proposal
from ..density import RealNVPDensity
from ..flows import Ensemble


class OneDensity(RealNVPDensity):
    """A density of the rows of a fitted detector: the flows alone, one expert alone, or all of them."""

    _detector: RealNVPDensity

    @classmethod
    def of(cls, detector: RealNVPDensity, density: Ensemble, experts: Experts) -> Self:
        """Make a fitted density that differs from the detector in its density and in its experts."""
        one = cls.__new__(cls)
        one.__dict__.update(detector.__dict__, _detector=detector, _density=density, _experts=experts)
        return one

    def _proposal_for_marginals(self) -> Proposal:
        return self._detector._proposal_for_marginals()


class SmoothDensity(OneDensity):
    """A density of the middles of cells, as if these were rows of continuous columns."""

    @classmethod
    def of(cls, detector: RealNVPDensity, density: Ensemble, experts: Experts) -> Self:
        smooth = super().of(detector, density, experts)
        smooth._cell_map = None
        return smooth

    def _scores_and_errors(
        self, rows: NDArray[Any], context: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return super()._scores_and_errors(self._middles(rows), context)

    def _scores_without(self, rows: NDArray[Any], j: int) -> NDArray[np.float64]:
        return super()._scores_without(self._middles(rows), j)

    def _middles(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return what the flow sees in the middle of the cells of rows; missing numbers stay missing."""
        cell_map = self._detector._cell_map
        if cell_map is None:
            return rows
        cells = cell_map.cells(rows)
        return np.where(np.isnan(rows), np.nan, cells.points(rows, np.full(cells.low.shape, 0.5)))
