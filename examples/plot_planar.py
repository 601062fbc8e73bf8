"""
Planar layers and couplings
===========================

A planar layer moves points along one direction, as far as their place across one plane says: five numbers in two
columns. Thirty-two of them have 160 parameters, eight affine couplings several thousand. How much does the larger
model give?
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_circles, make_moons

from sknvp import DensityDisplay, PlanarFlowDensity, RealNVPDensity


def moons(n, seed):
    return make_moons(n, noise=0.1, random_state=seed)[0]


def circles(n, seed):
    return make_circles(n, noise=0.05, factor=0.5, random_state=seed)[0]


densities = {
    "32 planar layers": PlanarFlowDensity(n_estimators=1, n_iter_no_change=4, random_state=0),
    "8 affine couplings": RealNVPDensity(n_layers=8, coupling="affine", n_estimators=1, stacking=False, random_state=0),
}

# %%
# One flow each; the planar one gets a shorter fit than it would by default. The figure in a title is the mean
# log-likelihood of 10,000 new rows in nats, higher is better.

figure, axes = plt.subplots(2, 2, figsize=(9, 8), layout="constrained")
for row, draw in zip(axes, (moons, circles), strict=True):
    for ax, (name, density) in zip(row, densities.items(), strict=True):
        X = draw(2000, seed=0)
        density.fit(X)
        DensityDisplay.from_estimator(density, X[:500], ax=ax)
        ax.set_title(f"{name}: {density.score_samples(draw(10_000, seed=1)).mean():.3f}")
plt.show()

# %%
# In two columns the planar flow is the better of the two. Its layers look along one direction each, so that it needs
# ever more of them where there are more columns. `RealNVPDensity` as it comes has splines for couplings and averages
# four flows.
