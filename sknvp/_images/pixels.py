"""Pixels: the shape of images, the dtype of their levels, and the noise that spreads them."""

from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

N_CHECKED = 1000  # This many images are checked at a time.


def shape_of_images(image_shape: tuple[int, int, int] | None, n_features: int) -> tuple[int, int, int]:
    """Return the shape (n_channels, height, width) of images with so many pixels.

    Raises
    ------
    ValueError
        If ``image_shape`` has another number of pixels, or is None and the images are not square.
    """
    side = round(n_features**0.5)
    n_channels, height, width = (1, side, side) if image_shape is None else image_shape
    shape = int(n_channels), int(height), int(width)
    if np.prod(shape) != n_features:
        raise ValueError(
            f"image_shape must be (n_channels, height, width), whose product is the number of X's columns, "
            f"{n_features}, got {image_shape!r}. X has one image a row; None stands for square ones of one channel."
        )
    return shape


def dtype_of_levels(n_levels: int, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype, or the next larger one if it does not hold all levels."""
    top = n_levels - 1
    # A signed integer reaches one farther below zero than above it.
    needed = np.min_scalar_type(-top - 1 if dtype.kind == "i" else top) if top > 1 else np.dtype(bool)
    return np.promote_types(dtype, needed)


def check_pixels(rows: NDArray[Any], n_levels: int) -> NDArray[Any]:
    """Return the rows, or raise a ValueError unless they hold whole numbers from 0 to n_levels - 1 alone."""
    for chunk in gen_batches(len(rows), N_CHECKED):
        images = rows[chunk]
        wrong = (images >= n_levels) | (images != np.floor(images))
        if wrong.any():
            raise ValueError(
                f"X must hold whole numbers from 0 to n_levels - 1 = {n_levels - 1}, got {images[wrong][0]} in row "
                f"{chunk.start + np.flatnonzero(wrong.any(1))[0]}. Rescale and round pixels, or fit anew with n_levels "
                "as the number of values."
            )
    return rows


def pixels_around(points: NDArray[np.float32], n_levels: int, dtype: str) -> NDArray[Any]:
    """Return the images in whose unit cubes points lie, or the nearest images for points outside of all cubes."""
    levels = np.clip(np.floor(np.nan_to_num(points)), 0, n_levels - 1)
    return levels.astype(dtype)


def spread(images: NDArray[Any], n_noises: int) -> NDArray[np.float32]:
    """Return points of the unit cube of each image, shape (n_images, n_noises, n_features).

    The pixels of an image alone determine its noise, so that it gets equal points at every call.
    """
    pixels = np.ascontiguousarray(images, dtype=np.float32)
    shape = n_noises, pixels.shape[1]
    noise = np.stack([np.random.default_rng(crc32(image)).random(shape, np.float32) for image in pixels])
    points: NDArray[np.float32] = pixels[:, np.newaxis] + noise
    return points
