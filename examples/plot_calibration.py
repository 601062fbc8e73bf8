"""
Are the classifier's probabilities right?
=========================================

:class:`~sknvp.DensityClassifier` turns densities into probabilities of classes by Bayes' rule. If the densities are
right the probabilities are: of the rows that get 0.7, seven in ten belong to the class. A calibration curve shows
whether they do.
"""

# %%
# Curved classes that overlap
# ---------------------------
# Two noisy moons. Naive Bayes and quadratic discriminant analysis are Bayes' rule with normal distributions, which
# these classes do not have; boosted trees know no densities at all.

import matplotlib.pyplot as plt
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.datasets import load_breast_cancer, make_moons
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

from sknvp import DensityClassifier, RealNVPDensity

X, y = make_moons(1000, noise=0.3, random_state=0)
X_test, y_test = make_moons(20_000, noise=0.3, random_state=1)

classifiers = {
    "GaussianNB": GaussianNB(),
    "QDA": QuadraticDiscriminantAnalysis(),
    "HistGradientBoosting": HistGradientBoostingClassifier(random_state=0),
    "DensityClassifier": DensityClassifier(RealNVPDensity(), random_state=0),
}

fig, ax = plt.subplots(figsize=(6, 6))
for name, classifier in classifiers.items():
    proba = classifier.fit(X, y).predict_proba(X_test)[:, 1]
    label = f"{name}, log-loss {log_loss(y_test, proba):.3f}"
    CalibrationDisplay.from_predictions(y_test, proba, n_bins=10, name=label, ax=ax)
ax.set_title("Two moons, 1,000 rows to fit")
plt.show()

# %%
# Many columns, few rows
# ----------------------
# Some 200 rows of a class cannot tell a density of 30 columns well. Its errors grow with the number of columns and
# enter the probabilities whole: the classifier is good at telling the classes apart, but too sure.
# :class:`~sklearn.calibration.CalibratedClassifierCV` learns from rows held out how sure it may be. It takes as many
# fits as it has folds; affine couplings, the quicker ones, will do here.

X, X_test, y, y_test = train_test_split(*load_breast_cancer(return_X_y=True), test_size=0.3, random_state=0)

plain = DensityClassifier(RealNVPDensity(coupling="affine"), random_state=0)
for name, classifier in {"plain": plain, "calibrated": CalibratedClassifierCV(plain, cv=3)}.items():
    proba = classifier.fit(X, y).predict_proba(X_test)
    right = (proba.argmax(1) == y_test).mean()
    print(f"{name:10s} accuracy {right:.3f}, log-loss {log_loss(y_test, proba):.3f}")
