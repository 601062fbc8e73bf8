"""What a variational fit minimises: the divergence between a flow and an unnormalised density."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import torch
from torch import Tensor

from .flow import Flow

WEIGHT_OF_TARGET = 3  # weight of the divergence from the target: with 1, one of eight modes may lose half of its share


class MixedKL:
    """``KL(q || p) + 3 KL(p || q)``, the Kullback-Leibler divergences both ways between the flow q and a target p.

    Each draw is noise z carried to ``x = T^-1(z)``. Of the first, the gradients are those of the path through x alone,
    with the parameters in ``log q`` held still ("sticking the landing" [1]_). It shapes each mode, but once these have
    parted no path leads from one to the other, and their shares drift. The second sets the shares right: its gradients
    are those of ``-log q`` at the same draws, weighted by ``p / q`` so that they stand for draws from p, as in the wake
    phase of reweighted wake-sleep [2]_, less the equally weighted ones, which are zero on average. Where q is p both
    vanish, draw by draw. No weight is above ``1 / sqrt(n)`` of all, which keeps their variance finite [3]_.

    For the first steps the target is not p but a bridge to it, ``log p_t = t log p + (1 - t) log q_0``, with q_0 the
    flow as it starts, so that separate modes are found. The cube root of t rises evenly to one: slowly while modes
    part, since once they have, little mass passes between them. Losses are those of the first divergence, to p itself
    and less p's constant. Draws at which p or its gradient is not finite are left out.

    Parameters
    ----------
    flow : Flow
        q, to train.
    target : callable
        From x of shape (n_members, n_rows, n_features), ``log p`` of shape (n_members, n_rows) and its gradient in x.
    start : Flow
        q_0.
    n_draws : int
        Draws of each member in a step.
    n_annealing : int
        Steps until the target is p.
    generator : torch.Generator
        Source of the noise.

    References
    ----------
    .. [1] Roeder, Wu and Duvenaud, "Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational
       Inference", NeurIPS 2017, arXiv:1703.09194.
    .. [2] Bornschein and Bengio, "Reweighted Wake-Sleep", ICLR 2015, arXiv:1406.2751.
    .. [3] Ionides, "Truncated Importance Sampling", Journal of Computational and Graphical Statistics 17, 2008.
    """

    def __init__(
        self,
        flow: Flow,
        target: Callable[[Tensor], tuple[Tensor, Tensor]],
        start: Flow,
        n_draws: int,
        n_annealing: int,
        generator: torch.Generator,
    ) -> None:
        self.flow = flow
        self.target = target
        self.start = start
        self.n_draws = n_draws
        self.n_annealing = n_annealing
        self.generator = generator

    def batches(self) -> Iterator[tuple[Tensor, float]]:
        """Noise of shape (n_members, n_draws, n_features), and t."""
        shape = self.flow.n_members, self.n_draws
        for step in count(1):
            t = min(1.0, step / (self.n_annealing + 1)) ** 3
            yield self.flow.base.sample(shape, self.flow.like, self.generator), t

    @torch.no_grad()
    def gradients(self, out: Sequence[Tensor], z: Tensor, t: float) -> Tensor:
        """The loss, shape (n_members,); the gradients on the way to it go into ``out``."""
        x, log_det, tape = self.flow.transform.record(z.mT.contiguous(), None, True)
        log_q = self.flow.base.log_prob(z) - log_det
        log_p, slope = self.target(x.mT)
        used = log_p.isfinite() & slope.isfinite().all(-1)
        loss = log_q - log_p
        if t < 1:
            log_p, slope = self._bridge(x.mT, log_p, slope, t)
        weights = used.to(log_p.dtype) / used.sum(-1, keepdim=True).clamp(min=1)
        slope = torch.where(used.unsqueeze(-1), slope, 0)
        self.flow.transform.gradients(tape, -(weights.unsqueeze(-1) * slope).mT, -weights, out)
        of_target = _of_target(torch.where(used, log_p - log_q, -torch.inf))
        score = [torch.empty_like(place) for place in out]
        self.flow.gradients(score, x.mT, weights + WEIGHT_OF_TARGET * (of_target - weights))
        for place, part in zip(out, score, strict=True):
            place -= part
        return (weights * torch.where(used, loss, 0)).sum(-1)

    def validate(self) -> None:
        """Nothing is held out: every draw is new."""

    def _bridge(self, x: Tensor, log_p: Tensor, slope: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """``log p_t`` and its gradient, of p's."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            log_start = self.start.log_prob(x)
            (slope_of_start,) = torch.autograd.grad(log_start.sum(), x)
        return t * log_p + (1 - t) * log_start.detach(), t * slope + (1 - t) * slope_of_start


def _of_target(log_ratios: Tensor) -> Tensor:
    """Weights of a flow's draws that make them stand for the target's, of sum one, from ``log p - log q``."""
    most = log_ratios.isfinite().sum(-1, keepdim=True).clamp(min=1) ** -0.5
    weights = torch.minimum(torch.softmax(log_ratios, -1).nan_to_num(), most)
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
