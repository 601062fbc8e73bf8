"""Columns with a period, such as angles, hours and longitudes: numbers on a circle.

The flow sees such a column unwrapped, cut open where the fewest values lie. Its density ``q`` on the line is wrapped
around the circle, which makes a density with the period,

    p(x) = sum over k of q(x + k P).

Of this sum the two terms nearest to the data are computed; what lies more than one period from their middle is lost.
Given a context, which may carry the density along, there are three terms, and one and a half periods.

A cut through values would ask the flow for two edges. So while it learns each value is cut open at a place of its own,
drawn from a normal distribution around the emptiest place. A value close to it then lies at one end of the line or at
the other, and the density of the line falls smoothly towards both.
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

N_BINS = 720  # places at which a circle may be cut
WIDTH = 0.05  # periods; of the kernel under which the emptiest place is sought, whose tails find the middle of gaps
SPREAD = 0.1  # periods; the standard deviation of the cuts


class Copies(NamedTuple):
    """The two places on the line that each value of a circle may have."""

    inner: Array  # shape (n_values,): between the cut and one period above it
    outer: Array  # shape (n_values,): the one beyond the nearer end
    share: Array  # shape (n_values,): the probability of the inner place


@dataclass(frozen=True, eq=False)
class Circle:
    """The distribution of a column with a period."""

    period: float
    first: float  # values are returned from here to one period above it
    cut: float  # where the circle is cut open
    margin: Margin | LatticeMargin | None = None  # of the unwrapped values if they are discrete

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
        kernel = np.exp(-2 * np.pi * WIDTH * np.arange(N_BINS // 2 + 1))  # of a Cauchy distribution, by frequency
        smooth = np.fft.irfft(np.fft.rfft(np.bincount(bins, weights, N_BINS)) * kernel, N_BINS)
        cut = (int(smooth.argmin()) + 0.5) / N_BINS * period
        first = 0.0 if values.min() >= 0 else -period / 2
        return cls(period, first, cut if cut < first + period else cut - period)

    def cut_open(self, column: Column) -> Column:
        """Return the column of unwrapped values; only discrete ones have bounds, since others pass the ends."""
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

    def mean(self, values: Array) -> Array:
        """Return the circular mean over the last axis: the direction of the mean of the points on the circle."""
        return self.direction(self.points(values).mean(-1), values.dtype)

    def points(self, values: Array) -> Array:
        """Return the points on the unit circle of complex numbers."""
        on_circle: Array = np.exp(2j * np.pi * values / self.period)
        return on_circle

    def direction(self, points: Array, dtype: np.dtype[Any]) -> Array:
        """Return the values in whose directions complex numbers lie."""
        return self.wrapped(np.angle(points) * self.period / (2 * np.pi), dtype)

    def wrapped(self, x: Array, dtype: np.dtype[Any]) -> Array:
        """Move numbers to the range of values; those that rounding moves out of it become its first number."""
        x, first = self._from(x, self.first).astype(dtype), dtype.type(self.first)
        if float(first) < self.first:
            first = np.nextafter(first, dtype.type(np.inf))
        exact = x.astype(np.float64)
        return np.where((exact < self.first) | (exact >= self.first + self.period), first, x)

    def _from(self, x: Array, first: float) -> Array:
        """Move numbers by multiples of the period to between ``first`` and one period above it."""
        moved: Array = x - self.period * np.floor((x - first) / self.period)  # whole numbers stay whole
        return moved

    def __str__(self) -> str:
        kind = "whole numbers" if isinstance(self.margin, Margin) else self.margin or "continuous"
        return f"{kind} with period {self.period:g}"
