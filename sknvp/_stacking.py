"""What stands beside the flows of a density: simple experts, and the weights of all by held-out likelihood."""

import math
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from ._rows import location_and_scale
from ._state import build_expert
from .flows import Flow
from .flows.ensemble import zero_if_not_finite
from .flows.mixture import expectation_maximization, precision_cholesky

N_COMPONENTS = (1, 2, 4, 8, 16, 32, 64)  # of the Gaussian mixture
MOST_PARAMETERS = 4  # a row, in all components together
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)  # added to its variances
BANDWIDTHS = np.geomspace(0.03, 2.0, 12)  # of the kernels, in standard deviations
DEGREES_OF_FREEDOM = 4  # of the t-distribution
RIDGE = 1e-6  # added to the variances of kernels and t-distribution
N_ROWS = 10_000  # that experts are fitted to at most
N_QUERIES = 1_000  # held-out rows that choose the bandwidth
TAIL_SHARE = 0.01  # of the t-distribution when mixtures or kernels are compared
LEAST_WEIGHT = 0.01  # an expert with less is left out, since it costs time and adds little, ...
REACH = 1e4  # standard deviations
TAIL_WEIGHT = 1e-3  # ... but the t-distribution always has as much as this

Recipe = dict[str, Any]


class Table(NamedTuple):
    """Rows that experts learn from, on the CPU in float64."""

    frame: dict[str, Tensor]  # location and scale of the columns, and which of them vary
    x: Tensor  # (n_rows, n_features)
    weights: Tensor  # (n_rows,)
    validation: Tensor  # (n_members, n_rows), True for the rows that a member does not train on
    tail: Tensor  # (n_rows,), held-out log-density of each row under the t-distribution

    @classmethod
    def of(
        cls,
        columns: NDArray[np.intp],
        X: NDArray[Any],
        weights: NDArray[np.float64],
        validation: NDArray[np.bool_],
        rng: np.random.RandomState,
    ) -> "Table":
        """At most `N_ROWS` of the rows that a flow was fitted to, drawn by their weights, and what was held out."""
        loc, scale, _ = location_and_scale(X, weights)
        if len(X) > N_ROWS:
            rows = _drawn(weights, N_ROWS, rng)
            X, weights, validation = X[rows], np.ones(N_ROWS), validation[:, rows]
        frame = {"loc": torch.tensor(loc), "scale": torch.tensor(scale), "columns": torch.tensor(columns)}
        arrays = (X.astype(np.float64), weights, validation, np.full(len(X), -np.inf))
        table = cls(frame, *map(torch.tensor, arrays))
        return table._replace(tail=held_out(build_expert(student_t(table, table.training)), table))

    @property
    def z(self) -> Tensor:
        """The columns that vary, standardised, with what lies beyond `REACH` put there."""
        return ((self.x - self.frame["loc"]) / self.frame["scale"])[:, self.frame["columns"]].clamp(-REACH, REACH)

    @property
    def training(self) -> Tensor:
        """Weights of the rows for each member, shape (n_members, n_rows)."""
        return self.weights * ~self.validation

    @property
    def everything(self) -> Tensor:
        """Weights of the rows for a single member that sees all of them, shape (1, n_rows)."""
        return self.weights.unsqueeze(0)

    def held_out_rows(self, n_rows: int, rng: np.random.RandomState) -> "Table":
        """At most so many of the rows that some member holds out, drawn at random."""
        rows = torch.tensor(rng.permutation(np.flatnonzero(self.validation.any(0)))[:n_rows])
        x, weights, validation, tail = self.x[rows], self.weights[rows], self.validation[:, rows], self.tail[rows]
        return self._replace(x=x, weights=weights, validation=validation, tail=tail)


def stack(flow: Flow, table: Table, rng: np.random.RandomState) -> tuple[list[Recipe], NDArray[np.float64]]:
    """Recipes of the experts that help, and the log-weights of the flow and of them.

    For the comparison each expert is fitted once per member of the flow, to the rows which that member was trained on;
    the weights are those of the greatest likelihood of the rows held out. Kernels and t-distribution are then fitted
    to all rows, while the mixture stays the average of the members' own.

    References
    ----------
    Smyth and Wolpert, "Linearly combining density estimators via stacking", Machine Learning 36, 1999.
    """
    mixture, kernels = best_mixture(table, rng), best_kernels(table, rng)
    compared = [mixture, kernels(table.training), student_t(table, table.training)]
    log_densities = torch.stack([held_out(f, table) for f in (flow, *map(build_expert, compared))])
    weights = stacking_weights(log_densities, table.weights)
    kept = weights >= LEAST_WEIGHT
    weights[-1] = weights[-1].clamp(min=TAIL_WEIGHT)
    kept[0] = kept[-1] = True
    final = [mixture, kernels(table.everything), student_t(table, table.everything)]
    weights = weights[kept].clamp(min=1e-12)
    recipes = [_plain(recipe) for recipe, keep in zip(final, kept[1:], strict=True) if keep]
    return recipes, np.log((weights / weights.sum()).numpy())


def _drawn(weights: NDArray[np.float64], n_rows: int, rng: np.random.RandomState) -> NDArray[np.intp]:
    """Rows, each as often as its share of the weight says, to the next whole number (systematic sampling)."""
    order = rng.permutation(len(weights))
    cumulative = np.cumsum(weights[order])
    points = (np.arange(n_rows) + rng.uniform()) / n_rows * cumulative[-1]
    rows: NDArray[np.intp] = order[np.searchsorted(cumulative, points, side="right").clip(max=len(order) - 1)]
    return rows


def held_out(flow: Flow, table: Table) -> Tensor:
    """The `cross_fitted` log-density of each row of the table."""
    return cross_fitted(flow, table.validation, table.x)


def cross_fitted(flow: Flow, validation: Tensor, *x: Tensor) -> Tensor:
    """Log of the mean density of each row under the members that did not train on it; NaN where all did.

    ``x`` are the data and, if the flow is conditioned on one, the context.
    """
    rows = torch.argsort(~validation, dim=1, stable=True)[:, : int(validation.sum(1).max())]
    x = tuple(part.to(flow.like) for part in x)  # its dtype and device
    with torch.no_grad():
        chunks = torch.split(rows, flow.chunk_size, 1)
        parts = [flow.log_prob(*(part[chunk] for part in x)).double().cpu() for chunk in chunks]
    each = torch.where(validation.gather(1, rows), zero_if_not_finite(torch.cat(parts, 1)), -torch.inf)
    by_row = torch.full(validation.shape, -torch.inf, dtype=torch.float64).scatter(1, rows, each)
    return torch.logsumexp(by_row, 0) - validation.sum(0).log()


def stacking_weights(log_densities: Tensor, weights: Tensor) -> Tensor:
    """The mixture of densities under which the rows, weighted, are likeliest, shape (n_densities,).

    ``log_densities`` has shape (n_densities, n_rows); rows where any is NaN do not count. The problem is convex, and
    expectation-maximization from equal weights solves it.
    """
    known = ~log_densities.isnan().any(0)
    log_densities, weights = log_densities[:, known], weights[known] / weights[known].sum()
    shares = torch.full((len(log_densities),), 1 / len(log_densities), dtype=torch.float64)
    for _ in range(1000):
        posterior = torch.softmax(log_densities + shares.log().unsqueeze(1), 0)
        before, shares = shares, posterior @ weights
        if (shares - before).abs().max() < 1e-6:
            break
    return shares


def best_mixture(table: Table, rng: np.random.RandomState) -> Recipe:
    """Gaussian mixtures, one per member, with the number of components and the ridge likeliest on held-out rows."""
    n_features, n_rows = table.z.shape[1], int((table.training > 0).sum(1).min())
    n_parameters = (n_features + 1) * (n_features + 2) // 2  # of one component
    sizes = [n for n in N_COMPONENTS if n * n_parameters <= MOST_PARAMETERS * n_rows and 2 * n <= n_rows] or [1]
    best = -np.inf, gaussian_mixture(table, 1, RIDGES[0], rng)
    for ridge in RIDGES:
        fewest = best[1]["means"].shape[1]
        best = _climb((gaussian_mixture(table, n, ridge, rng) for n in sizes if n >= fewest), table, best)
    return best[1]


def best_kernels(table: Table, rng: np.random.RandomState) -> Callable[[Tensor], Recipe]:
    """A recipe for kernels, given weights, with the shape and bandwidth that are likeliest on held-out rows."""
    few = table.held_out_rows(N_QUERIES, rng)
    shapes = {whiten: kernels(table, table.training, whiten, 1.0) for whiten in (False, True)}

    def score(candidate: tuple[bool, float]) -> float:
        whiten, bandwidth = candidate
        return held_out_score({**shapes[whiten], "bandwidth": bandwidth}, few)

    whiten, rough = max(product(shapes, BANDWIDTHS), key=score)
    finer = rough * np.geomspace(BANDWIDTHS[0] / BANDWIDTHS[1], BANDWIDTHS[1] / BANDWIDTHS[0], 5)[1:-1]
    bandwidth = max(finer, key=lambda bandwidth: score((whiten, bandwidth)))
    return lambda weights: kernels(table, weights, whiten, float(bandwidth))


def _climb(recipes: Iterable[Recipe], table: Table, best: tuple[float, Recipe]) -> tuple[float, Recipe]:
    """The highest held-out score and its recipe; no more recipes are made once one falls behind."""
    for recipe in recipes:
        score = held_out_score(recipe, table)
        if not score > best[0]:  # or not a number
            break
        best = score, recipe
    return best


def held_out_score(recipe: Recipe, table: Table) -> float:
    """Weighted mean of the held-out log-densities, with a little of the t-distribution mixed in.

    Without that a few outliers would decide.
    """
    log_density = held_out(build_expert(recipe), table)
    log_density = torch.logaddexp(log_density + math.log1p(-TAIL_SHARE), table.tail + math.log(TAIL_SHARE))
    known = ~log_density.isnan()
    return float(np.average(log_density[known], weights=table.weights[known]))


def gaussian_mixture(table: Table, n_components: int, ridge: float, rng: np.random.RandomState) -> Recipe:
    z, training = table.z, table.training
    centres = [
        kmeans_plusplus(z[w > 0].numpy(), n_components, sample_weight=w[w > 0].numpy(), random_state=rng)[0]
        for w in training
    ]
    fitted = expectation_maximization(z, training, torch.tensor(np.stack(centres)), ridge)
    return {"kind": "gaussian_mixture", **table.frame, **dict(fitted.named_buffers())}


def kernels(table: Table, weights: Tensor, whiten: bool, bandwidth: float) -> Recipe:
    shape = mean_and_precision(table.z, weights)
    if not whiten:
        shape["precision_cholesky"] = torch.eye(table.z.shape[1], dtype=torch.float64).repeat(len(weights), 1, 1)
    log_weights = (weights / weights.sum(1, keepdim=True)).log()
    own = {"points": table.z, "log_weights": log_weights, "bandwidth": bandwidth}
    return {"kind": "kernels", **table.frame, **shape, **own}


def student_t(table: Table, weights: Tensor) -> Recipe:
    shape = mean_and_precision(table.z, weights)
    return {"kind": "student_t", **table.frame, **shape, "degrees_of_freedom": DEGREES_OF_FREEDOM}


def mean_and_precision(z: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Mean, and Cholesky factor of the inverse covariance, for each member's weights of the rows."""
    weights = weights / weights.sum(1, keepdim=True)
    mean = weights @ z
    around = (z - mean.unsqueeze(1)) * weights.sqrt().unsqueeze(-1)
    return {"mean": mean, "precision_cholesky": precision_cholesky(around.mT @ around, RIDGE)}


def _plain(recipe: Recipe) -> Recipe:
    """The recipe with arrays in the place of tensors."""
    return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in recipe.items()}
