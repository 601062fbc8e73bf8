"""One buffer for all parameters, so that the optimiser needs one operation for all of them."""

import torch
from torch import Tensor, nn


def flatten(module: nn.Module) -> nn.Parameter:
    """Move all parameters to one buffer, of which each parameter becomes a view.

    Returns
    -------
    flat : Parameter of shape (n_members, n_parameters)
    """
    parts = list(module.parameters())
    if not parts:
        return nn.Parameter(torch.zeros(0))
    flat = nn.Parameter(torch.cat([part.detach().flatten(1) for part in parts], 1))
    for part, view in zip(parts, views(flat.data, module), strict=True):
        part.data = view
    return flat


def views(flat: Tensor, module: nn.Module) -> list[Tensor]:
    """Return, for each parameter, a view of the numbers that belong to it, in the shape of the parameter.

    The numbers have shape (n_members, n_parameters), as the buffer that `flatten` makes.
    """
    parts = list(module.parameters())
    own = torch.split(flat, [part[0].numel() for part in parts], 1)
    return [numbers.view(part.shape) for numbers, part in zip(own, parts, strict=True)]
