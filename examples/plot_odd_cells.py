"""
Slips of the pen
================

A -999 that stands for "unknown", a length in centimetres among millimetres, two numbers in each other's columns: a row
with such a slip is odd because of one cell. The density of that cell given the others of its row finds it, and draws
given the others repair it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import KFold

from sknvp import RealNVPDensity

# %%
# Four sizes of the nuclei of cells from 569 biopsies, with a dozen slips in twelve rows. Four cells say -999, four
# are a tenth of what they should be, and in four rows radius and texture are swapped. Both have values between 10 and
# 30, so that neither column shows a swap by itself.

data = load_breast_cancer(as_frame=True).data
truth = data[["mean radius", "mean texture", "mean perimeter", "mean area"]].to_numpy()
names = ["radius", "texture", "perimeter", "area"]
unknown, unit, swapped = np.split(np.random.default_rng(0).choice(len(truth), 12, replace=False), 3)
X = truth.copy()
X[unknown, [0, 1, 2, 3]] = -999
X[unit, [0, 0, 2, 2]] /= 10
X[np.ix_(swapped, [0, 1])] = truth[np.ix_(swapped, [1, 0])]


# %%
# A density that has seen a slip has learned it. So each half of the rows is scored by a density of the other half.
# Columns are in standard deviations, since a log-density depends on units.


def score_cells(X):
    scores = np.empty(X.shape)
    for train, test in KFold(2, shuffle=True, random_state=0).split(X):
        scores[test] = RealNVPDensity(random_state=0).fit(X[train]).score_cells(X[test])
    return scores + np.log(np.nanstd(X, axis=0))


# %%
# One wrong cell makes all others of its row look odd, so that only the oddest cell of a row becomes NaN at once, if its
# log-density is below -10. The densities of the second round are fitted with these holes, and no -999 hides the smaller
# slips from them any more.

clean, rounds = X.copy(), []
for _ in range(2):
    scores = score_cells(clean)
    oddest = scores == np.nanmin(scores, axis=1, keepdims=True)
    rounds.append((scores, oddest & (scores < -10)))
    clean[rounds[-1][1]] = np.nan

found, slips = np.isnan(clean), truth != X
print(f"{found.sum()} cells found, {(found & slips).sum()} of them slips")

# %%
# Two hundred draws of each cell, given the others of its row, say what it may have been.

density = RealNVPDensity(random_state=0).fit(clean)
draws = density.impute(clean, n_samples=200, random_state=0)

# %%
# Left all cells in both rounds, the slips in colour; what lies left of the line and is the oddest of its row becomes
# NaN. Right what was found, in standard deviations from the mean of the column: the bar holds 90 percent of the draws,
# the ring is the truth, the cross what was written, and an arrow points to it where it lies further left. Radius,
# perimeter and area tell each other so well that most bars are narrower than the ring.

kinds = {"-999": (unknown, "s", "#D55E00"), "wrong unit": (unit, "^", "#0072B2"), "swapped": (swapped, "D", "#009E73")}
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=[3, 2], layout="constrained")
rng = np.random.default_rng(0)
for place, (scores, _) in enumerate(rounds):
    height = np.arange(4) + 5 * place + rng.uniform(-0.25, 0.25, X.shape)
    left.plot(scores.ravel(), height.ravel(), ".", color="lightgrey", markersize=4, zorder=0)
    for kind, (rows, marker, color) in kinds.items():
        shown = slips & np.isin(np.arange(len(X)), rows)[:, None]
        label = kind if place == 0 else None
        left.plot(scores[shown], height[shown], marker, color=color, markersize=7, label=label)
left.axvline(-10, color="black", linewidth=1, linestyle="--")
left.set_yticks([*range(4), *range(5, 9)], [f"{name}, {when}" for when in ("first", "second") for name in names])
left.invert_yaxis()
left.legend(title="slips")
left.set(title="Which cells are odd?", xlabel="log-density given the other cells of the row, nats")

center, spread = truth.mean(0), truth.std(0)
kind_of = {int(i): kind for kind, (rows, _, _) in kinds.items() for i in rows}
cells = sorted(np.argwhere(found).tolist(), key=lambda cell: [*kinds, None].index(kind_of.get(cell[0])))
for place, (i, j) in enumerate(cells):
    color = kinds[kind_of[i]][2] if i in kind_of else "grey"
    low, high = (np.quantile(draws[i, :, j], [0.05, 0.95]) - center[j]) / spread[j]
    right.plot([low, high], [place, place], color=color, linewidth=11, solid_capstyle="butt")
    right.plot((truth[i, j] - center[j]) / spread[j], place, "o", color="black", markerfacecolor="none", markersize=9)
    written = (X[i, j] - center[j]) / spread[j]
    right.plot(max(written, -5), place, "x" if written > -5 else "<", color="black")
right.set_yticks(range(len(cells)), [f"{names[j]} {X[i, j]:.4g}" for i, j in cells])
right.invert_yaxis()
right.set(title="What were they?", xlabel="standard deviations from the mean")
plt.show()

# %%
# Every -999 and every wrong unit is found, and the radius of three swaps out of four. The texture of a swap is not: as
# textures go it is an ordinary one, and nothing else in the row tells it. Nor is the fourth swap, of 27.4 and 26.3. One
# cell is found that is no slip, the largest texture of all.
#
# A density can also be asked which slip it was. For each radius that is odd in the second round: the log-density of the
# row as it was written, with the radius times ten (where the logarithm of ten is the Jacobian), and with radius and
# texture swapped.

for i in np.flatnonzero(rounds[1][1][:, 0]):
    as_written, longer = X[i], X[i] * [10, 1, 1, 1]
    answers = density.score_samples([as_written, longer, X[i, [1, 0, 2, 3]]]) + np.array([0, np.log(10), 0])
    print(f"radius {X[i, 0]:.4g}, texture {X[i, 1]:.4g}:", answers.round(1))
