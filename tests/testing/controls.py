"""What scikit-learn's own density estimators fail, each with the reason."""

from copy import copy

import sklearn
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.utils.fixes import parse_version

IS_OLD = parse_version(sklearn.__version__) < parse_version("1.7")


class TunedMixture(GaussianMixture):
    """scikit-learn's mixture in the grammar of KernelDensity: the total as score, rows alone as samples, seeded."""

    def score(self, X, y=None):
        return float(self.score_samples(X).sum())

    def sample(self, n_samples=1, random_state=None):
        twin = copy(self).set_params(random_state=random_state)
        return super(TunedMixture, twin).sample(n_samples)[0]


# KernelDensity()
OF_KERNELS = {
    "check_units_shift_scores_by_the_jacobian": "the bandwidth, 1, is in units of the columns",
    "check_bad_weights_keep_the_last_fit": "a fit that failed by its weights leaves n_features_in_ behind",
    "check_scoring_and_sampling_change_nothing": "the tree counts calls, so that pickles differ after scoring",
    "check_not_fitted": "after a first fit that failed score_samples raises AttributeError",
    "check_bad_n_samples": "n_samples=0 is taken",
}
OF_KERNELS_IN_OLD_VERSIONS = {"check_bad_weights": "weights that are all zero are taken"}

# GaussianMixture(n_components=2), in the grammar of KernelDensity
NO_WEIGHTS = "fit takes no sample_weight"
OF_A_MIXTURE = {
    "check_units_shift_scores_by_the_jacobian": "reg_covar, 1e-6, is in squared units of the columns",
    "check_weights_equal_repetition": NO_WEIGHTS,
    "check_zero_weight_is_absence": NO_WEIGHTS,
    "check_weights_are_heeded": NO_WEIGHTS,
    "check_only_ratios_of_weights_matter": NO_WEIGHTS,
    "check_weights_of_one_are_none": NO_WEIGHTS,
    "check_fit_leaves_weights_alone": NO_WEIGHTS,
    "check_bad_weights": NO_WEIGHTS,
    "check_bad_weights_keep_the_last_fit": NO_WEIGHTS,
    "check_order_of_rows_in_fit": "k-means starts from rows chosen by their place",
    "check_bad_n_samples": "n_samples=1.5 is taken",
}
OF_A_MIXTURE_IN_NEW_VERSIONS = {
    "check_float32": "a mixture fitted in float32 scores in float32",
    "check_dtypes_in_scoring": "integer rows get wrong scores: the means are rounded to their type",
}

# GaussianMixture(n_components=2) as it is
NO_SEED = "sample takes no random_state, and returns a pair"
OF_A_MIXTURE_AS_IT_IS = {
    **OF_A_MIXTURE,
    "check_score_is_the_total": "score is the mean",
    "check_sample_returns_rows": NO_SEED,
    "check_samples_follow_the_density_in_one_dimension": NO_SEED,
    "check_samples_follow_the_density_in_two_dimensions": NO_SEED,
    "check_sample_random_state": NO_SEED,
    "check_pickle": NO_SEED,
    "check_deepcopy": NO_SEED,
    "check_joblib": NO_SEED,
    "check_fresh_interpreter": NO_SEED,
    "check_skops": NO_SEED,
    "check_y_is_ignored": NO_SEED,
    "check_fit_is_repeatable": NO_SEED,
    "check_refit_forgets": NO_SEED,
    "check_fit_leaves_parameters_alone": NO_SEED,
    "check_scoring_and_sampling_change_nothing": NO_SEED,
    "check_no_global_state": NO_SEED,
    "check_threads": NO_SEED,
    "check_extreme_units": NO_SEED,
    "check_degenerate_tables": NO_SEED,
    "check_gross_outlier": NO_SEED,
    "check_failed_fit_keeps_the_last": NO_SEED,
}

# end
CONTROLS = [
    (KernelDensity(), {**OF_KERNELS, **(OF_KERNELS_IN_OLD_VERSIONS if IS_OLD else {})}),
    (TunedMixture(2), {**OF_A_MIXTURE, **({} if IS_OLD else OF_A_MIXTURE_IN_NEW_VERSIONS)}),
    (GaussianMixture(2), {**OF_A_MIXTURE_AS_IT_IS, **({} if IS_OLD else OF_A_MIXTURE_IN_NEW_VERSIONS)}),
]
