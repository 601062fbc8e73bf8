"""
Outliers by density
===================

A row is odd where few others are, even in the midst of the data: between two moons, say, or inside a ring. A forest
that isolates rows by single columns sees that less well than a density does.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_circles
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from sknvp import RealNVPOutlierDetector

rng = np.random.default_rng(0)
inliers, _ = make_circles(950, noise=0.05, factor=0.5, random_state=0)
outliers = rng.uniform(-1.4, 1.4, (50, 2))
X = np.concatenate([inliers, outliers])
is_outlier = np.arange(len(X)) >= len(inliers)

# %%
# Both are told that one row in twenty is an outlier, and get these among the others, unmarked.

detectors = {
    "IsolationForest": IsolationForest(contamination=0.05, random_state=0).fit(X),
    "RealNVPOutlierDetector": RealNVPOutlierDetector(contamination=0.05, random_state=0).fit(X),
}

# %%
# Shaded is where a row would count as an outlier; crosses are the true ones. AUROC says how well the scores rank true
# outliers below the others.

grid = np.linspace(-1.6, 1.6, 200)
points = np.stack(np.meshgrid(grid, grid), -1)
figure, axes = plt.subplots(1, 2, figsize=(11, 5), sharex=True, sharey=True, layout="constrained")
for ax, (name, detector) in zip(axes, detectors.items(), strict=True):
    decision = detector.decision_function(points.reshape(-1, 2)).reshape(200, 200)
    ax.contourf(grid, grid, decision < 0, levels=[0.5, 1], colors=["lightgrey"])
    ax.plot(*inliers.T, ".", markersize=3)
    ax.plot(*outliers.T, "x", color="C3")
    ax.set_title(f"{name}: AUROC {roc_auc_score(is_outlier, -detector.score_samples(X)):.3f}")
plt.show()
