"""The rules that constructor parameters keep, checked at `fit`."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from ..flows.bases import Base
from ..flows.builders.masks import MASKS
from ..flows.builders.parts import BASES, COUPLINGS
from ..flows.layers import Coupling
from ..flows.networks.perceptron import ACTIVATIONS


class Rule(NamedTuple):
    """A condition that a parameter must meet, and the words for it."""

    holds: Callable[[Any], bool]
    words: str


def check(name: str, value: Any, rule: Rule) -> None:
    """Raise a ValueError that names the parameter, the rule and the value, unless the rule holds."""
    if not rule.holds(value):
        raise ValueError(f"{name} must be {rule.words}, got {value!r} of type {type(value).__name__}.")


def integer(minimum: int, maximum: float = np.inf) -> Rule:
    words = f"an integer of at least {minimum}" + f" and at most {maximum}" * (maximum < np.inf)
    return Rule(lambda v: _is_integer(v) and minimum <= v <= maximum, words)


def positive() -> Rule:
    return Rule(lambda v: _is_real(v) and 0 < v < np.inf, "a finite number greater than 0")


def non_negative() -> Rule:
    return Rule(lambda v: _is_real(v) and 0 <= v < np.inf, "a finite number of at least 0")


def fraction() -> Rule:
    return Rule(lambda v: _is_real(v) and 0 < v < 1, "a number strictly between 0 and 1")


def at_most(maximum: float) -> Rule:
    return Rule(lambda v: _is_real(v) and 0 < v <= maximum, f"a number greater than 0 and at most {maximum}")


def share() -> Rule:
    return Rule(lambda v: _is_real(v) and 0 <= v < 1, "a number of at least 0 and less than 1")


def boolean() -> Rule:
    return Rule(lambda v: isinstance(v, (bool, np.bool_)), "True or False")


def one_of(*names: str) -> Rule:
    return Rule(lambda v: isinstance(v, str) and v in names, "one of " + ", ".join(map(repr, names)))


def widths() -> Rule:
    return Rule(
        lambda v: _is_width(v) or (_is_sequence(v) and all(map(_is_width, v))),
        "an integer of at least 1 or a sequence of such integers",
    )


def image_shape() -> Rule:
    return Rule(
        lambda v: v is None or (_is_sequence(v) and len(v) == 3 and all(map(_is_width, v))),
        "None or three integers of at least 1, (n_channels, height, width)",
    )


def either(*rules: Rule) -> Rule:
    return Rule(lambda v: any(rule.holds(v) for rule in rules), " or ".join(rule.words for rule in rules))


def maker_of(kind: type) -> Rule:
    def holds(v: Any) -> bool:
        return issubclass(v, kind) if isinstance(v, type) else callable(v) and not isinstance(v, nn.Module)

    return Rule(holds, f"a subclass of sknvp.flows.{kind.__name__} or a function that makes one")


def array(words: str) -> Rule:
    return Rule(lambda v: not isinstance(v, (str, bytes)) and _ndim(v) > 0, words)


def _ndim(value: Any) -> int:
    """Return the number of dimensions, or zero for what is no array, such as rows of unequal length."""
    try:
        return np.ndim(value)
    except ValueError:
        return 0


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def _is_width(value: Any) -> bool:
    return _is_integer(value) and bool(value >= 1)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)


# The rules of the parameters that have one rule in all estimators that take them.
RULES: dict[str, Rule] = {
    "activation": one_of(*ACTIVATIONS),
    "alpha": non_negative(),
    "annealing": share(),
    "base": either(one_of(*BASES), maker_of(Base)),
    "batch_norm": boolean(),
    "batch_size": either(integer(1), one_of("auto")),
    "contamination": either(one_of("auto"), at_most(0.5)),
    "coupling": either(one_of(*COUPLINGS), maker_of(Coupling)),
    "discrete_features": either(one_of("auto"), Rule(lambda v: v is None, "None"), array("an array-like of columns")),
    "discrete_targets": either(one_of("auto"), Rule(lambda v: v is None, "None"), array("an array-like of columns")),
    "early_stopping": boolean(),
    "flip": boolean(),
    "hidden_layer_sizes": widths(),
    "image_shape": image_shape(),
    "learning_rate_init": positive(),
    "mask": either(one_of(*MASKS), array("an array of shape (n_layers, n_features)")),
    "max_iter": either(integer(1), one_of("auto")),
    "n_blocks": integer(0),
    "n_estimators": integer(1),
    "n_filters": integer(1),
    "n_iter_no_change": integer(1),
    "n_layers": integer(1),
    "n_levels": integer(2, 2**16),
    "stacking": boolean(),
    "standardize": boolean(),
    "tol": non_negative(),
    "validation_fraction": fraction(),
    "verbose": either(boolean(), integer(0)),
    "warm_start": boolean(),
}
