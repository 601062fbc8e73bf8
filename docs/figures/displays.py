"""A density of one column, and how its fit went."""

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris

from sknvp import DensityDisplay, RealNVPDensity, TrainingDisplay

X = load_iris(as_frame=True).data[["petal length (cm)"]]
density = RealNVPDensity(discrete_features=None, random_state=0).fit(X)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
DensityDisplay.from_estimator(density, X, ax=axes[0])
TrainingDisplay.from_estimator(density, ax=axes[1])
