"""Rows that `score_samples` and `score_cells` take in a CPU second, by what the columns hold.

python benchmarks/scoring.py
"""

import time

import numpy as np
import pandas as pd

from sknvp import RealNVPDensity

N_ROWS = 2000


def main():
    table = transactions(np.random.default_rng(0))
    numbers, mixed = table[["amount", "balance", "speed", "distance"]], table.drop(columns="hour")
    holes = mixed.assign(age=np.nan)
    incomplete = mixed.assign(age=mixed["age"].where(np.arange(N_ROWS) % 5 > 0))
    show("4 continuous columns", RealNVPDensity(random_state=0).fit(numbers), pd.concat([numbers] * 10))
    density = RealNVPDensity(random_state=0).fit(mixed)
    show("7 columns, 3 of them discrete or with many zeros", density, mixed)
    show("these 7 columns, by cells", density, mixed[:50], "score_cells")
    density = RealNVPDensity(random_state=0).fit(incomplete)
    show("7 columns, a cell of each row missing", density, holes[:500])
    density = RealNVPDensity(periods={"hour": 24}, random_state=0).fit(table)
    show("7 columns and one with a period", density, table[:500])


def transactions(rng):
    """Make a table of numbers, a category, whole numbers, amounts of which many are zero, and hours."""
    latent = rng.normal(size=(N_ROWS, 4))
    return pd.DataFrame(
        {
            "amount": np.exp(latent[:, 0]),
            "balance": np.exp(latent[:, 0] + latent[:, 1]),
            "speed": latent[:, 2],
            "distance": latent[:, 2] ** 2 + 0.3 * latent[:, 3],
            "shop": rng.choice(["fuel", "grocery", "online", "travel"], N_ROWS, p=[0.3, 0.4, 0.2, 0.1]),
            "age": rng.integers(18, 90, N_ROWS),
            "fee": np.where(rng.random(N_ROWS) < 0.7, 0, np.exp(latent[:, 1])),
            "hour": rng.normal(15, 4, N_ROWS) % 24,
        }
    )


def show(name, density, rows, method="score_samples"):
    """Print the rate of a method, after a call that fits what is fitted when it is first needed."""
    score = getattr(density, method)
    score(rows[:20])
    start = time.process_time()
    score(rows)
    print(f"{name}: {len(rows) / (time.process_time() - start):,.0f} rows a CPU second", flush=True)


if __name__ == "__main__":
    main()
