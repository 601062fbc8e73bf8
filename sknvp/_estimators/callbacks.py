"""scikit-learn's callbacks, which came with version 1.9; before it there are none to call."""

from collections.abc import Callable
from typing import Any, TypeVar

try:
    from sklearn import callback as _callback
except ImportError:
    _callback = None

Method = TypeVar("Method", bound=Callable[..., Any])

CallbackSupportMixin: type = _callback.CallbackSupportMixin if _callback else type("CallbackSupportMixin", (), {})


def with_callbacks(method: Method) -> Method:
    """Have callbacks torn down when the method ends."""
    return _callback.with_callbacks(method) if _callback else method


class Task:
    """A part of a fit, as callbacks see it.

    Parameters
    ----------
    estimator : estimator
        Whose fit it is.
    context : sklearn.callback.CallbackContext or None
        What callbacks are called through, if there can be any.
    """

    def __init__(self, estimator: Any, context: Any) -> None:
        self.estimator = estimator
        self.context = context

    @classmethod
    def whole_fit(cls, estimator: Any, n_parts: int) -> "Task":
        """The task that all others are part of; to be made before anything can fail."""
        begin = getattr(estimator, "_init_callback_context", None)  # scikit-learn's, for estimators to call
        return cls(estimator, begin and begin(max_subtasks=n_parts))

    def part(self, name: str, n_parts: int = 0) -> "Task":
        """The next part of this task."""
        return Task(self.estimator, self.context and self.context.subcontext(task_name=name, max_subtasks=n_parts))

    def begin(self, X: Any = None) -> "Task":
        if self.context is not None:
            self.context.call_on_fit_task_begin(estimator=self.estimator, X=X)
        return self

    def end(self, X: Any = None, fitted: Callable[[], dict[str, Any]] | None = None) -> bool:
        """Whether a callback asks to stop; ``fitted`` gives the attributes of an estimator that is fitted this far."""
        if self.context is None:
            return False
        stop: bool = self.context.call_on_fit_task_end(estimator=self.estimator, X=X, reconstruction_attributes=fitted)
        return stop
