"""Scores of benign and malignant tumours, and two thresholds."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from sknvp import RealNVPOutlierDetector

data = load_breast_cancer(as_frame=True)
X = data.frame[["mean radius", "mean texture", "mean smoothness", "mean concavity"]]
malignant = X[data.target == 0]
normal, normal_new = train_test_split(X[data.target == 1], test_size=107, random_state=0)
detector = RealNVPOutlierDetector(random_state=0).fit(normal)
benign_scores = detector.score_samples(normal_new)
bins = np.linspace(-10, 2, 49)
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
ax.hist(benign_scores, bins, alpha=0.7, color="#0072B2", label="benign, not fitted")
ax.hist(detector.score_samples(malignant).clip(-10), bins, alpha=0.6, color="#D55E00", label="malignant")
ax.axvline(detector.offset_, color="black", label='offset_, contamination="auto"')
ax.axvline(np.quantile(benign_scores, 0.02), color="black", linestyle="--", label="2 in 100 benign ones below")
ax.set(xlabel="score, in standard deviations", ylabel="rows")
ax.legend()
