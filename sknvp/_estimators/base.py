"""The base of all estimators with flows: checked parameters, fits that fail without loss, pickles."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from .. import __version__
from .._columns.kinds import check_columns, check_numbers
from .._experts.weighted import Experts
from ..flows import Ensemble, Flow
from ..flows.builders.specification import Specification
from . import parameters as rule
from .evaluation import draw_rows
from .seeds import RandomState, new_seed
from .state import loaded_flow, saved_flow, usable_device

FORMAT = 7  # The version of the pickles, which rises whenever the state of a fitted estimator gets another meaning.
FLOATS = (np.float64, np.float32)  # Computation follows these dtypes; rows of any other dtype become float64.


class FlowEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator with a flow inside.

    Its parameters are those of its constructor, each with a rule in `parameters.RULES` or in its own ``_rules``. Its
    fitted state is private: the specification of the flow, the flow, and the experts beside it with the weights of all;
    the density is made of these. Its pickles carry specifications, NumPy arrays and plain values alone, so that a
    pickle that was written where there is a GPU opens where there is none.
    """

    device: str
    learning_rate_init: float
    random_state: RandomState

    _architecture_parameters: ClassVar[tuple[str, ...]] = (
        *("n_layers", "hidden_layer_sizes", "activation", "coupling", "base", "mask"),
        *("batch_norm", "standardize", "n_estimators"),
    )
    _rules: ClassVar[dict[str, rule.Rule]] = {}
    _takes_missing: ClassVar[bool] = False  # Whether cells of X may be unknown.

    _specification: Specification
    _flow: Flow
    _architecture: dict[str, Any]
    _n_continued: int
    _experts: Experts
    _density: Ensemble

    @property
    def flow_(self) -> Flow:
        """The fitted flow, a `torch.nn.Module`; ``print(density.flow_)`` shows its architecture."""
        self._check_has("flow_")
        return self._flow

    @property
    def _is_fitted(self) -> bool:
        return "_flow" in self.__dict__

    def _check_has(self, attribute: str) -> None:
        """Raise a NotFittedError unless the estimator is fitted, and so has this attribute."""
        if not self._is_fitted:
            raise NotFittedError(f"This {type(self).__name__} is not fitted yet, so it has no {attribute}. Call fit.")

    def _check_parameters(self) -> torch.device:
        """Raise a ValueError for the first parameter that breaks its rule; return the torch device."""
        for name, own_rule in {**rule.RULES, **self._rules}.items():
            if hasattr(self, name):
                rule.check(name, getattr(self, name), own_rule)
        return usable_device(self.device)

    def _check_rows(self, X: ArrayLike, *, reset: bool, n_least: int = 1) -> NDArray[Any]:
        """Check X, and return it as float64 or float32; its columns are remembered (``reset``) or compared."""
        finite = "allow-nan" if self._takes_missing else True
        check_columns(X)
        try:
            rows: NDArray[Any] = validate_data(
                self, X, dtype=FLOATS, reset=reset, ensure_min_samples=n_least, ensure_all_finite=finite
            )
        except ValueError as error:
            if "could not convert string" in str(error) and np.ndim(X) == 2:
                check_numbers(X)
            raise
        return rows

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_missing
        return tags

    def _draw(self, n_rows: int, random_state: RandomState, context: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw finite rows from the fitted density, each given its row of the context if there is any."""
        other_cure = ", or with early_stopping=True" if hasattr(self, "early_stopping") else ""
        message = (
            "learning_rate_init must be small enough for training not to diverge, got a flow that puts rows beyond all "
            f"numbers with {self.learning_rate_init!r}. Fit with a smaller one{other_cure}."
        )
        return draw_rows(self._density, n_rows, random_state, message, context)

    def _new_generator(self, random_state: RandomState, n_continued: int) -> torch.Generator:
        """Make the generator of a training, which does not repeat the batches of the trainings that it continues."""
        return torch.Generator().manual_seed(new_seed(random_state) + n_continued)

    def _present_architecture(self) -> dict[str, Any]:
        """Return the parameters that a fitted flow cannot change any more, as plain values."""
        values = {name: getattr(self, name) for name in self._architecture_parameters if hasattr(self, name)}
        return {name: _as_plain_value(value) for name, value in values.items()}

    def _check_architecture(self) -> None:
        """Raise a ValueError if the parameters no longer describe the fitted flow."""
        now = self._present_architecture()
        for name, fitted in self._architecture.items():
            if now[name] != fitted:
                raise ValueError(
                    f"{name} must stay {fitted!r} to continue the fitted flow, got {now[name]!r}. "
                    "Call fit with warm_start=False to start afresh."
                )

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "_flow" in state:
            state = {name: value for name, value in state.items() if name != "_density"}
            state |= {"_flow": saved_flow(state["_flow"]), "_written": {"format": FORMAT, "by": __version__}}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        written = state.get("_written", {"format": FORMAT})
        if written["format"] != FORMAT:
            cure = "Fit anew." if written["by"] == __version__ else "Open it with that version, or fit anew."
            raise ValueError(
                f"The pickled {type(self).__name__} must have format {FORMAT}, which sknvp {__version__} reads, got "
                f"format {written['format']}, written by sknvp {written['by']}. {cure}"
            )
        if "_flow" in state:
            flow = loaded_flow(state["_specification"], state["_flow"])
            state = {**state, "_flow": flow, "_density": state["_experts"].density(flow)}
        super().__setstate__({name: value for name, value in state.items() if name != "_written"})


def _as_plain_value(parameter: Any) -> Any:
    """Return what a parameter is compared by; copies of a `functools.partial` are not equal, unlike its parts."""
    if isinstance(parameter, partial):
        settings = {name: _as_plain_value(value) for name, value in parameter.keywords.items()}
        return parameter.func, [_as_plain_value(value) for value in parameter.args], settings
    return parameter if isinstance(parameter, str) or callable(parameter) else np.asarray(parameter).tolist()


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Undo every change of an attribute if the body raises, so that a failed fit loses nothing."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise
