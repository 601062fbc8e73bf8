"""The notebook is the page on getting started: its text, and its blocks of Python, which test_pages.py runs.

After a change of the page:  python -m tests.test_notebook   writes the notebook anew.
"""

import doctest
import json
import re
from pathlib import Path

import pytest

from .small import normal_rows, small

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "getting_started.md"
NOTEBOOK = ROOT / "examples" / "getting_started.ipynb"
BLOCK = re.compile(r"^```(python|\{eval-rst\})\n(.*?)^```$\n?", re.DOTALL | re.MULTILINE)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook(page):
    """Make a notebook of the text and the blocks of a page; the pictures of blocks are drawn by their cells."""
    text, *blocks = BLOCK.split(page)
    cells = [markdown(text)]
    for kind, block, text in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        cells += [*code(block)] if kind == "python" else []
        cells += [markdown(text)] if text.strip() else []
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    return {"cells": cells, "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}


def markdown(text):
    """Make a cell of text, with links to the pages that the text names."""
    linked = re.sub(r"\{doc\}`(\w+)`", lambda link: f"[{title(link[1])}](../docs/{link[1]}.md)", text.strip())
    return {"cell_type": "markdown", "metadata": {}, "source": linked.splitlines(keepends=True)}


def title(name):
    return PAGE.with_name(f"{name}.md").read_text().splitlines()[0].removeprefix("# ")


def code(block):
    """Make cells of the examples in a block, each ending with the first that has an output."""
    lines = []
    for example in doctest.DocTestParser().get_examples(block):
        lines += re.sub(r"  # doctest: .*", "", example.source).splitlines(keepends=True)
        if example.want:
            yield cell(lines, example.want)
            lines = []
    if lines:
        yield cell(lines)


def cell(lines, want=""):
    """Make a cell of lines of code, with the output that the page shows."""
    source = "".join(lines).rstrip().splitlines(keepends=True)
    output = {"output_type": "stream", "name": "stdout", "text": want.splitlines(keepends=True)}
    if not source[-1].startswith("print("):
        text = want.rstrip().splitlines(keepends=True)
        data = {"text/plain": text}
        output = {"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None}
    outputs = [output] if want else []
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": outputs, "source": source}


def written():
    return json.dumps(notebook(PAGE.read_text()), indent=1) + "\n"


def test_the_notebook_is_that_of_the_page():
    assert NOTEBOOK.read_text() == written(), "run python -m tests.test_notebook"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_density_shows_itself_in_a_notebook():
    html = small(max_iter=1).fit(normal_rows(20, 2))._repr_html_()
    assert "RealNVPDensity" in html
    assert "random_state" in html


if __name__ == "__main__":
    NOTEBOOK.write_text(written())
