"""What stands on the density, by its defaults: the classifier on labelled sets, transformer and detector on tables.

    python benchmarks/family.py classifier [--only iris]
    python benchmarks/family.py classifier --data FOLDER --only fault ionosphere yeast
    python benchmarks/family.py transformer --data FOLDER [--only moons glass]
    python benchmarks/family.py detector --data FOLDER

FOLDER holds .npz files with an array X, of which half is fitted and up to 1,000 of the other rows are tried; for the
classifier also one of labels, y.

- classifier: accuracy and log-loss in 5-fold cross-validation, beside scikit-learn's, on bundled sets or on the
  folder's; "calibrated" is ours in a CalibratedClassifierCV(cv=3).
- transformer: the largest error of a round trip, in standard deviations of a column, and the energy distance between
  the noise of new rows and normal noise, beside QuantileTransformer and PowerTransformer; zero, by chance a little off,
  is best.
- detector: the share of training rows and of new rows below the threshold, for contamination="auto" and for 0.05.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, QuantileTransformer, StandardScaler

from sknvp import DensityClassifier, RealNVPOutlierDetector, RealNVPTransformer
from sknvp._outliers.threshold import threshold

LABELLED = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}


def classifier(X, y):
    """Accuracy and log-loss of each classifier."""
    ours = DensityClassifier(random_state=0)
    compared = {
        "GaussianNB": GaussianNB(),
        "QDA": make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis(reg_param=0.1)),
        "HGB": HistGradientBoostingClassifier(random_state=0),
        "ours": ours,
        "calibrated": CalibratedClassifierCV(ours, cv=3),
    }
    folds, figures = StratifiedKFold(5, shuffle=True, random_state=0), {}
    for label, estimator in compared.items():
        scores = cross_validate(estimator, X, y, cv=folds, scoring=["accuracy", "neg_log_loss"])
        figures[label] = scores["test_accuracy"].mean(), -scores["test_neg_log_loss"].mean()
    return figures


def transformer(train, test):
    """Largest error of a round trip, and energy distances to normal noise."""
    ours = RealNVPTransformer(random_state=0).fit(train)
    error = np.abs((ours.inverse_transform(ours.transform(test)) - test) / ours.scale_).max()
    quantile = QuantileTransformer(output_distribution="normal", n_quantiles=min(1000, len(train)))
    others = {"quantile": quantile.fit(train), "power": PowerTransformer().fit(train)}
    energies = {name: (energy(fit.transform(test)),) for name, fit in {**others, "ours": ours}.items()}
    return {"error": (error,), **energies}


def energy(rows):
    """Energy distance between the rows and normal noise, less its mean where the rows are such noise."""
    normal = np.random.default_rng(0).standard_normal((1000, rows.shape[1]))

    def within(a):
        return distances(a, a).sum() / (len(a) * (len(a) - 1))

    return 2 * distances(rows, normal).mean() - within(rows) - within(normal)


def distances(a, b):
    return np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0))


def detector(train, test):
    """Share of the training rows and of the new rows below each threshold."""
    fit = RealNVPOutlierDetector(random_state=0).fit(train)
    seen, new = fit.score_samples(train), fit.score_samples(test)
    offsets = {"auto": fit.offset_, "0.05": threshold(seen, np.ones(len(seen)), 0.05)}
    return {name: ((seen < offset).mean(), (new < offset).mean()) for name, offset in offsets.items()}


def halves(path):
    X = np.random.default_rng(0).permutation(np.load(path)["X"].astype(np.float64))
    n_train = min(len(X) // 2, 10_000)
    return X[:n_train], X[n_train : n_train + 1000]


def labelled(path):
    table = np.load(path)
    return table["X"].astype(np.float64), table["y"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["classifier", "transformer", "detector"])
    parser.add_argument("--data", type=Path, help="folder of tables; the classifier can do without")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.data is not None:
        run = {"classifier": classifier, "transformer": transformer, "detector": detector}[arguments.what]
        load = labelled if arguments.what == "classifier" else halves
        tasks = {path.stem: lambda path=path: run(*load(path)) for path in sorted(arguments.data.glob("*.npz"))}
    elif arguments.what == "classifier":
        tasks = {name: lambda load=load: classifier(*load(return_X_y=True)) for name, load in LABELLED.items()}
    else:
        parser.error("--data must be a folder with .npz files")
    for name in arguments.only or tasks:
        start = time.perf_counter()
        figures = tasks[name]()
        columns = "  ".join(f"{label} " + " ".join(f"{v:.4g}" for v in values) for label, values in figures.items())
        print(f"{name:18s} {columns}  ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
