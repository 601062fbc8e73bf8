"""
A rolled-up sheet in three dimensions
=====================================

Rows near a curved sheet: a normal distribution fills the room between its turns, flows do not. Colour is the
log-density that the flows give to each point.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_swiss_roll

from sknvp import RealNVPDensity

X, _ = make_swiss_roll(4000, noise=0.3, random_state=0)
density = RealNVPDensity(stacking=False, random_state=0).fit(X)

# %%
# Left rows that were fitted, right rows drawn from what was learned.

draws = density.sample(4000, random_state=0)
colours = {"vmin": -10, "vmax": -6, "cmap": "viridis", "s": 3}
figure = plt.figure(figsize=(11, 5), layout="constrained")
for place, (title, rows) in enumerate({"rows": X, "draws": draws}.items(), start=1):
    ax = figure.add_subplot(1, 2, place, projection="3d", title=title)
    points = ax.scatter(*rows.T, c=density.score_samples(rows), **colours)
    ax.view_init(elev=8, azim=-75)
figure.colorbar(points, ax=figure.axes, shrink=0.6, label="log-density, nats")
plt.show()

# %%
# Along the roll's axis, the second column, rows are spread evenly between 0 and 21. So are the draws; seen along that
# axis they keep to the sheet.

figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), sharex=True, sharey=True, layout="constrained")
for ax, (title, rows) in zip(axes, {"rows": X, "draws": draws}.items(), strict=True):
    ax.scatter(rows[:, 0], rows[:, 2], c=density.score_samples(rows), **colours)
    ax.set(title=f"{title}, seen along the roll", aspect="equal")
plt.show()
