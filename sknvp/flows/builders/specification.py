"""Specifications: everything that a flow is built from, except the numbers that it learns.

A specification holds NumPy arrays, plain values, and classes and functions of a user, which pickles name. So a pickle
can carry it, and a machine without a GPU can open that pickle. ``specification.build()`` makes the flow.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..flow import Flow
from ..layers import AffineCoupling
from .images import image_real_nvp
from .parts import MakeBase, MakeCoupling
from .tabular import bounded_real_nvp, planar_flow, real_nvp

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scaling:
    """The location and the scale of the columns of a table, ``z = (x - loc) / scale``."""

    loc: Array  # The locations in the units of the table, of shape (n_features,).
    scale: Array  # The positive scales in the units of the table, of shape (n_features,).
    # The indices of the columns that vary, of shape (n_varying,). The other columns take no part in a flow.
    columns: Array

    def equals(self, other: Self) -> bool:
        """Return whether all numbers are equal."""
        return all(np.array_equal(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Copy the arrays into tensors, by name."""
        return {field.name: torch.tensor(getattr(self, field.name)) for field in fields(self)}


class NormalScoreMaps(NamedTuple):
    """The points of the splines of `NormalScores`, and the slopes there, of the columns that vary."""

    knots: Array  # The knots in standardised units, of shape (n_members, n_varying, n_knots).
    scores: Array  # shape (n_members, n_varying, n_knots)
    slopes: Array  # shape (n_members, n_varying, n_knots)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Copy the arrays into tensors."""
        return torch.tensor(self.knots), torch.tensor(self.scores), torch.tensor(self.slopes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Specification(ABC):
    """The kind and the settings of a flow. Subclasses hold the settings as fields and give `_make_flow`."""

    dtype: str = "float64"  # The name of the dtype that the flow computes in.

    @abstractmethod
    def _make_flow(self, generator: torch.Generator | None) -> Flow:
        """Make the flow, of any dtype, with initial weights drawn from the generator."""

    def build(self, device: torch.device | str = "cpu", generator: torch.Generator | None = None) -> Flow:
        """Make the flow, in evaluation mode.

        Parameters
        ----------
        device : torch.device or str, default="cpu"
            The device that the flow is moved to.
        generator : torch.Generator, optional
            The source of the initial weights.
        """
        return self._make_flow(generator).to(dtype=getattr(torch, self.dtype), device=device).eval()


@dataclass(frozen=True, eq=False, kw_only=True)
class TabularSpecification(Specification):
    """The settings of any flow that standardises the columns of a table first."""

    scaling: Scaling


@dataclass(frozen=True, eq=False, kw_only=True)
class RealNVPSpecification(TabularSpecification):
    """The settings of `real_nvp`, or with bounds of `bounded_real_nvp`."""

    masks: Array  # The masks, of shape (n_members, n_layers, n_varying), which are True where a column conditions.
    hidden_layer_sizes: tuple[int, ...]  # The widths of the hidden layers in the network of each coupling.
    activation: str  # The activation of the hidden layers.
    # The name "affine" or "spline", or a function that makes a coupling and that a pickle stores by its name.
    coupling: str | MakeCoupling
    # The name "normal", or a function that makes a base distribution and that a pickle stores by its name.
    base: str | MakeBase = "normal"
    batch_norm: bool = False  # Whether batch normalisation stands between every two couplings.
    context: Scaling | None = None  # The scaling of the columns that the density is conditioned on, if it is.
    # The lower and the upper bounds, both of shape (n_features,). Only variational fits have bounds.
    bounds: tuple[Array, Array] | None = None
    scores: NormalScoreMaps | None = (
        None  # The splines to normal scores of the last members, or None if no member has any.
    )
    max_log_scale: float = AffineCoupling.MAX_LOG_SCALE  # The bound of the logarithm of scales in affine couplings.

    def _make_flow(self, generator: torch.Generator | None) -> Flow:
        settings: dict[str, Any] = {
            **self.scaling.tensors(),
            "masks": torch.tensor(self.masks),
            "hidden_layer_sizes": self.hidden_layer_sizes,
            "activation": self.activation,
            "coupling": self.coupling,
            "base": self.base,
            "batch_norm": self.batch_norm,
            "n_context": 0 if self.context is None else len(self.context.columns),
            "scores": None if self.scores is None else self.scores.tensors(),
            "max_log_scale": self.max_log_scale,
            "generator": generator,
        }
        if self.bounds is None:
            return real_nvp(**settings)
        return bounded_real_nvp(*map(torch.tensor, self.bounds), **settings)


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanarSpecification(TabularSpecification):
    """The settings of `planar_flow`."""

    n_layers: int  # The number of planar layers.
    n_members: int  # The number of flows.

    def _make_flow(self, generator: torch.Generator | None) -> Flow:
        return planar_flow(
            **self.scaling.tensors(), n_layers=self.n_layers, n_members=self.n_members, generator=generator
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSpecification(Specification):
    """The settings of `image_real_nvp`."""

    image_shape: tuple[int, int, int]  # The shape (n_channels, height, width) of an image.
    n_levels: int  # The number of values that a pixel can have.
    n_filters: int  # The number of channels inside the networks.
    n_blocks: int  # The number of residual blocks in each network.
    batch_norm: bool  # Whether batch normalisation follows every coupling.

    def _make_flow(self, generator: torch.Generator | None) -> Flow:
        return image_real_nvp(
            self.image_shape,
            self.n_levels,
            n_filters=self.n_filters,
            n_blocks=self.n_blocks,
            batch_norm=self.batch_norm,
            generator=generator,
        )
