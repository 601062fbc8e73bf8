"""
From noise to moons, layer by layer
===================================

A flow is a stack of simple invertible maps. Read from data to noise it scores, read backwards it draws: each layer
moves the points a little, and at the end a round cloud has become two moons. This script goes below the estimators, to
the flows of :mod:`sknvp.flows` and PyTorch.
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.animation import FuncAnimation
from sklearn.datasets import make_moons

from sknvp.flows import real_nvp

generator = torch.Generator().manual_seed(0)
x = torch.tensor(make_moons(2000, noise=0.06, random_state=0)[0], dtype=torch.float32)

# %%
# Eight affine couplings: in each, one column scales and shifts the other. The masks say which one conditions; the two
# take turns.

masks = torch.tensor([[[layer % 2 == 0, layer % 2 == 1] for layer in range(8)]])
flow = real_nvp(
    x.mean(0),
    x.std(0),
    torch.arange(2),
    masks=masks,
    hidden_layer_sizes=(32, 32),
    activation="silu",
    coupling="affine",
    generator=generator,
)

# %%
# Training is PyTorch as usual: the loss is the mean negative log-likelihood.

optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2000)
for _ in range(2000):
    batch = x[torch.randint(len(x), (256,), generator=generator)]
    loss = -flow.log_prob(batch).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
print(f"loss {loss.item():.3f} nats a row")

# %%
# The first transform of a flow standardises, the second is the chain of couplings. Taken backwards, one by one, they
# carry noise to data.

standardize, couplings = flow.transform.transforms
layers = [standardize, *couplings.transforms]
with torch.no_grad():
    z = torch.randn(1, 1500, 2, generator=generator)
    steps = [z]
    for layer in reversed(layers):
        z, _ = layer.inverse(z)
        steps.append(z)
clouds = [step[0].numpy() for step in steps]
side = (clouds[0][:, 0] > 0).astype(float)  # colour by where a point began

figure, axes = plt.subplots(2, 5, figsize=(13, 5.4), layout="constrained")
for number, (ax, cloud) in enumerate(zip(axes.flat, clouds, strict=False)):
    ax.scatter(*cloud.T, c=side, s=2, cmap="coolwarm", alpha=0.6)
    ax.set(title=f"{number} of {len(clouds) - 1} maps", xticks=[], yticks=[], xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
plt.show()

# %%
# The same as a film, each map spread over some pictures.

figure, ax = plt.subplots(figsize=(4.5, 4.5))
points = ax.scatter(*clouds[0].T, c=side, s=3, cmap="coolwarm", alpha=0.6)
ax.set(xticks=[], yticks=[], xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
N_BETWEEN = 8


def draw(frame):
    before, share = divmod(frame, N_BETWEEN)
    after = min(before + 1, len(clouds) - 1)
    points.set_offsets(clouds[before] + (clouds[after] - clouds[before]) * share / N_BETWEEN)
    ax.set_title(f"{before} of {len(clouds) - 1} maps")


film = FuncAnimation(figure, draw, frames=(len(clouds) - 1) * N_BETWEEN + 1, interval=60)
plt.show()
