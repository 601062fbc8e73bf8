"""The reference estimator with one fault each, and the check that is there to find it."""

import copy
import multiprocessing
import threading
import warnings

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from .reference import Normal, NormalOfKnownCells

FAULTS = {}  # check's name for each class


def found_by(check):
    def remember(kind):
        FAULTS[kind] = check
        return kind

    return remember


@found_by("check_score_samples_returns_floats")
class ScoresInSinglePrecision(Normal):
    def _log_density(self, rows):
        return super()._log_density(rows).astype(np.float32)


@found_by("check_score_samples_returns_floats")
class ScoresInAColumn(Normal):
    def _log_density(self, rows):
        return super()._log_density(rows)[:, None]


@found_by("check_score_is_the_total")
class ScoreIsTheMean(Normal):
    def score(self, X, y=None):
        return float(self.score_samples(X).mean())


@found_by("check_integrates_to_one_in_one_dimension")
class DroppedConstant(Normal):
    def _log_density(self, rows):
        return super()._log_density(rows) + 0.5 * np.log(2 * np.pi)


@found_by("check_integrates_to_one_in_two_dimensions")
class JacobianOfOneColumnOnly(Normal):
    def _log_density(self, rows):
        return super()._log_density(rows) + np.log(self.scale_[1:]).sum()


@found_by("check_integrates_to_one_in_four_dimensions")
class ConstantForThreeColumns(Normal):
    def _log_density(self, rows):
        return super()._log_density(rows) + max(0, rows.shape[1] - 3) * 0.3


@found_by("check_units_shift_scores_by_the_jacobian")
class JacobianForgotten(Normal):
    def _log_density(self, rows):
        return super()._log_density(rows) + np.log(self.scale_).sum()


@found_by("check_translation_changes_no_score")
class VarianceAboutZero(Normal):
    def _learn(self, X, weights):
        super()._learn(X, weights)
        self.scale_ = np.sqrt((X**2).mean(0))


@found_by("check_rows_are_scored_one_by_one")
class ScoresHangOnTheBatch(Normal):
    def _log_density(self, rows):
        density = super()._log_density(rows)
        return density - 1e-3 * density.mean()


@found_by("check_sample_returns_rows")
class SampleReturnsAPair(Normal):
    def sample(self, n_samples=1, random_state=None):
        return super().sample(n_samples, random_state), np.zeros(n_samples)


@found_by("check_samples_follow_the_density_in_one_dimension")
class SamplesTooWide(Normal):
    def sample(self, n_samples=1, random_state=None):
        return self.loc_ + 1.1 * (super().sample(n_samples, random_state) - self.loc_)


@found_by("check_samples_follow_the_density_in_two_dimensions")
class SamplesWithoutCorrelation(Normal):
    def sample(self, n_samples=1, random_state=None):
        rows = super().sample(n_samples, random_state)
        return np.column_stack([np.roll(column, place) for place, column in enumerate(rows.T)])


@found_by("check_sample_random_state")
class SampleIgnoresRandomState(Normal):
    def sample(self, n_samples=1, random_state=None):
        return super().sample(n_samples)


@found_by("check_sample_random_state")
class SampleAlwaysTheSame(Normal):
    def sample(self, n_samples=1, random_state=None):
        return super().sample(n_samples, 0)


class SaysDiscrete(Normal):
    """It says that it finds discrete columns, and counts all as continuous."""

    def __init__(self, ridge=1e-6, discrete_features="auto", random_state=None):
        super().__init__(ridge, random_state)
        self.discrete_features = discrete_features


@found_by("check_probabilities_of_discrete_rows_add_up_to_one")
class DensitiesOfZerosAndOnes(SaysDiscrete):
    pass


@found_by("check_samples_are_possible_values")
class SamplesBetweenWholeNumbers(SaysDiscrete):
    pass


@found_by("check_whole_numbers_in_other_units_have_equal_probabilities")
class UnitsOfWholeNumbersCount(SaysDiscrete):
    pass


@found_by("check_marginals_add_up_to_one")
class KnownCellsAtTheMeansOfOthers(NormalOfKnownCells):
    def _log_density_of(self, row, known):
        return super()._log_density_of(np.where(known, row, self.loc_), known | True) if known.any() else 0.0


@found_by("check_marginals_are_integrals")
class MarginalsTooWide(NormalOfKnownCells):
    def _log_density_of(self, row, known):
        if known.all():
            return super()._log_density_of(row, known)
        return super()._log_density_of((row + self.loc_) / 2, known) - known.sum() * np.log(2)


@found_by("check_imputed_cells_follow_the_conditional_density")
class ImputesWithoutTheKnownCells(NormalOfKnownCells):
    def _drawn(self, row, known, n_samples, rng):
        drawn = rng.multivariate_normal(self.loc_, self._covariance(), n_samples)
        return np.where(known, row, drawn)


@found_by("check_missing_cells_of_other_rows_change_nothing")
class ScoresOfMissingCellsInTurn(NormalOfKnownCells):
    def _log_density(self, rows):
        return super()._log_density(rows) + 0.01 * np.isnan(rows).any(1).cumsum()


@found_by("check_rows_without_known_cells_score_zero")
class EmptyRowsScoreAtTheMean(NormalOfKnownCells):
    def _log_density_of(self, row, known):
        return super()._log_density_of(row if known.any() else self.loc_, known | (not known.any()))


@found_by("check_weights_equal_repetition")
class WeightsSquared(Normal):
    def _weights(self, X, sample_weight):
        return super()._weights(X, sample_weight) ** 2


@found_by("check_weights_are_heeded")
class WeightsIgnored(Normal):
    def _learn(self, X, weights):
        super()._learn(X, np.ones(len(X)))


@found_by("check_zero_weight_is_absence")
class ZeroWeightSeen(Normal):
    def _learn(self, X, weights):
        super()._learn(X, np.maximum(weights, 1e-3))


@found_by("check_weights_in_score_equal_repetition")
class ScoreIgnoresWeights(Normal):
    def score(self, X, y=None, sample_weight=None):
        return super().score(X)


@found_by("check_weights_in_score_equal_repetition")
class ScoreOfTheMeanWeight(Normal):
    def score(self, X, y=None, sample_weight=None):
        return super().score(X, y, None if sample_weight is None else np.divide(sample_weight, np.mean(sample_weight)))


@found_by("check_weights_in_score_equal_repetition")
class ScoreSeesZeroWeights(Normal):
    def score(self, X, y=None, sample_weight=None):
        return super().score(X, y, None if sample_weight is None else np.maximum(sample_weight, 1e-3))


@found_by("check_only_ratios_of_weights_matter")
class WeightsAddedToOne(Normal):
    def _weights(self, X, sample_weight):
        super()._weights(X, sample_weight)
        return np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=float) + 1


@found_by("check_weights_of_one_are_none")
class WeightsOfOneWidenTheDensity(Normal):
    def fit(self, X, y=None, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.scale_ = self.scale_ * (1 if sample_weight is None else 1.01)
        return self


@found_by("check_order_of_rows_in_fit")
class LaterRowsCountLess(Normal):
    def _learn(self, X, weights):
        super()._learn(X, weights * (1 - 0.5 * np.arange(len(X)) / len(X)))


@found_by("check_fit_leaves_weights_alone")
class WeightsNormalisedInPlace(Normal):
    def _weights(self, X, sample_weight):
        weights = super()._weights(X, sample_weight)
        if isinstance(sample_weight, np.ndarray) and sample_weight.flags.writeable:
            sample_weight /= sample_weight.sum()
        return weights


@found_by("check_bad_weights")
class NegativeWeightsTaken(Normal):
    def _weights(self, X, sample_weight):
        return super()._weights(X, None if sample_weight is None else np.abs(sample_weight))


@found_by("check_bad_weights_keep_the_last_fit")
class WritesIntoTheLastFit(Normal):
    def _weights(self, X, sample_weight):
        if hasattr(self, "factor_"):
            self.factor_[:] = 0
        return super()._weights(X, sample_weight)


@found_by("check_pickle")
class StateLostInPickling(Normal):
    def __getstate__(self):
        state = super().__getstate__()
        return {**state, "scale_": np.ones_like(state["scale_"])} if "scale_" in state else state


@found_by("check_pickle")
class LambdaInside(Normal):
    def _learn(self, X, weights):
        super()._learn(X, weights)
        self.volume_ = lambda: np.prod(self.scale_)


@found_by("check_deepcopy")
class CopiesShareTheirState(Normal):
    def _learn(self, X, weights):
        old = getattr(self, "factor_", None)
        super()._learn(X, weights)
        if old is not None and old.shape == self.factor_.shape:
            old[:] = self.factor_
            self.factor_ = old

    def __deepcopy__(self, memo):
        return copy.copy(self)


@found_by("check_joblib")
class WritesWhereItWasLoaded(Normal):
    def _log_density(self, rows):
        self.loc_ += 0.0
        return super()._log_density(rows)


_LEARNED = {}


@found_by("check_fresh_interpreter")
class StateInTheModule(Normal):
    def _learn(self, X, weights):
        super()._learn(X, weights)
        _LEARNED[self.factor_.tobytes()] = self.scale_
        del self.scale_

    def __getattr__(self, name):
        if name == "scale_" and "factor_" in vars(self):
            return _LEARNED[self.factor_.tobytes()]
        raise AttributeError(name)


@found_by("check_skops")
class ForeignTypeInside(Normal):
    def _learn(self, X, weights):
        super()._learn(X, weights)
        self.filter_ = warnings.WarningMessage("", UserWarning, "", 0)


@found_by("check_fit_returns_self")
class FitReturnsNothing(Normal):
    def fit(self, X, y=None, sample_weight=None):
        super().fit(X, y, sample_weight)


@found_by("check_y_is_ignored")
class HeedsY(Normal):
    def fit(self, X, y=None, sample_weight=None):
        return super().fit(X, y, y if sample_weight is None else sample_weight)


@found_by("check_fit_is_repeatable")
class DrawsFromTheGlobalGenerator(Normal):
    def _learn(self, X, weights):
        super()._learn(X + 1e-9 * np.random.standard_normal(X.shape), weights)  # noqa: NPY002


@found_by("check_refit_forgets")
class RefitContinues(Normal):
    def _learn(self, X, weights):
        last = getattr(self, "loc_", np.empty(0))
        super()._learn(X, weights)
        if last.shape == self.loc_.shape:
            self.loc_ = (self.loc_ + last) / 2


@found_by("check_fit_leaves_its_arguments_alone")
class FitCentresX(Normal):
    def fit(self, X, y=None, sample_weight=None):
        super().fit(X, y, sample_weight)
        if isinstance(X, np.ndarray) and X.flags.writeable:
            X -= self.loc_.astype(X.dtype)
        return self


@found_by("check_fit_leaves_its_arguments_alone")
class FitNeedsToWriteX(Normal):
    def fit(self, X, y=None, sample_weight=None):
        if isinstance(X, np.ndarray) and X.dtype == np.float64:
            X[0] = X[0].copy()
        return super().fit(X, y, sample_weight)


@found_by("check_fit_leaves_parameters_alone")
class FitChangesItsParameter(Normal):
    def _learn(self, X, weights):
        super()._learn(X, weights)
        self.ridge = max(self.ridge, 1e-5)


@found_by("check_scoring_and_sampling_change_nothing")
class CountsItsCalls(Normal):
    def _log_density(self, rows):
        self.n_calls_ = getattr(self, "n_calls_", 0) + 1
        return super()._log_density(rows)


@found_by("check_no_global_state")
class SeedsTheGlobalGenerator(Normal):
    def _learn(self, X, weights):
        np.random.seed(0)  # noqa: NPY002
        super()._learn(X, weights)


@found_by("check_no_global_state")
class SilencesNumPy(Normal):
    def _log_density(self, rows):
        np.seterr(divide="ignore")
        return super()._log_density(rows)


@found_by("check_no_global_state")
class SilencesWarnings(Normal):
    def _learn(self, X, weights):
        warnings.filterwarnings("ignore", "of its own accord")
        super()._learn(X, weights)


@found_by("check_processes")
class KnowsItsProcess(Normal):
    def _log_density(self, rows):
        return super()._log_density(rows) + (multiprocessing.current_process().name == "MainProcess")


@found_by("check_threads")
class KnowsItsThread(Normal):
    def _learn(self, X, weights):
        super()._learn(X, weights)
        self.scale_ = self.scale_ * (1 if threading.current_thread() is threading.main_thread() else 1.01)


@found_by("check_dtypes_in_fit")
class IntegersWrapAround(Normal):
    def fit(self, X, y=None, sample_weight=None):
        if getattr(X, "dtype", None) == np.int8:
            X = X * np.int8(2) / 2
        return super().fit(X, y, sample_weight)


@found_by("check_float32")
class HalfPrecisionForFloat32(Normal):
    def score_samples(self, X):
        X = np.asarray(X)
        return super().score_samples(X.astype(np.float16) if X.dtype == np.float32 else X)


@found_by("check_dtypes_in_scoring")
class IgnoresStrides(Normal):
    def score_samples(self, X):
        if isinstance(X, np.ndarray) and X.ndim == 2 and not X.flags.c_contiguous:
            X = X.ravel("K").reshape(X.shape)
        return super().score_samples(X)


@found_by("check_memory_maps")
class NeedsToWriteRows(Normal):
    def score_samples(self, X):
        if isinstance(X, np.ndarray) and X.dtype == np.float64 and X.ndim == 2:
            X.flags.writeable = True
        return super().score_samples(X)


@found_by("check_data_frames")
class ReadsTheIndex(Normal):
    def score_samples(self, X):
        return super().score_samples(X.sort_index() if hasattr(X, "sort_index") else X)


@found_by("check_feature_names")
class NamesUnchecked(Normal):
    def score_samples(self, X):
        return super().score_samples(np.asarray(X) if hasattr(X, "columns") else X)


@found_by("check_rows_far_away")
class NaNFarAway(Normal):
    def _log_density(self, rows):
        density = super()._log_density(rows)
        return np.where(density < -1e20, density * np.nan, density)


@found_by("check_rows_far_away")
class FlatFarAway(Normal):
    def _log_density(self, rows):
        return np.maximum(super()._log_density(rows), -1e20)


@found_by("check_rows_far_away_in_float32")
class SquaresOverflowInFloat32(Normal):
    def fit(self, X, y=None, sample_weight=None):
        self.dtype_ = np.asarray(X).dtype
        return super().fit(X, y, sample_weight)

    def _log_density(self, rows):
        density = super()._log_density(rows)
        return density.astype(np.float32).astype(np.float64) if self.dtype_ == np.float32 else density


@found_by("check_extreme_units")
class VarianceByADifference(Normal):
    def _learn(self, X, weights):
        super()._learn(X, weights)
        mean, of_squares = (np.average(power, axis=0, weights=weights) for power in (X, X**2))
        self.scale_ = np.sqrt(of_squares - mean**2)


@found_by("check_degenerate_tables")
class NoRidge(Normal):
    def _ridge(self):
        return 0.0


@found_by("check_gross_outlier")
class FlatWithOutliers(Normal):
    def _log_density(self, rows):
        return super()._log_density(rows) if self.scale_.max() < 1e3 else np.full(len(rows), -40.0)


@found_by("check_not_fitted")
class SamplesUnfitted(Normal):
    def sample(self, n_samples=1, random_state=None):
        return super().sample(n_samples, random_state) if hasattr(self, "loc_") else np.zeros((n_samples, 1))


@found_by("check_bad_rows_in_fit")
class FitTakesNaN(Normal):
    def fit(self, X, y=None, sample_weight=None):
        return super().fit(np.nan_to_num(X) if getattr(X, "dtype", None) == np.float64 else X, y, sample_weight)


@found_by("check_bad_rows_in_scoring")
class ScoresNaN(Normal):
    def score_samples(self, X):
        check_is_fitted(self)
        return self._log_density(validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=False))


@found_by("check_number_of_columns")
class ColumnsUncounted(Normal):
    def score_samples(self, X):
        check_is_fitted(self)
        rows = np.asarray(X, dtype=float)
        return super().score_samples(rows[:, : self.n_features_in_] if rows.ndim == 2 else X)


@found_by("check_failed_fit_keeps_the_last")
class FailedFitLosesTheLast(Normal):
    def fit(self, X, y=None, sample_weight=None):
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        return super().fit(X, y, sample_weight)


@found_by("check_bad_n_samples")
class AnyNumberOfSamples(Normal):
    def sample(self, n_samples=1, random_state=None):
        return super().sample(max(1, int(n_samples)), random_state)
