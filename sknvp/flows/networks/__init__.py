"""The networks that compute the parameters of couplings."""

from .perceptron import Conditioner
from .residual import ResidualNetwork

__all__ = ["Conditioner", "ResidualNetwork"]
