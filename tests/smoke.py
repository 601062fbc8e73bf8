"""A smoke test of an installed sknvp, without pytest:  python tests/smoke.py   (`make release` runs it).

It runs the blocks of the README, the cells of the notebook and the command line, in an empty folder.
"""

import ast
import contextlib
import doctest
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
from sklearn.datasets import load_iris

import sknvp

ROOT = Path(__file__).resolve().parents[1]


def run(what, cells):
    """Run cells one after another; show the last expression of each, as a notebook does."""
    names = {}
    for cell in cells:
        *body, last = ast.parse(cell).body
        exec(compile(ast.Module([*body], []), what, "exec"), names)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), what, "eval"), names)
            assert shown is None or (shown._repr_html_() if hasattr(shown, "_repr_html_") else repr(shown))
        else:
            exec(compile(ast.Module([last], []), what, "exec"), names)
    print(f"{what}: {len(cells)} cells ran")


def command(*arguments):
    """Run a command of the command line."""
    script = Path(sys.executable).with_name("sknvp")
    for program in ([sys.executable, "-m", "sknvp"], [script]) if arguments[0] == "score" else ([script],):
        subprocess.run([*program, *arguments], check=True, stdout=subprocess.DEVNULL)


def main():
    assert Path(sknvp.__file__).parent != ROOT / "sknvp", f"{sknvp.__file__} is the checkout, not what was installed"
    matplotlib.use("Agg")
    sknvp.show_versions()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        readme = doctest.DocTestParser().get_examples((ROOT / "README.md").read_text().replace("```", ""))
        run("README.md", [example.source for example in readme])
        notebook = json.loads((ROOT / "examples" / "getting_started.ipynb").read_text())
        run("getting_started.ipynb", ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"])
        load_iris(as_frame=True).data.to_csv("iris.csv", index_label="id")
        command("fit", "iris.csv", "--drop", "id", "--out", "model.pkl")
        command("score", "model.pkl", "iris.csv", "--out", "scores.csv")
        command("sample", "model.pkl", "-n", "10", "--out", "draws.csv")
        command("describe", "iris.csv", "--drop", "id", "--picture", "pairs.png")
        assert {"model.pkl", "scores.csv", "draws.csv", "pairs.png"} <= set(os.listdir())
    print("the command line: 4 commands ran")


if __name__ == "__main__":
    main()
