"""Fit real tables, compare with scikit-learn's own density estimators, search, rank anomalies, draw a picture.

    python examples/demo.py                 the tour, on tables that scikit-learn bundles
    python examples/demo.py --csv FILE      the comparison and the least likely rows of your own table

Log-likelihoods are means over rows that were not fitted, in nats a row, in units where the training columns have
variance one; higher is better.
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_moons
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknvp import DensityDisplay, RealNVPDensity

plt.switch_backend("agg")  # a file is all we draw to, with or without a screen
console = Console(width=100)
torch.set_num_threads(1)  # enough for small tables, and nothing is lost to other processes


def tables():
    return {
        "breast cancer": load_breast_cancer().data,
        "wine": load_wine().data,
        "diabetes": load_diabetes(scaled=False).data,
        "digits (8 PCs)": PCA(8, random_state=0).fit_transform(load_digits().data),
        "two moons": make_moons(2000, noise=0.1, random_state=0)[0],
    }


def kernel_density(train):
    """Bandwidth by cross-validation."""
    return GridSearchCV(KernelDensity(), {"bandwidth": np.logspace(-1.5, 0.5, 15)}, cv=3).fit(train).best_estimator_


def gaussian_mixture(train):
    """Number of components by BIC."""
    counts = [k for k in (1, 2, 3, 4, 6, 8, 12, 16, 24) if 3 * k <= len(train)]
    fits = [GaussianMixture(k, reg_covar=1e-4, random_state=0).fit(train) for k in counts]
    return min(fits, key=lambda fit: fit.bic(train))


METHODS = {  # "fit, s" in the table is the last one's
    "KernelDensity": kernel_density,
    "GaussianMixture": gaussian_mixture,
    "RealNVPDensity": lambda train: RealNVPDensity(random_state=0).fit(train),
}


def compare(data):
    """A table of mean held-out log-likelihoods."""
    result = Table(title="Mean log-likelihood of held-out rows, nats a row (higher is better)")
    for heading in ("data", "rows x columns", *METHODS, "fit, s"):
        result.add_column(heading, justify="left" if heading == "data" else "right")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("fitting", total=len(data) * len(METHODS))
        for name, X in data.items():
            train, test = train_test_split(X, test_size=0.3, random_state=0)
            scaler = StandardScaler().fit(train)
            train, test = scaler.transform(train), scaler.transform(test)
            scores, seconds = {}, {}
            for method, fit in METHODS.items():
                progress.update(task, description=f"{name}: {method}")
                start = time.perf_counter()
                model = fit(train)
                seconds[method] = time.perf_counter() - start
                scores[method] = model.score_samples(test).mean()
                progress.advance(task)
            cells = [f"[bold]{s:.2f}[/bold]" if s == max(scores.values()) else f"{s:.2f}" for s in scores.values()]
            result.add_row(name, f"{len(X)} x {X.shape[1]}", *cells, f"{seconds['RealNVPDensity']:.1f}")
    console.print(result)


def search():
    """A pipeline in a grid search, scored by held-out log-likelihood."""
    X = load_digits().data[:600]
    pipe = make_pipeline(PCA(5, random_state=0), RealNVPDensity(n_estimators=1, random_state=0))
    grid = {"realnvpdensity__coupling": ["affine", "spline"], "realnvpdensity__n_layers": [4, 8]}
    with console.status("grid search"):
        found = GridSearchCV(pipe, grid, cv=2, n_jobs=2).fit(X)
    console.print(f"Grid search over a pipeline (digits, 5 principal components): best {found.best_params_}")


def rank_anomalies():
    """Fitted to benign tumours alone, malignant ones should be unlikely."""
    X, y = load_breast_cancer(return_X_y=True)
    benign = X[y == 1]
    train, held_out = train_test_split(benign, test_size=0.3, random_state=0)
    with console.status("anomalies"):
        density = RealNVPDensity(random_state=0).fit(train)
    rows = np.concatenate([held_out, X[y == 0]])
    malignant = np.r_[np.zeros(len(held_out)), np.ones((y == 0).sum())]
    log_density = density.score_samples(rows)
    share = malignant[np.argsort(log_density)[:100]].mean()
    console.print(
        f"Anomalies (breast cancer, fitted to benign rows): AUROC {roc_auc_score(malignant, -log_density):.3f}, "
        f"{share:.0%} of the 100 least likely rows are malignant"
    )


def draw(path):
    """Two moons and their learned density."""
    X, _ = make_moons(2000, noise=0.1, random_state=0)
    with console.status("picture"):
        density = RealNVPDensity(random_state=0).fit(X)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True, sharey=True, layout="constrained")
    display = DensityDisplay.from_estimator(density, X, ax=right)
    left.plot(*X.T, ".", color="tab:blue", markersize=2)
    left.set(title="rows", xlabel="x0", ylabel="x1")
    right.set_title("learned density")
    figure.colorbar(right.collections[0], ax=right)
    figure.savefig(path, dpi=120)
    console.print(f"Picture of the density of two moons: {path} ({display.density.max():.2f} at its highest)")


def own_table(path):
    """The comparison on a CSV file's numeric columns, and its least likely rows."""
    table = numeric_part(path)
    compare({path.stem: table.to_numpy(dtype=np.float64)})
    with console.status("least likely rows"):
        density = RealNVPDensity(random_state=0).fit(table)
    table = table.assign(log_density=density.score_samples(table)).sort_values("log_density")
    console.print("Least likely rows, by a density of all of them, in the columns' own units:")
    console.print(table.head(5).to_string())


def numeric_part(path):
    """Complete rows of the numeric columns that vary; says what was left out."""
    try:
        whole = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path} cannot be read as a table: {error}") from error
    table = whole.select_dtypes("number")
    table = table.loc[:, table.nunique() > 1]
    left_out = [name for name in whole.columns if name not in table.columns]
    table = table[np.isfinite(table).all(axis=1)]
    console.print(f"Columns: {', '.join(table.columns)} (identifiers among them are best removed from the file)")
    console.print(f"Left out: {len(whole) - len(table)} rows with gaps; not numeric or constant: {left_out}")
    if len(table) < 10 or table.shape[1] == 0:
        raise SystemExit(
            f"{path} must have columns of numbers, separated by commas, and at least 10 rows without gaps in them."
        )
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="a table of your own, with a header line")
    parser.add_argument("--picture", type=Path, default=Path("two_moons.png"), help="where to draw the density")
    arguments = parser.parse_args()
    if arguments.csv:
        own_table(arguments.csv)
        return
    compare(tables())
    search()
    rank_anomalies()
    draw(arguments.picture)


if __name__ == "__main__":
    main()
