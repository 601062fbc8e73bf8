"""Gaussian mixtures of the normal scores of columns: mixture copulas with the margins of the columns.

References
----------
A. Tewari, M. Giering and A. Raghunathan, "Parametric characterization of multimodal distributions with non-Gaussian
modes", ICDM Workshops 2011.
"""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from ..flows.bases.expectation_maximization import expectation_maximization, narrow_components
from ..flows.builders.expert_specification import CopulaSpecification
from ..flows.builders.specification import NormalScoreMaps
from ..flows.layers import NormalScores
from .table import Table

MAX_ROWS = 5_000  # A copula is fitted to at most this many rows; with more, the flows have most of the weight.


class CopulaFitter:
    """Fits mixtures of normal scores.

    Parameters
    ----------
    table : Table
    scores : NormalScoreMaps
        The functions that map columns to normal scores, of each member.
    most : int
        The largest number of components.
    rng : RandomState
        The source of the first centres.
    """

    def __init__(self, table: Table, scores: NormalScoreMaps, most: int, rng: np.random.RandomState) -> None:
        self.table, self.scores = table, scores
        rows = np.linspace(0, len(table.x) - 1, min(len(table.x), MAX_ROWS)).astype(int)
        self.z = _scores_of_members(table.z[rows], self.scores)
        self.weights = table.training_weights[:, rows]
        self.centres = far_rows(list(self.z), self.weights, most, rng)

    def fit(self, n_components: int, ridge: float) -> CopulaSpecification:
        """Fit a mixture for each member to the scores of the rows that this member was trained on."""
        start = narrow_components(self.centres[:, :n_components])
        mixture = expectation_maximization(start, self.z, self.weights, ridge)
        return CopulaSpecification(
            scaling=self.table.scaling,
            log_weights=mixture.log_weights.numpy(),
            means=mixture.means.numpy(),
            precisions_cholesky=mixture.precisions_cholesky.numpy(),
            scores=self.scores,
        )


def far_rows(z: Sequence[Tensor], weights: Tensor, n_rows: int, rng: np.random.RandomState) -> Tensor:
    """Return rows that are far from each other, for each member from its own rows.

    The shape is (n_members, n_rows, n_features). Any number of the first rows are far from each other, too.
    """
    far = [
        kmeans_plusplus(own[w > 0].numpy(), n_rows, sample_weight=w[w > 0].numpy(), random_state=rng)[0]
        for own, w in zip(z, weights, strict=True)
    ]
    return torch.tensor(np.stack(far))


def _scores_of_members(z: Tensor, scores: NormalScoreMaps) -> Tensor:
    """Return the normal scores of standardised rows for each member, shape (n_members, n_rows, n_varying)."""
    layer = NormalScores(len(scores.knots), *(torch.tensor(part).double() for part in scores))
    of_members: Tensor = layer(z.expand(layer.n_members, -1, -1))[0]
    return of_members
