"""Tables without their least likely rows, for densities that outliers among the rows must not spoil."""

import torch
from torch import Tensor

from .._experts.table import Table


def without_least_likely(table: Table, log_density: Tensor, share: float) -> Table:
    """Give the least likely rows a weight of zero; they have at most this share of the weight of all rows.

    Parameters
    ----------
    table : Table
        The rows.
    log_density : Tensor of shape (n_rows,)
        The log-density of each row by densities that were fitted without it. Rows whose log-density is NaN stay. Of
        equally likely rows all go or all stay.
    share : float
        Between 0 and 1.

    References
    ----------
    P. J. Rousseeuw, "Least median of squares regression", J. Am. Stat. Assoc. 79, 1984.
    L. A. García-Escudero, A. Gordaliza, C. Matrán and A. Mayo-Iscar, "A general trimming approach to robust cluster
    analysis", Annals of Statistics 36, 2008.
    """
    levels, level = torch.unique(log_density.nan_to_num(torch.inf), return_inverse=True)
    up_to = torch.zeros(len(levels), dtype=table.weights.dtype).index_add_(0, level, table.weights).cumsum(0)
    few = up_to <= share * up_to[-1] * (1 + 1e-9)
    return table._replace(weights=table.weights * ~few[level])
