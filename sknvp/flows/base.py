"""Base distributions: the noise that a flow starts from, and what stands beside flows in an ensemble.

Each gives the log-density of ``z`` of shape (n_members, n_rows, n_features) as (n_members, n_rows), in nats, and draws
noise of shape (n_members, n_rows, n_features).
"""

import math

import torch
from torch import Tensor, nn

LOG2_E = math.log2(math.e)
LOG_2_PI = math.log(2 * math.pi)


class Base(nn.Module):
    """A distribution of ``n_features`` columns of noise, without parameters of its own to train."""

    n_features: int

    @property
    def width(self) -> int:
        """How many numbers a row becomes on the way, to choose how many rows to take at once."""
        return self.n_features

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density in nats of each row, shape (n_members, n_rows, n_features) -> (n_members, n_rows)."""
        raise NotImplementedError

    def gradient(self, z: Tensor) -> Tensor:
        """Gradient of each row's log-density, of the shape of ``z``; autograd's where none is written by hand."""
        with torch.inference_mode(False), torch.enable_grad():
            z = z.clone().detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_prob(z).sum(), z)
        return gradient

    def sample(self, shape: tuple[int, int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noise of shape ``(*shape, n_features)`` for ``shape`` (n_members, n_rows), dtype and device of ``like``."""
        raise NotImplementedError


class StandardNormal(Base):
    """Independent normals of mean zero and variance one. Log-densities are float64.

    Parameters
    ----------
    n_features : int
        The number of columns of the noise.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    def log_prob(self, z: Tensor) -> Tensor:
        square = z.double().square().sum(-1)  # single precision overflows at 1e19
        return -0.5 * (square + self.n_features * LOG_2_PI)

    def gradient(self, z: Tensor) -> Tensor:
        return -z

    def sample(self, shape: tuple[int, int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return normal_noise((*shape, self.n_features), like, generator)


class GaussianMixture(Base):
    """A mixture of normal distributions with full covariances, one mixture per member.

    ``p(z) = sum_k w_k |P_k| N((z - mu_k) P_k)`` with N the standard normal, where ``P_k P_k^T`` is the inverse of the
    k-th covariance.

    Parameters
    ----------
    log_weights : Tensor of shape (n_members, n_components)
        Logarithms of the w_k; their exponentials add up to one for each member.
    means : Tensor of shape (n_members, n_components, n_features)
        The mu_k.
    precisions_cholesky : Tensor of shape (n_members, n_components, n_features, n_features)
        The P_k, upper triangular, as in scikit-learn's ``GaussianMixture.precisions_cholesky_``.
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

    @property
    def width(self) -> int:
        return self.means[0].numel()

    def log_prob(self, z: Tensor) -> Tensor:
        return logsumexp(self.log_joint(z), -1)

    def log_joint(self, z: Tensor) -> Tensor:
        """``log w_k + log N(z; mu_k, Sigma_k)``, shape (n_members, n_rows, n_components)."""
        n_components, n_features = self.means.shape[1:]
        side_by_side = self.precisions_cholesky.transpose(1, 2).flatten(2)  # (n_members, n_features, K n_features)
        centres = (self.means.unsqueeze(2) @ self.precisions_cholesky).flatten(1).unsqueeze(1)
        white = torch.unflatten(z @ side_by_side - centres, -1, (n_components, n_features))
        log_det = self.precisions_cholesky.diagonal(0, -2, -1).log().sum(-1)
        constant = self.log_weights + log_det - 0.5 * n_features * LOG_2_PI
        joint: Tensor = constant.unsqueeze(1) - 0.5 * white.square().sum(-1)
        return joint

    def sample(self, shape: tuple[int, int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = normal_noise((*shape, self.n_features), like, generator)
        chosen = draw(self.log_weights, shape[1], generator)
        z = torch.empty_like(noise)
        for member, component in self._components(chosen):
            here = chosen[member] == component
            spread = torch.linalg.solve_triangular(
                self.precisions_cholesky[member, component], noise[member, here], upper=True, left=False
            )
            z[member, here] = self.means[member, component] + spread
        return z

    @staticmethod
    def _components(chosen: Tensor) -> list[tuple[int, int]]:
        return [(member, int(k)) for member, row in enumerate(chosen) for k in row.unique()]


class Kernels(Base):
    """Normal kernels of one bandwidth on many points: ``p(z) = sum_i w_i N(z; point_i, bandwidth^2 I)``.

    Parameters
    ----------
    points : Tensor of shape (n_members, n_points, n_features)
        Where the kernels stand.
    log_weights : Tensor of shape (n_members, n_points)
        Logarithms of the w_i; their exponentials add up to one for each member.
    bandwidth : float
        The standard deviation of a kernel in every direction.

    References
    ----------
    Parzen, "On estimation of a probability density function and mode", Ann. Math. Statist. 33, 1962.
    """

    points: Tensor
    squares: Tensor
    log_weights: Tensor

    def __init__(self, points: Tensor, log_weights: Tensor, bandwidth: float) -> None:
        super().__init__()
        self.register_buffer("points", points)
        self.register_buffer("squares", points.square().sum(-1), persistent=False)
        self.register_buffer("log_weights", log_weights)
        self.bandwidth = bandwidth
        self.n_features = points.shape[-1]

    @property
    def width(self) -> int:
        return self.points.shape[1]

    def log_prob(self, z: Tensor) -> Tensor:
        precision = self.bandwidth**-2
        offset = self.log_weights - 0.5 * precision * self.squares
        log_sum = logsumexp(torch.baddbmm(offset.unsqueeze(1), z * precision, self.points.mT), -1)
        constant = self.n_features * (math.log(self.bandwidth) + 0.5 * LOG_2_PI)
        return log_sum - 0.5 * precision * z.square().sum(-1) - constant

    def sample(self, shape: tuple[int, int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = normal_noise((*shape, self.n_features), like, generator)
        chosen = draw(self.log_weights, shape[1], generator).unsqueeze(-1).expand(noise.shape)
        return self.points.gather(1, chosen) + noise * self.bandwidth


class StudentT(Base):
    """The multivariate t-distribution around zero: like a normal distribution, with heavy tails.

    ``log p(z) = const - (nu + d) / 2 log(1 + |z|^2 / nu)``, which falls so slowly that it stays finite for every z:
    with m the greatest of 1 and all ``|z_i|`` that logarithm is ``2 log m + log(1 / m^2 + |z / m|^2 / nu)``.

    Parameters
    ----------
    n_features : int
        The number of columns d.
    degrees_of_freedom : int
        nu; the smaller, the heavier the tails.
    """

    def __init__(self, n_features: int, degrees_of_freedom: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.nu = degrees_of_freedom

    def log_prob(self, z: Tensor) -> Tensor:
        nu, d = self.nu, self.n_features
        constant = math.lgamma((nu + d) / 2) - math.lgamma(nu / 2) - 0.5 * d * math.log(nu * math.pi)
        m = z.abs().amax(-1).clamp(min=1)
        square = (z / m.unsqueeze(-1)).square().sum(-1)
        return constant - 0.5 * (nu + d) * (2 * m.log() + (m.reciprocal().square() + square / nu).log())

    def cdf(self, z: Tensor) -> Tensor:
        """Distribution function of every number by itself, for an even number of degrees of freedom.

        With ``sin = z / sqrt(nu + z^2)`` it is ``1/2 + sin/2 (1 + cos^2/2 + 3 cos^4/8 + ...)``, with nu / 2 terms.
        """
        sine = z / torch.hypot(z, torch.full_like(z, self.nu**0.5))
        term = total = torch.ones_like(z)
        for k in range(1, self.nu // 2):
            term = term * (1 - sine.square()) * (2 * k - 1) / (2 * k)
            total = total + term
        return 0.5 + 0.5 * sine * total

    def sample(self, shape: tuple[int, int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chi_square = normal_noise((*shape, self.nu), like, generator).square().sum(-1, keepdim=True)
        return normal_noise((*shape, self.n_features), like, generator) * (self.nu / chi_square).sqrt()


class Beside(Base):
    """A base distribution for some of the columns and, independent of it, standard normals for the others.

    Parameters
    ----------
    base : Base
        Base distribution of the chosen columns.
    columns : Tensor of shape (n_chosen,), dtype int64
        Which columns they are.
    n_features : int
        How many columns there are in all.
    """

    columns: Tensor
    others: Tensor

    def __init__(self, base: Base, columns: Tensor, n_features: int) -> None:
        super().__init__()
        self.base = base
        self.rest = StandardNormal(n_features - len(columns))
        self.register_buffer("columns", columns)
        self.register_buffer("others", torch.tensor([j for j in range(n_features) if j not in columns.tolist()]).long())
        self.n_features = n_features

    @property
    def width(self) -> int:
        return self.base.width

    def log_prob(self, z: Tensor) -> Tensor:
        return self.base.log_prob(z[..., self.columns]) + self.rest.log_prob(z[..., self.others])

    def sample(self, shape: tuple[int, int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        z = torch.empty(*shape, self.n_features, dtype=like.dtype, device=like.device)
        z[..., self.columns] = self.base.sample(shape, like, generator)
        z[..., self.others] = self.rest.sample(shape, like, generator)
        return z


def logsumexp(x: Tensor, dim: int) -> Tensor:
    """What `torch.logsumexp` gives, several times faster."""
    largest = x.detach().amax(dim, keepdim=True)
    largest = torch.where(largest.isinf(), 0, largest)  # then there is nothing to keep from overflow
    return exp_(x - largest).sum(dim).log_() + largest.squeeze(dim)


def exp_(x: Tensor) -> Tensor:
    """``exp`` in place. `torch.exp` takes up to a hundred times as long where the result is too small for a number."""
    return x.mul_(LOG2_E).exp2_()


def normal_noise(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers of the dtype and on the device of ``like``.

    They are drawn on the generator's own device, so that a seed means the same everywhere.
    """
    device = "cpu" if generator is None else generator.device
    return torch.randn(shape, dtype=like.dtype, device=device, generator=generator).to(like.device)


def draw(log_weights: Tensor, n_rows: int, generator: torch.Generator | None) -> Tensor:
    """Indices (n_members, n_rows) drawn with the probabilities of each member, ``exp(log_weights)``."""
    device = "cpu" if generator is None else generator.device
    cumulative = log_weights.double().exp().cumsum(-1).to(device)
    uniform = torch.rand(len(log_weights), n_rows, dtype=torch.float64, device=device, generator=generator)
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True).to(log_weights.device)
