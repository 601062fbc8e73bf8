"""What estimators share that carry rows to noise and back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from torch import Tensor

from ._base import to_tensor
from ._rows import in_chunks
from ._state import no_autocast
from .flows import Flow


class LatentMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):  # type: ignore[misc]
    """A transformer by one flow: as many columns of noise as of data, with names of their own."""

    _flow: Flow
    n_features_in_: int

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_)

    def _check_noise(self, X: ArrayLike, dtype: Any) -> NDArray[Any]:
        """X, checked to be noise."""
        noise: NDArray[Any] = check_array(X, dtype=dtype, estimator=self, input_name="X")
        if noise.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must have as many columns of noise as there are features, {self.n_features_in_}, got "
                f"{noise.shape[1]}."
            )
        return noise

    def _carried(
        self, rows: NDArray[Any], function: Callable[[Tensor], tuple[Tensor, Tensor]], dtype: Any
    ) -> NDArray[Any]:
        """What each row becomes, in chunks; the values of a column lie together on the way, as in `Flow.log_prob`."""
        carried = np.empty(rows.shape, dtype)
        with torch.no_grad(), no_autocast():
            for chunk in in_chunks(len(rows), self._flow.chunk_size):
                x = to_tensor(rows[chunk].T, self._flow.like).mT.unsqueeze(0)
                carried[chunk] = function(x)[0][0].cpu().numpy()
        return carried
