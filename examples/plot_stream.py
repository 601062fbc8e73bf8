"""
A stream that drifts
====================

`partial_fit` takes one epoch over each batch of a stream, so that a density follows a source that changes. A density
that was fitted once stays behind.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np

from sknvp import RealNVPDensity

# %%
# The source is a ring that wanders to the right.


def batch(step, rng, n_rows=200):
    angle = rng.uniform(0, 2 * np.pi, n_rows)
    radius = rng.normal(1, 0.1, n_rows)
    return np.c_[radius * np.cos(angle) + 0.05 * step, radius * np.sin(angle)]


rng = np.random.default_rng(0)
first = RealNVPDensity(random_state=0).fit(np.concatenate([batch(0, rng) for _ in range(5)]))

# %%
# Each batch is scored before it is learned from, so that no row is scored by a density that has seen it.

stream = copy.deepcopy(first)
scores, snapshots = {"fitted once": [], "partial_fit": []}, {}
for step in range(1, 61):
    rows = batch(step, rng)
    scores["fitted once"].append(first.score_samples(rows).mean())
    scores["partial_fit"].append(stream.score_samples(rows).mean())
    stream.partial_fit(rows)
    if step in (1, 30, 60):
        snapshots[step] = (rows, stream.sample(1000, random_state=0))

# %%
# Above: batches (grey) and draws from the density that follows them. Below: how likely each batch was before it was
# learned.

figure, axes = plt.subplot_mosaic([[1, 30, 60], ["scores"] * 3], figsize=(11, 6.5), layout="constrained")
for step, (rows, draws) in snapshots.items():
    axes[step].plot(*draws.T, ".", color="#D55E00", markersize=3, alpha=0.5)
    axes[step].plot(*rows.T, ".", color="grey", markersize=4)
    axes[step].set(title=f"batch {step}", xlim=(-2, 5.5), ylim=(-2, 2), aspect="equal")
for (name, values), color in zip(scores.items(), ("#0072B2", "#D55E00"), strict=True):
    axes["scores"].plot(range(1, 61), values, color=color, label=name)
axes["scores"].set(xlabel="batch", ylabel="mean log-density, nats", ylim=(-8, 1))
axes["scores"].legend()
plt.show()

# %%
# Kernels and the mixture that stand beside the flows stay as `fit` made them, and are weighed anew by each batch. As
# the source moves on, they lose their weight.

print({name: round(weight, 3) for name, weight in first.stacking_weights_.items()})
print({name: round(weight, 3) for name, weight in stream.stacking_weights_.items()})
