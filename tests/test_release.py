"""What is released: a wheel of the package with its libraries, and an archive of all that tests and pages need."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from sknvp.flows.native.compile import INSTRUCTIONS, library_path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

STRAY = ["notes.txt", "sknvp/flows/native/library_old.so", "sknvp/flows/native/library_avx2.unfinished", ".venv/torch"]
COMPILER = """
import pathlib, sys
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text(sys.argv[-3])
"""  # it writes the path of the source in the place of a library


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what is released, with files beside it that are not."""
    tree = tmp_path_factory.mktemp("release") / "tree"
    unwanted = shutil.ignore_patterns("*.so", "__pycache__", "_build", "gallery", "generated", "sg_execution_times.rst")
    for folder in ("sknvp", "tests", "docs", "examples", "benchmarks"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=unwanted)
    shutil.copy(ROOT / ".gitignore", tree)
    for path in ROOT.iterdir():
        if path.is_file() and path.name[0] != "." and path.name != "two_moons.png":  # which `make demo` writes
            shutil.copy(path, tree)
    for name in STRAY:
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    return tree


def build(tree, kind, compiler, tmp_path):
    """Build a wheel ("build_wheel") or an archive ("build_sdist"); return its path, and what the builder printed."""
    command = [sys.executable, "-c", f"import hatchling.build as b; print(b.{kind}({str(tmp_path)!r}))"]
    own = {"CXX": compiler, "SKNVP_PURE_PYTHON": "0", "PYTHONDONTWRITEBYTECODE": "1"}  # which would be a stray, too
    run = subprocess.run(command, cwd=tree, env={**os.environ, **own}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return tmp_path / run.stdout.splitlines()[-1], run.stdout + run.stderr


@pytest.fixture(scope="module")
def pure(tree, tmp_path_factory):
    """The wheel that is built without a compiler, and what the builder printed."""
    return build(tree, "build_wheel", "no-such-compiler", tmp_path_factory.mktemp("pure"))


def names(wheel):
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def package(tree):
    files = {path.relative_to(tree).as_posix() for path in (tree / "sknvp").rglob("*") if path.is_file()}
    return {name for name in files if not name.endswith((".so", ".unfinished", ".pyc"))}


def test_without_a_compiler_the_wheel_is_the_package_alone_and_suits_every_machine(tree, pure):
    wheel, printed = pure
    assert wheel.name == f"sknvp-{PROJECT['version']}-py3-none-any.whl"
    assert names(wheel) == package(tree)
    assert {"sknvp/py.typed", "sknvp/flows/native/source/library.cpp"} <= names(wheel)
    assert "several times slower" in printed


def test_with_a_compiler_the_wheel_has_its_libraries_and_suits_this_kind_of_machine(tree, tmp_path):
    (tmp_path / "compiler.py").write_text(COMPILER)
    wheel, printed = build(tree, "build_wheel", f"{sys.executable} {tmp_path / 'compiler.py'}", tmp_path)
    libraries = {library_path(name).relative_to(ROOT).as_posix() for name in INSTRUCTIONS}
    assert re.fullmatch(r"sknvp-[\d.]+-py3-none-(?!any)\w+\.whl", wheel.name)
    assert names(wheel) - package(tree) <= libraries
    assert "sknvp/flows/native/library_default.so" in names(wheel)
    assert "slower" not in printed


def test_the_archive_has_all_that_tests_and_pages_need_and_builds_into_the_wheel(tree, tmp_path):
    archive, _ = build(tree, "build_sdist", "no-such-compiler", tmp_path)
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    archived, there = ({p.relative_to(t).as_posix() for p in t.rglob("*")} for t in (unpacked, tree))
    assert archived - there == {"PKG-INFO"}
    assert {name for name in there - archived if "/" not in name} == {"notes.txt", ".venv"}
    assert not archived & set(STRAY)
    assert names(build(unpacked, "build_wheel", "no-such-compiler", tmp_path)[0]) == package(tree)


def test_the_metadata_say_what_the_project_is(pure):
    archive = zipfile.ZipFile(pure[0])
    folder = f"sknvp-{PROJECT['version']}.dist-info"
    metadata = message_from_string(archive.read(f"{folder}/METADATA").decode())
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert archive.read(f"{folder}/licenses/LICENSE").startswith(b"BSD 3-Clause License")
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text().strip()
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert b"sknvp = sknvp._command_line.commands:main" in archive.read(f"{folder}/entry_points.txt")


def test_the_version_is_that_of_the_changelog_and_of_the_citation():
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    entries = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited[1] == PROJECT["version"] == next(entry for entry in entries if entry != "Unreleased")
