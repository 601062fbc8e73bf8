"""The contract that every base distribution keeps, and operations that several of them share."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

MAX_CHUNK_NUMBERS = 2**19  # The output of one layer may have this many numbers: they fit the cache of the processor.
LOG2_E = math.log2(math.e)
LOG_2_PI = math.log(2 * math.pi)


class Base(nn.Module):
    """A distribution of ``n_features`` columns of noise, with nothing to train.

    Subclasses set ``n_features``, define `log_prob` and `sample`, and may define the other methods. Tensors that they
    need are buffers. Estimators take the class as ``base=MyBase``, which they call with the number of columns; a
    ``functools.partial`` holds other arguments. The density integrates to one if that of the base does. Flows start
    from standardised rows, so a scale of about one suits.
    """

    n_features: int

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density of each row in nats.

        Parameters
        ----------
        z : Tensor of shape (n_members, n_rows, n_features)
            The noise.

        Returns
        -------
        log_prob : Tensor of shape (n_members, n_rows)
        """
        raise NotImplementedError

    def grad_log_prob(self, z: Tensor) -> Tensor:
        """Return the gradient of the log-density of each row, of the shape of ``z``. By default autograd finds it."""
        with torch.inference_mode(False), torch.enable_grad():
            z = z.clone().detach().requires_grad_()
            value = self.log_prob(z).sum()
            gradient = torch.autograd.grad(value, z)[0] if value.requires_grad else torch.zeros_like(z)
        return gradient

    def cdf(self, z: Tensor) -> Tensor:
        """Return the distribution function of each column by itself, which has the shape of ``z``."""
        raise NotImplementedError

    def sample(self, shape: tuple[int, int], reference: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw noise.

        Parameters
        ----------
        shape : (n_members, n_rows)
            How many rows to draw for how many members.
        reference : Tensor
            A tensor with the dtype and the device that the noise should have.
        generator : torch.Generator, optional
            The source of the noise.

        Returns
        -------
        z : Tensor of shape (n_members, n_rows, n_features)
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"n_features={self.n_features}"


def in_chunks(function: Callable[[Tensor], Tensor], z: Tensor, n_numbers: int) -> Tensor:
    """Apply a function to a few rows at a time, so that memory does not grow with the number of rows.

    Parameters
    ----------
    function : callable
        It maps rows, shape (n_members, n_chunk, n_features), to numbers, shape (n_members, n_chunk).
    z : Tensor of shape (n_members, n_rows, n_features)
        The rows.
    n_numbers : int
        The number of numbers that the function makes of one row of one member.

    Returns
    -------
    numbers : Tensor of shape (n_members, n_rows)
    """
    n_rows = max(1, MAX_CHUNK_NUMBERS // max(1, n_numbers * len(z)))
    return torch.cat([function(chunk) for chunk in torch.split(z, n_rows, 1)], 1)


def logsumexp(x: Tensor, dim: int) -> Tensor:
    """Compute `torch.logsumexp` several times faster."""
    largest = x.detach().amax(dim, keepdim=True)
    largest = torch.where(largest.isinf(), 0, largest)  # If all numbers are infinite, nothing can overflow.
    return exp_(x - largest).sum(dim).log_() + largest.squeeze(dim)


def exp_(x: Tensor) -> Tensor:
    """Compute ``exp`` in place.

    `torch.exp` takes up to a hundred times as long where the result underflows.
    """
    return x.mul_(LOG2_E).exp2_()


def normal_noise(shape: tuple[int, ...], reference: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw standard normal numbers with the dtype and on the device of ``reference``.

    They are drawn on the device of the generator, so that a seed gives the same numbers on every device.
    """
    device = "cpu" if generator is None else generator.device
    return torch.randn(shape, dtype=reference.dtype, device=device, generator=generator).to(reference.device)


def sample_categorical(log_weights: Tensor, n_rows: int, generator: torch.Generator | None) -> Tensor:
    """Draw indices with the probabilities ``exp(log_weights)`` of each member.

    Parameters
    ----------
    log_weights : Tensor of shape (n_members, n_categories)
        Logarithms of the probabilities.
    n_rows : int
        The number of indices that each member draws.
    generator : torch.Generator or None
        The source of the indices.

    Returns
    -------
    indices : Tensor of shape (n_members, n_rows), dtype int64
    """
    device = "cpu" if generator is None else generator.device
    cumulative = log_weights.double().exp().cumsum(-1).to(device)
    uniform = torch.rand(len(log_weights), n_rows, dtype=torch.float64, device=device, generator=generator)
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True).to(log_weights.device)
