"""Diagnostics of a variational fit: importance weights, lost mass, and warnings of both."""

import math
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._experts.weighted import NO_EXPERTS
from .._warn import warn_caller
from ..flows import Chain, Ensemble, Flow, Standardize
from .importance import MAX_TRUSTED_PARETO_K, effective_share, log_mean, pareto_k
from .target import Target

MIN_LOST_MASS = 0.01  # The log-evidence may be too low by this many nats,
MAX_STD_ERRORS = 4  # or by this many standard errors.
MAX_SHARE_OUTSIDE = 0.01  # A larger share of draws outside the support of the log-density calls for bounds.
N_ROWS_AT_ONCE = 1000  # The log-density is evaluated at this many draws at once.


class WeightedDraws(NamedTuple):
    """Draws from a density q, with importance weights p / q for an unnormalised density p."""

    x: NDArray[np.float64]  # The draws, of shape (n_draws, n_features).
    log_weights: NDArray[np.float64]  # Of shape (n_draws,), minus infinity where p is zero or not finite.

    @classmethod
    def of(cls, x: NDArray[np.float64], log_p: NDArray[np.float64], log_q: NDArray[np.float64]) -> Self:
        """Weigh draws by the logarithms of both densities, shape (n_draws,)."""
        log_weights = log_p - log_q
        return cls(x, np.where(np.isfinite(log_weights), log_weights, -np.inf))

    @property
    def n_outside(self) -> int:
        """The number of draws without weight."""
        return int(np.isneginf(self.log_weights).sum())

    @property
    def log_evidence(self) -> float:
        """The estimated logarithm of the integral of p, in nats."""
        return log_mean(self.log_weights)

    @property
    def log_evidence_std_err(self) -> float:
        """The standard error of the logarithm of the integral of p."""
        return float(np.sqrt((1 / self.effective_share - 1) / len(self.log_weights)))

    @property
    def effective_share(self) -> float:
        """Kish's effective sample size as a share of the number of draws."""
        return effective_share(self.log_weights)

    @property
    def pareto_k(self) -> float:
        """The shape of the tail of the weights."""
        return pareto_k(self.log_weights)

    def resampled(self, n_samples: int, rng: np.random.RandomState) -> NDArray[np.float64]:
        """Draw rows with replacement, with probabilities proportional to the weights."""
        weights = np.exp(self.log_weights - self.log_weights.max())
        rows = rng.choice(len(weights), n_samples, p=weights / weights.sum())
        drawn: NDArray[np.float64] = self.x[rows]
        return drawn


class LostMass(NamedTuple):
    """By how much draws that reach farther raise the log-evidence."""

    excess: float  # In nats.
    std_err: float  # The standard error of the excess.


def lost_mass(
    own: WeightedDraws, density: Ensemble, start: Flow, target: Target, generator: torch.Generator
) -> LostMass | None:
    """Measure the mass of the target that the flows have lost; None if it is not significant.

    A third of the draws comes from the fitted density, a third from its flow with noise twice as wide, and a third from
    the flow at the start. So a mode counts that one of these reaches.
    """
    far = _draws_that_reach_farther(own, density, start, target, generator)
    if far.n_outside == len(far.x):
        return None
    excess = far.log_evidence - own.log_evidence
    std_err = float(np.hypot(far.log_evidence_std_err, own.log_evidence_std_err))
    return LostMass(excess, std_err) if excess > max(MIN_LOST_MASS, MAX_STD_ERRORS * std_err) else None


def _draws_that_reach_farther(
    own: WeightedDraws, density: Ensemble, start: Flow, target: Target, generator: torch.Generator
) -> WeightedDraws:
    """Draw from the mixture of the fitted density, the density of wider noise, and the density at the start."""
    flow, n_draws = next(iter(density.flows)), len(own.x) // 3
    zero = flow.reference.new_zeros(own.x.shape[1])
    wide = Flow(Chain(flow.transform, Standardize(zero, zero + 2)), flow.base, flow.n_members)
    others = [NO_EXPERTS.density(each) for each in (wide, start)]
    with torch.no_grad():
        drawn = [other.sample(n_draws, generator=generator) for other in others]
        x = torch.cat([*drawn, torch.tensor(own.x[:n_draws], device=zero.device)])
        log_q = torch.logsumexp(torch.stack([each.log_prob(x) for each in (*others, density)]), 0) - math.log(3)
        log_p = torch.cat([target.evaluate(rows)[0] for rows in torch.split(x, N_ROWS_AT_ONCE)])
    return WeightedDraws.of(*(part.cpu().numpy() for part in (x, log_p, log_q)))


def log_target(target: Target, x: Tensor, n_at_once: int) -> NDArray[np.float64]:
    """Evaluate the target at rows, at least `N_ROWS_AT_ONCE` of them at once."""
    parts = [target(rows)[0] for rows in torch.split(x, max(N_ROWS_AT_ONCE, n_at_once))]
    return torch.cat(parts).cpu().numpy()


def lacking_bounds(bounds: tuple[NDArray[Any], NDArray[Any]] | None) -> str:
    """Name the bounds that could be passed in addition to those that were passed; empty if every column has two."""
    if bounds is None:
        return "bounds"
    lacking = np.flatnonzero(np.isinf(bounds).any(0)).tolist()
    return f"the bounds that columns {lacking} lack" if lacking else ""


def warn_of_support(target: Target, draws: WeightedDraws, lacking: str) -> None:
    """Warn if the log-density is no number, or zero at many draws."""
    cure = f"pass {lacking}" if lacking else "narrow bounds to it"
    if target.n_bad:
        warn_caller(
            f"log_density was NaN or plus infinity at {target.n_bad} of {target.n_rows} draws, such as "
            f"{target.bad}; they were left out. If that is outside of its support, {cure}."
        )
    elif draws.n_outside > MAX_SHARE_OUTSIDE * len(draws.x):
        warn_caller(
            f"log_density was minus infinity at {draws.n_outside} of {len(draws.x)} draws from the fitted flows. If "
            f"its support is bounded, {cure}."
        )


def warn_of_fit(draws: WeightedDraws, lost: LostMass | None, lacking: str) -> None:
    """Warn if the flows are far from the target somewhere."""
    reasons, k = [], draws.pareto_k
    if k > MAX_TRUSTED_PARETO_K:
        reasons.append(f"The importance weights have Pareto k = {k:.2f}, above {MAX_TRUSTED_PARETO_K}.")
    if lost is not None:
        reasons.append(
            f"Draws that reach farther than the flows find a log-evidence {lost.excess:.3f} above log_evidence_, with "
            f"a standard error of {lost.std_err:.3f}, so the flows have lost mass."
        )
    if reasons:
        warn_caller(
            f"The flows are far from log_density somewhere. {' '.join(reasons)} Trust neither log_evidence_ nor "
            "effective_sample_size_ nor resample. Raise max_iter or n_layers, choose loc and scale such that the "
            f"first draws cover the target, {f'pass {lacking} if there are any, ' if lacking else ''}and see that its "
            "integral is finite."
        )


def warn_of_jumps() -> None:
    """Warn of jumps that were found after training, in which the flows followed gradients."""
    warn_caller(
        "log_density jumps on lines between draws from the fitted flows, and gradients do not see jumps. "
        "Let it take and return NumPy arrays, without a gradient, so that the flows learn from its values."
    )
