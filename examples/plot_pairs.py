"""
Draws beside rows: a corner plot
================================

Is the density of a table right? Draw rows from it, and lay them beside the rows that it has learned: where the two
differ, the density is wrong. `PairDisplay` does so for every pair of columns, whatever they hold.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.mixture import GaussianMixture

from sknvp import PairDisplay, RealNVPDensity, TrainingDisplay

# %%
# A thousand policies of an invented insurance of cars. Young people have small cars, and valuable cars are driven
# farther. Those who drive farther or are young have more accidents, whose cost depends on the value of the car.

rng = np.random.default_rng(0)
n = 1000
age = rng.integers(18, 80, n)
kind = np.where(rng.random(n) < 1 / (1 + np.exp((age - 45) / 8)), "small", "large")
value = rng.lognormal(np.where(kind == "large", 3.2, 2.4), 0.25)
distance = value**0.5 * rng.lognormal(1.0, 0.3, n)
accidents = rng.poisson(distance / 40 * np.where(age < 26, 2, 1))
cost = np.where(accidents > 0, rng.lognormal(np.log(0.3 * value), 0.5), 0.0)
table = pd.DataFrame(
    {"kind": kind, "age": age, "value": value, "distance": distance, "accidents": accidents, "cost": cost}
)
table.head()

# %%
# The density finds out by itself what the columns hold.

density = RealNVPDensity(random_state=0).fit(table)
print(*density.columns_, sep="\n")

# %%
# Categories and whole numbers are spread a little around their values, so that one sees how many points there are. The
# diagonal shows the shares of the rows (filled) and of the draws (lines).

PairDisplay.from_estimator(density, table, random_state=0)
plt.show()

# %%
# Small cars belong to the young, valuable cars cost more, and no number is negative, in draws as in rows. But the panel
# of costs and accidents shows where this density errs: some draws have a cost without an accident, or none with one.

draws = density.sample(10_000, random_state=0)
print(f"{((draws['accidents'] == 0) != (draws['cost'] == 0)).mean():.1%} of the draws are such")

# %%
# One normal distribution of the columns of numbers gives itself away in nearly every panel.

numbers = table.drop(columns="kind")
normal = GaussianMixture(random_state=0).fit(numbers.to_numpy())
PairDisplay.from_estimator(normal, numbers, random_state=0)
plt.show()

# %%
# The losses tell whether training had settled. When the held-out rows get no likelier, training goes back to the best
# weights with a lower learning rate, which is where the curves jump. The third time it ends, with the best weights.

TrainingDisplay.from_estimator(density)
plt.show()
