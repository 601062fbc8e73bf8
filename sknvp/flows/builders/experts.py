"""Densities that stand beside flows in an ensemble, and have nothing to train."""

from torch import Tensor

from ..bases import GaussianMixture, Kernels, StandardNormal, StudentT
from ..combine import Chain
from ..flow import Flow
from ..layers import AdditiveConditioning, LowRankWhiten, NormalScores, Whiten
from .tabular import standardized

Whitening = Whiten | LowRankWhiten


def gaussian_mixture(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    log_weights: Tensor,
    means: Tensor,
    precisions_cholesky: Tensor,
    scores: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Flow:
    """Build a Gaussian mixture per member.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    log_weights, means, precisions_cholesky : Tensor
        The mixtures in standardised units; see `bases.GaussianMixture`.
    scores : tuple (knots, scores, slopes) of Tensor, optional
        The splines to normal scores, if the mixtures are those of scores; see `layers.NormalScores`.
    """
    base = GaussianMixture(log_weights, means, precisions_cholesky)
    body = Chain() if scores is None else NormalScores(len(means), *scores)
    return standardized(loc, scale, columns, body, base, n_members=len(means))


def normal(loc: Tensor, scale: Tensor, columns: Tensor, whiten: Whitening) -> Flow:
    """Build a normal distribution per member.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    whiten : Whiten or LowRankWhiten
        The map from standardised units to standard normal noise.
    """
    return standardized(loc, scale, columns, whiten, StandardNormal(len(columns)), n_members=len(whiten.mean))


def kernels(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    whiten: Whitening,
    points: Tensor,
    log_weights: Tensor,
    bandwidth: float,
) -> Flow:
    """Build a kernel density estimate per member.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    whiten : Whiten or LowRankWhiten
        The map from standardised units to the coordinates in which all kernels have the same width.
    points : Tensor of shape (n_points, n_varying)
        The centres of the kernels in standardised units, the same for all members.
    log_weights, bandwidth
        The weights of the points and the width of the kernels; see `bases.Kernels`.
    """
    base = Kernels(whiten(points.expand(len(whiten.mean), -1, -1))[0], log_weights, bandwidth)
    return standardized(loc, scale, columns, whiten, base, n_members=len(whiten.mean))


def student_t(loc: Tensor, scale: Tensor, columns: Tensor, whiten: Whitening, degrees_of_freedom: int) -> Flow:
    """Build a multivariate t-distribution per member.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    whiten : Whiten or LowRankWhiten
        The map from standardised units to the noise, which holds location and shape of the distribution.
    degrees_of_freedom : int
        The degrees of freedom; see `bases.StudentT`.
    """
    base = StudentT(len(columns), degrees_of_freedom)
    return standardized(loc, scale, columns, whiten, base, n_members=len(whiten.mean))


def linear_regression(
    loc: Tensor,
    scale: Tensor,
    columns: Tensor,
    coefficients: Tensor,
    whiten: Whitening,
    degrees_of_freedom: int | None = None,
    periods: Tensor | None = None,
) -> Flow:
    """Build a normal or a multivariate t-distribution per member around a linear map of the context.

    Parameters
    ----------
    loc, scale, columns : Tensor
        Location, scale and varying columns; see `tabular.real_nvp`.
    coefficients : Tensor of shape (n_members, n_varying, n_context)
        The linear map in standardised units; see `layers.AdditiveConditioning`.
    whiten : Whiten or LowRankWhiten
        The map from the residuals of the regression to the noise.
    degrees_of_freedom : int, optional
        The degrees of freedom of the t-distribution of the noise, which is normal without them.
    periods : Tensor of shape (n_varying,), optional
        The periods of the columns in standardised units; see `layers.AdditiveConditioning`.
    """
    n_varying = len(columns)
    base = StandardNormal(n_varying) if degrees_of_freedom is None else StudentT(n_varying, degrees_of_freedom)
    body = Chain(AdditiveConditioning(coefficients, periods), whiten)
    return standardized(loc, scale, columns, body, base, n_members=len(whiten.mean))
