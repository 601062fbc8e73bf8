"""Masks: who conditions whom.

A mask has a row per layer and a column per feature, and is True (one) where the feature conditions and stays as it
is, False (zero) where it is transformed: the b of the Real NVP paper. Masks of an ensemble have shape
(n_members, n_layers, n_features); in a layer every member transforms the same number of features.
"""

import torch
from torch import Tensor


def alternating(n_members: int, n_layers: int, n_features: int, generator: torch.Generator | None = None) -> Tensor:
    """Even features condition odd ones and the other way round, layer by layer."""
    return _taking_turns(torch.arange(n_features) % 2 == 0, n_layers).expand(n_members, -1, -1)


def half(n_members: int, n_layers: int, n_features: int, generator: torch.Generator | None = None) -> Tensor:
    """The first half conditions the second and the other way round, layer by layer."""
    return _taking_turns(torch.arange(n_features) < (n_features + 1) // 2, n_layers).expand(n_members, -1, -1)


def random(n_members: int, n_layers: int, n_features: int, generator: torch.Generator | None = None) -> Tensor:
    """Each two layers split the features into two new random halves that take turns, anew for every member."""
    if n_features <= 2:  # there is but one way to split them, and they must not miss a turn
        return alternating(n_members, n_layers, n_features)
    pairs = [_random_half(n_members, n_features, generator) for _ in range(0, n_layers, 2)]
    turns = torch.stack([turn for keep in pairs for turn in (keep, ~keep)], 1)
    return turns[:, :n_layers]


MASKS = {"alternating": alternating, "half": half, "random": random}


def _taking_turns(keep: Tensor, n_layers: int) -> Tensor:
    return torch.stack([keep if layer % 2 == 0 else ~keep for layer in range(n_layers)])


def _random_half(n_members: int, n_features: int, generator: torch.Generator | None) -> Tensor:
    rank = torch.rand(n_members, n_features, generator=generator, dtype=torch.float64).argsort(-1).argsort(-1)
    return rank < (n_features + 1) // 2
