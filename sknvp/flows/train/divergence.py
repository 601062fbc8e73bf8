"""The objective of variational fits: divergences between a flow and an unnormalised density."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import torch
from torch import Tensor

from ..flow import Flow

MAX_EXCESS = 10.0  # The difference between log q - log p of a draw and its mean is clipped to this many nats.
FORWARD_WEIGHT = 3  # The forward KL divergence has this weight: with 1, one of eight modes may lose half of its share.


class MixedKL:
    """The sum ``KL(q || p) + 3 KL(p || q)`` of the reverse and the forward KL divergence of a flow q and a target p.

    Each draw is noise z carried to ``x = T^-1(z)``. The gradient of the reverse KL divergence, ``KL(q || p)``, takes
    account only of the path through x, and the parameters in ``log q`` are held constant ("sticking the landing" [1]_).
    It shapes each mode. But once modes have separated, no path leads from one to the other, and their shares drift.

    The forward KL divergence, ``KL(p || q)``, corrects the shares. Its gradient is that of ``-log q`` at these draws,
    weighted by ``p / q`` so that they represent draws from p, as in the wake phase of reweighted wake-sleep [2]_. The
    equally weighted gradient, which is zero on average, is subtracted. So both gradients vanish, draw by draw, where q
    is p. No weight is larger than ``1 / sqrt(n)`` of the sum of n weights, which keeps their variance finite [3]_.

    During the first steps the target is not p, but a bridge to it, ``log p_t = t log p + (1 - t) log q_0``, in which
    q_0 is the flow as it starts, so that separate modes are found. The cube root of t rises evenly to one. So t rises
    slowly while modes separate; after that, little mass passes between them. The loss is the reverse KL divergence from
    p itself, without the unknown constant of p. Draws at which p or its gradient is not finite are left out.

    The path sees no jump of p, and needs its gradient. Without the path, the gradient of the reverse KL divergence is
    that of ``log q``, weighted by how far ``log q - log p`` lies above its mean over the draws, which is half of the
    gradient of the variance of that difference [4]_. It vanishes too where q is p, and needs but values of p.

    Parameters
    ----------
    flow : Flow
        The flow q to train.
    target : callable
        A function from x of shape (n_members, n_rows, n_features) to ``log p`` of shape (n_members, n_rows) and its
        gradient in x, which may be None if ``by_path`` is False.
    start : Flow
        The density q_0.
    n_draws : int
        The number of draws of each member in a step.
    n_annealing : int
        The number of steps until the target is p.
    generator : torch.Generator
        The source of the noise.
    by_path : bool, default=True
        Whether the reverse KL divergence takes its gradient from the path, or from values of p alone.

    References
    ----------
    .. [1] Roeder, Wu and Duvenaud, "Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational
       Inference", NeurIPS 2017, arXiv:1703.09194.
    .. [2] Bornschein and Bengio, "Reweighted Wake-Sleep", ICLR 2015, arXiv:1406.2751.
    .. [3] Ionides, "Truncated Importance Sampling", Journal of Computational and Graphical Statistics 17, 2008.
    .. [4] Richter, Boustati, Nüsken, Ruiz and Akyildiz, "VarGrad: A Low-Variance Gradient Estimator for Variational
       Inference", NeurIPS 2020, arXiv:2010.10436.
    """

    def __init__(
        self,
        flow: Flow,
        target: Callable[[Tensor], tuple[Tensor, Tensor | None]],
        start: Flow,
        n_draws: int,
        n_annealing: int,
        generator: torch.Generator,
        by_path: bool = True,
    ) -> None:
        self.flow = flow
        self.target = target
        self.start = start
        self.n_draws = n_draws
        self.n_annealing = n_annealing
        self.generator = generator
        self.by_path = by_path

    def batches(self) -> Iterator[tuple[Tensor, float]]:
        """Yield noise of shape (n_members, n_draws, n_features), and t, without end."""
        shape = self.flow.n_members, self.n_draws
        for step in count(1):
            t = min(1.0, step / (self.n_annealing + 1)) ** 3
            yield self.flow.base.sample(shape, self.flow.reference, self.generator), t

    @torch.no_grad()
    def loss_and_gradients(self, out: Sequence[Tensor], z: Tensor, t: float) -> Tensor:
        """Return the loss, shape (n_members,), and write the gradients to ``out``, one tensor for each parameter."""
        if not self.by_path:
            return self._by_values(out, z, t)
        x, log_det, residuals = self.flow.transform.evaluate_with_residuals(z.mT.contiguous(), None, True)
        log_q = self.flow.base.log_prob(z) - log_det
        log_p, slope = self.target(x.mT)
        assert slope is not None
        used = log_p.isfinite() & slope.isfinite().all(-1)
        loss = log_q - log_p
        if t < 1:
            log_p, slope = self._bridge(x.mT, log_p, slope, t)
        weights = used.to(log_p.dtype) / used.sum(-1, keepdim=True).clamp(min=1)
        slope = torch.where(used.unsqueeze(-1), slope, 0)
        self.flow.transform.vjp(residuals, -(weights.unsqueeze(-1) * slope).mT, -weights, out)
        target_weights = _importance_weights(torch.where(used, log_p - log_q, -torch.inf))
        score = [torch.empty_like(place) for place in out]
        self.flow.log_prob_and_gradients(score, x.mT, weights + FORWARD_WEIGHT * (target_weights - weights))
        for place, part in zip(out, score, strict=True):
            place -= part
        return (weights * torch.where(used, loss, 0)).sum(-1)

    def _by_values(self, out: Sequence[Tensor], z: Tensor, t: float) -> Tensor:
        """Do what `loss_and_gradients` does without the gradient of the target."""
        x, log_det = self.flow.transform.inverse(z)
        log_q = self.flow.base.log_prob(z) - log_det
        log_p, _ = self.target(x)
        used = log_p.isfinite()
        weights = used.to(log_p.dtype) / used.sum(-1, keepdim=True).clamp(min=1)
        loss = (weights * torch.where(used, log_q - log_p, 0)).sum(-1)
        if t < 1:
            log_p = t * log_p + (1 - t) * self.start.log_prob(x)
        excess = torch.where(used, log_q - log_p, 0)
        excess = (excess - (weights * excess).sum(-1, keepdim=True)).clamp(-MAX_EXCESS, MAX_EXCESS)
        target_weights = _importance_weights(torch.where(used, log_p - log_q, -torch.inf))
        forward = FORWARD_WEIGHT * (target_weights - 1 / self.n_draws)
        self.flow.log_prob_and_gradients(out, x, weights * excess - forward)
        return loss

    def validate(self) -> None:
        """Return None: nothing is held out, since every draw is new."""

    def _bridge(self, x: Tensor, log_p: Tensor, slope: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """Return ``log p_t`` and its gradient from ``log p`` and its gradient."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            log_start = self.start.log_prob(x)
            (slope_of_start,) = torch.autograd.grad(log_start.sum(), x)
        return t * log_p + (1 - t) * log_start.detach(), t * slope + (1 - t) * slope_of_start


def _importance_weights(log_ratios: Tensor) -> Tensor:
    """Return weights with sum one that make draws of the flow represent the target, from ``log p - log q``."""
    most = log_ratios.isfinite().sum(-1, keepdim=True).clamp(min=1) ** -0.5
    weights = torch.minimum(torch.softmax(log_ratios, -1).nan_to_num(), most)
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
