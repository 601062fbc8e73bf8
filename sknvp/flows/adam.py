"""Adam, for all parameters in one buffer.

That of `torch.optim` does the same, but to make one loads torch's compiler: most of a second in every process.
"""

import torch
from torch import Tensor

BETAS = 0.9, 0.999
EPSILON = 1e-8


class Adam:
    """Steps of every parameter as long as its gradients are of one sign, with decoupled weight decay.

    Parameters
    ----------
    parameters : Tensor
        What is to be changed, in place.
    weight_decay : float
        Parameters shrink by this share of themselves, times the learning rate, in every step.
    moments : dict of Tensor or None
        Those that `moments` was before, by which steps go on as if they had never stopped; None to begin.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980.
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv:1711.05101.
    """

    def __init__(self, parameters: Tensor, weight_decay: float, moments: dict[str, Tensor] | None = None) -> None:
        self.parameters = parameters.detach()
        self.weight_decay = weight_decay
        self.n_steps, self.mean = 0, torch.zeros_like(self.parameters)
        self.square = torch.zeros_like(self.parameters)
        if moments:
            self.n_steps = int(moments["step"])
            self.mean.copy_(moments["exp_avg"])
            self.square.copy_(moments["exp_avg_sq"])

    @property
    def moments(self) -> dict[str, Tensor]:
        """Number of steps and running means of gradients and of their squares, under torch's names."""
        return {"step": torch.tensor(float(self.n_steps)), "exp_avg": self.mean, "exp_avg_sq": self.square}

    def step(self, gradient: Tensor, learning_rate: float) -> None:
        """Go a step against the gradient, which has the shape of the parameters."""
        self.n_steps += 1
        of_mean, of_square = (1 - beta**self.n_steps for beta in BETAS)  # the share of what was not zero at first
        self.mean.lerp_(gradient, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        size = (self.square / of_square).sqrt_().add_(EPSILON)
        self.parameters.mul_(1 - learning_rate * self.weight_decay)
        rate = min(learning_rate / of_mean, torch.finfo(size.dtype).max)
        self.parameters.addcdiv_(self.mean, size, value=-rate)
