"""The parts of the outlier detector: the densities that score a row, and how their log-densities are pooled."""
