"""Stacking: the weights of a flow and of the experts beside it, by the likelihood of the rows held out."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._estimators.evaluation import to_tensor
from .._estimators.rows import Rows
from .._estimators.weights import effective_number
from .._shares import likeliest_shares
from ..flows import Ensemble
from ..flows.builders.expert_specification import ExpertSpecification
from .table import Table
from .weighted import Experts

N_ITERATIONS = 1_000  # Expectation-maximization takes at most this many iterations.
TOL = 1e-6  # A smaller change of all weights ends expectation-maximization.
MIN_WEIGHT = 1e-12  # Each weight is raised to at least this number, so that its logarithm is finite.
MIN_FIRST_WEIGHT = 1e-6  # Each of the first weights is raised to at least this number, so that it may rise.
MIN_KEPT_WEIGHT = 0.01  # An expert with less weight is left out, since it costs time and adds little.
MAX_WEIGHING_ROWS = 1_000  # At most this many rows of a chunk of a stream update the weights.
N_STREAM_PRIOR_ROWS = 1_000  # The earlier weights of a stream count like this many rows.
MIN_TAIL_WEIGHT = 1e-3  # The last expert, which has heavy tails, always has at least this weight.
N_PRIOR_ROWS = 300  # The first weights, with equal shares of the members, count like this many rows.
MAX_GAIN = 30.0  # Gains and losses of a row against the experts are cut off at this many nats.


class Candidate(NamedTuple):
    """An expert in two forms."""

    compared: ExpertSpecification  # The form that was fitted for each member to the rows that it was trained on.
    final: ExpertSpecification  # The form that stands beside the flow if the expert is kept.


def stack(member_log_densities: Tensor, candidates: list[Candidate], table: Table) -> Experts:
    """Weigh the members of the flow and the experts, and leave out experts with little weight.

    For the comparison each expert is fitted once for each member of the flow, to the rows that this member was trained
    on. First, the flow and the experts get the weights under which the rows held out are likeliest. Then the members of
    the flow are weighed too, by all rows that some member held out: see `as_if_held_out`. The first weights, with equal
    shares of the members, count like `N_PRIOR_ROWS` rows there.

    Parameters
    ----------
    member_log_densities : Tensor of shape (n_members, n_rows)
        The log-density of each row under each member of the flow, whether the member held it out or not.
    candidates : list of Candidate
        The experts; the last one is always kept.
    table : Table
        The rows.

    References
    ----------
    Smyth and Wolpert, "Linearly combining density estimators via stacking", Machine Learning 36, 1999.
    """
    experts = torch.stack([table.cross_fitted_log_density(candidate.compared.build()) for candidate in candidates])
    flow = table.held_out_mean(member_log_densities).unsqueeze(0)
    first = stacking_weights(torch.cat([flow, experts]), table.weights).clamp(min=MIN_FIRST_WEIGHT)
    members, weights = _weigh_members(as_if_held_out(member_log_densities, experts, table), experts, table, first)
    kept = weights >= MIN_KEPT_WEIGHT
    kept[-1], weights[-1] = True, weights[-1].clamp(min=MIN_TAIL_WEIGHT)
    weights = torch.cat([members.sum(0, keepdim=True), weights[kept]])
    final = tuple(candidate.final for candidate, keep in zip(candidates, kept, strict=True) if keep)
    return Experts(final, _log_normalized(weights), _log_normalized(members))


def _weigh_members(members: Tensor, experts: Tensor, table: Table, first: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights of the members and of the experts, given the first weights of the flow and of the experts.

    Log-densities of each row under the members, as if all had held it out, and under the experts are given.
    """
    n_members, weights = len(members), table.weights[table.validation.any(0)]
    has_mass = members.isfinite().any(1)
    earlier = torch.cat([torch.where(has_mass, first[0] / n_members, MIN_WEIGHT), first[1:]])
    strength = N_PRIOR_ROWS / effective_number(weights)
    found = stacking_weights(torch.cat([members, experts]), table.weights, earlier, strength)
    return found[:n_members].clamp(min=MIN_WEIGHT), found[n_members:]


def _log_normalized(weights: Tensor) -> NDArray[np.float64]:
    """Return the logarithms of weights divided by their sum."""
    log_weights: NDArray[np.float64] = (weights / weights.sum()).log().numpy()
    return log_weights


def as_if_held_out(member_log_densities: Tensor, expert_log_densities: Tensor, table: Table) -> Tensor:
    """Estimate the log-densities that rows would have under each member if it had not been trained on them.

    What a member gains over the experts is larger on the rows that it was trained on than on the rows that it held out,
    and differs more from row to row where it has learned rows by heart. So the gains on the rows that it was trained on
    get the mean of its gains on the rows held out, and their standard deviation if that is smaller.

    Parameters
    ----------
    member_log_densities : Tensor of shape (n_members, n_rows)
        The log-density of each row under each member.
    expert_log_densities : Tensor of shape (n_experts, n_rows)
        The log-density of each row under each expert, fitted without the row; NaN for a row that no member held out.
    table : Table
        The rows.
    """
    experts = torch.logsumexp(expert_log_densities, 0)
    gains = (member_log_densities - experts).clamp(-MAX_GAIN, MAX_GAIN)
    mean, spread = _moments(gains, table.weights * table.validation)
    trained_mean, trained_spread = _moments(gains, table.weights * ~table.validation)
    # A member that holds out no row gets the mean of the other members.
    mean = torch.where(mean.isnan(), mean.nanmean(), mean)
    ratio = (spread / trained_spread).nan_to_num(1.0).clamp(max=1.0)
    lowered = experts + mean + (gains - trained_mean) * ratio
    return torch.where(table.validation | member_log_densities.isinf(), member_log_densities, lowered)


def _moments(gains: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each line, both of shape (n_lines, 1); NaN does not count."""
    weights, gains = torch.where(gains.isnan(), 0.0, weights), gains.nan_to_num()
    shares = weights / weights.sum(1, keepdim=True)
    mean = (shares * gains).sum(1, keepdim=True)
    return mean, (shares * (gains - mean).square()).sum(1, keepdim=True).sqrt()


def reweigh(experts: Experts, density: Ensemble, rows: Rows, context: NDArray[Any] | None = None) -> Experts:
    """Weigh the parts of a density anew by rows of a stream that it has not learned from yet.

    The earlier weights count like `N_STREAM_PRIOR_ROWS` rows, so that parts that do not explain the latest rows fade.
    The flow is one of these parts, in which each member keeps its share. A conditional density needs the standardised
    context of the rows, shape (n_rows, n_context).
    """
    if not experts.specifications:
        return experts
    some = np.linspace(0, len(rows.x) - 1, min(len(rows.x), MAX_WEIGHING_ROWS)).astype(int)
    inputs = (to_tensor(part[some], density.reference) for part in (rows.x, context) if part is not None)
    with torch.inference_mode():
        weighted = density.weighted_log_probs(*inputs).cpu()
    log_densities = weighted - torch.tensor(experts.log_weights).unsqueeze(1)
    earlier, strength = torch.tensor(np.exp(experts.log_weights)), N_STREAM_PRIOR_ROWS / effective_number(rows.weights)
    weights = stacking_weights(log_densities, torch.tensor(rows.weights[some]), earlier, strength)
    weights[-1] = weights[-1].clamp(min=MIN_TAIL_WEIGHT)
    return experts._replace(log_weights=_log_normalized(weights.clamp(min=MIN_WEIGHT)))


def stacking_weights(
    log_densities: Tensor, weights: Tensor, earlier: Tensor | None = None, strength: float = 0.0
) -> Tensor:
    """Find the weights of densities under whose mixture the weighted rows are likeliest, shape (n_densities,).

    ``log_densities`` has shape (n_densities, n_rows); rows where any is NaN, or all are minus infinity, do not count.
    The weights ``earlier`` count like rows that have ``strength`` times the weight of all these rows.
    """
    known = ~log_densities.isnan().any(0) & log_densities.isfinite().any(0)
    log_densities, weights = log_densities[:, known], weights[known] / weights[known].sum()
    densities = (log_densities - log_densities.amax(0)).exp().numpy()
    prior = None if earlier is None else earlier.numpy()
    found = likeliest_shares(densities, weights.numpy(), prior, strength, n_iterations=N_ITERATIONS, tol=TOL)
    return torch.tensor(found)
