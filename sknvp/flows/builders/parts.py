"""Parts of flows that a user may choose by name or give as a class or a function: couplings and base distributions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..bases import Base, StandardNormal
from ..layers import AffineCoupling, Coupling, SplineCoupling
from ..networks import Conditioner

# A function of this type makes a coupling from the arguments of `Coupling`.
MakeCoupling = Callable[[Conditioner, int, bool], Coupling]
# A function of this type makes a base distribution from the number of columns.
MakeBase = Callable[[int], Base]

COUPLINGS: dict[str, type[Coupling]] = {"affine": AffineCoupling, "spline": SplineCoupling}
BASES: dict[str, type[StandardNormal]] = {"normal": StandardNormal}

# A coupling is compared with its inverse and with differences over steps of about this size, up to this tolerance.
DIFFERENCE_STEP, TOLERANCE = 1e-6, 1e-4
FAR_OUT = 10.0  # The log-density of a base must be finite where every column has this number, or its opposite.


def coupling_maker(coupling: str | MakeCoupling) -> MakeCoupling:
    """Return the function that makes the couplings of a flow."""
    return COUPLINGS[coupling] if isinstance(coupling, str) else coupling


def make_base(base: str | MakeBase, n_features: int) -> Base:
    """Make the base distribution of a flow.

    Raises
    ------
    ValueError
        If it is none, is one of other columns, or has something to train.
    """
    try:
        made = (BASES[base] if isinstance(base, str) else base)(n_features)
    except TypeError as error:
        raise ValueError(
            f"base must be a function of the number of columns, got {base!r}, which raised: {error}. Let its "
            "constructor take n_features alone; a functools.partial holds other arguments."
        ) from error
    if not isinstance(made, Base):
        raise ValueError(
            f"base must make a sknvp.flows.Base, got {made!r} of type {type(made).__name__}. Derive from it."
        )
    if getattr(made, "n_features", None) != n_features:
        raise ValueError(
            f"base must set n_features to the number of columns, {n_features}, got "
            f"{getattr(made, 'n_features', None)!r}. Do so in its constructor."
        )
    if names := [name for name, _ in made.named_parameters()]:
        raise ValueError(f"base must have nothing to train, got parameters {names}. Register them as buffers.")
    return made


def without_conditioner(coupling: str | MakeCoupling) -> Coupling:
    """Make a coupling of no columns, which tells how many parameters it has for each element.

    Raises
    ------
    ValueError
        If it is no coupling, does not say how many parameters it has, or has something to train beside its conditioner.
    """
    conditioner = Conditioner(0, 0, ())
    made = coupling_maker(coupling)(conditioner, 0, False)
    if not isinstance(made, Coupling):
        raise ValueError(
            f"coupling must make a sknvp.flows.Coupling, got {made!r} of type {type(made).__name__}. Derive from it."
        )
    n_parameters = getattr(made, "N_PARAMETERS", None)
    if not isinstance(n_parameters, int) or n_parameters < 0:
        raise ValueError(
            "coupling must have N_PARAMETERS, the number of parameters of each element, an integer from zero on, got "
            f"{n_parameters!r} in {type(made).__name__}. Set it in the class."
        )
    if len(list(made.parameters())) > len(list(conditioner.parameters())):
        raise ValueError(
            f"coupling must learn nothing but what its conditioner learns, got other parameters in {made!r}. Raise "
            "N_PARAMETERS and take them from theta."
        )
    return made


def try_coupling(coupling: str | MakeCoupling) -> None:
    """Try the element-wise map of a coupling that a user gives on a few numbers.

    Raises
    ------
    ValueError
        If shapes, inverse or slopes are wrong.
    """
    layer, generator = without_conditioner(coupling), torch.Generator().manual_seed(0)
    _check_defined("coupling", layer, Coupling, "elementwise")
    theta = torch.randn(1, layer.N_PARAMETERS, 2, 8, dtype=torch.float64, generator=generator)
    x = 2 * torch.randn(1, 2, 8, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        z, log_slope = _elementwise(layer, x, theta, False)
        back, log_slope_back = _elementwise(layer, z, theta, True)
        _check_shapes("coupling", "elementwise", x.shape, z, log_slope, back, log_slope_back)
        # Each number has its own step.
        steps = DIFFERENCE_STEP * (1 + torch.rand(x.shape, dtype=x.dtype, generator=generator))
        above, below = (layer.elementwise(moved, theta, False)[0] for moved in (x + steps, x - steps))
    name, slope = type(layer).__name__, (above - below) / (2 * steps)
    if difference := _largest_difference(x, back):
        raise ValueError(
            f"coupling must invert its map by elementwise(x, theta, True), got {name}, by which {difference[0]} comes "
            f"back as {difference[1]}. Compare the two directions."
        )
    if difference := _largest_difference(slope, log_slope.exp()):
        raise ValueError(
            f"coupling must map each number by itself and return the logarithm of its slope, got {name}, whose slope "
            f"is {difference[0]} where it returns log({difference[1]}). Compare differences of its map."
        )
    if difference := _largest_difference(-log_slope, log_slope_back):
        raise ValueError(
            f"coupling must return the log-slope of the direction that it evaluates, got {name}, which returns "
            f"{difference[1]} for the inverse where it is {difference[0]}. Change the sign."
        )


def try_base(base: str | MakeBase, n_features: int) -> None:
    """Try a base distribution that a user gives on a few draws.

    Raises
    ------
    ValueError
        If shapes are wrong, draws do not follow from the generator, or have no log-density.
    """
    made, reference = make_base(base, n_features), torch.empty(0, dtype=torch.float64)
    made = made.to(reference)
    _check_defined("base", made, Base, "log_prob", "sample")
    z, again = (made.sample((2, 8), reference, torch.Generator().manual_seed(0)) for _ in range(2))
    _check_shapes("base", "sample", torch.Size([2, 8, n_features]), z, again)
    if not torch.equal(z, again):
        raise ValueError(
            "base must draw from the generator that sample gets, got other draws by an equal one from "
            f"{type(made).__name__}. Pass it to torch.rand or torch.randn."
        )
    z = torch.cat([z, torch.full((2, 1, n_features), FAR_OUT).to(z), torch.full((2, 1, n_features), -FAR_OUT).to(z)], 1)
    log_prob = made.log_prob(z)
    _check_shapes("base", "log_prob", z.shape[:2], log_prob)
    _check_shapes("base", "grad_log_prob", z.shape, made.grad_log_prob(z))
    if not log_prob.isfinite().all():
        raise ValueError(
            f"base must have finite log-densities everywhere, got {type(made).__name__}, which has "
            f"{log_prob[~log_prob.isfinite()][0].item()} at {z[~log_prob.isfinite()][0].tolist()}. Let it be positive."
        )


def _check_defined(name: str, made: nn.Module, kind: type, *methods: str) -> None:
    """Raise a ValueError that names the argument if it leaves a method to its base class, which has none."""
    for method in methods:
        if getattr(type(made), method) is getattr(kind, method):
            raise ValueError(f"{name} must have a method {method}, got {type(made).__name__} without it. Define it.")


def _elementwise(layer: Coupling, x: Tensor, theta: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """Evaluate the element-wise map of a coupling; raise a ValueError if it does not return a pair."""
    result: Any = layer.elementwise(x, theta, inverse)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(
            "coupling must have a method elementwise that returns the image and the log-slope, got "
            f"{type(result).__name__} from {type(layer).__name__}. Return a tuple of these two."
        )
    return result


def _check_shapes(name: str, method: str, wanted: torch.Size, *tensors: Any) -> None:
    """Raise a ValueError that names the argument and its method if a tensor has another shape."""
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or tensor.shape != wanted:
            found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(
                f"{name} must have a method {method} that returns tensors of shape {tuple(wanted)} here, got {found}. "
                "Its docstring says which axes there are."
            )


def _largest_difference(expected: Tensor, found: Tensor) -> tuple[str, str] | None:
    """Return the two numbers that differ most as strings, or None if all are equal but for rounding."""
    if torch.allclose(found, expected, TOLERANCE, TOLERANCE):
        return None
    place = (expected - found).abs().nan_to_num(torch.inf).argmax()
    return f"{expected.flatten()[place]:.3g}", f"{found.flatten()[place]:.3g}"
