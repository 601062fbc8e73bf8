"""Docstrings of the estimators: every parameter and every fitted attribute is explained where it is asked for."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import sknvp

from .small import moons, normal_rows

ESTIMATORS = [
    sknvp.ConditionalRealNVPDensity,
    sknvp.DensityClassifier,
    sknvp.PlanarFlowDensity,
    sknvp.RealNVPDensity,
    sknvp.RealNVPImageDensity,
    sknvp.RealNVPImputer,
    sknvp.RealNVPOutlierDetector,
    sknvp.RealNVPTransformer,
    sknvp.TransformedDensity,
    sknvp.VariationalRealNVP,
]


def entries(estimator, section):
    """Name, type and explanation of each entry of a section."""
    doc = inspect.getdoc(estimator)
    body = re.split(rf"^{section}\n-+\n", doc, flags=re.MULTILINE)[1]
    body = re.split(r"^\w[\w ]*\n-+\n", body, flags=re.MULTILINE)[0]
    found = re.findall(r"^(\w+) : (.*)\n((?:    .*\n?)+)", body, flags=re.MULTILINE)
    assert len(found) == len(re.findall(r"^\S", body, flags=re.MULTILINE))
    return {name: (kind, " ".join(text.split())) for name, kind, text in found}


@pytest.mark.parametrize("name", sorted({*sknvp.__all__} - {"flows", "show_versions"}))
def test_every_class_names_its_chapter_of_the_user_guide(name):
    description = inspect.getdoc(getattr(sknvp, name)).split("Parameters\n---")[0]
    (chapter,) = re.findall(r"^Read more in the :doc:`User Guide </(\w+)>`\.$", description, flags=re.MULTILINE)
    assert f"\n{chapter}\n" in (Path(__file__).parents[1] / "docs" / "user_guide.md").read_text()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_is_explained_with_its_default(estimator):
    signature = inspect.signature(estimator).parameters
    explained = entries(estimator, "Parameters")
    assert list(explained) == list(signature)
    for name, (kind, text) in explained.items():
        default = signature[name].default
        assert kind.endswith(f'default="{default}"' if isinstance(default, str) else f"default={default}")
        assert text.endswith(".")
        assert "{" not in text
        assert not re.search("as in .*RealNVPDensity", text, re.IGNORECASE)


def fitted(estimator):
    if estimator is sknvp.VariationalRealNVP:
        return estimator(n_layers=1, max_iter=50, n_estimators=1).fit(lambda x: -x.square().sum(1) / 2, 2)
    if estimator is sknvp.DensityClassifier:
        brief = sknvp.RealNVPDensity(max_iter=1, n_layers=1, stacking=False)
        return estimator(brief).fit(moons(), np.arange(400) % 2)
    if estimator is sknvp.RealNVPImageDensity:
        return estimator(n_filters=2, n_blocks=0, n_levels=2).partial_fit(np.arange(64).reshape(4, 16) % 2)
    X = moons()
    if estimator in (sknvp.RealNVPImputer, sknvp.TransformedDensity):
        return estimator(sknvp.RealNVPDensity(max_iter=1, n_layers=1, stacking=False)).fit(X)
    if estimator is sknvp.ConditionalRealNVPDensity:
        return estimator(max_iter=1, n_layers=1).fit(X, normal_rows(400, 1)[:, 0])
    return estimator(max_iter=1, n_layers=1).fit(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_fitted_attribute_is_explained(estimator):
    density = fitted(estimator)
    names = {name for name in vars(density) if name.endswith("_") and not name.startswith("_")}
    explained = set(entries(estimator, "Attributes"))
    assert names - explained == set()
    absent = {name for name in explained if not hasattr(density, name)}
    assert absent <= {"feature_names_in_"}  # which only tables with names have
