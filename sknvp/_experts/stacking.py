"""Stacking: the weights of a flow and of the experts beside it, by the likelihood of the rows held out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._estimators.evaluation import to_tensor
from .._estimators.fitter import NO_EXPERTS, Experts
from .._estimators.rows import Rows
from ..flows import Ensemble, Flow
from ..flows.builders.expert_specification import ExpertSpecification
from ..flows.ensemble import log_mean_density
from .table import Table

LEAST_WEIGHT = 0.01  # an expert with less weight is left out, since it costs time and adds little
N_WEIGHED = 1_000  # the weights are updated by so many rows of a stream at most
STREAM_MEMORY = 1_000  # earlier weights count like so many rows
LEAST_LAST_WEIGHT = 1e-3  # the last expert, which has heavy tails, always has at least this weight


class Candidate(NamedTuple):
    """An expert in two forms."""

    compared: ExpertSpecification  # fitted for each member to the rows that this member was trained on
    final: ExpertSpecification  # the form that stands beside the flow if the expert is kept


def stack(flow: Flow, table: Table, fit_candidates: Callable[[], list[Candidate]]) -> Experts:
    """Fit experts to the table, and weigh the flow and them.

    For the comparison each expert is fitted once for each member of the flow, to the rows that this member was trained
    on; the weights are those under which the rows held out are likeliest.

    References
    ----------
    Smyth and Wolpert, "Linearly combining density estimators via stacking", Machine Learning 36, 1999.
    """
    if not len(table.scaling.columns) or not table.validation.any():
        return NO_EXPERTS
    candidates = fit_candidates()
    compared = (flow, *(candidate.compared.build() for candidate in candidates))
    log_densities = torch.stack([table.cross_fitted_log_density(density) for density in compared])
    weights = stacking_weights(log_densities, table.weights)
    kept = weights >= LEAST_WEIGHT
    weights[-1] = weights[-1].clamp(min=LEAST_LAST_WEIGHT)
    kept[0] = kept[-1] = True
    weights = weights[kept].clamp(min=1e-12)
    experts = tuple(candidate.final for candidate, keep in zip(candidates, kept[1:], strict=True) if keep)
    return Experts(experts, np.log((weights / weights.sum()).numpy()))


def reweigh(experts: Experts, density: Ensemble, rows: Rows, context: NDArray[Any] | None = None) -> Experts:
    """Weigh the parts of a density anew by rows of a stream that it has not learned from yet.

    The earlier weights count like `STREAM_MEMORY` rows, so that parts that do not explain the latest rows fade. A
    conditional density needs the standardised context of the rows, shape (n_rows, n_context).
    """
    if not experts.specifications:
        return experts
    some = np.linspace(0, len(rows.x) - 1, min(len(rows.x), N_WEIGHED)).astype(int)
    x, *given = (to_tensor(part[some], density.reference) for part in (rows.x, context) if part is not None)
    with torch.inference_mode():
        log_densities = torch.stack([log_mean_density(flow, x, *given).cpu() for flow, _ in density.parts()])
    n_rows = rows.weights.sum() ** 2 / (rows.weights**2).sum()  # Kish's effective number
    earlier = torch.tensor(np.exp(experts.log_weights))
    weights = stacking_weights(log_densities, torch.tensor(rows.weights[some]), earlier, STREAM_MEMORY / n_rows)
    weights[-1] = weights[-1].clamp(min=LEAST_LAST_WEIGHT)
    weights = weights.clamp(min=1e-12)
    return Experts(experts.specifications, np.log((weights / weights.sum()).numpy()))


def stacking_weights(
    log_densities: Tensor, weights: Tensor, earlier: Tensor | None = None, strength: float = 0.0
) -> Tensor:
    """Find the mixture of densities under which the rows, weighted, are likeliest, shape (n_densities,).

    ``log_densities`` has shape (n_densities, n_rows); rows where any is NaN, or all are minus infinity, do not count.
    The problem is convex, and expectation-maximization from equal weights solves it. The weights found ``earlier``
    count like rows that have ``strength`` times the weight of all these rows.
    """
    known = ~log_densities.isnan().any(0) & log_densities.isfinite().any(0)
    log_densities, weights = log_densities[:, known], weights[known] / weights[known].sum()
    equal = torch.full((len(log_densities),), 1 / len(log_densities), dtype=torch.float64)
    shares = earlier = equal if earlier is None else earlier
    for _ in range(1000):
        posterior = torch.softmax(log_densities + shares.log().unsqueeze(1), 0)
        before, shares = shares, (posterior @ weights + strength * earlier) / (1 + strength)
        if (shares - before).abs().max() < 1e-6:
            break
    return shares


def weights_by_name(experts: Experts) -> dict[str, float]:
    """Return the weights of the flows and of each expert by name."""
    names = ["flows", *(specification.name for specification in experts.specifications)]
    weights: list[Any] = np.exp(experts.log_weights).tolist()
    return dict(zip(names, weights, strict=True))
