"""
Gradients of a density: modes, and samplers
===========================================

`density_` of a fitted estimator is the density as a :class:`torch.nn.Module`. Its ``log_prob`` takes tensors in the
units of the columns and gives what `score_samples` gives, with gradients. So whatever climbs, samples or differentiates
densities can use it.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.datasets import make_blobs

from sknvp import ConditionalRealNVPDensity, DensityDisplay, RealNVPDensity

X, _ = make_blobs(2000, centers=[[-4, 0], [0, 3], [4, -1]], cluster_std=[1.0, 0.6, 1.4], random_state=0)
fitted = RealNVPDensity(random_state=0).fit(X)
density = fitted.density_

# %%
# Modes, by SciPy's minimiser from thirty of the rows. Each climb ends at one of three.


def loss_and_gradient(point):
    x = torch.tensor(point, requires_grad=True)
    loss = -density.log_prob(x)
    loss.backward()
    return float(loss.detach()), x.grad.numpy()


modes = np.array([minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B").x for start in X[:30]])
print(np.unique(np.round(modes), axis=0))

# %%
# Langevin's sampler walks up the gradient with noise. Chains that start in a corner walk into the clusters. How many
# are in each takes far longer to come right, since chains seldom cross from one to another: `sample` needs no walks.

generator = torch.Generator().manual_seed(0)
x, step = torch.full((500, 2), 6.0, dtype=torch.float64), 0.05
for _ in range(400):
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    x = x.detach() + step * gradient + np.sqrt(2 * step) * noise

display = DensityDisplay.from_estimator(fitted, X)
display.ax_.plot(*x.numpy().T, ".", markersize=3, color="tab:orange", label="Langevin")
display.ax_.plot(*modes.T, "r*", markersize=14, label="ends of the climbs")
display.ax_.legend()
plt.show()

# %%
# A conditional density has gradients in its condition too: which x gives a target of 2 the highest density?

rng = np.random.default_rng(0)
c = rng.uniform(-3, 3, (2000, 1))
y = np.tanh(c[:, 0]) * 2.2 + 0.2 * rng.standard_normal(2000)
conditional = ConditionalRealNVPDensity(random_state=0).fit(c, y).density_
condition = torch.zeros(1, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.Adam([condition], lr=0.05)
for _ in range(200):
    optimizer.zero_grad()
    (-conditional.log_prob(torch.tensor([2.0], dtype=torch.float64), condition)).backward()
    optimizer.step()
print(f"x = {float(condition.detach()):.2f}, where the mean is {2.2 * np.tanh(float(condition.detach())):.2f}")
