"""How flows learn from rows: what they start as, what they are trained and validated on, what is kept of training."""

import copy
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from . import _parameters as rule
from ._base import FlowEstimator, to_tensor
from ._callbacks import Task
from ._rows import distinct, location_and_scale, validation_rows
from ._state import build_flow, loaded_flow, saved_flow
from .flows import Flow, StandardNormal
from .flows.caller import warn_caller
from .flows.masks import MASKS
from .flows.objectives import NegativeLogLikelihood, heavy_tail
from .flows.recipes import of_standardised
from .flows.training import CHECK_STEPS, History, advance, train

ARCHITECTURE = (
    "n_layers",
    "hidden_layer_sizes",
    "activation",
    "coupling",
    "mask",
    "batch_norm",
    "standardize",
    "n_estimators",
)
MAX_STEPS = 3000  # gradient steps, at most, where max_iter is "auto"
REACH = 1e4  # standard deviations


class FlowLearner(FlowEstimator):
    """An estimator whose flow is trained on rows by maximum likelihood, at once or in a stream."""

    _unsettled: ClassVar[str] = (
        "Raise max_iter or learning_rate_init; if it never settles, look for columns that are discrete or determine "
        "each other."
    )
    _architecture: dict[str, Any]
    _moments: dict[str, NDArray[Any]]
    _n_continued: int
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    _split_seed: int

    @property
    def _continues(self) -> bool:
        """Whether `fit` goes on from an earlier one."""
        return self.warm_start and hasattr(self, "_flow")

    def _as_trained_on(self, X: NDArray[Any], weights: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The distinct rows and their weights; all rows with batch normalisation, which heeds no weights."""
        if self.batch_norm:
            return X[weights > 0], weights[weights > 0]
        return distinct(X, weights)

    def _fit_flow(
        self,
        X: NDArray[Any],
        weights: NDArray[np.float64],
        rng: np.random.RandomState,
        device: torch.device,
        task: Task,
    ) -> NDArray[np.bool_]:
        """Set the recipe, the flow and all that training tells, from rows of positive weight.

        Returns which rows each member was validated on, shape (n_members, n_rows).
        """
        generator = self._generator(rng, self._continues)
        flow = self._starting_flow(X, weights, rng, generator, device, self._continues)
        learner = self._learner(flow)
        validation = self._validation_rows(X, weights, flow.n_members)
        objective = self._objective(learner, X, weights, validation, generator)
        max_steps = MAX_STEPS if self.max_iter == "auto" else int(self.max_iter) * objective.n_batches
        looks = task.part("train", -(-max_steps // CHECK_STEPS)).begin()
        history = train(
            learner,
            objective,
            learning_rate=float(self.learning_rate_init),
            alpha=float(self.alpha),
            max_steps=max_steps,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            on_check=partial(self._look, flow, looks),
        )
        looks.end()
        self._flow, self._moments = self._finished(flow), {}
        self.n_iter_ = -(-history.n_steps // objective.n_batches)
        self._keep(history)
        return validation

    def _look(self, flow: Flow, looks: Task, history: History) -> bool:
        """Tell of training, by printing and to callbacks; whether one of these asks to stop."""
        if self.verbose:
            report(history)
        return looks.part("look").begin().end(fitted=lambda: self._as_fitted(self._finished(copy.deepcopy(flow))))

    def _as_fitted(self, flow: Flow) -> dict[str, Any]:
        """The attributes of an estimator that is fitted as far as the flow is trained."""
        raise NotImplementedError

    def _advance_flow(
        self, X: NDArray[Any], weights: NDArray[np.float64], rng: np.random.RandomState, device: torch.device
    ) -> None:
        """Train the flow, or a new one, for one epoch on rows of positive weight, all of them for every member."""
        continues = hasattr(self, "_flow")
        generator = self._generator(rng, continues)
        flow = self._starting_flow(X, weights, rng, generator, device, continues)
        learner = self._learner(flow)
        objective = self._objective(learner, X, weights, np.zeros((flow.n_members, len(X)), dtype=bool), generator)
        moments = {name: torch.tensor(array, device=device) for name, array in getattr(self, "_moments", {}).items()}
        loss = advance(
            learner,
            objective,
            learning_rate=float(self.learning_rate_init),
            alpha=float(self.alpha),
            n_steps=objective.n_batches,
            moments=moments,
        )
        self._flow = self._finished(flow)
        self._moments = {name: value.cpu().numpy().copy() for name, value in moments.items()}
        if not continues:
            self._keep(History(interrupted=True))
            self.n_iter_ = 0
        self.validation_scores_ = self.best_validation_score_ = None
        self.n_iter_ += 1
        self.loss_curve_ = [*self.loss_curve_, loss] if np.isfinite(loss) else self.loss_curve_
        if self.verbose:
            print(f"Epoch {self.n_iter_}, loss = {loss:.8f}")

    def _generator(self, rng: np.random.RandomState, continues: bool) -> torch.Generator:
        """The source of all that is random in a training; another each time it continues, whatever `random_state`."""
        self._n_continued = getattr(self, "_n_continued", 0) + 1 if continues else 0
        return torch.Generator().manual_seed(int(rng.randint(2**31 - 1)) + self._n_continued)

    def _learner(self, flow: Flow) -> Flow:
        """The part of a flow behind its standardisation, which learns in single precision: twice as fast as double.

        It shares its parts with the flow, which is unfit for use until `_finished`.
        """
        return of_standardised(flow).to(torch.float32 if self.standardize else flow.like.dtype)

    def _finished(self, flow: Flow) -> Flow:
        """The flow, in place, in the precision that it is to have."""
        return flow.to(getattr(torch, self._recipe["dtype"]))

    def _objective(
        self,
        flow: Flow,
        X: NDArray[Any],
        weights: NDArray[np.float64],
        validation: NDArray[np.bool_],
        generator: torch.Generator,
    ) -> NegativeLogLikelihood:
        x, tail = self._standardised(X, weights, flow.like)
        return NegativeLogLikelihood(
            flow,
            x,
            to_tensor(weights, flow.like),
            tail,
            torch.tensor(validation, device=flow.like.device),
            batch_size=int(self.batch_size),
            generator=generator,
            log_det=-float(np.log(self._recipe["scale"]).sum()),
        )

    def _standardised(self, X: NDArray[Any], weights: NDArray[np.float64], like: Tensor) -> tuple[Tensor, Tensor]:
        """Rows as the flow standardises them, and their `heavy_tail` in these units.

        One beyond `REACH`, which teaches a flow nothing, is put there. So numbers stay far from overflow.
        """
        loc, scale = (self._recipe[name].astype(self._recipe["dtype"]).astype(np.float64) for name in ("loc", "scale"))
        centre, spread = np.zeros_like(loc), np.ones_like(scale)
        if not self.standardize:
            centre, spread, _ = location_and_scale(X, weights)
        with np.errstate(over="ignore"):
            z = np.clip((X - loc) / scale, centre - REACH * spread, centre + REACH * spread)
        x, columns = to_tensor(z, like), self._recipe["columns"]
        tail = heavy_tail(x[:, columns], to_tensor(centre[columns], like), to_tensor(spread[columns], like))
        others = np.setdiff1d(np.arange(X.shape[1]), columns)  # which count in the tail as they do in the flow
        return x, tail + StandardNormal(len(others)).log_prob(x[:, others])

    def _starting_flow(
        self,
        X: NDArray[Any],
        weights: NDArray[np.float64],
        rng: np.random.RandomState,
        generator: torch.Generator,
        device: torch.device,
        continues: bool,
    ) -> Flow:
        """A copy of the flow fitted before if that is to go on, else a new one."""
        if self.batch_norm and np.ptp(weights):
            raise ValueError(
                "batch_norm must be False if sample_weight tells rows apart, since the statistics of a batch heed no "
                f"weights; got {self.batch_norm!r} and weights that differ."
            )
        if continues:
            self._check_architecture()
            self._recipe = {**self._recipe, "dtype": X.dtype.name}
            return loaded_flow(self._recipe, saved_flow(self._flow), device)
        self._architecture = self._present_architecture()
        self._split_seed = int(rng.randint(2**31 - 1))
        self._recipe = self._new_recipe(X, weights, generator)
        return build_flow(self._recipe, device, generator)

    def _validation_rows(self, X: NDArray[Any], weights: NDArray[np.float64], n_members: int) -> NDArray[np.bool_]:
        """What each member holds out, shape (n_members, n_rows); the same at every fit to the same rows."""
        if not self.early_stopping:
            return np.zeros((n_members, len(X)), dtype=bool)
        return validation_rows(X, weights, n_members, self.validation_fraction, np.random.RandomState(self._split_seed))

    def _new_recipe(self, X: NDArray[Any], weights: NDArray[np.float64], generator: torch.Generator) -> dict[str, Any]:
        """The recipe's kind and arguments for these rows, as NumPy arrays and plain values, and the dtype."""
        n_features = X.shape[1]
        loc, scale, varies = location_and_scale(X, weights)
        if not self.standardize:
            loc, scale = np.zeros(n_features), np.ones(n_features)
        columns = np.flatnonzero(varies)
        if isinstance(self.mask, str):
            masks = MASKS[self.mask](self.n_estimators, self.n_layers, len(columns), generator).numpy()
        else:
            own = rule.check_mask(self.mask, (self.n_layers, n_features))[:, columns]
            masks = np.repeat(own[None], self.n_estimators, axis=0)
        return {
            "kind": "real_nvp",
            "loc": loc,
            "scale": scale,
            "columns": columns,
            "masks": masks,
            "hidden_layer_sizes": np.atleast_1d(self.hidden_layer_sizes).tolist(),
            "activation": self.activation,
            "coupling": self.coupling,
            "batch_norm": bool(self.batch_norm),
            "dtype": X.dtype.name,
        }

    def _present_architecture(self) -> dict[str, Any]:
        """The settings that a fitted flow cannot change any more, as plain values."""
        values = {name: getattr(self, name) for name in ARCHITECTURE if name in self._rules}
        return {name: v if isinstance(v, str) else np.asarray(v).tolist() for name, v in values.items()}

    def _check_architecture(self) -> None:
        """Raise a ValueError if the settings no longer describe the fitted flow."""
        now = self._present_architecture()
        for name, fitted in self._architecture.items():
            if now[name] != fitted:
                raise ValueError(
                    f"{name} must stay {fitted!r} to continue the fitted flow, got {now[name]!r}. "
                    "Call fit with warm_start=False to start afresh."
                )

    def _keep(self, history: History) -> None:
        """Fitted attributes from what happened in training, and a warning if it had not settled."""
        if "loc" in self._recipe:
            self.loc_, self.scale_ = self._recipe["loc"].copy(), self._recipe["scale"].copy()
        self.loss_curve_ = history.losses
        self.validation_scores_ = [-loss for loss in history.validation_losses] if self.early_stopping else None
        best = history.best_validation_loss
        self.best_validation_score_ = None if best is None else -best
        if not (history.converged or history.interrupted or self.max_iter == "auto"):
            warn_caller(
                f"Training had not settled after max_iter={self.max_iter} epochs; the density is usable. "
                f"{self._unsettled}",
                ConvergenceWarning,
            )


def report(history: History) -> bool:
    """Print a look at the loss as scikit-learn's `MLPRegressor` does; never a reason to stop."""
    print(f"Step {history.n_steps}, loss = {history.losses[-1]:.8f}")
    if history.validation_losses:
        print(f"Validation score: {-history.validation_losses[-1]:f}")
    return False
