"""The commands and their arguments."""

import argparse
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._plotting.pair import PairDisplay
from .._plotting.style import pyplot
from ..density import RealNVPDensity
from .describe import cross_fitted, print_comparison, print_fitted, print_least_likely
from .files import check_writable, load_density, read_table, to_write, without, write_table

LEAST_ROWS = 10  # The command `describe` needs at least this many rows, since it holds out a quarter.
N_DRAWN = 6  # The picture of `describe` shows at most this many columns.

MODEL = "a density that `sknvp fit` wrote. A pickle executes code when it is opened: open none that you do not trust."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or after an error 2."""
    arguments = parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # The reader, such as `head`, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (ImportError, OSError, ValueError) as error:
            print("sknvp:", " ".join(str(error).split()), file=sys.stderr)
            return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    whole = argparse.ArgumentParser("sknvp", description="The density of the rows of a table, by normalizing flows.")
    commands = whole.add_subparsers(required=True, metavar="command")

    def add(run: Callable[[argparse.Namespace], None], words: str, *shared: argparse.ArgumentParser) -> Any:
        command = commands.add_parser(run.__name__, help=words, description=words, parents=shared)
        command.set_defaults(run=run)
        return command

    model, table, drop, seed, out = (argparse.ArgumentParser(add_help=False) for _ in range(5))
    model.add_argument("model", type=Path, help=MODEL)
    table.add_argument("table", type=Path, help="a CSV file, with the names of the columns in its first line")
    drop.add_argument(
        "--drop", nargs="+", default=[], metavar="COLUMN", help="columns to leave out, such as identifiers"
    )
    seed.add_argument("--random-state", type=int, default=0, metavar="SEED", help="default: 0")
    out.add_argument("--out", type=Path, help="the CSV file to write; default: standard output")

    command = add(fit, "Fit a density to a table and write it to a file.", table, drop, seed)
    command.add_argument("--out", type=Path, required=True, help="the file to write, a pickle")
    add(score, "Write a table with the log-density of each row, in nats, in a column log_density.", model, table, out)
    command = add(sample, "Write new rows, drawn from a density.", model, seed, out)
    command.add_argument("-n", "--n-samples", type=int, default=100, help="the number of rows; default: 100")
    command = add(
        describe, "Tell what a table holds, how a density fits it, and which rows are odd.", table, drop, seed
    )
    command.add_argument("--picture", type=Path, help="the file to draw rows and draws into; needs matplotlib")
    return whole


def fit(arguments: argparse.Namespace) -> None:
    """Fit a density to a table and keep it in a file."""
    check_writable(arguments.out)
    density = new_density(arguments.random_state).fit(without(read_table(arguments.table), arguments.drop))
    with to_write(arguments.out, "wb") as file:
        pickle.dump(density, file)
    print_fitted(density)


def score(arguments: argparse.Namespace) -> None:
    """Write a table with one more column, log_density: that of each row, in nats."""
    density = load_density(arguments.model)
    table = read_table(arguments.table, density)
    missing = [name for name in density.feature_names_in_ if name not in table]
    if missing:
        raise ValueError(
            f"{arguments.table} must have all columns of the density, got none named {missing[0]!r}. Add it."
        )
    if "log_density" in table:
        raise ValueError(f"{arguments.table} must have no column log_density, which is to be added. Rename it.")
    scores = density.score_samples(table[list(density.feature_names_in_)])
    write_table(table.assign(log_density=scores + 0.0), arguments.out)  # The sum makes 0.0 of -0.0.


def sample(arguments: argparse.Namespace) -> None:
    """Write new rows that are drawn from a density."""
    write_table(load_density(arguments.model).sample(arguments.n_samples, arguments.random_state), arguments.out)


def describe(arguments: argparse.Namespace) -> None:
    """Say what a table holds, how well a density fits it beside a Gaussian, and which of its rows are odd."""
    if arguments.picture:
        check_writable(arguments.picture)
        pyplot("describe --picture")
    table = without(read_table(arguments.table), arguments.drop)
    if len(table) < LEAST_ROWS:
        raise ValueError(f"describe needs a table of at least {LEAST_ROWS} rows, got {len(table)}. Take a larger one.")
    density = new_density(arguments.random_state).fit(table)
    print_fitted(density)
    folds = cross_fitted(density, table)
    print_comparison(folds, density)
    print_least_likely(folds, density)
    if arguments.picture:
        shown = list(table)[:N_DRAWN]
        display = PairDisplay.from_estimator(density, table, features=shown, random_state=arguments.random_state)
        display.figure_.savefig(arguments.picture, dpi=120)


def new_density(random_state: int) -> RealNVPDensity:
    """Make the density that is fitted."""
    return RealNVPDensity(random_state=random_state)


def _show_warning(message: Warning | str, *_: Any) -> None:
    print("sknvp: warning:", " ".join(str(message).split()), file=sys.stderr)
