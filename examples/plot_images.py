"""
Images: samples, interpolation, reconstruction
==============================================

A multi-scale Real NVP of scikit-learn's handwritten digits, 8 x 8 pixels of 17 values. A small network and a short fit:
the defaults take a few minutes and draw better digits.
"""

# %%
# A row is an image, flattened. ``n_levels`` is how many values a pixel can have.

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sknvp import RealNVPImageDensity

X, y = load_digits(return_X_y=True)
X_train, X_test, _, y_test = train_test_split(X, y, random_state=0)
density = RealNVPImageDensity(
    n_levels=17, n_filters=16, n_blocks=1, learning_rate_init=0.01, n_iter_no_change=2, tol=1.0, random_state=0
).fit(X_train)
print(f"{density.bits_per_dim(X_test):.2f} bits per dimension of test images")

# %%
# The course of training
# ----------------------
# The loss, and the mean log-probability of images that are held out, are looked at every 25 gradient steps. In bits per
# dimension they compare with other models; evenly distributed values have log2(17) = 4.09.

to_bits = 64 * np.log(2)
_, axes = plt.subplots(figsize=(6, 3.5))
axes.plot(np.array(density.loss_curve_) / to_bits, label="training")
axes.plot(-np.array(density.validation_scores_) / to_bits, label="held out")
axes.set(xlabel="evaluation, every 25 steps", ylabel="bits per dimension")
axes.legend()

# %%
# Samples
# -------
# Above, draws from the model; below, images that it has not seen.


def show(images, n_columns, title):
    n_rows = len(images) // n_columns
    framed = np.pad(images.reshape(n_rows, n_columns, 8, 8), [(0, 0), (0, 0), (1, 1), (1, 1)])
    grid = framed.swapaxes(1, 2).reshape(10 * n_rows, 10 * n_columns)
    _, axes = plt.subplots(figsize=(8, 8 * n_rows / n_columns + 0.4), layout="constrained")
    axes.imshow(grid, cmap="gray_r", vmin=0, vmax=16)
    axes.set_title(title)
    axes.set_axis_off()


show(density.sample(48, random_state=0), 16, "Samples")
show(X_test[:48], 16, "Test images")

# %%
# From noise and back
# -------------------
# The flow is invertible: `transform` carries an image to as many normal numbers, and `inverse_transform` these to the
# same image again, every pixel.

noise = density.transform(X_test)
print("images found again:", np.array_equal(density.inverse_transform(noise), X_test))

# %%
# The first half of the numbers left the flow after the finest scale. Images of the second half alone, with zeros for
# the first, keep what is coarse. Above, the test images; in the middle, from all of their noise; below, from half.

coarse = noise[:16].copy()
coarse[:, :32] = 0
again = density.inverse_transform(np.concatenate([noise[:16], coarse]))
show(np.concatenate([X_test[:16], again]), 16, "Reconstructions")

# %%
# Noise between two images gives images between them. Noise of many columns lies near a sphere, so that the way is an
# arc: ``cos(a) z_0 + sin(a) z_1``.

angles = np.linspace(0, np.pi / 2, 12)[:, None]
ways = []
for first, last in [(0, 1), (2, 3), (4, 5), (6, 7)]:
    start, end = (noise[y_test == digit][0] for digit in (first, last))
    ways.append(density.inverse_transform(np.cos(angles) * start + np.sin(angles) * end))
# sphinx_gallery_thumbnail_number = 5
show(np.concatenate(ways), 12, "From 0 to 1, 2 to 3, 4 to 5, 6 to 7")

# %%
# Unlikely images
# ---------------
# The test images of the lowest and the highest probability. Simple images are likely, a blank one likelier than many
# digits although it is none: probabilities find what is odd, they do not prove that something is a digit.

scores = density.score_samples(X_test)
order = np.argsort(scores)
show(X_test[np.r_[order[:16], order[-16:]]], 16, "Least likely, and likeliest")
print(f"a blank image: {density.score_samples(np.zeros((1, 64)))[0]:.0f} nats; test images: {scores.mean():.0f}")

plt.show()
