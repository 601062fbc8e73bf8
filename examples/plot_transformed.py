"""
Densities in other coordinates
==============================

A map of the columns can make a density simple: logarithms of amounts, polar coordinates around a centre. Behind a
transformer in a pipeline a log-density is in the units of what the transformer returns. `TransformedDensity` adds the
logarithm of the Jacobian determinant, so that it stays in the units of the data, and densities behind different maps
can be compared.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import PowerTransformer, StandardScaler

from sknvp import DensityDisplay, RealNVPDensity, TransformedDensity

# %%
# Kernels of one width fit amounts badly, which are dense near zero and sparse far out. Their logarithms are even.

rng = np.random.default_rng(0)
amounts = rng.lognormal(sigma=1.0, size=(1000, 1))
grid = np.linspace(0.01, 8, 400)[:, None]
plain = KernelDensity(bandwidth=0.3).fit(amounts)
of_logarithms = TransformedDensity(KernelDensity(bandwidth=0.3), func=np.log).fit(amounts)
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(grid, np.exp(plain.score_samples(grid)), label="kernels")
ax.plot(grid, np.exp(of_logarithms.score_samples(grid)), label="kernels on logarithms")
ax.plot(grid, np.exp(-(np.log(grid) ** 2) / 2) / grid / np.sqrt(2 * np.pi), "k--", label="truth")
ax.set(xlabel="amount", ylabel="density")
ax.legend()
plt.show()

# %%
# Since all scores are in one unit, a search may choose the transformer.

search = GridSearchCV(
    TransformedDensity(GaussianMixture(2, random_state=0)),
    {"transformer": [None, StandardScaler(), PowerTransformer("box-cox")]},
).fit(amounts)
print(search.best_params_)

# %%
# Polar coordinates, with a function for the Jacobian. The angle has a period, and the distance is positive.


def polar(X):
    return np.c_[np.hypot(X[:, 0], X[:, 1]), np.arctan2(X[:, 1], X[:, 0])]


def cartesian(Z):
    return np.c_[Z[:, 0] * np.cos(Z[:, 1]), Z[:, 0] * np.sin(Z[:, 1])]


angle = rng.uniform(-np.pi, np.pi, 1000)
ring = cartesian(np.c_[rng.normal(3, 0.1 + 0.2 * (angle > 0)), angle])
density = TransformedDensity(
    RealNVPDensity(periods={1: 2 * np.pi}, bounds=([0, -np.inf], np.inf), random_state=0),
    func=polar,
    inverse_func=cartesian,
    log_abs_det_jacobian=lambda X: -np.log(np.hypot(X[:, 0], X[:, 1])),
).fit(ring)
display = DensityDisplay.from_estimator(density, ring)
display.figure_.set_size_inches(5, 5)
plt.show()
