"""
Scores of a table that does not fit into memory
===============================================

A density is fitted to a random part of the rows, and scores all of them in chunks, here with dask. Each chunk is
computed by itself, so that workers on many machines could share them.
"""

import dask.array
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from sknvp import RealNVPDensity

# %%
# A hundred thousand rows in chunks of 25,000. In use they would come from files, for instance by
# ``dask.array.from_zarr`` or ``from_npy_stack``; a thousand of them are odd.

rng = np.random.default_rng(0)
table = np.r_[make_moons(99_000, noise=0.1, random_state=0)[0], rng.uniform([-2, -1.5], [3, 2], (1000, 2))]
rows = dask.array.from_array(rng.permutation(table).astype("float32"), chunks=(25_000, -1))

# %%
# Ten thousand rows are enough to fit. Their scores are those of the whole table, in every bit.

density = RealNVPDensity(random_state=0).fit(rows[:10_000].compute())
scores = rows.map_blocks(density.score_samples, drop_axis=1, dtype="float64", meta=np.empty(0))
print(scores)

# %%
# Nothing has been computed yet. What is wanted of the scores, here a histogram and the threshold below which about
# one row in a hundred lies, is computed chunk by chunk, and the scores themselves need never be kept.

counts, edges = dask.array.histogram(scores, bins=120, range=(-12, 1))
counts, threshold = dask.compute(counts, dask.array.percentile(scores, [1])[0])
odd = rows[scores < threshold].compute()

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.stairs(counts, edges, fill=True, color="#0072B2")
left.axvline(threshold, color="black", linestyle="--", label="about one row in a hundred is below")
left.set(yscale="log", xlabel="log-density, nats", ylabel="rows", title="100,000 scores")
left.legend()
right.plot(*table[::50].T, ".", color="lightgrey", markersize=4)
right.plot(*odd.T, ".", color="#D55E00", markersize=3)
right.set(title=f"{len(odd)} odd rows, and every fiftieth of all", aspect="equal")
plt.show()
