"""Kernels, a mixture, flows, and their weighted mean on two moons."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from sknvp import DensityDisplay, RealNVPDensity

X, _ = make_moons(1000, noise=0.08, random_state=0)
mixtures = [GaussianMixture(k, random_state=0).fit(X) for k in range(1, 15)]
densities = {
    "kernels": GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.02, 0.5, 15)}).fit(X).best_estimator_,
    "Gaussian mixture": min(mixtures, key=lambda mixture: mixture.bic(X)),
    "flows alone": RealNVPDensity(stacking=False, random_state=0).fit(X),
    "RealNVPDensity": RealNVPDensity(random_state=0).fit(X),
}
figure, axes = plt.subplots(2, 2, figsize=(8, 6), sharex=True, sharey=True, layout="constrained")
for (name, density), ax in zip(densities.items(), axes.flat, strict=True):
    DensityDisplay.from_estimator(density, X, ax=ax, rows_kw={"alpha": 0})
    ax.set_title(name)
