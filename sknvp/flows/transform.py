"""The contract that every transform keeps."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Graph(NamedTuple):
    """The residuals of a transform whose gradients come from autograd."""

    x: Tensor  # The input, which is a leaf of the graph.
    context: Tensor | None  # The context, which is a leaf of the graph too.
    image: Tensor  # The image, with the graph that leads to it.
    log_det: Tensor  # The log-determinant, with the graph that leads to it.


class Transform(nn.Module):
    """An invertible map between data ``x`` and noise ``z``, one per member.

    Both directions return the image and the logarithm of the absolute determinant of their own Jacobian, in nats::

        forward(x, context)  ->  z, log|det dz/dx|        data to noise
        inverse(z, context)  ->  x, log|det dx/dz|        noise to data

    Here ``x`` and ``z`` have shape (n_members, n_rows, n_features), the log-determinant has shape (n_members, n_rows)
    and ``context`` has shape (n_members, n_rows, n_context) or is None.

    Notes
    -----
    To write a transform:

    1. Choose the file in ``flows/layers`` whose first line describes the transform. Derive from `Transform` and define
       ``evaluate(x, context, inverse)``, made of PyTorch's operations. Autograd finds all gradients, including the
       gradient of the context, which a transform may ignore. Change no argument in place. No row and no member may
       depend on another one, not in a single bit. If a direction has no closed form, find the root under
       `torch.no_grad` and end with one Newton step whose slope is detached, ``x = root - (f(root) - z) / slope``: its
       gradients are those of the root. A coupling needs less: derive from `Coupling`, which splits the columns and runs
       the network, and define the map of single numbers.
    2. In ``evaluate`` the columns come before the rows: ``x`` has shape (n_members, n_features, n_rows), the image has
       the same shape, and ``context`` has shape (n_members, n_context, n_rows). The log-determinant has shape
       (n_members, n_rows); an axis along which it is constant may have length one.
    3. Parameters have the member axis first, and at least two axes. Create them in double precision; a flow is
       converted as a whole. Numbers that are not trained are buffers.
    4. Define ``extra_repr``, so that the settings appear in ``print(flow)``.
    5. Add a row to the table ``TRANSFORMS`` in ``tests/flows/builders.py``, and one with extreme weights to
       ``WITH_WEIGHTS``. The tests of the contract then check both directions, both log-determinants and all gradients:
       ``python -m pytest tests/flows/test_contract.py -k NAME``. A public transform is also named in
       ``flows/layers/__init__.py``, ``flows/__init__.py``, ``docs/api.rst`` and ``CHANGELOG.md``.
    6. Write gradients by hand only if the transform is made of many cheap operations: autograd then needs as much time
       to record the operations as the operations take. For this, derive from `AnalyticTransform`.

    Training runs `evaluate_with_residuals` and `vjp` in `torch.inference_mode`.

    Examples
    --------
    A transform that multiplies every column by a learned number:

    >>> import torch
    >>> from sknvp.flows import Transform
    >>> class Scale(Transform):
    ...     def __init__(self, n_members, n_features):
    ...         super().__init__()
    ...         self.log_scale = torch.nn.Parameter(torch.zeros(n_members, n_features, 1).double())
    ...
    ...     def evaluate(self, x, context, inverse):
    ...         log_scale = -self.log_scale if inverse else self.log_scale
    ...         return x * log_scale.exp(), log_scale.sum(1)
    ...
    ...     def extra_repr(self):
    ...         return f"n_features={self.log_scale.shape[1]}"
    >>> transform = Scale(n_members=1, n_features=2)
    >>> transform
    Scale(n_features=2)
    >>> x = torch.ones(1, 3, 2, dtype=torch.float64)  # (n_members, n_rows, n_features)
    >>> z, log_det = transform(x)
    >>> z.shape, log_det.shape
    (torch.Size([1, 3, 2]), torch.Size([1, 3]))
    >>> log_det.sum().backward()
    >>> transform.log_scale.grad.flatten()
    tensor([3., 3.], dtype=torch.float64)
    """

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        """Return the image and its log-determinant.

        Parameters
        ----------
        x : Tensor of shape (n_members, n_features, n_rows)
            The data, or the noise for the inverse direction.
        context : Tensor of shape (n_members, n_context, n_rows) or None
            What the map may depend on besides ``x``.
        inverse : bool
            False selects the direction from data to noise, True the direction from noise to data.

        Returns
        -------
        image : Tensor of shape (n_members, n_features, n_rows)
        log_det : Tensor of shape (n_members, n_rows)
            In nats. An axis along which it is constant may have length one.
        """
        raise NotImplementedError

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        """Return the image, its log-determinant, and the residuals that `vjp` needs.

        Arguments and the first two results are those of `evaluate`.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x = x.clone().detach().requires_grad_()
            context = None if context is None else context.clone().detach().requires_grad_()
            image, log_det = self.evaluate(x, context, inverse)
            log_det = log_det.expand(len(x), x.shape[-1])
        return image.detach(), log_det.detach(), Graph(x, context, image, log_det)

    def vjp(
        self, residuals: Any, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the vector-Jacobian product: the gradients of all inputs from the gradients of both results.

        Parameters
        ----------
        residuals
            The last result of `evaluate_with_residuals`.
        grad_image : Tensor of shape (n_members, n_features, n_rows)
            The gradient of the image.
        grad_log_det : Tensor of shape (n_members, n_rows)
            The gradient of the log-determinant.
        out : sequence of Tensor
            One tensor for each of ``parameters()``, which is overwritten by the gradient of that parameter.

        Returns
        -------
        grad_x : Tensor of shape (n_members, n_features, n_rows)
        grad_context : Tensor of shape (n_members, n_context, n_rows) or None
            None if there is no context, or if the transform does not use it.
        """
        x, context, image, log_det = residuals
        parameters = list(self.parameters())
        inputs = [x, *([] if context is None else [context]), *(part for part in parameters if part.requires_grad)]
        found = gradients_of((image, log_det), (grad_image, grad_log_det), inputs)
        gradients = iter(found)
        grad_x, grad_context = next(gradients), None if context is None else next(gradients)
        for place, part in zip(out, parameters, strict=True):
            place.copy_(next(gradients)) if part.requires_grad else place.zero_()
        return grad_x, grad_context

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to noise; see the class for the shapes."""
        return self._run(x, context, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map noise to data; see the class for the shapes."""
        return self._run(z, context, inverse=True)

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        """Evaluate one direction, as a single operation of autograd where gradients are wanted."""
        inputs = x.mT, None if context is None else context.mT
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, context, *self.parameters())):
            image, log_det = _Recorded.apply(self, inverse, *inputs, *self.parameters())  # type: ignore[no-untyped-call]
        else:
            image, log_det = self.evaluate(*inputs, inverse)
        return image.mT, log_det.expand(x.shape[:-1])


class AnalyticTransform(Transform):
    """A transform whose gradients are written by hand.

    Subclasses define `evaluate_with_residuals` and `vjp`, with the arguments and results that `Transform` describes.
    They may also define `evaluate` if it is cheaper without residuals.
    """

    def evaluate(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        image, log_det, _ = self.evaluate_with_residuals(x, context, inverse)
        return image, log_det

    def evaluate_with_residuals(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor, Any]:
        raise NotImplementedError

    def vjp(
        self, residuals: Any, grad_image: Tensor, grad_log_det: Tensor, out: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        raise NotImplementedError


def gradients_of(results: Sequence[Tensor], grads: Sequence[Tensor], inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the gradients of inputs by autograd, which keeps the graph; zero of an input that changes no result."""
    pairs = [(y, grad.expand_as(y)) for y, grad in zip(results, grads, strict=True) if y.requires_grad]
    return torch.autograd.grad(
        [y for y, _ in pairs],
        inputs,
        [grad for _, grad in pairs],
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )


class _Recorded(torch.autograd.Function):
    """One direction of a transform as a single operation of autograd."""

    @staticmethod
    def forward(
        ctx: Any, transform: Transform, inverse: bool, x: Tensor, context: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        image, log_det, ctx.residuals = transform.evaluate_with_residuals(x, context, inverse)
        ctx.transform = transform
        ctx.save_for_backward(*parameters)  # Autograd raises an error if a parameter changes before `backward`.
        return image, log_det.expand(len(x), x.shape[-1]).clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: Tensor, grad_log_det: Tensor) -> tuple[Tensor | None, ...]:
        out = [torch.empty_like(part) for part in ctx.saved_tensors]
        grad_x, grad_context = ctx.transform.vjp(ctx.residuals, grad_image, grad_log_det, out)
        return None, None, grad_x, grad_context, *out
