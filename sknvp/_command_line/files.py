"""Files that commands read and write, with errors that say what to do."""

import os
import pickle
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ..density import RealNVPDensity


def read_table(path: Path, density: RealNVPDensity | None = None) -> Any:
    """Read a table; strings that look like numbers stay strings where a density has categories of strings."""
    columns = [] if density is None else density._columns
    dtypes = {c.name: str for c in columns if c.categories is not None and isinstance(c.categories[0], str)}
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "The command line reads tables with pandas, which is not there: pip install pandas."
        ) from error
    try:
        table = pd.read_csv(path, dtype=dtypes)
        names = list(table)
        if path.is_file():  # A pipe can be read only once.
            names = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"The table must be a CSV file with a header, got {path}: {_reason(error)}. {_cure(error)}"
        ) from error
    _check_commas(path, table)
    _check_names(path, names)
    return table


def _check_names(path: Path, names: list[str]) -> None:
    """Refuse two columns of one name, of which pandas would call the second one `name.1`."""
    repeated = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if repeated is not None:
        raise ValueError(
            f"{path} must give each column a name of its own in its first line, got {names.count(repeated)} columns "
            f"named {repeated!r}. Rename all but one of them."
        )


def _cure(error: Exception) -> str:
    """Return what to do about a table that cannot be read."""
    if isinstance(error, UnicodeError):
        return (
            "Write it in UTF-8: read it by pandas.read_csv(..., encoding='latin-1'), or in the encoding that it has, "
            "and write it by to_csv."
        )
    return "Give another path." if isinstance(error, OSError) else "Mend the file."


def _check_commas(path: Path, table: Any) -> None:
    """Refuse what pandas reads in another way than it was written: other separators, and more cells than names."""
    separator = next((mark for mark in ";\t|" if mark in table.columns[0]), None)
    if len(table.columns) == 1 and separator:
        raise ValueError(
            f"{path} must have commas between its columns, and points in its numbers, got the one name "
            f"{table.columns[0]!r}. Separate the columns by commas instead of {separator!r}: read the file by "
            f"pandas.read_csv(..., sep={separator!r}), with decimal=',' if its numbers need it, and write it by to_csv."
        )
    if not table.index.equals(table.reset_index(drop=True).index):
        raise ValueError(
            f"{path} must name each column in its first line, got {len(table.columns)} names and rows of more cells. "
            "Name all columns, and end no row with a comma."
        )


def write_table(table: Any, path: Path | None) -> None:
    """Write a table to a file, or to standard output."""
    if path is None:
        table.to_csv(sys.stdout, index=False)
        return
    with to_write(path, "w") as file:
        table.to_csv(file, index=False)


def to_write(path: Path, mode: str) -> Any:
    try:
        return path.open(mode, newline="" if mode == "w" else None)
    except OSError as error:
        raise ValueError(f"{path} must be a file that can be written: {_reason(error)}. Give another path.") from error


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written before anything is computed."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(
            f"{path} must be a file in a folder that can be written. Make the folder, or give another path."
        )


def load_density(path: Path) -> RealNVPDensity:
    """Open a density of a table with names of columns."""
    try:
        with path.open("rb") as file:
            density = pickle.load(file)
    except Exception as error:  # A pickle may raise anything.
        raise ValueError(
            f"{path} must hold a density that `sknvp fit` wrote, got {error!r}. Run `sknvp fit`."
        ) from error
    if not isinstance(density, RealNVPDensity) or not hasattr(density, "feature_names_in_"):
        kind = type(density).__name__
        raise ValueError(f"{path} must hold a density of columns with names, got a {kind}. Run `sknvp fit`.")
    return density


def without(table: Any, dropped: list[str]) -> Any:
    """Leave columns out."""
    unknown = [name for name in dropped if name not in table]
    if unknown:
        raise ValueError(f"--drop must name columns of the table, {', '.join(table)}, got {unknown[0]!r}.")
    return table.drop(columns=dropped)


def _reason(error: Exception) -> str:
    """Return why something failed, without the number and the path that an error of the system repeats."""
    return getattr(error, "strerror", None) or str(error).strip().rstrip(".")
