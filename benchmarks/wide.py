"""CPU seconds of the flows and of what stands beside them, for normal rows of a given shape.

    python benchmarks/wide.py 60x2000 3000x300 500x8 10000x8 [--params '{"max_iter": 1}']

Each shape has a process of its own; set ``OMP_NUM_THREADS=1`` to measure a single thread. The last two figures are the
size of the pickled experts and the most memory that the process had, in MB.
"""

import argparse
import json
import pickle
import resource
import time
import warnings
from multiprocessing import get_context

import numpy as np

from sknvp import RealNVPDensity, density


def report(shape, params):
    warnings.simplefilter("ignore")
    X = np.random.default_rng(0).standard_normal([int(number) for number in shape.split("x")])
    RealNVPDensity(max_iter=1).fit(X[:50, :2])  # Loading torch is not to count.
    seconds, stack = [], density.stack

    def timed(*args):
        start = time.process_time()
        experts = stack(*args)
        seconds.append(time.process_time() - start)
        return experts

    density.stack = timed
    start = time.process_time()
    fitted = RealNVPDensity(**{"random_state": 0, **params}).fit(X)
    flows = time.process_time() - start - seconds[0]
    megabytes = len(pickle.dumps(fitted._experts)) / 2**20
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"{shape:10s} flows {flows:7.2f} s, stacking {seconds[0]:6.2f} s, {megabytes:6.2f} MB, {memory:5.0f} MB",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="+", help="rows x columns, as in 60x2000")
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of constructor parameters")
    arguments = parser.parse_args()
    for shape in arguments.shapes:
        process = get_context("spawn").Process(target=report, args=(shape, arguments.params))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
