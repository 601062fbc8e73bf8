"""
Rows in the shape of a word
===========================

A density may have any shape. Here the rows are points inside printed letters; the density learns where the ink is, from
the points alone, and prints the word again.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from sknvp import RealNVPDensity


def points_inside(word, n_points, rng):
    """Points spread evenly over the letters of a word."""
    path = TextPath((0, 0), word, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    low, high = path.vertices.min(0), path.vertices.max(0)
    tried = rng.uniform(low, high, (20 * n_points, 2))
    outlines = np.array([Path(outline).contains_points(tried) for outline in path.to_polygons()])
    return tried[outlines.sum(0) % 2 == 1][:n_points]  # a point in a hole lies in two outlines


rng = np.random.default_rng(0)
words = {word: points_inside(word, 8000, rng) for word in ("WOW", "HELLO")}

# %%
# Left the rows that were learned from, right as many new ones.

densities = {word: RealNVPDensity(random_state=0).fit(X) for word, X in words.items()}


def draw(ax, rows, title, color):
    ax.plot(*rows.T, ".", color=color, markersize=1.5, alpha=0.5)
    ax.set(title=title, aspect="equal")
    ax.set_axis_off()


figure, axes = plt.subplots(2, 2, figsize=(11, 5), sharex="row", sharey="row", layout="constrained")
for (word, X), (left, right) in zip(words.items(), axes, strict=True):
    draw(left, X, "rows", "C0")
    draw(right, densities[word].sample(len(X), random_state=0), "draws", "C1")
plt.show()

# %%
# Flows are continuous maps, and letters do not hang together: to part one cloud into five letters a flow must stretch
# the room between them, and some ink stays there. `RealNVPDensity` finds out on rows that it held out, and gives the
# weight to the kernels and the mixture that stand beside the flows.

print(densities["HELLO"].stacking_weights_)
alone = RealNVPDensity(stacking=False, random_state=0).fit(words["HELLO"])

figure, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
draw(ax, alone.sample(8000, random_state=0), "draws of the flows alone", "C2")
plt.show()
