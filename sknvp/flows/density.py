"""A fitted density in its own units, for those who compute with PyTorch."""

import torch
from torch import Tensor, nn

from .ensemble import Ensemble

MAX_CONTEXT = 1e18  # The context is clipped to this many standard deviations, so that its squares are finite.


class Density(nn.Module):
    """The density of an estimator as a module: scores and draws of tensors, through which gradients go.

    Nothing in it is trained, so that gradients are those in rows and contexts alone.

    Parameters
    ----------
    ensemble : Ensemble
        The density, in the units of the rows.
    context : tuple (loc, scale, columns) of Tensors, optional
        The location and the scale of each column of the context, shape (n_columns,), and the indices of the columns
        that the density sees.

    Examples
    --------
    >>> import torch
    >>> from sknvp.flows import Density, Ensemble, Flow, StandardNormal, Standardize
    >>> normal = Flow(Standardize(torch.tensor([1.0, 2.0]), torch.ones(2)), StandardNormal(2))
    >>> density = Density(Ensemble([normal], torch.zeros(1)))
    >>> x = torch.zeros(2, requires_grad=True)
    >>> density.log_prob(x).backward()
    >>> x.grad
    tensor([1., 2.])
    >>> density.sample(5).shape
    torch.Size([5, 2])
    """

    loc: Tensor
    scale: Tensor
    columns: Tensor | None

    def __init__(self, ensemble: Ensemble, context: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.ensemble = ensemble
        for name, part in zip(("loc", "scale", "columns"), context or (None,) * 3, strict=True):
            self.register_buffer(name, part)
        self.requires_grad_(False)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of rows.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            The rows.
        context : Tensor of shape (..., n_columns), optional
            What the density is conditioned on, a row for each row of ``x`` or one for all of them.

        Returns
        -------
        log_prob : Tensor of shape (...), dtype float64
            In nats, in the units of the rows.
        """
        shape = x.shape[:-1]
        rows = x.reshape(-1, x.shape[-1])
        return self.ensemble.log_prob(rows, self._context(context, shape)).reshape(shape)

    def rsample(self, n_rows: int, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw rows, with gradients in the context (the reparameterisation trick).

        Parameters
        ----------
        n_rows : int
            The number of rows.
        context : Tensor of shape (n_rows, n_columns) or (n_columns,), optional
            What the density is conditioned on, for each row or for all of them.
        generator : torch.Generator, optional
            The source of the noise.

        Returns
        -------
        x : Tensor of shape (n_rows, n_features)
        """
        return self.ensemble.sample(n_rows, self._context(context, torch.Size([n_rows])), generator)

    @torch.no_grad()
    def sample(self, n_rows: int, context: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw rows without gradients; see `rsample`."""
        return self.rsample(n_rows, context, generator)

    def _context(self, context: Tensor | None, shape: torch.Size) -> Tensor | None:
        """Standardise the context, and repeat it for as many rows as there are."""
        columns = self.columns
        if (context is None) != (columns is None):
            word = (
                "None, as the density has no condition" if columns is None else "given, with the rows to condition on"
            )
            raise ValueError(f"context must be {word}, got {None if context is None else tuple(context.shape)}.")
        if context is None or columns is None:
            return None
        z = (context.to(self.loc) - self.loc)[..., columns] / self.scale[columns]
        z = z.clamp(-MAX_CONTEXT, MAX_CONTEXT).to(self.ensemble.reference)
        return z.expand(*shape, len(columns)).reshape(-1, len(columns))
