"""Training: the objectives that are minimised, and the loop that minimises them."""

from .course import History
from .loop import EVALUATION_STEPS, advance, train

__all__ = ["EVALUATION_STEPS", "History", "advance", "train"]
