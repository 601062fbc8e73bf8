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
    """Decorate a method such that callbacks are torn down when it ends."""
    return _callback.with_callbacks(method) if _callback else method


class Task:
    """A part of a fit that callbacks are told of.

    Parameters
    ----------
    estimator : estimator
        The estimator that is fitted.
    context : sklearn.callback.CallbackContext or None
        The context that calls the callbacks; None if there are no callbacks.
    """

    def __init__(self, estimator: Any, context: Any) -> None:
        self.estimator = estimator
        self.context = context

    @classmethod
    def root(cls, estimator: Any, n_parts: int) -> "Task":
        """Return the task that all others are part of; it must be made before anything can fail."""
        begin = getattr(estimator, "_init_callback_context", None)  # Only scikit-learn's mixin has this method.
        return cls(estimator, begin and begin(max_subtasks=n_parts))

    def part(self, name: str, n_parts: int = 0) -> "Task":
        """Return the next part of this task, which itself has ``n_parts`` parts."""
        return Task(self.estimator, self.context and self.context.subcontext(task_name=name, max_subtasks=n_parts))

    def begin(self, X: Any = None) -> "Task":
        """Tell callbacks that the task begins."""
        if self.context is not None:
            self.context.call_on_fit_task_begin(estimator=self.estimator, X=X)
        return self

    def end(self, X: Any = None, fitted: Callable[[], dict[str, Any]] | None = None) -> bool:
        """Tell callbacks that the task has ended; return whether one of them asks to stop.

        ``fitted`` returns the attributes of an estimator that is fitted as far as the training has come.
        """
        if self.context is None:
            return False
        stop: bool = self.context.call_on_fit_task_end(estimator=self.estimator, X=X, reconstruction_attributes=fitted)
        return stop
