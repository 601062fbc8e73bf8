"""What the estimators share: parameters and their rules, rows to tensors, state for pickling."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import Tensor

from . import __version__
from . import _parameters as rule
from ._state import loaded_flow, saved_flow, usable_device
from .flows import Flow
from .flows.conditioner import ACTIVATIONS
from .flows.masks import MASKS
from .flows.recipes import COUPLINGS

FORMAT = 1  # of pickles; to be raised whenever a fitted estimator's state gets another meaning
FLOATS = (np.float64, np.float32)  # the dtypes that computation follows; anything else becomes the first


class FlowEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator with a Real NVP flow inside: the fitted `_flow`, and `_recipe`, how to build it again.

    Its pickles carry NumPy arrays and plain values alone, so that one written where there is a GPU opens where there
    is none.
    """

    n_layers: int
    hidden_layer_sizes: int | Sequence[int]
    activation: str
    coupling: str
    mask: str | ArrayLike
    batch_norm: bool
    standardize: bool
    n_estimators: int
    alpha: float
    batch_size: int
    learning_rate_init: float
    max_iter: int | str
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    warm_start: bool
    device: str
    random_state: int | np.random.RandomState | None
    verbose: bool | int

    _rules: ClassVar[dict[str, rule.Rule]] = {
        "n_layers": rule.integer(1),
        "hidden_layer_sizes": rule.widths(),
        "activation": rule.one_of(*ACTIVATIONS),
        "coupling": rule.one_of(*COUPLINGS),
        "mask": rule.either(rule.one_of(*MASKS), rule.array("an array of shape (n_layers, n_features)")),
        "batch_norm": rule.boolean(),
        "standardize": rule.boolean(),
        "n_estimators": rule.integer(1),
        "alpha": rule.non_negative(),
        "batch_size": rule.integer(1),
        "learning_rate_init": rule.positive(),
        "max_iter": rule.either(rule.integer(1), rule.one_of("auto")),
        "early_stopping": rule.boolean(),
        "validation_fraction": rule.fraction(),
        "n_iter_no_change": rule.integer(1),
        "tol": rule.non_negative(),
        "warm_start": rule.boolean(),
        "verbose": rule.either(rule.boolean(), rule.integer(0)),
    }

    _flow: Flow
    _recipe: dict[str, Any]

    def _check_parameters(self) -> torch.device:
        """Raise a ValueError for the first parameter that breaks its rule; return the torch device."""
        for name, parameter_rule in self._rules.items():
            rule.check(name, getattr(self, name), parameter_rule)
        return usable_device(self.device)

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """Undo every change of an attribute if the body raises, so that a failed fit loses nothing."""
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _check_rows(self, X: ArrayLike, *, reset: bool, n_least: int = 1) -> NDArray[Any]:
        """X as float64 or float32, its columns remembered (`reset`) or compared with those fitted."""
        rows: NDArray[Any] = validate_data(self, X, dtype=FLOATS, reset=reset, ensure_min_samples=n_least)
        return rows

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "_flow" in state:
            state = {**state, "_flow": saved_flow(state["_flow"]), "_written": {"format": FORMAT, "by": __version__}}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        written = state.get("_written", {"format": FORMAT})
        if written["format"] != FORMAT:
            raise ValueError(
                f"The pickled {type(self).__name__} must have format {FORMAT}, which sknvp {__version__} reads, got "
                f"format {written['format']}, written by sknvp {written['by']}. Open it with that version, or fit anew."
            )
        if "_flow" in state:
            state = {**state, "_flow": loaded_flow(state["_recipe"], state["_flow"])}
        super().__setstate__({name: value for name, value in state.items() if name != "_written"})


def to_tensor(array: NDArray[Any], like: Tensor) -> Tensor:
    """A copy as a tensor of that dtype and device; the array may be read-only or strided in any way."""
    return torch.tensor(np.ascontiguousarray(array), dtype=like.dtype, device=like.device)
