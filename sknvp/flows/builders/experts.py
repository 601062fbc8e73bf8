"""Densities that stand beside flows in an ensemble, and have nothing to train."""

from torch import Tensor

from ..bases import GaussianMixture, Kernels, StudentT
from ..combine import Chain
from ..flow import Flow
from ..layers import AdditiveConditioning, Whiten
from .tabular import standardized


def gaussian_mixture(
    loc: Tensor, scale: Tensor, columns: Tensor, log_weights: Tensor, means: Tensor, precisions_cholesky: Tensor
) -> Flow:
    """Build a Gaussian mixture per member.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    log_weights, means, precisions_cholesky : Tensor
        The mixtures in standardised units; see `bases.GaussianMixture`.
    """
    base = GaussianMixture(log_weights, means, precisions_cholesky)
    return standardized(loc, scale, columns, Chain(), base, n_members=len(means))


def kernels(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    mean: Tensor,
    precision_cholesky: Tensor,
    points: Tensor,
    log_weights: Tensor,
    bandwidth: float,
) -> Flow:
    """Build a kernel density estimate per member.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    mean, precision_cholesky : Tensor
        The coordinates in which all kernels have the same width; see `layers.Whiten`.
    points : Tensor of shape (n_points, n_varying)
        The centres of the kernels in standardised units, the same for all members.
    log_weights, bandwidth
        The weights of the points and the width of the kernels; see `bases.Kernels`.
    """
    whiten = Whiten(mean, precision_cholesky)
    base = Kernels(whiten(points.expand(len(mean), -1, -1))[0], log_weights, bandwidth)
    return standardized(loc, scale, columns, whiten, base, n_members=len(mean))


def student_t(
    loc: Tensor, scale: Tensor, columns: Tensor, mean: Tensor, precision_cholesky: Tensor, degrees_of_freedom: int
) -> Flow:
    """Build a multivariate t-distribution per member.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    mean, precision_cholesky : Tensor
        The location and the shape of the distribution in standardised units; see `layers.Whiten`.
    degrees_of_freedom : int
        The degrees of freedom; see `bases.StudentT`.
    """
    base = StudentT(len(columns), degrees_of_freedom)
    return standardized(loc, scale, columns, Whiten(mean, precision_cholesky), base, n_members=len(mean))


def linear_regression(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    coefficients: Tensor,
    mean: Tensor,
    precision_cholesky: Tensor,
    degrees_of_freedom: int,
) -> Flow:
    """Build a multivariate t-distribution per member around a linear map of the context.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    coefficients : Tensor of shape (n_members, n_varying, n_context)
        The linear map in standardised units; see `layers.AdditiveConditioning`.
    mean, precision_cholesky, degrees_of_freedom
        The distribution of the residuals of the regression; see `student_t`.
    """
    base = StudentT(len(columns), degrees_of_freedom)
    body = Chain(AdditiveConditioning(coefficients), Whiten(mean, precision_cholesky))
    return standardized(loc, scale, columns, body, base, n_members=len(mean))
