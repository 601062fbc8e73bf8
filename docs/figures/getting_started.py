"""The table of the page "Getting started", beside draws."""

from sklearn.datasets import load_breast_cancer

from sknvp import PairDisplay, RealNVPDensity

data = load_breast_cancer(as_frame=True)
table = data.frame[["mean radius", "mean texture", "mean area", "mean concavity"]]
table.columns = ["radius", "texture", "area", "concavity"]
table = table.assign(diagnosis=data.target_names[data.target])
PairDisplay.from_estimator(RealNVPDensity(random_state=0).fit(table), table, random_state=0)
