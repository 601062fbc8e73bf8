"""Quantile bands of a conditional density."""

import matplotlib.pyplot as plt
import numpy as np

from sknvp import ConditionalDensityDisplay, ConditionalRealNVPDensity

rng = np.random.default_rng(0)
X = rng.uniform(0, 1, (600, 1))
y = X[:, 0] + (0.1 + X[:, 0]) * rng.normal(size=600)
density = ConditionalRealNVPDensity(random_state=0).fit(X, y)
figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ConditionalDensityDisplay.from_estimator(density, X, y, ax=ax)
