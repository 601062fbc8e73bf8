"""How a fit went: losses and validation scores."""

from typing import Any, Self

import numpy as np

from .style import BLUE, ORANGE, Style, pyplot, styled


class TrainingDisplay:
    """The loss in training and on the rows held out, by which a fit is seen to have settled, or to overfit.

    Make one with :meth:`from_estimator`. A fit is evaluated every 25 batches, and a stream after every epoch. Whenever
    no evaluation has improved for a while, training goes back to the best weights with a lower learning rate: there the
    curves jump.

    Read more in the :doc:`User Guide </displays>`.

    Parameters
    ----------
    loss_curve : array-like of shape (n_evaluations,)
        Mean negative log-likelihoods in training, in nats a row.
    validation_scores : array-like of shape (n_evaluations,) or None
        Mean log-likelihoods of the rows held out, in nats a row; None if no rows were held out.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of ``ax_``.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sknvp import RealNVPDensity, TrainingDisplay
    >>> X, _ = make_moons(200, noise=0.1, random_state=0)
    >>> density = RealNVPDensity(n_estimators=1, random_state=0).fit(X)
    >>> display = TrainingDisplay.from_estimator(density)
    >>> len(display.loss_curve) == len(display.validation_scores)
    True
    """

    def __init__(self, *, loss_curve: Any, validation_scores: Any = None) -> None:
        self.loss_curve = loss_curve
        self.validation_scores = validation_scores

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, loss_kw: Style = None, validation_kw: Style = None
    ) -> Self:
        """Draw the ``loss_curve_`` and the ``validation_scores_`` of an estimator.

        Parameters
        ----------
        estimator : fitted estimator with ``loss_curve_``
            One with flows that was fitted to rows.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        loss_kw : dict, default=None
            Keywords for ``Axes.plot`` of the loss.
        validation_kw : dict, default=None
            Keywords for ``Axes.plot`` of the validation scores.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        ValueError
            If the estimator has no ``loss_curve_``.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("TrainingDisplay")
        if not hasattr(estimator, "loss_curve_"):
            raise ValueError(
                "TrainingDisplay draws the loss_curve_ of a fitted estimator, got none from "
                f"{type(estimator).__name__}. Call fit, and of a pipeline pass the last step, pipeline[-1]. "
                "A VariationalRealNVP has elbo_curve_ instead, to be drawn by matplotlib."
            )
        scores = getattr(estimator, "validation_scores_", None)
        return cls(loss_curve=estimator.loss_curve_, validation_scores=scores).plot(
            ax=ax, loss_kw=loss_kw, validation_kw=validation_kw
        )

    def plot(self, *, ax: Any = None, loss_kw: Style = None, validation_kw: Style = None) -> Self:
        """Draw the display. The validation scores are drawn as losses: their negatives.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        loss_kw : dict, default=None
            Keywords for ``Axes.plot`` of the loss.
        validation_kw : dict, default=None
            Keywords for ``Axes.plot`` of the validation scores.

        Returns
        -------
        self : TrainingDisplay
        """
        self.ax_ = pyplot("TrainingDisplay").subplots()[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        curves = [(np.asarray(self.loss_curve), styled(loss_kw, color=BLUE, label="training"))]
        if self.validation_scores is not None:
            look = styled(validation_kw, color=ORANGE, linestyle="--", label="held-out rows")
            curves.append((-np.asarray(self.validation_scores), look))
        for losses, look in curves:
            self.ax_.plot(np.arange(1, len(losses) + 1), losses, **look)
        self.ax_.set(xlabel="evaluation", ylabel="negative log-likelihood, nats a row")
        self.ax_.legend()
        return self
