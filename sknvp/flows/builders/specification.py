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

    loc: Array  # shape (n_features,), in the units of the table
    scale: Array  # shape (n_features,), positive, in the units of the table
    columns: Array  # shape (n_varying,), the indices of the columns that vary; the others take no part in a flow

    def equals(self, other: Self) -> bool:
        """Return whether all numbers are equal."""
        return all(np.array_equal(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Copy the arrays into tensors, by name."""
        return {field.name: torch.tensor(getattr(self, field.name)) for field in fields(self)}


class Scores(NamedTuple):
    """The points of the splines of `NormalScores`, and the slopes there, of the columns that vary."""

    knots: Array  # shape (n_members, n_varying, n_knots), in standardised units
    scores: Array  # shape (n_members, n_varying, n_knots)
    slopes: Array  # shape (n_members, n_varying, n_knots)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Copy the arrays into tensors."""
        return torch.tensor(self.knots), torch.tensor(self.scores), torch.tensor(self.slopes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Specification(ABC):
    """The kind and the settings of a flow. Subclasses hold the settings as fields and give `_assemble`."""

    dtype: str = "float64"  # the name of the dtype that the flow computes in

    @abstractmethod
    def _assemble(self, generator: torch.Generator | None) -> Flow:
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
        return self._assemble(generator).to(dtype=getattr(torch, self.dtype), device=device).eval()


@dataclass(frozen=True, eq=False, kw_only=True)
class TabularSpecification(Specification):
    """The settings of any flow that standardises the columns of a table first."""

    scaling: Scaling


@dataclass(frozen=True, eq=False, kw_only=True)
class RealNVPSpecification(TabularSpecification):
    """The settings of `real_nvp`, or with bounds of `bounded_real_nvp`."""

    masks: Array  # shape (n_members, n_layers, n_varying), True where a column conditions
    hidden_layer_sizes: tuple[int, ...]  # the widths of the hidden layers in each coupling's network
    activation: str  # the activation of the hidden layers
    coupling: str | MakeCoupling  # "affine" or "spline", or what makes a coupling, which pickles name
    base: str | MakeBase = "normal"  # or what makes a base distribution, which pickles name
    batch_norm: bool = False  # whether batch normalisation stands between every two couplings
    context: Scaling | None = None  # of the columns that the density is conditioned on, or None for no condition
    bounds: tuple[Array, Array] | None = None  # low and high, shape (n_features,); for variational fits alone
    scores: Scores | None = None  # of the last members, which see them; None if no member does
    max_log_scale: float = AffineCoupling.MAX_LOG_SCALE  # the bound of the logarithm of scales in affine couplings

    def _assemble(self, generator: torch.Generator | None) -> Flow:
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

    n_layers: int  # the number of planar layers
    n_members: int  # the number of flows

    def _assemble(self, generator: torch.Generator | None) -> Flow:
        return planar_flow(
            **self.scaling.tensors(), n_layers=self.n_layers, n_members=self.n_members, generator=generator
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSpecification(Specification):
    """The settings of `image_real_nvp`."""

    image_shape: tuple[int, int, int]  # (n_channels, height, width)
    n_levels: int  # the number of values that a pixel can have
    n_filters: int  # the number of channels inside the networks
    n_blocks: int  # the number of residual blocks in each network
    batch_norm: bool  # whether batch normalisation follows every coupling

    def _assemble(self, generator: torch.Generator | None) -> Flow:
        return image_real_nvp(
            self.image_shape,
            self.n_levels,
            n_filters=self.n_filters,
            n_blocks=self.n_blocks,
            batch_norm=self.batch_norm,
            generator=generator,
        )
