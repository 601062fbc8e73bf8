"""Mixtures of normal distributions."""

import torch
from torch import Tensor

from ..native import mixture_log_prob
from .base import LOG_2_PI, Base, in_chunks, logsumexp, normal_noise, sample_categorical


class GaussianMixture(Base):
    """A mixture of normal distributions with full covariances, one mixture per member.

    ``p(z) = sum_k w_k |P_k| N((z - mu_k) P_k)`` with N the standard normal, where ``P_k P_k^T`` is the inverse of the
    k-th covariance.

    Parameters
    ----------
    log_weights : Tensor of shape (n_members, n_components)
        The logarithms of the w_k, whose exponentials add up to one for each member.
    means : Tensor of shape (n_members, n_components, n_features)
        The means mu_k.
    precisions_cholesky : Tensor of shape (n_members, n_components, n_features, n_features)
        The P_k, which are upper triangular.
    """

    log_weights: Tensor
    means: Tensor
    precisions_cholesky: Tensor

    def __init__(self, log_weights: Tensor, means: Tensor, precisions_cholesky: Tensor) -> None:
        super().__init__()
        self.register_buffer("log_weights", log_weights)
        self.register_buffer("means", means)
        self.register_buffer("precisions_cholesky", precisions_cholesky)
        self.n_features = means.shape[-1]

    def log_prob(self, z: Tensor) -> Tensor:
        constants, shifts, matrices = self._constants, -self._centres, self.precisions_cholesky
        found = mixture_log_prob(z, constants, shifts, matrices)
        if found is None:
            found = in_chunks(lambda some: logsumexp(self.log_joint(some), -1), z, self.means[0].numel())
        return found

    def log_joint(self, z: Tensor) -> Tensor:
        """Return ``log w_k + log N(z; mu_k, Sigma_k)`` in nats, shape (n_members, n_rows, n_components)."""
        n_components, n_features = self.means.shape[1:]
        # The matrices of all components stand side by side, shape (n_members, n_features, n_components * n_features).
        side_by_side = self.precisions_cholesky.transpose(1, 2).flatten(2)
        white = z @ side_by_side - self._centres.flatten(1).unsqueeze(1)
        squares = torch.unflatten(white, -1, (n_components, n_features)).square().sum(-1)
        return self._constants.unsqueeze(1) - 0.5 * squares

    @property
    def _centres(self) -> Tensor:
        """The products ``mu_k P_k``, shape (n_members, n_components, n_features)."""
        return (self.means.unsqueeze(2) @ self.precisions_cholesky).squeeze(2)

    @property
    def _constants(self) -> Tensor:
        """The logarithms of ``w_k |P_k|`` times the normal constant, shape (n_members, n_components)."""
        log_det = self.precisions_cholesky.diagonal(0, -2, -1).log().sum(-1)
        return self.log_weights + log_det - 0.5 * self.n_features * LOG_2_PI

    def sample(self, shape: tuple[int, int], reference: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = normal_noise((*shape, self.n_features), reference, generator)
        chosen = sample_categorical(self.log_weights, shape[1], generator)
        z = torch.empty_like(noise)
        for member, component in self._components(chosen):
            here = chosen[member] == component
            spread = torch.linalg.solve_triangular(
                self.precisions_cholesky[member, component], noise[member, here], upper=True, left=False
            )
            z[member, here] = self.means[member, component] + spread
        return z

    def extra_repr(self) -> str:
        n_members, n_components, n_features = self.means.shape
        return f"n_members={n_members}, n_components={n_components}, n_features={n_features}"

    @staticmethod
    def _components(chosen: Tensor) -> list[tuple[int, int]]:
        """List every pair of a member and a component that occurs among the chosen components."""
        return [(member, int(k)) for member, row in enumerate(chosen) for k in row.unique()]
