"""Columns with a period, such as angles, hours and longitudes: numbers on a circle.

The flow sees such a column unwrapped, cut open where the fewest values lie. Its density ``q`` on the line is wrapped
around the circle, which makes a density with the period,

    p(x) = sum over k of q(x + k P).

Of this sum the two terms nearest to the data are computed; what lies more than one period from their middle is lost.
Given a context, which may shift the density, three terms are computed, and what lies more than one and a half periods
from their middle is lost.

A cut through values would ask the flow for two edges. So while the flow learns, the circle is cut open for each value
at a place drawn from a normal distribution around the emptiest place. A value close to this place then lies at one end
of the line or at the other, and the density of the line falls smoothly towards both ends.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .kinds import Column
from .lattice import LatticeMargin
from .margins import Margin, Places

Array = NDArray[Any]

N_BINS = 720  # A circle may be cut at this many places.
WIDTH = 0.05  # The emptiest place is sought by a kernel of this many periods, whose tails find the middle of gaps.
SPREAD = 0.1  # The standard deviation of the cuts, in periods.


class Copies(NamedTuple):
    """The two places on the line that each value of a circle may have."""

    inner: Array  # The places between the cut and one period above it, of shape (n_values,).
    outer: Array  # The places beyond the nearer end of that range, of shape (n_values,).
    share: Array  # The probabilities of the inner places, of shape (n_values,).


@dataclass(frozen=True, eq=False)
class Circle:
    """The distribution of a column with a period."""

    period: float
    first: float  # Values are returned in the range from this number to one period above it.
    cut: float  # The place where the circle is cut open.
    margin: Margin | LatticeMargin | None = None  # The margin of the unwrapped values if they are discrete.

    @classmethod
    def of(cls, values: Array, weights: Array, period: float) -> Self:
        """Cut the circle open where the fewest values lie.

        Parameters
        ----------
        values, weights : ndarray of shape (n_values,)
            The values of the column, and the weight of each.
        period : float
        """
        bins = np.floor(np.mod(values.astype(np.float64) / period, 1) * N_BINS).astype(np.intp) % N_BINS
        # The kernel is a Cauchy density, here given by its Fourier transform.
        kernel = np.exp(-2 * np.pi * WIDTH * np.arange(N_BINS // 2 + 1))
        smooth = np.fft.irfft(np.fft.rfft(np.bincount(bins, weights, N_BINS)) * kernel, N_BINS)
        cut = (int(smooth.argmin()) + 0.5) / N_BINS * period
        first = 0.0 if values.min() >= 0 else -period / 2
        return cls(period, first, cut if cut < first + period else cut - period)

    def cut_open(self, column: Column) -> Column:
        """Return the column of unwrapped values; only a discrete one has bounds, since other values pass the ends."""
        if column.kind == "continuous":
            return replace(column, period=None)
        return replace(column, period=None, low=self.cut, high=self.cut + self.period * (1 - 1e-9))

    def unwrapped(self, values: Array) -> Array:
        """Return the values between the cut and one period above it, in float64."""
        x = values.astype(np.float64)
        return np.where((self.cut <= x) & (x < self.cut + self.period), x, self._from(x, self.cut))

    def copies(self, values: Array) -> Copies:
        """Return the two places on the line of each value."""
        inner = self.unwrapped(values)
        outer = np.where(inner < self.cut + self.period / 2, inner + self.period, inner - self.period)
        distance = np.abs(inner - self.cut - self.period / 2) / self.period
        return Copies(inner, outer, ndtr((0.5 - distance) / SPREAD))

    def places(self, values: Array) -> Places:
        """Return where the flow sees values."""
        inner = self.unwrapped(values)
        if self.margin is not None:
            return self.margin.places(inner)
        return Places(np.zeros(len(inner)), np.ones(len(inner)), inner, np.zeros(len(inner)))

    def values_at(self, y: Array) -> Array:
        """Return the value of each point ``y`` that the flow sees, in its own precision."""
        return self.wrapped(y if self.margin is None else self.margin.values_at(y), y.dtype)

    def points(self, values: Array) -> Array:
        """Return the points of values on the unit circle, as complex numbers."""
        on_circle: Array = np.exp(2j * np.pi * values / self.period)
        return on_circle

    def direction(self, points: Array, dtype: np.dtype[Any]) -> Array:
        """Return the values in whose directions complex numbers lie."""
        return self.wrapped(np.angle(points) * self.period / (2 * np.pi), dtype)

    def wrapped(self, x: Array, dtype: np.dtype[Any]) -> Array:
        """Move numbers to the range of values; a number that rounding moves out of it becomes its first number."""
        x, first = self._from(x, self.first).astype(dtype), dtype.type(self.first)
        if float(first) < self.first:
            first = np.nextafter(first, dtype.type(np.inf))
        exact = x.astype(np.float64)
        return np.where((exact < self.first) | (exact >= self.first + self.period), first, x)

    def _from(self, x: Array, first: float) -> Array:
        """Move numbers by multiples of the period to between ``first`` and one period above it."""
        # If the period is whole, whole numbers stay whole.
        moved: Array = x - self.period * np.floor((x - first) / self.period)
        return moved

    def __str__(self) -> str:
        kind = "whole numbers" if isinstance(self.margin, Margin) else self.margin or "continuous"
        return f"{kind} with period {self.period:g}"
