"""Training: the objectives that are minimised, and the loop that minimises them."""

from .loop import EVALUATION_STEPS, History, advance, train

__all__ = ["EVALUATION_STEPS", "History", "advance", "train"]
