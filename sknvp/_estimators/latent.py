"""The methods of estimators that carry rows to noise and back."""

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from torch import Tensor

from ..flows import Flow
from .evaluation import evaluate


class LatentMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):  # type: ignore[misc]
    """A transformer by one flow; its columns of noise are as many as those of the data, and have their own names."""

    _flow: Flow
    n_features_in_: int

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_)

    def _check_noise(self, X: ArrayLike, dtype: Any) -> NDArray[Any]:
        """Check that X has the shape of noise, and return it as an array of that dtype."""
        noise: NDArray[Any] = check_array(X, dtype=dtype, estimator=self, input_name="X")
        if noise.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must have as many columns of noise as there are features, {self.n_features_in_}, got "
                f"{noise.shape[1]}."
            )
        return noise

    def _carry_rows(
        self, rows: NDArray[Any], function: Callable[[Tensor], tuple[Tensor, Tensor]], dtype: Any
    ) -> NDArray[Any]:
        """Carry each row through one direction of the flow, with the values of a column side by side in memory."""

        def carry(x: Tensor) -> Tensor:
            return function(x.mT.contiguous().mT.unsqueeze(0))[0][0]

        return evaluate(carry, self._flow, rows).astype(dtype, copy=False)
