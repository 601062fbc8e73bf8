"""How well scores rank anomalies: the area under the ROC curve on scikit-learn's own tables.

    python benchmarks/anomaly.py
    python benchmarks/anomaly.py --contaminated --only wine

Each class in turn is the anomaly, thinned to a tenth as many rows as the others have. Estimators learn half of the
other rows, or with ``--contaminated`` half of all rows, and score the rest.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknvp import RealNVPDensity, RealNVPOutlierDetector

LOADERS = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer, "digits": load_digits}
METHODS = {
    "detector": lambda: RealNVPOutlierDetector(random_state=0),
    "log-density": lambda: RealNVPDensity(random_state=0),
    "kernels": lambda: make_pipeline(StandardScaler(), KernelDensity(bandwidth="scott")),
    "mixture": lambda: make_pipeline(StandardScaler(), GaussianMixture(5, reg_covar=1e-3, random_state=0)),
    "forest": lambda: IsolationForest(random_state=0),
}


def split(X, is_odd, contaminated):
    """Return training rows, and new rows with their labels."""
    rng = np.random.default_rng(0)
    normal, odd = (rng.permutation(np.flatnonzero(part)) for part in (~is_odd, is_odd))
    odd = odd[: max(2, len(normal) // 10)]
    halves = [np.array_split(part, 2) for part in (normal, odd)]
    train = np.r_[halves[0][0], halves[1][0]] if contaminated else halves[0][0]
    test = np.r_[halves[0][1], halves[1][1] if contaminated else odd]
    train = rng.permutation(train)
    return X[train], X[test], is_odd[test]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contaminated", action="store_true")
    parser.add_argument("--only", nargs="*", default=list(LOADERS))
    parser.add_argument("--classes", type=int, default=3, help="how many classes are the anomaly in turn")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    areas = []
    print(f"{'table':16s}" + "".join(f"{name:>13s}" for name in METHODS))
    for name in options.only:
        X, y = LOADERS[name](return_X_y=True)
        for label in np.unique(y)[: options.classes]:
            train, test, is_odd = split(X[:, np.ptp(X, axis=0) > 0], y == label, options.contaminated)
            start = time.perf_counter()
            areas.append([roc_auc_score(is_odd, -make().fit(train).score_samples(test)) for make in METHODS.values()])
            row = "".join(f"{area:13.3f}" for area in areas[-1])
            print(f"{f'{name} {label}':16s}{row}  {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{'mean':16s}" + "".join(f"{area:13.3f}" for area in np.mean(areas, 0)))


if __name__ == "__main__":
    main()
