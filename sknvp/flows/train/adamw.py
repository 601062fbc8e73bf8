"""The optimiser AdamW, for all parameters in one buffer, with clipped gradients.

It computes what `torch.optim.AdamW` computes. PyTorch's optimiser loads a compiler when it is created, which takes most
of a second in every process.
"""

import math

import torch
from torch import Tensor

from ..native import Step, can_step, describe_step, take_step

BETAS = 0.9, 0.999
EPSILON = 1e-8


class AdamW:
    """Adam with decoupled weight decay.

    Parameters
    ----------
    parameters : Tensor of shape (n_members, n_parameters)
        The parameters, which are changed in place.
    weight_decay : float
        In every step, parameters shrink by this share of themselves times the learning rate.
    moments : dict of Tensor, optional
        The attribute `moments` of an earlier optimiser, which this one continues as if it had never stopped.
    max_norm : float, default=inf
        The gradient of each member is clipped to this norm.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980.
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv:1711.05101.
    """

    def __init__(
        self,
        parameters: Tensor,
        weight_decay: float,
        moments: dict[str, Tensor] | None = None,
        max_norm: float = math.inf,
    ) -> None:
        self.parameters = parameters.detach()
        self.weight_decay = weight_decay
        self.max_norm = max_norm
        self.n_steps, self.mean = 0, torch.zeros_like(self.parameters)
        self.square = torch.zeros_like(self.parameters)
        if moments:
            self.go_on_from(moments)

    @property
    def moments(self) -> dict[str, Tensor]:
        """The number of steps and the running means of gradients and of their squares, under PyTorch's names."""
        return {"step": torch.tensor(float(self.n_steps)), "exp_avg": self.mean, "exp_avg_sq": self.square}

    def go_on_from(self, moments: dict[str, Tensor]) -> None:
        """Take over the moments of an earlier optimiser."""
        self.n_steps = int(moments["step"])
        self.mean.copy_(moments["exp_avg"])
        self.square.copy_(moments["exp_avg_sq"])

    def step(self, gradient: Tensor, learning_rate: float) -> None:
        """Take one step against a gradient that has the shape of the parameters, and may be changed.

        Numbers of it that are not finite count as zero: a single overflow must not spoil the weights.
        """
        if self.is_native(gradient):
            (step,) = self.next_steps(gradient, learning_rate, 1)
            take_step(step, self.parameters.dtype)
            return
        decay, rate, correction_2 = self._next_numbers(learning_rate)
        gradient.nan_to_num_(0.0, 0.0, 0.0)
        gradient.mul_((self.max_norm / gradient.norm(dim=1, keepdim=True)).clamp(max=1.0))
        self.mean.lerp_(gradient, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        size = (self.square / correction_2).sqrt_().add_(EPSILON)
        self.parameters.mul_(1 - decay)
        self.parameters.addcdiv_(self.mean, size, value=-rate)

    def is_native(self, gradient: Tensor) -> bool:
        """Return whether the native library can take steps against a gradient."""
        return can_step(self.parameters, gradient, self.mean, self.square)

    def next_steps(self, gradient: Tensor, learning_rate: float, n_steps: int) -> list[Step]:
        """Describe the next steps for the native library; they count as taken.

        The gradient of each step is to stand in ``gradient`` when it is taken.
        """
        tensors, steps = (self.parameters, gradient, self.mean, self.square), []
        for _ in range(n_steps):
            decay, rate, correction_2 = self._next_numbers(learning_rate)
            numbers = decay, rate, *BETAS, correction_2, EPSILON, self.max_norm
            steps.append(describe_step(tensors, numbers))
        return steps

    def _next_numbers(self, learning_rate: float) -> tuple[float, float, float]:
        """Count a step, and return the share that decays, the rate, and the bias correction of the squares."""
        self.n_steps += 1
        correction_1, correction_2 = (1 - beta**self.n_steps for beta in BETAS)
        rate = min(learning_rate / correction_1, torch.finfo(self.parameters.dtype).max)
        return learning_rate * self.weight_decay, rate, correction_2
