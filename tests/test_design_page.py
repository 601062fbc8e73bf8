"""The page on design shows the architecture as it is.

After a change of the tree:  python -m tests.test_design_page   writes it anew.
"""

import ast
import re
from pathlib import Path

import sknvp

from .test_common import CASES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "design.md"
BLOCK = re.compile(r"(?<=```text\n)sknvp/.*?(?=```)", re.DOTALL)
ORDER = ("_estimators", "_experts", "_variational", "flows", "testing")  # folders come after files, these in this order


def summary(path):
    """The first line of a module's docstring."""
    return ast.get_docstring(ast.parse(path.read_text())).splitlines()[0].rstrip(".")


def tree(folder, depth=0):
    """A line for the folder, for each public or private module in it, and for each folder below."""
    lines = [f"{'  ' * depth}{folder.name}/".ljust(34) + summary(folder / "__init__.py")]
    if folder.name == "testing":
        return lines
    for path in sorted(folder.glob("[!_]*.py")) + sorted(folder.glob("_[!_]*.py")):
        lines.append(f"{'  ' * (depth + 1)}{path.name}".ljust(34) + summary(path))
    folders = [path.parent for path in folder.glob("*/__init__.py")]
    for below in sorted(folders, key=lambda f: (ORDER.index(f.name) if f.name in ORDER else 0, f.name)):
        lines += tree(below, depth + 1)
    return lines


def test_the_tree_is_that_of_the_code():
    assert BLOCK.search(PAGE.read_text()).group(0).splitlines() == tree(ROOT / "sknvp")


def test_imports_run_downwards_only():
    """Torch's floor knows nothing of scikit-learn, of joblib, or of the estimators above it."""
    for path in (ROOT / "sknvp" / "flows").rglob("*.py"):
        source = path.read_text()
        assert not re.search(r"\b(sklearn|joblib)\b", source), path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                target = (*package, *(node.module or "").split("."))
                assert target[:2] in {("sknvp", "flows"), ("sknvp", "_warn")}, f"{path}: {target}"


def test_public_names_are_in_the_reference_and_estimators_in_the_table_of_laws():
    reference = (ROOT / "docs" / "api.rst").read_text()
    for name in sknvp.__all__:
        if name != "flows":
            assert f"sknvp.{name}\n" in reference
    for name in sknvp.flows.__all__:
        assert f"sknvp.flows.{name}\n" in reference
    tried = {type(case.make()).__name__ for case in CASES.values()}
    others = {"DensityClassifier", "DensityDisplay", "RealNVPImputer", "TransformedDensity"}  # these hold no flow
    others |= {"ConditionalDensityDisplay", "PITDisplay", "PairDisplay", "TrainingDisplay", "flows", "show_versions"}
    assert tried == set(sknvp.__all__) - others


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub("\n".join(tree(ROOT / "sknvp")) + "\n", PAGE.read_text()))
