"""Raw tables with the holes they came with: densities fitted to all rows, and classifiers without any imputer.

    python benchmarks/holes.py --data FOLDER [--only titanic mpg] [--folds 5] [--rows 3000]

FOLDER holds titanic, adult, mpg and penguins as .csv.gz, and kinds.json with the kind of each column ("category",
"integer" or "float"). Printed for each table:

- density: the mean log-density of the known cells of 30 percent of the rows, held out, in nats a row with float columns
  in standard deviations, of `RealNVPDensity` fitted to the other rows with their holes, and fitted to those rows among
  them that have none; and the CPU seconds of the first fit;
- classifiers: accuracy and log-loss by cross-validation, and CPU seconds a fold, of `DensityClassifier` over
  `RealNVPDensity`, which gets the rows as they are, of `HistGradientBoostingClassifier`, which takes missing cells too,
  and, behind `SimpleImputer` and `OneHotEncoder`, of `LogisticRegression` and `GaussianNB`.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknvp import DensityClassifier, RealNVPDensity

TARGETS = {"titanic": "survived", "adult": "income", "mpg": "origin", "penguins": "species"}


def load(folder, name, n_rows):
    kinds = json.loads((folder / "kinds.json").read_text())[name]
    categories = [column for column, kind in kinds.items() if kind == "category"]
    frame = pd.read_csv(folder / f"{name}.csv.gz", dtype=dict.fromkeys(categories, str))
    frame = frame.sample(n=min(n_rows, len(frame)), random_state=0, ignore_index=True)
    return frame.astype(dict.fromkeys(categories, "category")), [c for c, kind in kinds.items() if kind == "float"]


def densities(frame, floats):
    """Mean log-density of held-out rows under densities of all rows and of complete rows."""
    train, test = train_test_split(frame, test_size=0.3, random_state=0)
    units = (test[floats].notna() * np.log(train[floats].std())).to_numpy().sum(1)
    start = time.process_time()
    holes = RealNVPDensity(random_state=0).fit(train)
    seconds = time.process_time() - start
    complete = RealNVPDensity(random_state=0).fit(train.dropna())
    nats = [float(np.mean(density.score_samples(test) + units)) for density in (holes, complete)]
    return {
        "holes": round(nats[0], 3),
        "complete rows alone": round(nats[1], 3),
        "rows": (len(train), len(train.dropna())),
        "missing cells": round(float(train.isna().to_numpy().mean()), 4),
        "seconds": round(seconds, 1),
    }


def prepared():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (words, make_column_selector(dtype_include="category"))
    )


def classifiers():
    return {
        "ours": DensityClassifier(RealNVPDensity(), random_state=0),
        "boosting": HistGradientBoostingClassifier(random_state=0),
        "logistic": make_pipeline(prepared(), LogisticRegression(max_iter=1000)),
        "naive Bayes": make_pipeline(prepared(), GaussianNB()),
    }


def cross_validated(classifier, X, y, n_folds):
    figures = []
    for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=0).split(X, y):
        start = time.process_time()
        probabilities = classifier.fit(X.iloc[train], y.iloc[train]).predict_proba(X.iloc[test])
        seconds = time.process_time() - start
        chosen = classifier.classes_[probabilities.argmax(1)]
        loss = log_loss(y.iloc[test], probabilities, labels=classifier.classes_)
        figures.append((accuracy_score(y.iloc[test], chosen), loss, seconds))
    accuracy, loss, seconds = np.transpose(figures)
    return (
        f"accuracy {accuracy.mean():.3f} ± {accuracy.std():.3f}, log-loss {loss.mean():.3f} ± {loss.std():.3f}, "
        f"{seconds.mean():.1f} s"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=TARGETS)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=3_000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.only:
        frame, floats = load(arguments.data, name, arguments.rows)
        print(name, densities(frame, floats), flush=True)
        X, y = frame.drop(columns=TARGETS[name]), frame[TARGETS[name]].astype(str)
        for label, classifier in classifiers().items():
            print(f"  {label}: {cross_validated(classifier, X, y, arguments.folds)}", flush=True)


if __name__ == "__main__":
    main()
