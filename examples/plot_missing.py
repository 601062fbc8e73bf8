"""
Missing cells: means or draws?
==============================

A mean is the best single guess of a missing cell. But a table that is filled with means is too regular: its columns
vary less, and depend on each other more than before. Draws keep both, and several tables of draws show how uncertain
a result is.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer

from sknvp import RealNVPDensity, RealNVPImputer

# %%
# Texture and concavity of 569 tumours. A third of the concavities gets lost, more often where the texture is coarse.

data = load_breast_cancer(as_frame=True).data
truth = data[["mean texture", "mean concave points", "mean concavity"]].to_numpy()
rng = np.random.default_rng(0)
coarse = truth[:, 0] > np.median(truth[:, 0])
lost = rng.random(len(truth)) < np.where(coarse, 0.5, 0.15)
X = truth.copy()
X[lost, 2] = np.nan
print(f"{lost.mean():.0%} of the concavities are missing")

# %%
# The density is fitted to the table as it is, with its holes. No number is negative. The same density gives means and
# draws.

density = RealNVPDensity(bounds=(0, np.inf), random_state=0)
filled = {
    "the mean of the column": SimpleImputer().fit_transform(X),
    "means given the row": RealNVPImputer(density).fit_transform(X),
    "draws given the row": RealNVPImputer(density, sample_posterior=True, random_state=0).fit_transform(X),
}

# %%
# Grey are rows without holes, coloured are the cells that were filled. The mean of the column is wrong nearly
# everywhere. Means given the row lie on a curve, and draws lie around it as the true cells do.

figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharex=True, sharey=True, layout="constrained")
for ax, (name, table) in zip(axes, filled.items(), strict=True):
    ax.plot(*truth[~lost, 1:].T, ".", color="lightgrey", markersize=4)
    ax.plot(*table[lost, 1:].T, ".", color="#0072B2", markersize=4)
    error = np.sqrt(np.mean((table[lost, 2] - truth[lost, 2]) ** 2))
    ax.set(title=f"{name}\nroot mean squared error {error:.3f}", xlabel="concave points", ylabel="concavity")
plt.show()

# %%
# The mean squared error prefers means. What is wanted from the table may not: here it is the correlation of both
# columns. Means make them agree too well. Twenty tables of draws give an estimate, and the part of its uncertainty
# that is due to the holes.


def correlation(table):
    return np.corrcoef(table[:, 1], table[:, 2])[0, 1]


tables = density.fit(X).impute(X, n_samples=20, random_state=0)
of_draws = [correlation(tables[:, i]) for i in range(20)]
print(f"without holes                {correlation(truth):.3f}")
print(f"twenty tables of draws       {np.mean(of_draws):.3f}, with a standard deviation of {np.std(of_draws):.3f}")
print(f"means given the row          {correlation(filled['means given the row']):.3f}")
print(f"the mean of the column       {correlation(filled['the mean of the column']):.3f}")
