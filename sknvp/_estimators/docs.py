"""The one source of what docstrings say of parameters and attributes that several estimators share."""

import inspect
import re
from typing import TypeVar

Class = TypeVar("Class", bound=type)

PARAMETERS: dict[str, tuple[str, str]] = {  # the type and the description of each; the default comes from the signature
    "n_layers": ("int", "Number of coupling layers of each flow."),
    "hidden_layer_sizes": (
        "int or sequence of int",
        "Widths of the hidden layers of the network in each coupling.",
    ),
    "activation": (
        '{"elu", "leaky_relu", "relu", "silu", "tanh"}',
        'Activation of the hidden layers; "leaky_relu" has the slope 0.2 below zero.',
    ),
    "coupling": (
        '{"affine", "spline"} or callable',
        """The map that a coupling applies to a column: a scale and a shift (Real NVP), or a monotone
        rational-quadratic spline (neural spline flow), which takes two to three times as long for a better fit. With
        splines, trained linear maps mix the columns between the layers. With a name, a single column
        always gets splines, since scaling and shifting a normal distribution gives nothing but another normal
        distribution. A map of your own is a subclass of :class:`sknvp.flows.Coupling`, or a function that makes
        one.""",
    ),
    "base": (
        '"normal" or callable',
        """The distribution of the noise: the standard normal distribution, or one of your own, by a subclass of
        :class:`sknvp.flows.Base` or another function of the number of columns that makes one, such as
        ``functools.partial(StudentT, degrees_of_freedom=4)``.""",
    ),
    "mask": (
        '{"random", "alternating", "half"} or array of shape (n_layers, n_features)',
        """The columns that condition (one) and the columns that are transformed (zero) in each layer. "random" draws
        two new halves for every two layers of every flow (two columns just alternate), "alternating" takes even and
        odd columns in turn, "half" takes the first and the second half in turn.""",
    ),
    "batch_norm": (
        "bool",
        """Whether running statistics of the batches normalise the columns between every two couplings, as in the Real
        NVP paper. Then all rows must have equal weight, apart from those of weight zero.""",
    ),
    "standardize": (
        "bool",
        "Whether the mean of each column is subtracted and the result is divided by its standard deviation first.",
    ),
    "discrete_features": (
        '"auto", None or array-like of bool, int or str',
        """The columns that are discrete: a mask, their numbers or their names; None for none. "auto" finds them:
        strings, booleans, categories and integers of a DataFrame, and other numbers that are all whole and of which
        some repeat. It also finds the zeros of zero-inflated columns, which have a probability. `score_samples` then
        gives the log-probability of discrete columns and such zeros, together with the log-density of the others, and
        draws have values that can be. The page "Columns that are not continuous" says more.""",
    ),
    "bounds": (
        "None or tuple (low, high) of floats or array-likes of shape (n_features,)",
        """The least and the greatest number that each column can hold, -inf and inf where there is no end to it, as in
        :class:`scipy.optimize.Bounds`. The flows then model ``log(x - low)``, ``-log(high - x)``, or with two bounds
        ``Phi^-1((x - low) / (high - low))``, where ``Phi`` is the distribution function of the standard normal
        distribution. The Jacobian is part of every log-density. Draws lie between the bounds. A number outside takes 69
        nats off, as does a bound itself if no row had it in `fit`; otherwise it has a probability. Categories have no
        bounds.""",
    ),
    "periods": (
        "None, dict or array-like of float, of shape () or (n_features,)",
        """The periods of columns of angles, hours, longitudes and the like: ``dict(hour=24)`` by the names or numbers
        of the columns, or a number for each column, with None where there is no period. The density is equal at numbers
        that lie a period apart, and integrates to one over one period. Draws lie between zero and the period, or if
        the column has negative numbers between minus and plus half of it. Columns with a period have no bounds.""",
    ),
    "n_estimators": (
        "int",
        "Number of flows. The density is the mean of theirs, which is weighted where there is ``stacking``.",
    ),
    "stacking": (
        "bool",
        """Whether Gaussian mixtures, kernels and a t-distribution stand beside the flows. One mixture is of the columns
        as they are, and one of their normal scores. Each is fitted once for each flow, to the rows that this flow is
        trained on, and compared on the rows held out; numbers of components, bandwidths and the like are chosen there
        too. The flows get weights of their own, which differ as far as the rows tell them apart. A mixture or kernels
        that get less than a hundredth of the weight are left out, while the t-distribution keeps a thousandth at least.
        At most 10,000 rows, drawn by their weights, are used for all this. Stacking needs ``early_stopping``, without
        which nothing is held out and the flows stay alone, with equal weights.""",
    ),
    "alpha": (
        "float",
        """Strength of the decoupled L2 penalty (AdamW): each step shrinks weights and biases by ``alpha`` times the
        learning rate. Where `fit` gets n > 2,000 different rows, it is divided by n / 2,000, since a prior counts less
        the more rows there are.""",
    ),
    "batch_size": (
        'int or "auto"',
        """Largest number of rows in a mini-batch. "auto" stands for 128, and where `fit` gets n > 10,000 different rows
        and ``max_iter="auto"`` for 128 times the square root of n / 10,000, but at most 905. So a bounded number of
        steps sees more of a larger table.""",
    ),
    "learning_rate_init": (
        "float",
        """The learning rate at the start. It falls linearly, to zero where ``max_iter`` is reached, and in steps; see
        ``n_iter_no_change``.""",
    ),
    "max_iter": (
        'int or "auto"',
        """Largest number of epochs. "auto" stands for 3,000 gradient steps at most, whether these are many epochs or a
        small part of one, so that a fit takes a bounded time however many rows there are. Of more than 500,000 rows
        of continuous columns an even choice of so many is kept, so that memory is bounded too; with a number for
        ``batch_size``, of more rows than these steps can see.""",
    ),
    "early_stopping": (
        "bool",
        """Whether rows are held out for validation, training stops when the validation score stalls, and the weights
        that did best on these rows are kept. Otherwise all rows train, the training loss is watched, and the last
        weights stay, which overfits small tables.""",
    ),
    "validation_fraction": (
        "float",
        """Share of the rows that each flow holds out, equal rows together. Several flows take turns: if each holds out
        one share in as many as there are flows, every row is held out once. Used only if
        ``early_stopping`` is True.""",
    ),
    "n_iter_no_change": (
        "int",
        """The loss is evaluated every 25 gradient steps. When so many evaluations have found no improvement of ``tol``,
        the learning rate is multiplied by 0.3; the third time, training ends.""",
    ),
    "tol": ("float", "The least improvement that counts, in nats per row."),
    "warm_start": (
        "bool",
        """Whether `fit` continues from the flow fitted before, with its location, scale and constant columns, instead
        of a new one. Equal rows are then held out by equal flows. With new rows, or after a first fit without
        ``early_stopping``, rows that are held out may have been trained on before.""",
    ),
    "device": ("str", 'The torch device to train the flows and to score on, such as "cuda".'),
    "random_state": (
        "int, RandomState instance or None",
        """Determines everything random in a fit: validation rows, initial weights, the order of the batches, and what
        else is drawn. Pass an int for equal fits, bit for bit, at every call.""",
    ),
    "verbose": (
        "bool or int",
        "Whether the loss and the validation score are printed at every evaluation.",
    ),
}
ATTRIBUTES: dict[str, tuple[str, str]] = {
    "columns_": ("list of str", "What each column was found to hold in `fit`, a line for each."),
    "n_features_in_": ("int", "Number of columns seen during `fit`."),
    "feature_names_in_": (
        "ndarray of shape (n_features,)",
        "Names of the columns seen during `fit`, if all are strings.",
    ),
    "flow_": (
        "Flow",
        "The fitted flow, a :class:`torch.nn.Module` of all members together; printing it shows its architecture.",
    ),
    "density_": (
        "Density",
        """A copy of the whole density, of flows and of what stands beside them, as a :class:`torch.nn.Module`:
        ``log_prob`` of tensors is `score_samples`, with gradients. Only where all columns are continuous, without
        bounds and periods.""",
    ),
    "loc_": (
        "ndarray of shape (n_features,)",
        """The location that was subtracted from each column, in the units of the column: its mean, with gross outliers
        drawn in to ten times the distance between the outer twentieths of the column beyond these; zero if
        nothing is standardised.""",
    ),
    "scale_": (
        "ndarray of shape (n_features,)",
        """The scale that each column was divided by, in the units of the column: its standard deviation, with gross
        outliers drawn in as for ``loc_``; one if nothing is standardised.""",
    ),
    "n_iter_": ("int", "Number of epochs begun in the last `fit`, and in the calls of `partial_fit` since then."),
    "loss_curve_": (
        "list of float",
        """Mean negative log-likelihood, in nats per row, of every 25 batches, or of every epoch of a stream, averaged
        over the flows. It goes on where a flow does (``warm_start``, `partial_fit`).""",
    ),
    "validation_scores_": (
        "list of float or None",
        """Mean log-likelihood, in nats per row, of the validation rows (1,000 of them at most) after every 25 batches,
        averaged over the flows; None without ``early_stopping`` or in a stream. They go on under ``warm_start``.""",
    ),
    "best_validation_score_": (
        "float or None",
        """The average over the flows of the best validation score of each, that of the flow before the last `fit`
        included, in nats per row; None without ``early_stopping`` or in a stream.""",
    ),
    "stacking_weights_": (
        "dict of str to float",
        """The weights of "flows", "gaussian_mixture", "gaussian_mixture_copula", "kernels" and "student_t" in the
        density, as far as they take part; they add up to one.""",
    ),
}


def document(cls: Class) -> Class:
    """Fill in the docstring of an estimator: a line ``{name}`` becomes the entry of that parameter or attribute."""
    if cls.__doc__ is None:  # as with python -OO
        return cls
    signature = inspect.signature(cls)

    def entry(match: re.Match[str]) -> str:
        indent, name = match.groups()
        if name in ATTRIBUTES:
            kind, text = ATTRIBUTES[name]
        else:
            kind, text = PARAMETERS[name]
            default = signature.parameters[name].default
            kind += f', default="{default}"' if isinstance(default, str) else f", default={default}"
        lines = [line.strip() for line in text.splitlines()]
        return "\n".join([f"{indent}{name} : {kind}", *(f"{indent}    {line}" for line in lines)])

    cls.__doc__ = re.sub(r"^( *)\{(\w+)\}$", entry, cls.__doc__, flags=re.MULTILINE)
    return cls
