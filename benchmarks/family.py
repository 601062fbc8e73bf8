"""What stands on the density, by its defaults: the classifier on bundled sets, transformer and detector on tables.

    python benchmarks/family.py classifier [--only iris]
    python benchmarks/family.py transformer --data FOLDER [--only moons glass]
    python benchmarks/family.py detector --data FOLDER

FOLDER holds .npz files with an array X, of which half is fitted and up to 1,000 of the other rows are tried.

- classifier: accuracy and log-loss in 5-fold cross-validation, beside scikit-learn's.
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
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, QuantileTransformer, StandardScaler

from sknvp import DensityClassifier, RealNVPOutlierDetector, RealNVPTransformer
from sknvp.outlier import threshold

LABELLED = {"iris": load_iris, "wine": load_wine, "breast_cancer": load_breast_cancer}


def classifier(name):
    """Accuracy and log-loss of each classifier."""
    X, y = LABELLED[name](return_X_y=True)
    qda = make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis(reg_param=0.1))
    compared = {"GaussianNB": GaussianNB(), "QDA": qda, "HGB": HistGradientBoostingClassifier(random_state=0)}
    folds, figures = StratifiedKFold(5, shuffle=True, random_state=0), {}
    for label, estimator in {**compared, "ours": DensityClassifier(random_state=0)}.items():
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["classifier", "transformer", "detector"])
    parser.add_argument("--data", type=Path, help="folder of tables, for transformer and detector")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.what == "classifier":
        tasks = {name: lambda name=name: classifier(name) for name in LABELLED}
    else:
        if arguments.data is None:
            parser.error("--data must be a folder with .npz files")
        run = {"transformer": transformer, "detector": detector}[arguments.what]
        tasks = {path.stem: lambda path=path: run(*halves(path)) for path in sorted(arguments.data.glob("*.npz"))}
    for name in arguments.only or tasks:
        start = time.perf_counter()
        figures = tasks[name]()
        columns = "  ".join(f"{label} " + " ".join(f"{v:.4g}" for v in values) for label, values in figures.items())
        print(f"{name:18s} {columns}  ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
