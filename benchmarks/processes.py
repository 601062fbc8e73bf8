"""A step of data-parallel training: seconds, those of them in the sum over the processes, and CPU seconds.

    torchrun --standalone --nproc-per-node 1 benchmarks/processes.py
    torchrun --standalone --nproc-per-node 2 benchmarks/processes.py

The default density, and a wider one, of 40,000 float32 rows of 8 columns; the batch is that of all processes together.
The median of all steps after the first ten, in milliseconds. CPU milliseconds are those of the first process; where
other programs want the processors, they say more than those by the clock.
"""

import time
import warnings

import numpy as np
import torch

import sknvp.distributed
from sknvp import RealNVPDensity
from sknvp._distributed import fit
from sknvp.flows.train.data_parallel import DataParallel
from sknvp.flows.train.ranks import Ranks

CASES = [(128, 32, 300), (1024, 32, 100), (8192, 32, 30), (1024, 128, 40), (8192, 128, 12)]  # batch, width, steps
N_ROWS, N_HELD_OUT, WARM = 40_000, 10_000, 10


class Timed(DataParallel):
    """An objective that notes when each step begins."""

    def batches(self):
        for batch in super().batches():
            STARTS.append((time.perf_counter(), time.process_time(), SUMMING[0]))
            yield batch


class TimedRanks(Ranks):
    """Processes that note how long their sums take."""

    def add(self, numbers):
        start = time.perf_counter()
        total = super().add(numbers)
        SUMMING[0] += time.perf_counter() - start
        return total


STARTS, SUMMING = [], [0.0]


def main():
    warnings.simplefilter("ignore")
    fit.DataParallel, sknvp.distributed.Ranks = Timed, TimedRanks
    torch.distributed.init_process_group("gloo")
    rank, n = torch.distributed.get_rank(), torch.distributed.get_world_size()
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((N_ROWS, 8)) @ rng.standard_normal((8, 8))).astype(np.float32)
    shard = np.array_split(X, n)[rank]
    for batch_size, width, n_steps in CASES:
        STARTS.clear()
        n_batches = -(-(N_ROWS - N_HELD_OUT) // batch_size)
        density = RealNVPDensity(
            batch_size=batch_size,
            hidden_layer_sizes=(width, width),
            max_iter=max(1, -(-n_steps // n_batches)),
            stacking=False,
            n_iter_no_change=10**6,
            random_state=0,
        )
        sknvp.distributed.fit(density, shard)
        if rank == 0:
            n_numbers = sum(parameter.numel() for parameter in density.flow_.parameters())
            wall, cpu, summing = 1e3 * np.median(np.diff(STARTS, axis=0)[WARM:], axis=0)
            print(
                f"{n} processes, batch {batch_size}, width {width}, {n_numbers} parameters: "
                f"{wall:.1f} ms a step, {summing:.1f} of them in sums, {cpu:.1f} CPU ms",
                flush=True,
            )
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
