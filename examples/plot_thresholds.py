"""
Where to draw the line
======================

A detector ranks rows. An alarm needs a threshold. Which one depends on what a missed anomaly and a false alarm cost,
and a curve of precision and recall shows the choice.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.model_selection import train_test_split

from sknvp import RealNVPOutlierDetector

# %%
# The detector learns from 257 benign tumours, and sees no malignant one. Of these there are 212 among the new rows.
# In use anomalies are rare, so they are weighed as one row in ten.

X, y = load_breast_cancer(return_X_y=True)
X, malignant = X[:, :10], y == 0
train, benign = train_test_split(X[~malignant], test_size=100, random_state=0)
detector = RealNVPOutlierDetector(random_state=0).fit(train)
scores = {"benign": detector.score_samples(benign), "malignant": detector.score_samples(X[malignant])}
is_anomaly = np.repeat([False, True], [100, 212])
oddness = -np.concatenate([scores["benign"], scores["malignant"]])
weights = np.where(is_anomaly, 0.1 / 212, 0.9 / 100)

# %%
# Recall is the share of the anomalies that are found, precision the share of the alarms that are right. The dot is
# where ``contamination="auto"`` puts the threshold: one in twenty normal rows is below it, if the density is right.

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
precision, recall, _ = precision_recall_curve(is_anomaly, oddness, sample_weight=weights)
average = average_precision_score(is_anomaly, oddness, sample_weight=weights)
ax.step(recall, precision, where="post", color="#0072B2", label=f"average precision {average:.2f}")
found, false = ((scores[kind] < detector.offset_).mean() for kind in ("malignant", "benign"))
ax.plot(found, 0.1 * found / (0.1 * found + 0.9 * false), "o", color="black", label='contamination="auto"')
ax.axhline(0.1, color="grey", linestyle="--", label="alarms at random")
ax.set(xlabel="recall", ylabel="precision", ylim=(0, 1.05), title="Which alarms can be had?")
ax.legend(loc="lower left")
plt.show()

# %%
# The cost of each threshold for a thousand rows, if a missed anomaly costs ten times as much as a false
# alarm, and twice as much. The dearer a missed anomaly is, the higher lies the best threshold. Without labels one can
# still bound the false alarms, by scores of normal rows that were held out.

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
thresholds = np.linspace(-10, 2, 400)
missed = 100 * (scores["malignant"][:, None] >= thresholds).mean(0)
false_alarms = 900 * (scores["benign"][:, None] < thresholds).mean(0)
for price, color in ((10, "#D55E00"), (2, "#0072B2")):
    costs = price * missed + false_alarms
    ax.plot(thresholds, costs, color=color, label=f"a missed anomaly costs {price} false alarms")
    ax.plot(thresholds[costs.argmin()], costs.min(), "v", color=color)
ax.axvline(detector.offset_, color="black", label='contamination="auto"')
ax.set(xlabel="threshold on the score", ylabel="cost", title="Which threshold is cheapest?")
ax.legend(loc="center left")
plt.show()
