"""Transforms that define `evaluate` alone get everything else from autograd."""

import pytest
import torch

from sknvp.flows import AffineCoupling, Chain, LULinear, Select, Transform

from .builders import DTYPE, SinhArcsinh, coupling, randn, shaken


def inputs(n_context):
    """Return x and a context, with the columns before the rows."""
    return randn(2, 3, 5), randn(2, n_context, 5, seed=1) if n_context else None


def vjp(transform, x, context, inverse, grad_image, grad_log_det):
    """Run both methods as training does, and return the gradients of x, of the context and of the parameters."""
    with torch.inference_mode():
        out = [torch.full_like(part, torch.nan) for part in transform.parameters()]
        image, log_det, residuals = transform.evaluate_with_residuals(x, context, inverse)
        grad_x, grad_context = transform.vjp(residuals, grad_image, grad_log_det, out)
    return (image, log_det), (grad_x, grad_context, out)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("n_context", [0, 2])
def test_gradients_agree_with_autograd_through_evaluate(inverse, n_context):
    transform, (x, context) = shaken(SinhArcsinh(2, 3)), inputs(n_context)
    grads = randn(2, 3, 5, seed=2), randn(2, 5, seed=3)
    results, (grad_x, grad_context, out) = vjp(transform, x, context, inverse, *grads)
    leaves = [x.requires_grad_(), *([context.requires_grad_()] if n_context else [])]
    expected = transform.evaluate(x, context, inverse)
    torch.testing.assert_close(results, expected)
    found = [grad_x, *([grad_context] if n_context else []), *out]
    torch.testing.assert_close(found, list(torch.autograd.grad(expected, [*leaves, *transform.parameters()], grads)))
    assert (grad_context is None) == (n_context == 0)


def test_the_gradient_of_the_context_adds_up_along_a_chain():
    """One part has gradients by hand, one part gets them from autograd, and one part does not use the context."""
    by_hand = coupling(AffineCoupling, 2, 3, n_context=2)
    chain = shaken(Chain(by_hand, LULinear(2, 3), SinhArcsinh(2, 3), Select(SinhArcsinh(2, 2), torch.tensor([2, 0]))))
    arguments = (randn(2, 4, 3).requires_grad_(), randn(2, 4, 2, seed=1).requires_grad_(), *chain.parameters())
    for direction in (chain, chain.inverse):
        assert torch.autograd.gradcheck(lambda x, context, *_, run=direction: run(x, context), arguments)


class Shift(Transform):
    """A transform with a constant log-determinant, with a parameter that it does not use."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.ones(2, 3, 1, dtype=DTYPE))
        self.unused = torch.nn.Parameter(torch.ones(2, 1, dtype=DTYPE))

    def evaluate(self, x, context, inverse):
        return (x - self.shift if inverse else x + self.shift), x.new_zeros(len(x), 1)


def test_what_is_constant_frozen_or_unused_has_no_gradient():
    transform, (x, context) = Shift(), inputs(2)
    grads = randn(2, 3, 5, seed=2), randn(2, 5, seed=3)
    (_, log_det), (grad_x, grad_context, (grad_shift, grad_unused)) = vjp(transform, x, context, False, *grads)
    assert log_det.shape == (2, 5)
    torch.testing.assert_close(grad_x, grads[0])
    torch.testing.assert_close(grad_shift, grads[0].sum(-1, keepdim=True))
    assert not grad_context.any()
    assert not grad_unused.any()
    transform.requires_grad_(False)
    _, (grad_x, _, out) = vjp(transform, x, context, True, *grads)
    torch.testing.assert_close(grad_x, grads[0])
    assert not any(part.any() for part in out)
