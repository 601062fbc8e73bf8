"""From noise to two moons, through the layers of a trained flow."""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import make_moons

from sknvp import RealNVPTransformer

X, _ = make_moons(2000, noise=0.06, random_state=0)
flow = RealNVPTransformer(coupling="affine", n_layers=8, random_state=0).fit(X).flow_
standardize, couplings = flow.transform.transforms
z = torch.randn(1, 1500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
clouds = [z]
with torch.no_grad():
    for layer in reversed([standardize, *couplings.transforms]):
        clouds.append(layer.inverse(clouds[-1])[0])
figure, axes = plt.subplots(1, 5, figsize=(11, 2.6), layout="constrained")
for number, ax in zip([0, 2, 4, 7, len(clouds) - 1], axes, strict=True):
    ax.scatter(*clouds[number][0].T, c=z[0, :, 0] > 0, s=2, cmap="cividis", alpha=0.7)
    ax.set(title=f"{number} of {len(clouds) - 1} layers", xticks=[], yticks=[])
