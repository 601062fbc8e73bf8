"""
What is worth tuning?
=====================

`score` is the log-likelihood, so `GridSearchCV` finds the parameters under which rows that were held out are likeliest,
without any labels. Here it looks at the number of layers, for one flow and for the average of four flows.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.utils import shuffle

from sknvp import RealNVPDensity

# %%
# The rows of wine come sorted by class, so they are shuffled first.

X = shuffle(load_wine().data[:, [0, 6, 9, 12]], random_state=0)
folds = KFold(3, shuffle=True, random_state=0)
grid = {"n_layers": [1, 3, 6], "n_estimators": [1, 4], "stacking": [False, True]}
density = RealNVPDensity(random_state=0)
search = GridSearchCV(density, grid, cv=folds, refit=False).fit(X)
results = pd.DataFrame(search.cv_results_)

# %%
# Scores are totals over the rows of a fold, so they are divided by the number of these rows. The bar is the standard
# deviation over the folds. It is larger than most differences between the candidates, but all of them have the same
# folds.

n_held_out = len(X) / 3
gaussian = cross_val_score(GaussianMixture(random_state=0), X, cv=folds).mean()
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
styles = {
    (1, False): ("#56B4E9", "one flow"),
    (4, False): ("#0072B2", "four flows"),
    (4, True): ("#D55E00", "the default"),
}
for (n_estimators, stacking), (color, label) in styles.items():
    chosen = results.query(f"param_n_estimators == {n_estimators} and param_stacking == {stacking}")
    mean, std = chosen["mean_test_score"] / n_held_out, chosen["std_test_score"] / n_held_out
    ax.errorbar(chosen["param_n_layers"], mean, std, marker="o", capsize=3, color=color, label=label)
ax.axhline(gaussian, color="grey", linestyle="--", label="a Gaussian")
ax.set(xlabel="n_layers", ylabel="held-out log-likelihood, nats a row")
ax.legend()
plt.show()

# %%
# The average of flows gains more than layers do, and the simpler densities that stand beside them in the default gain
# again. So look at `n_layers` last.

best = results.sort_values("mean_test_score").iloc[-1]
print(best["params"], np.round(best["mean_test_score"] / n_held_out, 2))
