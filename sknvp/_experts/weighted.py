"""The experts beside a flow, their weights, and the density of all of them."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .._estimators.modes import default_torch_modes
from ..flows import Ensemble, Flow
from ..flows.builders.expert_specification import ExpertSpecification


class Experts(NamedTuple):
    """The experts beside a flow, and the weights of the flow and of the experts."""

    specifications: tuple[ExpertSpecification, ...]
    log_weights: NDArray[np.float64]  # The weight of the flow, then those of the experts, of shape (1 + n_experts,).
    log_shares: NDArray[np.float64] | None = None  # The shares of the flow's members; None if all are equal.

    def density(self, flow: Flow) -> Ensemble:
        """Build the density of a flow and these experts."""
        device = flow.reference.device
        with default_torch_modes():
            parts = [flow, *(expert.build(device) for expert in self.specifications)]
            shares = None if self.log_shares is None else torch.tensor(self.log_shares, device=device)
            return Ensemble(parts, torch.tensor(self.log_weights, device=device), shares)

    def weighted_flow(self, flow: Flow) -> Ensemble:
        """Build the density of the flow alone, times the weight of the flow."""
        return self._replace(specifications=(), log_weights=self.log_weights[:1]).density(flow)

    @property
    def weights_by_name(self) -> dict[str, float]:
        """The weights of the flows and of each expert."""
        names = ["flows", *(specification.name for specification in self.specifications)]
        weights: list[Any] = np.exp(self.log_weights).tolist()
        return dict(zip(names, weights, strict=True))


NO_EXPERTS = Experts((), np.zeros(1))
