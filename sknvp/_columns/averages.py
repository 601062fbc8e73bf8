"""Averages of rows: the mean of numbers, the likeliest category, and the direction of angles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .circle import Circle
from .kinds import Column, with_indicators, without_indicators

Array = NDArray[Any]


def to_average(numbers: Array, columns: Sequence[Column], circles: Mapping[int, Circle]) -> Array:
    """Return numbers whose means tell the averages of rows; the columns are the last axis.

    These are the numbers themselves, indicators in the place of categories, and at the end the cosine and the sine of
    each value on a circle.
    """
    points = [circle.points(numbers[..., j, None]) for j, circle in circles.items()]
    return np.concatenate([with_indicators(numbers, columns), *(p.real for p in points), *(p.imag for p in points)], -1)


def averages(means: Array, columns: Sequence[Column], circles: Mapping[int, Circle]) -> Array:
    """Return the averages of rows that the means of these numbers tell, with one number for each column."""
    numbers, n_circles = without_indicators(means, columns), len(circles)
    for i, (j, circle) in enumerate(circles.items(), start=means.shape[-1] - 2 * n_circles):
        numbers[..., j] = circle.direction(means[..., i] + 1j * means[..., i + n_circles], numbers.dtype)
    return numbers
