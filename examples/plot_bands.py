"""
How sure is a prediction?
=========================

A mean alone says nothing about its error. Bands between quantiles do: here for the disease progression of 442 patients
with diabetes, given their body mass index, blood pressure and a blood value.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold

from sknvp import ConditionalRealNVPDensity

data = load_diabetes(as_frame=True, scaled=False)
X, y = data.data[["bmi", "bp", "s5"]], data.target

# %%
# Every patient gets quantiles from a density that was fitted to other patients. Targets cannot be negative.

density = ConditionalRealNVPDensity(bounds=(0, np.inf), random_state=0)
levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
quantiles, line = np.empty((len(X), 5)), np.empty((len(X), 2))
for train, test in KFold(3, shuffle=True, random_state=0).split(X):
    quantiles[test] = density.fit(X.iloc[train], y.iloc[train]).predict_quantile(X.iloc[test], levels)
    regression = LinearRegression().fit(X.iloc[train], y.iloc[train])
    width = 1.645 * np.std(y.iloc[train] - regression.predict(X.iloc[train]))
    line[test] = regression.predict(X.iloc[test])[:, None] + [-width, width]

# %%
# Patients in the order of their medians. The bands of the density are narrow for patients who are well, and wide for
# others. Those of the line have one width for all, and reach below zero.

order = np.argsort(quantiles[:, 2])
place = np.arange(len(X))
figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), sharey=True, layout="constrained")
bands = {"ConditionalRealNVPDensity": quantiles[:, [0, 4]], "a line with normal noise": line}
for ax, (name, band) in zip(axes, bands.items(), strict=True):
    inside = (band[:, 0] <= y) & (y <= band[:, 1])
    ax.fill_between(place, *band[order].T, color="#56B4E9", alpha=0.5, linewidth=0, label="nine tenths")
    ax.plot(place, y.to_numpy()[order], ".", color="black", markersize=3, label="patients")
    ax.axhline(0, color="grey", linewidth=0.8)
    mean_width = np.mean(band[:, 1] - band[:, 0])
    ax.set(title=f"{name}\n{inside.mean():.0%} inside, mean width {mean_width:.0f}", xlabel="patients by median")
axes[0].fill_between(place, *quantiles[order][:, [1, 3]].T, color="#0072B2", alpha=0.5, linewidth=0, label="one half")
axes[0].plot(place, quantiles[order, 2], color="#D55E00", label="median")
axes[0].set_ylabel("disease progression after a year")
axes[0].legend(loc="upper left")
plt.show()
