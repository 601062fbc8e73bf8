"""Quantile bands of a conditional density."""

import matplotlib.pyplot as plt
import numpy as np

from sknvp import ConditionalRealNVPDensity

rng = np.random.default_rng(0)
X = rng.uniform(0, 1, (600, 1))
y = X[:, 0] + (0.1 + X[:, 0]) * rng.normal(size=600)
density = ConditionalRealNVPDensity(random_state=0).fit(X, y)
grid = np.linspace(0, 1, 100)[:, None]
levels = [0.05, 0.25, 0.5, 0.75, 0.95]
lowest, low, middle, high, highest = density.predict_quantile(grid, levels).T
figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ax.plot(X, y, ".", color="grey", markersize=3)
ax.fill_between(grid[:, 0], lowest, highest, alpha=0.25, color="#0072B2", label="nine tenths")
ax.fill_between(grid[:, 0], low, high, alpha=0.35, color="#0072B2", label="one half")
ax.plot(grid, middle, color="black", label="median")
ax.set(xlabel="x", ylabel="y")
ax.legend(loc="upper left")
