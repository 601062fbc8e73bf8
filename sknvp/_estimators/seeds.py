"""Seeds and generators, drawn from the random states of scikit-learn."""

import numpy as np
import torch
from sklearn.utils import check_random_state

RandomState = int | np.random.RandomState | None

N_SEEDS = 2**31 - 1  # Seeds lie below this number.


def new_seed(random_state: RandomState) -> int:
    """Draw a seed from a random state."""
    return int(check_random_state(random_state).randint(N_SEEDS))


def new_seeds(random_state: RandomState, n: int) -> list[int]:
    """Draw several seeds from a random state."""
    seeds: list[int] = check_random_state(random_state).randint(N_SEEDS, size=n).tolist()
    return seeds


def new_generator(random_state: RandomState) -> torch.Generator:
    """Make a generator of PyTorch whose seed is drawn from a random state."""
    return torch.Generator().manual_seed(new_seed(random_state))
