"""
Layers and noise of your own
============================

A flow is a stack of couplings that ends in noise. Estimators take both as classes: ``coupling`` a subclass of
:class:`sknvp.flows.Coupling`, ``base`` one of :class:`sknvp.flows.Base`. Standardisation, training, experts, discrete
columns, missing cells, pickles and searches work with them as with the named ones.
"""

import math
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.integrate import simpson
from scipy.stats import multivariate_t
from sklearn.datasets import make_moons

from sknvp import DensityDisplay, RealNVPDensity
from sknvp.flows import Base, Coupling, StudentT

# %%
# The flow that came before Real NVP is `NICE <https://arxiv.org/abs/1410.8516>`_. Its couplings shift columns, by
# amounts that depend on the other columns, and its noise is logistic. A coupling says how many parameters the map of a
# number has, and gives the map in both directions, with the logarithm of its slope; autograd finds the gradients.
# Shifts keep volumes, so ``LINEAR_BETWEEN`` asks for trained linear maps between the layers, which scale.


class AdditiveCoupling(Coupling):
    N_PARAMETERS = 1
    LINEAR_BETWEEN = True

    def elementwise(self, x, theta, inverse):
        (shift,) = theta.unbind(1)
        return x - shift if inverse else x + shift, torch.zeros_like(x)


# %%
# A base has a log-density and draws, in columns of about unit scale, since flows start from standardised rows.


class Logistic(Base):
    SCALE = math.sqrt(3) / math.pi  # for a variance of one

    def __init__(self, n_features):
        super().__init__()
        self.n_features = n_features

    def log_prob(self, z):
        z = z / self.SCALE
        return -(z + 2 * torch.nn.functional.softplus(-z) + math.log(self.SCALE)).sum(-1)

    def sample(self, shape, reference, generator=None):
        uniform = torch.rand(*shape, self.n_features, generator=generator, dtype=torch.float64)
        return (self.SCALE * torch.logit(uniform, eps=1e-12)).to(reference)


def moons(n, seed):
    return make_moons(n, noise=0.1, random_state=seed)[0]


settings = {"n_layers": 8, "n_estimators": 1, "stacking": False, "random_state": 0}
densities = {
    "NICE": RealNVPDensity(coupling=AdditiveCoupling, base=Logistic, **settings),
    "Real NVP": RealNVPDensity(coupling="affine", **settings),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for ax, (name, density) in zip(axes, densities.items(), strict=True):
    X = moons(1000, seed=0)
    DensityDisplay.from_estimator(density.fit(X), X[:300], ax=ax)
    ax.set_title(f"{name}: {density.score_samples(moons(10_000, seed=1)).mean():.3f} nats a row")
plt.show()

# %%
# The density of such parts is as right as they are. What a coupling returns is tried before a fit, the inverse and the
# slope among it. That a base integrates to one is for you to see to. Here the whole density does:

axis = np.linspace(-6, 6, 401)
grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
p = np.exp(densities["NICE"].score_samples(grid.reshape(-1, 2))).reshape(grid.shape[:2])
print(f"{simpson(simpson(p, x=axis), x=axis):.3f}")

# %%
# A part with settings goes into a :class:`functools.partial`. Noise with heavy tails suits rows with heavy tails, where
# a flow alone, without the experts of ``stacking``, is at a loss for rows far outside.


def heavy_rows(n, seed):
    z = multivariate_t(np.zeros(2), df=3, seed=seed).rvs(n)
    return np.c_[z[:, 0], z[:, 1] + 0.3 * np.abs(z[:, 0])]


for name, base in {"normal": "normal", "t": partial(StudentT, degrees_of_freedom=4)}.items():
    density = RealNVPDensity(base=base, stacking=False, n_estimators=1, random_state=0).fit(heavy_rows(1500, seed=0))
    scores = density.score_samples(heavy_rows(4000, seed=1))
    print(f"{name:6s} noise: {scores.mean():.2f} nats a new row, {scores.min():.0f} for the least likely one")
