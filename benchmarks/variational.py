"""VariationalRealNVP on targets whose answer is known: log-evidence, effective sample size, modes, posterior moments.

    python benchmarks/variational.py [--only banana ...] [--seeds 3] [--params JSON] [--reference]
    python benchmarks/variational.py --bounded

With --bounded the targets are two independent columns with bounds, and a ridge that ends in a corner of the square.
Evidence is known in closed form but for the double moon and that ridge, where it comes by quadrature, and the logistic
regression, where it comes by importance sampling from a t-distribution around the mode. The posterior moments of the
logistic regression are those of a Metropolis-adjusted Langevin chain, with the covariance at the mode as
preconditioner, of 20 chains of 20,000 steps after 2,000. Both are kept in logistic_reference.json; --reference computes
them anew.
"""

import argparse
import json
import math
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, optimize, stats
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from sknvp import VariationalRealNVP

REFERENCE = Path(__file__).parent / "logistic_reference.json"

RNG = np.random.default_rng(0)
FACTOR = RNG.standard_normal((10, 10))
PRECISION = torch.tensor(np.linalg.inv(FACTOR @ FACTOR.T / 10 + 0.1 * np.eye(10)))
CENTRES = 2 * torch.tensor([[math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)] for k in range(8)])
CANCER, LABELS = load_breast_cancer(return_X_y=True)
COLUMNS = torch.tensor(np.c_[np.ones(len(CANCER)), StandardScaler().fit_transform(CANCER)])
SIGNS = torch.tensor(2.0 * LABELS - 1)


def gaussian(x):
    return -0.5 * ((x - 1) @ PRECISION * (x - 1)).sum(-1)


def banana(x):
    return -0.5 * (x[:, 0] ** 2 + ((x[:, 1] - x[:, 0] ** 2) / 0.5) ** 2)


def rosenbrock(x):
    return -(5 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2 / 20)


def double_moon(x):
    """The first energy function of Rezende and Mohamed (2015)."""
    ring = 0.5 * ((x.norm(dim=-1) - 2) / 0.4) ** 2
    return -ring + torch.logaddexp(-0.5 * ((x[:, 0] - 2) / 0.6) ** 2, -0.5 * ((x[:, 0] + 2) / 0.6) ** 2)


def two_moons(x):
    """Two bent halves, which lie 6 apart where they meet and end in a jump; it writes to its argument."""
    bend = x[:, 0] ** 2 / 2 - 3
    x[:, 1] -= torch.where(x[:, 0] > 0, bend, -bend)
    return -0.5 * x.square().sum(-1)


def eight_gaussians(x):
    return torch.logsumexp(-0.5 * ((x.unsqueeze(1) - CENTRES) / 0.15).square().sum(-1), 1)


def logistic(x):
    """Posterior of the coefficients, intercept first, with standard normal priors."""
    return torch.nn.functional.logsigmoid(x @ COLUMNS.T * SIGNS).sum(-1) - 0.5 * x.square().sum(-1)


def corner(x):
    """A ridge of width 0.05 along the diagonal, which ends in the corner where it is highest."""
    return -3 * x.sum(-1) - 0.5 * ((x[:, 0] - x[:, 1]) / 0.05) ** 2


def quadrature(log_density, low=-6, high=6):
    grid = np.linspace(low, high, 2401)
    x = torch.tensor(np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2))
    p = torch.exp(log_density(x)).numpy().reshape(len(grid), -1)
    return math.log(integrate.simpson(integrate.simpson(p, x=grid), x=grid))


def value_and_gradient(log_density, x):
    x = torch.as_tensor(x).detach().requires_grad_()
    value = log_density(x)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), x)[0].numpy()


def laplace():
    """Mode and covariance of the logistic regression's posterior."""

    def loss(x):
        value, gradient = value_and_gradient(logistic, x[None])
        return -value[0], -gradient[0]

    mode = optimize.minimize(loss, np.zeros(COLUMNS.shape[1]), jac=True).x
    hessian = torch.autograd.functional.hessian(lambda x: -logistic(x[None])[0], torch.tensor(mode))
    return mode, np.linalg.inv(hessian.numpy())


def reference(n_chains=20, n_steps=20_000, n_burn=2_000, step=0.55):
    """Evidence by importance sampling, and moments by a Langevin chain: neither knows of flows."""
    mode, covariance = laplace()
    proposal = stats.multivariate_t(mode, covariance, df=20, seed=0)
    draws = proposal.rvs(300_000)
    log_weights = logistic(torch.tensor(draws)).numpy() - proposal.logpdf(draws)
    weights = np.exp(log_weights - log_weights.max())
    evidence = log_weights.max() + math.log(weights.mean())
    factor, rng = np.linalg.cholesky(covariance), np.random.default_rng(0)

    def at(u):  # in coordinates where the covariance at the mode is one
        value, gradient = value_and_gradient(logistic, mode + u @ factor.T)
        return value, gradient @ factor

    u = rng.standard_normal((n_chains, len(mode)))
    log_p, gradient = at(u)
    kept, accepted = [], 0.0
    for i in range(n_burn + n_steps):
        there = u + step**2 / 2 * gradient + step * rng.standard_normal(u.shape)
        log_p_there, gradient_there = at(there)
        forth = -((there - u - step**2 / 2 * gradient) ** 2).sum(1) / (2 * step**2)
        back = -((u - there - step**2 / 2 * gradient_there) ** 2).sum(1) / (2 * step**2)
        move = np.log(rng.uniform(size=n_chains)) < log_p_there - log_p + back - forth
        u, gradient = np.where(move[:, None], there, u), np.where(move[:, None], gradient_there, gradient)
        log_p = np.where(move, log_p_there, log_p)
        if i >= n_burn:
            kept.append(mode + u @ factor.T)
            accepted += move.mean() / n_steps
    chains = np.stack(kept)
    return {
        "log_evidence": evidence,
        "log_evidence_std_err": float(weights.std() / weights.mean() / math.sqrt(len(weights))),
        "mean": chains.mean((0, 1)).tolist(),
        "std": chains.std((0, 1)).tolist(),
        "std_err_of_mean": (chains.mean(0).std(0) / math.sqrt(n_chains)).tolist(),
        "acceptance": accepted,
    }


TARGETS = {  # log-density, columns, log-evidence (a number, or a function that finds it), settings
    "Gaussian, 10-D": (gaussian, 10, 5 * math.log(2 * math.pi) - 0.5 * float(torch.logdet(PRECISION)), {}),
    "banana": (banana, 2, math.log(2 * math.pi * 0.5), {}),
    "Rosenbrock": (rosenbrock, 2, math.log(2 * math.pi), {"scale": 3.0}),
    "double moon": (double_moon, 2, lambda: quadrature(double_moon), {"scale": 2.0, "coupling": "spline"}),
    "two moons with a jump": (two_moons, 2, math.log(2 * math.pi), {}),
    "eight Gaussians": (eight_gaussians, 2, math.log(16 * math.pi * 0.15**2), {"scale": 2.0, "coupling": "spline"}),
    "logistic regression": (logistic, 31, lambda: json.loads(REFERENCE.read_text())["log_evidence"], {}),
}


def two_columns(log_density, log_integral, low, high=math.inf):
    """Two independent columns between bounds, from the log-density of one of them."""
    return lambda x: log_density(x).sum(-1), 2, 2 * log_integral, {"bounds": (low, high)}


def beta(a, b):
    log_integral = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return two_columns(lambda x: (a - 1) * x.log() + (b - 1) * (-x).log1p(), log_integral, 0, 1)


def gamma(a):
    return two_columns(lambda x: (a - 1) * x.log() - x, math.lgamma(a), 0)


def truncated_normal(low, high):
    log_integral = math.log(math.sqrt(2 * math.pi) * (stats.norm.cdf(high) - stats.norm.cdf(low)))
    return two_columns(lambda x: -x.square() / 2, log_integral, low, high)


BOUNDED = {
    "flat": two_columns(lambda x: 0 * x, math.log(2), -1, 1),
    "beta(2, 5)": beta(2, 5),
    "beta(0.5, 0.5)": beta(0.5, 0.5),
    "truncated normal": truncated_normal(-1, 2),
    "corner": (corner, 2, lambda: quadrature(corner, 0, 1), {"bounds": (0, 1)}),
    "exponential": gamma(1),
    "gamma(3)": gamma(3),
    "gamma(0.5)": gamma(0.5),
    "half-normal": truncated_normal(0, math.inf),
    "log-normal": two_columns(lambda x: -x.log().square() / 2 - x.log(), math.log(2 * math.pi) / 2, 0),
    "half-Cauchy": two_columns(lambda x: -x.square().log1p(), math.log(math.pi / 2), 0),
}
ALL = TARGETS | BOUNDED
N_MODES = {
    "double moon": 2,
    "two moons with a jump": 2,
    "eight Gaussians": 8,
}  # equal ones, around the origin, the first to the right


def shares(fit, n_modes):
    """Share of draws in each mode, times their number: one if all is well."""
    x = fit.sample(20_000, random_state=0)
    mode = np.round(np.arctan2(x[:, 1], x[:, 0]) / (2 * math.pi / n_modes)).astype(int) % n_modes
    return np.bincount(mode, minlength=n_modes) / len(x) * n_modes


def run(name, seed, params):
    """The row of a fit, as `HEADINGS` names it: error of the log-evidence, its standard error, and so on."""
    log_density, n_features, truth, settings = ALL[name]
    truth, start = truth() if callable(truth) else truth, time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = VariationalRealNVP(**{"random_state": seed, **settings, **params}).fit(log_density, n_features)
    seconds = time.perf_counter() - start
    known = json.loads(REFERENCE.read_text()) if name == "logistic regression" else {"log_evidence_std_err": 0.0}
    off = (fit.log_evidence_ - truth) / math.hypot(fit.log_evidence_std_err_, known["log_evidence_std_err"])
    of_modes = shares(fit, N_MODES[name]) if name in N_MODES else np.ones(1)
    row = [fit.log_evidence_ - truth, fit.log_evidence_std_err_, off, fit.effective_sample_size_, fit.pareto_k_]
    if "mean" in known:
        x, mean, std = fit.resample(5_000, random_state=0), np.array(known["mean"]), np.array(known["std"])
        error, ratio = np.abs(x.mean(0) - mean) / std, np.exp(np.abs(np.log(x.std(0) / std)))
        print(f"  resampled, against the chain: means off by {error.max():.3f} standard deviations at most,", end=" ")
        print(f"standard deviations by a factor of {ratio.max():.3f}")
    return [*row, of_modes.min(), of_modes.max(), seconds, len(caught)]


HEADINGS = ["error", "std err", "in se", "ESS", "k", "least", "most", "s", "warnings"]


def show(label, row):
    cells = [f"{value:8.4f}" if i < 2 else f"{value:8.3f}" for i, value in enumerate(row)]
    print(f"{label:27s}", *cells, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=ALL)
    parser.add_argument("--bounded", action="store_true", help="the targets with bounds instead of the others")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--params", type=json.loads, default={}, help="JSON of constructor parameters")
    parser.add_argument("--reference", action="store_true", help="compute the logistic regression's reference anew")
    arguments = parser.parse_args()
    if arguments.reference:
        REFERENCE.write_text(json.dumps(reference(), indent=1) + "\n")
    print(f"{'target, seed':27s}", *(f"{heading:>8s}" for heading in HEADINGS))
    for name in arguments.only or (BOUNDED if arguments.bounded else TARGETS):
        rows = []
        for seed in range(arguments.seeds):
            rows.append(run(name, seed, arguments.params))
            show(f"{name}, {seed}", rows[-1])
        if arguments.seeds > 1:
            show(f"{name}, mean", np.mean(rows, 0))
            show(f"{name}, spread", np.std(rows, 0))


if __name__ == "__main__":
    main()
