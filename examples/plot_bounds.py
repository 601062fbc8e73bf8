"""
Columns with bounds
===================

Amounts are not negative, and shares lie between zero and one. A density that does not know so puts mass where no row
can be. `bounds` tells it.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from sknvp import RealNVPDensity

# %%
# An amount from a gamma distribution, and a share that is dense at both ends.

rng = np.random.default_rng(0)
truths = {"amount": stats.gamma(1.5), "share": stats.beta(0.6, 0.6)}
bounds = {"amount": (0, np.inf), "share": (0, 1)}
grids = {"amount": np.linspace(-1, 6, 1001), "share": np.linspace(-0.3, 1.3, 1001)}

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, (name, truth) in zip(axes, truths.items(), strict=True):
    X, grid = truth.rvs((1000, 1), random_state=rng), grids[name]
    plain = RealNVPDensity(random_state=0).fit(X)
    bounded = RealNVPDensity(bounds=bounds[name], random_state=0).fit(X)
    outside = np.mean([not bounds[name][0] <= x <= bounds[name][1] for x in plain.sample(10_000, random_state=0)])
    ax.hist(X[:, 0], 40, density=True, color="lightgrey", label="rows")
    ax.plot(grid, truth.pdf(grid), "k--", linewidth=1, label="truth")
    ax.plot(
        grid, np.exp(plain.score_samples(grid[:, None])), color="#0072B2", label=f"no bounds, {outside:.1%} outside"
    )
    ax.plot(grid, np.exp(bounded.score_samples(grid[:, None])), color="#D55E00", label=f"bounds={bounds[name]}")
    ax.set(title=name, ylim=(0, 4 if name == "share" else 0.8), xlim=(grid[0], grid[-1]))
    ax.legend()
plt.show()

# %%
# In several columns each has bounds of its own, with ``-np.inf`` and ``np.inf`` where there are none. Here an amount
# depends on a share, and no draw leaves the bounds.

share = rng.beta(2, 1, 1000)
X = np.c_[share, rng.lognormal(2 * share, 0.5)]
density = RealNVPDensity(bounds=([0, 0], [1, np.inf]), random_state=0).fit(X)
draws = density.sample(1000, random_state=0)
figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharex=True, sharey=True, layout="constrained")
for ax, rows, title in zip(axes, (X, draws), ("rows", "draws"), strict=True):
    ax.plot(*rows.T, ".", markersize=4, alpha=0.6, color="#0072B2" if title == "rows" else "#D55E00")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(title=title, xlabel="share", ylabel="amount")
plt.show()
print("least draws", draws.min(0).round(4), "greatest draws", draws.max(0).round(4))
