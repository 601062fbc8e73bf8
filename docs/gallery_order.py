"""The order of the gallery: what most users look for comes first."""

FIRST = [
    "two_moons",
    "pairs",
    "outliers",
    "thresholds",
    "odd_cells",
    "missing",
    "conditional",
    "bands",
    "search",
    "bounds",
    "stream",
    "dask",
    "calibration",
    "transformed",
    "swiss_roll",
    "words",
    "images",
    "double_moon",
    "gradients",
    "own_parts",
    "layers",
    "planar",
]


class ByInterest:
    """The key by which sphinx-gallery sorts the scripts of a folder; those without a place above come last."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, filename):
        name = filename.removeprefix("plot_").removesuffix(".py")
        return FIRST.index(name) if name in FIRST else len(FIRST)
