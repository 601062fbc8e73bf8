"""Flows of rows in double precision that compute in single precision."""

from functools import cached_property

from torch import Tensor

from ..combine import Chain, InSinglePrecision
from ..flow import Flow


class SinglePrecision(Flow):
    """A copy of a flow of `builders.tabular` that computes in float32 whatever follows the standardisation.

    Where the native library can run that part, it computes the log-densities.

    Parameters
    ----------
    flow : Flow
        The flow, which stays as it is.
    """

    # A chunk has this many times the rows of a chunk of `Flow`, since the native library computes them in small blocks.
    N_CHUNKS = 4

    def __init__(self, flow: Flow) -> None:
        standardize, body = flow.transform.get_submodule("transforms").children()
        chain = Chain(standardize, InSinglePrecision(body))  # type: ignore[arg-type]
        super().__init__(chain, flow.base, flow.n_members)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is not None:
            return super().log_prob(x, context)
        standardize, single = self.transform.get_submodule("transforms").children()
        z, log_det = standardize(x if x.ndim == 3 else x.unsqueeze(0))
        rows = z.float().expand(self.n_members, -1, -1)
        program = Flow(single.transform, self.base, self.n_members).program(rows)  # type: ignore[arg-type]
        if program is None:
            return super().log_prob(x)
        log_prob: Tensor = program.log_prob(rows.mT, None) + log_det
        return log_prob

    @cached_property
    def chunk_size(self) -> int:
        return self.N_CHUNKS * super().chunk_size
