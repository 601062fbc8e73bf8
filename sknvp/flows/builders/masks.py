"""Masks, which say which features condition the others in each layer.

A mask has a row per layer and a column per feature. It is True where the feature conditions and stays as it is, and
False where the feature is transformed; the Real NVP paper calls it b. The masks of all members have shape
(n_members, n_layers, n_features). In a layer every member transforms the same number of features.
"""

import torch
from torch import Tensor


def alternating(n_members: int, n_layers: int, n_features: int, generator: torch.Generator | None = None) -> Tensor:
    """Let even features condition odd ones and the other way round, in turn."""
    return _taking_turns(torch.arange(n_features) % 2 == 0, n_layers).expand(n_members, -1, -1)


def half(n_members: int, n_layers: int, n_features: int, generator: torch.Generator | None = None) -> Tensor:
    """Let the first half of the features condition the second and the other way round, in turn."""
    return _taking_turns(torch.arange(n_features) < (n_features + 1) // 2, n_layers).expand(n_members, -1, -1)


def random(n_members: int, n_layers: int, n_features: int, generator: torch.Generator | None = None) -> Tensor:
    """Split the features into two random halves that take turns, anew for every two layers and every member."""
    if n_features <= 2:  # Two features can be split in only one way, and no feature may miss a turn.
        return alternating(n_members, n_layers, n_features)
    pairs = [_random_half(n_members, n_features, generator) for _ in range(0, n_layers, 2)]
    turns = torch.stack([turn for keep in pairs for turn in (keep, ~keep)], 1)
    return turns[:, :n_layers]


MASKS = {"alternating": alternating, "half": half, "random": random}


def _taking_turns(keep: Tensor, n_layers: int) -> Tensor:
    """Return a mask for every layer: ``keep`` and its opposite, in turn."""
    return torch.stack([keep if layer % 2 == 0 else ~keep for layer in range(n_layers)])


def _random_half(n_members: int, n_features: int, generator: torch.Generator | None) -> Tensor:
    """Choose half of the features of each member at random, shape (n_members, n_features)."""
    rank = torch.rand(n_members, n_features, generator=generator, dtype=torch.float64).argsort(-1).argsort(-1)
    return rank < (n_features + 1) // 2
