"""
Two moons: kernels, a mixture and flows
=======================================

Three densities of the same 1,000 rows. Kernels blur every row by the same width, a Gaussian mixture lays ellipses along
the moons, and flows bend space until the moons become one round cloud. `RealNVPDensity` has all three and weighs them
by how likely they find rows that they have not seen, which is also how the figures below compare them.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from sknvp import DensityDisplay, RealNVPDensity

X, _ = make_moons(1000, noise=0.08, random_state=0)
X_new, _ = make_moons(10_000, noise=0.08, random_state=1)

# %%
# The bandwidth is chosen by cross-validation and the number of components by BIC. `RealNVPDensity` is as it comes.

bandwidths = {"bandwidth": np.geomspace(0.02, 0.5, 15)}
mixtures = [GaussianMixture(k, random_state=0).fit(X) for k in range(1, 21)]
densities = {
    "KernelDensity": GridSearchCV(KernelDensity(), bandwidths).fit(X).best_estimator_,
    "GaussianMixture": min(mixtures, key=lambda mixture: mixture.bic(X)),
    "RealNVPDensity": RealNVPDensity(random_state=0).fit(X),
}
print(densities["RealNVPDensity"].stacking_weights_)

# %%
# White dots are the rows. The figure in each title is in nats a row; higher is better.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharex=True, sharey=True, layout="constrained")
for (name, density), ax in zip(densities.items(), axes, strict=True):
    DensityDisplay.from_estimator(density, X, ax=ax)
    ax.set_title(f"{name}: {density.score_samples(X_new).mean():.3f}")
plt.show()

# %%
# New rows come from the same densities.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharex=True, sharey=True, layout="constrained")
for (name, density), ax in zip(densities.items(), axes, strict=True):
    rows = density.sample(1000, random_state=0) if name != "GaussianMixture" else density.sample(1000)[0]
    ax.plot(*rows.T, ".", markersize=3, alpha=0.6)
    ax.set_title(f"1,000 draws of {name}")
plt.show()
