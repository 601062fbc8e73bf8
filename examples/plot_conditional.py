"""
The whole distribution of a target
==================================

A regressor predicts a mean. `ConditionalRealNVPDensity` learns how the target is distributed given the columns, whether
its spread changes or it has two values at once.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression

from sknvp import ConditionalDensityDisplay, ConditionalRealNVPDensity, PITDisplay
from sknvp.metrics import crps

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, 3000)
targets = {
    "spread grows": np.sin(2 * x) + np.exp(0.8 * x - 1.5) * rng.standard_normal(3000),
    "two branches": rng.choice([-1, 1], 3000) * (1.2 + 0.5 * x) + 0.2 * rng.standard_normal(3000),
}
fits = {name: ConditionalRealNVPDensity(random_state=0).fit(x[:, None], y) for name, y in targets.items()}

# %%
# Quantiles are those of the learned density: between the outer two lie 90 percent of its mass. Where there are two
# branches, mean and median lie where no target is.

grid = np.linspace(-2, 2, 200)[:, None]
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, (name, fit) in zip(axes, fits.items(), strict=True):
    ConditionalDensityDisplay.from_estimator(fit, x[:, None], targets[name], q=[0.05, 0.5, 0.95], ax=ax)
    ax.plot(grid, fit.predict(grid), "--", color="#D55E00", label="mean")
    ax.set(title=name, xlabel="x")
    ax.legend()
plt.show()

# %%
# The density itself says more than any of them.

y = np.linspace(-4, 4, 400)
figure, axes = plt.subplots(1, 2, figsize=(11, 3.5), sharex=True, layout="constrained")
for ax, (name, fit) in zip(axes, fits.items(), strict=True):
    for place in (-1.5, 0.0, 1.5):
        ax.plot(y, np.exp(fit.score_samples(np.full((400, 1), place), y)), label=f"x = {place}")
    ax.set(title=name, xlabel="y", ylabel="p(y | x)")
    ax.legend()
plt.show()

# %%
# Is it right? The distribution function at new targets is spread evenly between 0 and 1 if the density is: most of the
# histogram then stays in the grey band. A regression line with normal noise of one width is too wide where targets vary
# little, and too narrow where they vary much. `PITDisplay` takes an estimator, draws of any model, or numbers that a
# model's own distribution function gives. The continuous ranked probability score sums it up in units of the target;
# less is better.

x_new = rng.uniform(-2, 2, 3000)
y_new = np.sin(2 * x_new) + np.exp(0.8 * x_new - 1.5) * rng.standard_normal(3000)
fit = fits["spread grows"]
line = LinearRegression().fit(x[:, None], targets["spread grows"])
width = np.std(targets["spread grows"] - line.predict(x[:, None]))
drawn = line.predict(x_new[:, None])[:, None] + width * rng.standard_normal((3000, 100))
score_of_fit, score_of_line = crps(y_new, fit.sample(x_new[:, None], 100, 0)), crps(y_new, drawn)
figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, kind in zip(axes, ("histogram", "cumulative"), strict=True):
    PITDisplay.from_estimator(fit, x_new[:, None], y_new, kind=kind, name=f"flow, CRPS {score_of_fit:.3f}", ax=ax)
    PITDisplay.from_predictions(y_new, drawn, kind=kind, name=f"line with noise, CRPS {score_of_line:.3f}", ax=ax)
plt.show()

# %%
# Counts have probabilities, so that their distribution function climbs in steps and its values are never even. The
# display draws each of them at random from its step.

counts = rng.poisson(np.exp(x))
counted = ConditionalRealNVPDensity(random_state=0).fit(x[:, None], counts)
PITDisplay.from_estimator(counted, x_new[:, None], rng.poisson(np.exp(x_new)), random_state=0)
plt.show()
