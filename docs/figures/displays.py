"""A density of two columns, and how its fit went."""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

from sknvp import DensityDisplay, RealNVPDensity, TrainingDisplay

X, _ = make_moons(1000, noise=0.1, random_state=0)
density = RealNVPDensity(random_state=0).fit(X)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
DensityDisplay.from_estimator(density, X, ax=axes[0])
TrainingDisplay.from_estimator(density, ax=axes[1])
