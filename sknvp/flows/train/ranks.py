"""The processes of a data-parallel training, called ranks, and what they tell each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


class Ranks:
    """A group of processes that compute together; each of them makes the same calls in the same order.

    Parameters
    ----------
    group : ProcessGroup or None
        The group, as in `torch.distributed`; None stands for all processes.
    cure : str, default=""
        What to do when a process has ended, for the message of the others.

    Attributes
    ----------
    number : int
        The number of this process.
    size : int
        The number of processes.

    Raises
    ------
    ValueError
        If this process is not in the group.
    """

    def __init__(self, group: Any = None, cure: str = "") -> None:
        self.group = group
        self.cure = cure
        self.number = distributed.get_rank(group)
        if self.number < 0:
            raise ValueError("group must hold the process that calls, got a group without it. Call it in others alone.")
        self.size = distributed.get_world_size(group)
        on_gpus = distributed.get_backend(group) == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpus else torch.device("cpu")

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which does the work that one process does for all."""
        return self.number == 0

    def gather(self, function: Callable[[], T]) -> list[T]:
        """Call a function in every process, and return the answers of all in order.

        If it raises an error in one process, that process raises this error, and the others one that tells of it.
        """
        own: Exception | None = None
        try:
            answer: tuple[bool, Any] = True, function()
        except Exception as error:
            own, answer = error, (False, (isinstance(error, ValueError), str(error)))
        answers: list[Any] = [None] * self.size
        with self._watched():
            distributed.all_gather_object(answers, answer, self.group)
        if own is not None:
            raise own
        for number, (is_answer, value) in enumerate(answers):
            if not is_answer:
                raise (ValueError if value[0] else RuntimeError)(f"Rank {number} cannot take part: {value[1]}")
        return [value for _, value in answers]

    def of_first(self, function: Callable[[], T]) -> T:
        """Call a function in the first process alone, and return its answer in all."""
        first: T = self.gather(lambda: function() if self.is_first else None)[0]  # type: ignore[assignment]
        return first

    def add(self, numbers: Tensor) -> Tensor:
        """Replace numbers, in place, by their sum over all processes, which has the same bits in each of them."""
        moved = numbers.to(self.device)
        with self._watched():
            distributed.all_reduce(moved, group=self.group)
        return numbers if moved is numbers else numbers.copy_(moved)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Say what to do when a process has ended."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RuntimeError(
                f"Another process of this fit has ended, or rank {self.number} of {self.size} cannot reach it; its own "
                f"message, if it has one, tells why. {self.cure}"
            ) from error
