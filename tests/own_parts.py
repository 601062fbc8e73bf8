"""A coupling and a base distribution of a user, which are those of NICE."""

import math

import torch

from sknvp.flows import Base, Coupling

SCALE = math.sqrt(3) / math.pi  # of a logistic distribution of variance one


class AdditiveCoupling(Coupling):
    """Shift columns, ``z = x + t``; linear maps in between scale them."""

    N_PARAMETERS = 1
    LINEAR_BETWEEN = True

    def elementwise(self, x, theta, inverse):
        (shift,) = theta.unbind(1)
        return x - shift if inverse else x + shift, torch.zeros_like(x)


class Logistic(Base):
    """Independent logistic columns of variance one."""

    def __init__(self, n_features):
        super().__init__()
        self.n_features = n_features

    def log_prob(self, z):
        z = z / SCALE
        return -(z + 2 * torch.nn.functional.softplus(-z) + math.log(SCALE)).sum(-1)

    def cdf(self, z):
        return torch.sigmoid(z / SCALE)

    def sample(self, shape, reference, generator=None):
        uniform = torch.rand(*shape, self.n_features, dtype=torch.float64, generator=generator)
        return (SCALE * torch.logit(uniform, eps=1e-12)).to(reference)
