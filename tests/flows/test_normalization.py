"""Batch normalisation."""

import torch

from sknvp.flows import (
    BatchNorm,
)

from .builders import randn


def test_batch_norm_tends_to_the_moments_of_the_batches():
    x = randn(2, 50, 3) * 4 + 1
    layer = BatchNorm(2, 3)
    torch.testing.assert_close(layer.eval()(x)[0], x)
    for _ in range(200):
        z, log_det = layer.train()(x)
    torch.testing.assert_close(z.mean(1), torch.zeros(2, 3, dtype=z.dtype), rtol=0, atol=1e-6)
    torch.testing.assert_close(z.var(1, correction=0), torch.ones(2, 3, dtype=z.dtype), rtol=0, atol=1e-5)
    torch.testing.assert_close(log_det[:, 0], -x.std(1, correction=0).log().sum(-1), rtol=0, atol=1e-5)
    before = layer.mean.clone()
    layer.eval()(x + 1)
    assert torch.equal(layer.mean, before)


def test_batch_norms_gradient_runs_through_the_statistics():
    x = randn(1, 6, 2).requires_grad_()

    def loss(x):
        z, log_det = BatchNorm(1, 2).train()(x)
        return z.pow(3).sum() + log_det.sum()

    assert torch.autograd.gradcheck(loss, x)
