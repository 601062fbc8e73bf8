"""The command line: it says what the estimators say, and tells in one line what is wrong with its input."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.model_selection import KFold
from sklearn.neighbors import KernelDensity

from sknvp._command_line import commands, describe
from sknvp._command_line.commands import main

from .small import normal_rows, small, stacked

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def quick_density(monkeypatch):
    monkeypatch.setattr(commands, "new_density", lambda seed: stacked(random_state=seed, max_iter=5))


def mixed_table(n=120):
    """Identifiers, strings that look like numbers, whole numbers, booleans, a constant, and numbers with a hole."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"row {i}" for i in range(n)],
            "code": rng.choice(["01", "7", "x"], n),
            "count": rng.poisson(3, n),
            "flag": rng.random(n) < 0.5,
            "unit": "cm",
            "length": np.r_[np.nan, rng.normal(100, 5, n - 1)],
        }
    )


@pytest.fixture
def written(tmp_path):
    """A table, and a density that was fitted to it by the command line."""
    mixed_table().to_csv(tmp_path / "table.csv", index=False)
    assert main(["fit", str(tmp_path / "table.csv"), "--drop", "id", "--out", str(tmp_path / "model.pkl")]) == 0
    return tmp_path


def read(path):
    return pd.read_csv(path, dtype={"code": str})


def test_fit_writes_the_density_that_the_estimator_is_and_prints_what_it_found(written, capsys):
    main(["fit", str(written / "table.csv"), "--drop", "id", "--out", str(written / "model.pkl")])
    density = pickle.loads((written / "model.pkl").read_bytes())
    table = mixed_table().drop(columns="id")
    expected = commands.new_density(0).fit(read(written / "table.csv").drop(columns="id"))
    np.testing.assert_array_equal(density.score_samples(table), expected.score_samples(table))
    printed = capsys.readouterr().out
    for line in density.columns_:
        assert f"\n  {line}\n" in printed
    assert sum(map(float, re.findall(r"\d\.\d\d", printed.splitlines()[-1]))) == pytest.approx(1, abs=0.02)


def test_scores_are_those_of_the_density_beside_all_columns_of_the_table(written, capsys):
    density = pickle.loads((written / "model.pkl").read_bytes())
    out = written / "scores.csv"
    assert main(["score", str(written / "model.pkl"), str(written / "table.csv"), "--out", str(out)]) == 0
    table, scored = read(written / "table.csv"), read(out)
    pd.testing.assert_frame_equal(scored.drop(columns="log_density"), table)
    np.testing.assert_array_equal(scored["log_density"], density.score_samples(table.drop(columns="id")))
    capsys.readouterr()
    assert main(["score", str(written / "model.pkl"), str(written / "table.csv")]) == 0
    assert capsys.readouterr().out == out.read_text()


def test_a_row_without_cells_scores_zero_without_a_sign(written, capsys):
    (written / "empty.csv").write_text("id,code,count,flag,unit,length\n,,,,,\n")
    capsys.readouterr()
    assert main(["score", str(written / "model.pkl"), str(written / "empty.csv")]) == 0
    assert capsys.readouterr().out.endswith(",0.0\n")


def test_strings_that_look_like_numbers_stay_strings_and_columns_may_come_in_any_order(written, capsys):
    table = read(written / "table.csv")
    some = table[table["code"] == "01"].iloc[:, ::-1]
    some.to_csv(written / "some.csv", index=False)
    assert main(["score", str(written / "model.pkl"), str(written / "some.csv"), "--out", str(written / "s.csv")]) == 0
    density = pickle.loads((written / "model.pkl").read_bytes())
    expected = density.score_samples(some[list(density.feature_names_in_)])
    np.testing.assert_array_equal(read(written / "s.csv")["log_density"], expected)


def test_samples_are_those_of_the_density(written):
    density = pickle.loads((written / "model.pkl").read_bytes())
    main(["sample", str(written / "model.pkl"), "-n", "20", "--random-state", "3", "--out", str(written / "new.csv")])
    pd.testing.assert_frame_equal(read(written / "new.csv"), density.sample(20, 3), check_dtype=False)


def test_describe_finds_the_cell_that_is_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(describe, "N_FOLDS", 2)
    table = mixed_table().drop(columns="id")
    table.loc[41, "length"] = 10.0
    table.to_csv(tmp_path / "table.csv", index=False)
    assert main(["describe", str(tmp_path / "table.csv"), "--picture", str(tmp_path / "pairs.png")]) == 0
    printed = capsys.readouterr().out
    odd = re.findall(r"row (\d+): (\S+) nats, (\w+) (\S+)", printed)
    assert len(odd) == describe.N_SHOWN
    assert (odd[0][0], odd[0][2], odd[0][3]) == ("42", "length", "10.0")
    assert [float(value) for _, value, _, _ in odd] == sorted(float(value) for _, value, _, _ in odd)
    assert (tmp_path / "pairs.png").read_bytes()[1:4] == b"PNG"


def test_the_gaussian_is_fitted_to_the_other_folds(tmp_path, capsys):
    X = normal_rows(150, 2) @ [[1.0, 0.7], [0.0, 20.0]]
    pd.DataFrame(X, columns=["a", "b"]).to_csv(tmp_path / "table.csv", index=False)
    main(["describe", str(tmp_path / "table.csv")])
    printed = capsys.readouterr().out
    scores = [
        stats.multivariate_normal(X[kept].mean(0), np.cov(X[kept].T, ddof=0)).logpdf(X[left])
        for kept, left in KFold(describe.N_FOLDS, shuffle=True, random_state=0).split(X)
    ]
    assert float(re.search(r"Gaussian of these: (\S+)", printed)[1]) == pytest.approx(
        np.concatenate(scores).mean(), abs=2e-3
    )
    both = [float(value) for value in re.findall(r"(?:all columns|a, b): (\S+)", printed)]
    assert both[0] == both[1]  # without categories, all columns are columns of numbers


def test_tables_without_complete_rows_have_no_gaussian(tmp_path, capsys):
    X = np.where(np.arange(40)[:, None] % 2 == [0, 1], normal_rows(40, 2), np.nan)
    pd.DataFrame(X, columns=["a", "b"]).to_csv(tmp_path / "table.csv", index=False)
    assert main(["describe", str(tmp_path / "table.csv")]) == 0
    printed = capsys.readouterr().out
    assert "Gaussian" not in printed
    assert "Least likely" in printed


def test_a_gaussian_of_whole_numbers_gives_probabilities():
    """The probability of a whole number does not depend on the unit; nor do those of the normal distribution."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"count": rng.poisson(30, 200), "x": rng.normal(size=200)})
    means = []
    for unit in (1, 10):
        scaled = table.assign(count=unit * table["count"])
        folds = describe.cross_fitted(small(max_iter=3).fit(scaled), scaled)
        means.append([describe._scores_with_baseline(fold, ["count", "x"])[1].mean() for fold in folds])
    np.testing.assert_allclose(*means, atol=1e-6)
    whole = stats.poisson(30).logpmf(table["count"]).mean() + stats.norm().logpdf(table["x"]).mean()
    assert np.mean(means) == pytest.approx(whole, abs=0.1)


def test_the_least_rows_are_scored_without_having_been_seen(tmp_path):
    table = mixed_table().drop(columns="id")
    density = small(max_iter=3).fit(table)
    folds = describe.cross_fitted(density, table)
    places = np.concatenate([fold.places for fold in folds])
    np.testing.assert_array_equal(np.sort(places), np.arange(len(table)))
    for fold in folds:
        assert set(fold.train.index).isdisjoint(fold.test.index)
        pd.testing.assert_index_equal(fold.test.index, table.index[fold.places])


ERRORS = {
    "no such file": (["fit", "{}/none.csv", "--out", "{}/m.pkl"], "none.csv: No such file or directory. Give another"),
    "an empty file": (["fit", "{}/empty.csv", "--out", "{}/m.pkl"], "must be a CSV file with a header"),
    "semicolons": (
        ["fit", "{}/semicolons.csv", "--out", "{}/m.pkl"],
        "must have commas between its columns.*'a;b'.*Separate",
    ),
    "tabs": (["describe", "{}/tabs.csv"], r"must have commas .*'a\\tb'.*instead of '\\t'"),
    "more cells than names": (["describe", "{}/cells.csv"], "must name each column .* 2 names .*Name all columns"),
    "another encoding": (
        ["describe", "{}/latin.csv"],
        r"can't decode byte 0xe9 .*encoding='latin-1'.* write it by to_csv",
    ),
    "a longer row": (["describe", "{}/ragged.csv"], r"Expected 2 fields in line 3, saw 3\. Mend the file"),
    "a name twice": (["describe", "{}/twice.csv"], r"a name of its own .*, got 2 columns named 'a'\. Rename"),
    "no such column": (
        ["fit", "{}/table.csv", "--drop", "idd", "--out", "{}/m.pkl"],
        "--drop must name columns .*'idd'",
    ),
    "identifiers": (
        ["fit", "{}/table.csv", "--out", "{}/m.pkl"],
        "id of X must hold categories that repeat.*Leave the",
    ),
    "no folder": (["fit", "{}/table.csv", "--out", "{}/none/m.pkl"], "Make the folder"),
    "a folder as output": (["fit", "{}/table.csv", "--out", "{}"], "must be a file in a folder"),
    "no pickle": (["score", "{}/table.csv", "{}/table.csv"], "must hold a density that `sknvp fit` wrote.*Run"),
    "another pickle": (["sample", "{}/kernels.pkl"], "density of columns with names, got a KernelDensity. Run"),
    "no names": (["sample", "{}/array.pkl"], "density of columns with names, got a RealNVPDensity"),
    "no model": (["sample", "{}/none.pkl"], "none.pkl must hold a density"),
    "a column less": (["score", "{}/model.pkl", "{}/less.csv"], "must have all columns.*'length'. Add it"),
    "scores already": (["score", "{}/model.pkl", "{}/scored.csv"], "must have no column log_density.*Rename"),
    "a new category": (["score", "{}/model.pkl", "{}/new.csv"], "Column code .* got 'z'"),
    "output of scores": (["score", "{}/model.pkl", "{}/table.csv", "--out", "{}/none/s.csv"], "Give another path"),
    "output of draws": (["sample", "{}/model.pkl", "--out", "{}"], "must be a file that can be written: Is a dir"),
    "no draws": (["sample", "{}/model.pkl", "-n", "0"], "n_samples must be an integer of at least 1, got 0"),
    "few rows": (["describe", "{}/few.csv"], "at least 10 rows, got 9. Take a larger one"),
    "no folder of pictures": (["describe", "{}/table.csv", "--picture", "{}/none/p.png"], "Make the folder"),
}


def test_errors_are_one_line_with_a_cure(written, capsys):
    table = read(written / "table.csv")
    table.drop(columns="length").to_csv(written / "less.csv", index=False)
    table.assign(log_density=0).to_csv(written / "scored.csv", index=False)
    table.assign(code="z").to_csv(written / "new.csv", index=False)
    table.head(9).to_csv(written / "few.csv", index=False)
    (written / "empty.csv").touch()
    (written / "semicolons.csv").write_text("a;b\n1,5;2\n2,5;3\n")
    (written / "tabs.csv").write_text("a\tb\n1.5\t2\n2.5\t3\n")
    (written / "cells.csv").write_text("a,b\n1,2,\n0,3,\n")
    (written / "latin.csv").write_text("a\ncaf\u00e9\n", encoding="latin-1")
    (written / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    (written / "twice.csv").write_text("a,b,a\n1,2,3\n")
    (written / "kernels.pkl").write_bytes(pickle.dumps(KernelDensity()))
    (written / "array.pkl").write_bytes(pickle.dumps(small(max_iter=1).fit(normal_rows(20, 2))))
    before = {path: path.read_bytes() for path in written.iterdir()}
    for what, (arguments, message) in ERRORS.items():
        capsys.readouterr()
        assert main([argument.format(written) for argument in arguments]) == 2, what
        printed = capsys.readouterr()
        assert printed.out == "", what
        assert re.fullmatch(rf"sknvp: .*{message}.*\n", printed.err), (what, printed.err)
        assert {path: path.read_bytes() for path in written.iterdir()} == before, what


@pytest.mark.parametrize("missing", ["pandas", "matplotlib.pyplot"])
def test_without_pandas_or_matplotlib_a_line_says_what_to_install(missing, written, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    capsys.readouterr()
    assert main(["describe", str(written / "table.csv"), "--drop", "id", "--picture", str(written / "p.png")]) == 2
    assert re.search(r"pip install (pandas|sknvp\[plot\])\.\n$", capsys.readouterr().err)


@pytest.mark.filterwarnings("default::UserWarning")
def test_warnings_are_lines_too(tmp_path, capsys):
    walk = normal_rows(300, 2).cumsum(0)
    pd.DataFrame(walk, columns=["a", "b"]).to_csv(tmp_path / "walk.csv", index=False)
    assert main(["fit", str(tmp_path / "walk.csv"), "--out", str(tmp_path / "m.pkl")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sknvp: warning: ")
    assert "groups" in line


def test_help_warns_of_pickles(capsys):
    for command in ("score", "sample"):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert "A pickle executes code" in " ".join(capsys.readouterr().out.split())


def test_the_module_runs(tmp_path):
    run = [sys.executable, "-m", "sknvp", "sample", str(tmp_path / "none.pkl")]
    ran = subprocess.run(run, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.fullmatch(r"sknvp: .*none.pkl must hold a density.*\n", ran.stderr)
