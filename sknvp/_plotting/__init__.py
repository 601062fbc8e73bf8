"""Pictures in the manner of scikit-learn's displays; these need matplotlib (``pip install sknvp[plot]``)."""
