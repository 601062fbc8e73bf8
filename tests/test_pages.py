"""The README and the pages of the documentation: every block of Python runs and prints what the page shows."""

import doctest
import re
from pathlib import Path

import pytest

import sknvp

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "large_data.md")  # its recipes for files run in test_large_data.py
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DECIMAL = re.compile(r"-?\d+\.\d*")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Checker(doctest.OutputChecker):
    """Decimals need only be near those of the page: processors round differently, and fits of few rows amplify that."""

    def check_output(self, want, got, optionflags):
        wanted, given = DECIMAL.findall(want), DECIMAL.findall(got)
        if len(wanted) == len(given) and all(map(nearly_equal, wanted, given)):
            want, got = ("".join(DECIMAL.sub("#", text).split()) for text in (want, got))
        return super().check_output(want, got, optionflags)


def nearly_equal(wanted, given):
    unit = 10.0 ** -len(wanted.split(".")[1])
    return abs(float(wanted) - float(given)) <= 3 * unit + abs(float(wanted)) / 4


def blocks(page):
    return BLOCK.findall(page.read_text())


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_every_block_of_python_prints_what_the_page_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks(page) for line in [*block.splitlines(), ""]]
    test = doctest.DocTestParser().get_doctest("\n".join(lines), {"__name__": "page"}, page.name, str(page), 0)
    report = []
    doctest.DocTestRunner(Checker(), optionflags=FLAGS).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_python_is_an_example(page):
    for block in blocks(page):
        assert block.startswith(">>> "), block


def test_the_readme_names_every_public_class():
    readme = (ROOT / "README.md").read_text()
    for name in set(sknvp.__all__) - {"flows", "show_versions"}:
        assert f"`{name}`" in readme


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:\s]+?)(?:#[^)]*)?\)", page.read_text()):
        found = page.parent / target
        assert found.exists() or found.with_suffix(".md").exists(), target


def test_a_chapter_of_the_user_guide_leads_to_every_page_of_the_gallery():
    guide = re.findall(r"^\w+$", (ROOT / "docs" / "user_guide.md").read_text(), re.MULTILINE)
    links = "".join((ROOT / "docs" / f"{chapter}.md").read_text() for chapter in guide)
    for script in (ROOT / "examples").glob("plot_*.py"):
        assert f"{{doc}}`gallery/{script.stem}`" in links, script.name
