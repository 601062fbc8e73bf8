"""Columns of decimals at equal distances, such as lengths in tenths."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .margins import Margin, Places

Array = NDArray[Any]

LEAST_ROWS = 10  # No lattice is looked for in fewer rows.
TOLERANCE = 1e-3  # A value lies on a lattice if its distance from it is at most this share of the spacing.
MAX_DECIMALS = 6  # The numbers of a lattice have at most this many decimals.
MAX_MULTIPLE = 1000  # The search ends where the spacing would have to be more units of the last decimal than this.
MAX_UNITS = 1e12  # A number of more units of the last decimal may have lost decimals.
MAX_DEVIATION = 50.0  # Numbers that deviate by more spacings count as continuous, because densities are smooth.


class Lattice(NamedTuple):
    """Decimals at equal distances."""

    origin: float  # A number of the lattice that is less than one spacing away from zero.
    spacing: float

    @classmethod
    def of(cls, different: Array, counts: Array) -> Self | None:
        """Find the lattice of values, or None.

        Parameters
        ----------
        different : ndarray of shape (n_values,)
            The different values in ascending order.
        counts : ndarray of shape (n_values,)
            How many rows have each value; on average these must be two or more.
        """
        if counts.sum() < LEAST_ROWS or not 1 < len(different) <= counts.sum() / 2:
            return None
        values, deviation = different.astype(np.float64), weighted_deviation(different, counts)
        for n_decimals in range(1, MAX_DECIMALS + 1):
            numbers = values * 10**n_decimals
            if deviation * 10**n_decimals > MAX_MULTIPLE * MAX_DEVIATION or np.abs(numbers).max() > MAX_UNITS:
                return None
            steps = np.rint(numbers)
            if (np.abs(numbers - steps) <= TOLERANCE).all() and np.diff(steps).min() > 0:
                multiple = float(np.gcd.reduce((steps - steps[0]).astype(np.int64)))
                spacing = multiple / 10**n_decimals
                origin = float(np.fmod(steps[0], multiple)) / 10**n_decimals
                return cls(origin, spacing) if deviation <= MAX_DEVIATION * spacing else None
        return None

    def holds(self, values: Array) -> bool:
        """Tell whether all values lie on the lattice."""
        steps = self.steps(values)
        return bool((steps == np.floor(steps)).all())

    def steps(self, values: Array) -> Array:
        """Return the steps of values: whole numbers for values on the lattice, fractions for other values."""
        steps = (values.astype(np.float64) - self.origin) / self.spacing
        nearest = np.rint(steps)
        return np.where(np.abs(steps - nearest) <= TOLERANCE, nearest, steps)

    def values(self, steps: Array) -> Array:
        """Return the values with these steps."""
        n_decimals = 9 - math.floor(math.log10(self.spacing))
        values: Array = np.round(self.origin + self.spacing * steps, min(max(n_decimals, 0), 300))
        return values


@dataclass(frozen=True, eq=False)
class LatticeMargin:
    """The distribution of the values of a column that lie on a lattice.

    The density of a value is its probability divided by the spacing. A number between two values of the lattice has a
    small density, since no row had one.
    """

    lattice: Lattice
    margin: Margin  # The margin of the steps of the values, which are whole numbers.
    share_between: float  # The share of the probability of a value that all numbers up to the next value have.

    @classmethod
    def of(cls, values: Array, weights: Array, n_rows: float, lattice: Lattice, *, low: float, high: float) -> Self:
        """Estimate the probabilities of values between bounds."""
        low, high = ((bound - lattice.origin) / lattice.spacing for bound in (low, high))
        margin = Margin.of_whole_numbers(lattice.steps(values), weights, n_rows, low=low, high=high)
        return cls(lattice, margin, 1 / (n_rows + 2))

    @property
    def first(self) -> float:
        """The least value in the table."""
        return float(self.lattice.values(np.array(float(self.margin.first))))

    @property
    def spacing(self) -> float:
        """The distance between two values that follow each other."""
        return self.margin.spacing * self.lattice.spacing

    def places(self, values: Array) -> Places:
        """Return the intervals of values."""
        steps = self.lattice.steps(values)
        places = self.margin.places(np.floor(steps))
        share = np.where(steps == np.floor(steps), 1 - self.share_between, self.share_between)
        return places._replace(log_measure=places.log_measure + np.log(share / self.lattice.spacing))

    def values_at(self, y: Array) -> Array:
        """Return the value of each normal quantile ``y``."""
        return self.lattice.values(self.margin.values_at(y))

    def __str__(self) -> str:
        return f"numbers {self.lattice.spacing:.6g} apart"


def weighted_deviation(values: Array, weights: Array) -> float:
    """Return the weighted standard deviation."""
    return float(np.sqrt(np.average((values - np.average(values, weights=weights)) ** 2, weights=weights)))
