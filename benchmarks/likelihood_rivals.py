"""Densities to compare with: functions that fit one to standardised rows and return a function that scores rows.

vine: a vine copula with kernel margins, pyvinecopulib's `VineDensity`; nsf: four of zuko's autoregressive neural spline
flows; rbig: rotation-based iterative Gaussianization (Laparra, Camps-Valls and Malo, 2011), written here.
"""

from functools import partial
from itertools import islice

import numpy as np
from scipy.special import logsumexp, ndtri
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, train_test_split

MEMBERS, BATCH, LOOK, PATIENCE = 4, 128, 25, 12  # of spline flows; looks at the rows held out, and how many in vain
LAYERS, CELLS, TAIL = 50, 400, 0.001  # of Gaussianization; cells of a column, and the share of a t-distribution in it
FEW, MAX_TRAIN = 1_000, 3_000  # rows of a small table, and rows that settings are tried on
WIDTHS = (0.25, 0.5, 1.0)  # of its kernels, in terms of the rule of thumb
LOG_SQRT_TWO_PI = 0.5 * np.log(2 * np.pi)


def chosen(fits, rows):
    """The fit under which held-out rows are likeliest, made anew with all rows.

    Held out is a tenth of the rows; up to 1,000 rows, five tenths in turn. At most 3,000 rows are trained on for it. A
    hundredth of a normal distribution is mixed in: the densities of vines are zero where their kernels end.
    """
    folds = list(islice(KFold(10, shuffle=True, random_state=0).split(rows), 5 if len(rows) <= FEW else 1))

    def figure(fit):
        parts = [(rows[train[:MAX_TRAIN]], rows[held_out]) for train, held_out in folds]
        return np.mean([beside_normal(fit(train), train)(held_out).mean() for train, held_out in parts])

    return beside_normal(max(fits, key=figure)(rows), rows)


def beside_normal(score, rows):
    wide = GaussianMixture(1).fit(rows).score_samples
    return lambda X: np.logaddexp(np.log(0.99) + np.nan_to_num(score(X), nan=-np.inf), np.log(0.01) + wide(X))


def vine(rows):
    """Kernel pair copulas of three bandwidths; for small tables also, by AIC for each pair, those with parameters."""
    from pyvinecopulib import BicopFamily, FitControlsVinecop
    from pyvinecopulib.sklearn import VineDensity

    kernels = [{"family_set": [BicopFamily.tll], "nonparametric_mult": width} for width in (0.5, 1.0, 2.0)]
    tried = kernels + [{}] * (rows.size * rows.shape[1] <= 70_000)

    def fit(settings, rows):
        return VineDensity(controls=FitControlsVinecop(**settings), random_state=0).fit(rows).score_samples

    return chosen([partial(fit, settings) for settings in tried], rows)


def nsf(rows):
    """The mean density of four flows, trained at once; a fifth of the rows is held out by each, and stops it early."""
    import torch
    from torch.func import functional_call, stack_module_state, vmap
    from zuko.flows import NSF

    class Flow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = NSF(rows.shape[1], transforms=3, hidden_features=(64, 64))

        def forward(self, X):
            return self.flow().log_prob(X)

    torch.manual_seed(0)
    flows = [Flow() for _ in range(MEMBERS)]
    weights, buffers = stack_module_state(flows)
    each = vmap(lambda *state_and_rows: functional_call(flows[0], state_and_rows[:2], state_and_rows[2:]))
    folds = islice(KFold(MEMBERS + 1, shuffle=True, random_state=0).split(rows), MEMBERS)
    train, held_out = (
        torch.tensor(np.stack([rows[part[: min(map(len, parts))]] for part in parts]), dtype=torch.float32)
        for parts in zip(*folds, strict=True)
    )

    @torch.no_grad()
    def score(weights, X):
        return torch.cat([each(weights, buffers, part) for part in X.split(1024, dim=1)], dim=1)

    steps = min(1500, 6000 // rows.shape[1])
    optimizer = torch.optim.Adam(weights.values(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, kept, last = torch.full((MEMBERS,), -torch.inf), {name: part.clone() for name, part in weights.items()}, 0
    for step in range(steps + 1):
        if step % LOOK == 0:
            values = score(weights, held_out).mean(1)
            better = values > best
            best, last = torch.where(better, values, best), step if better.any() else last
            for name, part in weights.items():
                kept[name][better] = part.detach()[better]
        if step == steps or step - last > LOOK * PATIENCE:
            break
        chosen = torch.randint(train.shape[1], (MEMBERS, BATCH))
        optimizer.zero_grad()
        (-each(weights, buffers, train[torch.arange(MEMBERS)[:, None], chosen]).mean(1).sum()).backward()
        optimizer.step()
        schedule.step()

    def mean(X):
        X = torch.tensor(X, dtype=torch.float32).expand(MEMBERS, *X.shape)
        return logsumexp(score(kept, X).numpy().astype(float), axis=0) - np.log(MEMBERS)

    return mean


class Column:
    """One column made normal by its distribution function: kernels on cells, beside a share of a t-distribution."""

    def __init__(self, x, width):
        quarter, three_quarters = np.quantile(x, (0.25, 0.75))
        spread = min(x.std(), (three_quarters - quarter) / 1.34) or x.std() or 1.0
        bandwidth = width * 1.06 * spread * len(x) ** -0.2
        self.edges = np.linspace(x.min() - 4 * bandwidth, x.max() + 4 * bandwidth, CELLS + 1)
        counts, size = np.histogram(x, self.edges)[0], self.edges[1] - self.edges[0]
        reach = int(min(np.ceil(4 * bandwidth / size), CELLS // 2))
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * size / bandwidth) ** 2)
        smooth = np.convolve(counts, kernel / kernel.sum(), "same")
        self.below, self.size = np.r_[0, np.cumsum(smooth / smooth.sum())], size
        self.center, self.scale = x.mean(), x.std() or 1.0

    def __call__(self, x):
        """Return the normal scores, and the logarithm of their derivative."""
        cell = np.searchsorted(self.edges, x, "right") - 1
        inside = np.diff(np.r_[0, self.below, 1])[np.clip(cell + 1, 0, CELLS + 1)] / self.size
        t = (x - self.center) / self.scale  # of two degrees of freedom
        tail, tail_below = (2 + t**2) ** -1.5 / self.scale, 0.5 + 0.5 * t / np.sqrt(2 + t**2)
        density = (1 - TAIL) * np.where((cell >= 0) & (cell < CELLS), inside, 0) + TAIL * tail
        below = (1 - TAIL) * np.interp(x, self.edges, self.below) + TAIL * tail_below
        z = ndtri(np.clip(below, 1e-15, 1 - 1e-15))
        return z, np.log(density) + 0.5 * z**2 + LOG_SQRT_TWO_PI


def gaussianize(rows, held_out, width, turn, n_layers=LAYERS):
    """Return the layers, pairs of columns and a rotation, and the mean log-density of rows held out after each."""
    rng, layers, found, total = np.random.default_rng(0), [], [], 0.0
    for _ in range(n_layers):
        columns = [Column(column, width) for column in rows.T]
        rows, _ = normal_scores(columns, rows)
        held_out, slopes = normal_scores(columns, held_out)
        rotation = turn(rows, rng)
        layers.append((columns, rotation))
        total = total + slopes
        found.append((total + normal(held_out)).mean())
        rows, held_out = rows @ rotation, held_out @ rotation
        if len(found) - np.argmax(found) > 5 and len(held_out) > 1:
            break
    return layers, found


def normal(rows):
    return -(0.5 * rows**2 + LOG_SQRT_TWO_PI).sum(1)


def normal_scores(columns, rows):
    scores, slopes = zip(*(column(x) for column, x in zip(columns, rows.T, strict=True)), strict=True)
    return np.column_stack(scores), np.sum(slopes, axis=0)


def principal(rows, rng):
    return np.linalg.eigh(np.cov(rows, rowvar=False).reshape(rows.shape[1], -1))[1]


def random(rows, rng):
    return np.linalg.qr(rng.standard_normal((rows.shape[1],) * 2))[0]


def rbig(rows):
    """Three bandwidths and two kinds of rotation, each with as many layers as a tenth of the rows asks for."""
    train, held_out = train_test_split(rows, test_size=0.1, random_state=0)
    n_layers = {}

    def fit(width, turn, rows):
        if (width, turn) not in n_layers:
            n_layers[width, turn] = 1 + int(np.argmax(gaussianize(train, held_out, width, turn)[1]))
        layers = gaussianize(rows, rows[:1], width, turn, n_layers[width, turn])[0]
        return partial(through, layers)

    return chosen([partial(fit, width, turn) for width in WIDTHS for turn in (principal, random)], rows)


def through(layers, X):
    total = 0.0
    for columns, rotation in layers:
        X, slopes = normal_scores(columns, X)
        total, X = total + slopes, X @ rotation
    return total + normal(X)


RIVALS = {"vine": vine, "nsf": nsf, "rbig": rbig}
