"""Images as rows: probabilities of a discrete space, pixels in and out, and the grammar of every other density."""

import itertools
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import sknvp.image
from sknvp import RealNVPImageDensity
from sknvp._images.pixels import spread
from sknvp.flows.networks import residual
from sknvp.flows.train.dequantization import Dequantized

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def small(**settings):
    defaults = {"n_levels": 17, "n_filters": 4, "n_blocks": 1, "max_iter": 2, "batch_size": 32, "random_state": 0}
    return RealNVPImageDensity(**{**defaults, **settings})


def digits(n=150):
    return load_digits(return_X_y=True)[0][:n]


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return small(max_iter=5).fit(digits())


@parametrize_with_checks([small(max_iter=1, batch_norm=False, batch_size=10**9, early_stopping=False)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check, monkeypatch):
    """Their rows are no images, so any number becomes a pixel near it here, and a row a line of these."""
    monkeypatch.setattr(sknvp.image, "shape_of_images", lambda image_shape, n_features: [1, 1, n_features])
    monkeypatch.setattr(sknvp.image, "check_pixels", lambda X, n: np.clip(np.round(3 * X), 0, 16))
    check(estimator)


@pytest.mark.parametrize(("batch_norm", "max_iter"), [(True, 30), (False, 150)])
def test_probabilities_of_all_images_add_up_to_one(monkeypatch, batch_norm, max_iter):
    """Together with the mass outside of the pixels' range, a share of the flow's draws; within five standard errors."""
    monkeypatch.setattr(sknvp.image, "N_NOISES", 300)
    rng = np.random.default_rng(0)
    X = rng.binomial(2, 0.7, (400, 1)) * np.ones(4) * rng.binomial(1, 0.9, (400, 4))
    settings = {"batch_norm": batch_norm, "max_iter": max_iter, "early_stopping": False, "learning_rate_init": 1e-2}
    density = small(n_levels=3, **settings).fit(X)
    space = np.array(list(itertools.product(range(3), repeat=4)), dtype=float)
    p = np.exp(density.score_samples(space))
    raw = density.flow_.sample(20_000, generator=torch.Generator().manual_seed(0))[0].detach().numpy()
    inside = ((raw >= 0) & (raw < 3)).all(1)
    cubes = torch.tensor(space[:, None] + rng.random((81, 300, 4)), dtype=torch.float32)
    densities = density.flow_.log_prob(cubes.view(1, -1, 4)).detach().double().exp().view(81, 300)
    variance = float(densities.var(1).sum()) / 300 + inside.var() / len(inside)
    assert inside.mean() > 0.8
    assert p.sum() == pytest.approx(inside.mean(), abs=5 * variance**0.5)
    shares = np.array([(space_row == X).all(1).mean() for space_row in space])
    assert np.corrcoef(p, shares)[0, 1] > 0.6
    drawn = density.sample(4000, random_state=0)
    drawn_shares = np.array([(space_row == drawn).all(1).mean() for space_row in space])
    np.testing.assert_allclose(drawn_shares, p, atol=0.05)


def test_scores_are_logarithms_of_the_mean_density_in_the_unit_cube(monkeypatch):
    """By other draws of the noise; few pixels, so that few draws suffice."""
    monkeypatch.setattr(sknvp.image, "N_NOISES", 2000)
    X = digits().reshape(-1, 8, 8)[:, 3:5, 3:5].reshape(-1, 4)
    density = small(max_iter=20).fit(X)
    cube = torch.tensor(np.random.default_rng(0).random((2000, 5, 4)) + X[:5], dtype=torch.float32)
    with torch.no_grad():
        log_density = density.flow_.log_prob(cube.view(1, -1, 4)).view(2000, 5).numpy()
    scores = density.score_samples(X[:5])
    np.testing.assert_allclose(scores, special.logsumexp(log_density, 0) - np.log(2000), atol=0.1)
    assert (scores > log_density.mean(0)).all()  # the bound that a single draw gives on average


def test_learns_more_than_each_pixel_by_itself():
    X, held_out = digits(600), load_digits(return_X_y=True)[0][600:900]
    density = small(n_filters=8, max_iter=8, learning_rate_init=5e-3).fit(X)
    shares = np.stack([(level == X).mean(0) for level in range(17)]) * 0.98 + 0.02 / 17
    alone = -np.log2(np.take_along_axis(shares, held_out.astype(int), 0)).mean()
    assert density.bits_per_dim(held_out) < alone - 0.03


def test_bits_per_dimension_are_those_of_the_scores(fitted):
    X = digits(40)
    scores = fitted.score_samples(X)
    assert fitted.bits_per_dim(X) == pytest.approx(-scores.mean() / 64 / np.log(2))
    assert fitted.score(X) == pytest.approx(scores.sum())
    assert fitted.bits_per_dim(X) < np.log2(17)


def test_a_score_does_not_depend_on_the_rows_beside_it(fitted):
    X = digits(30)
    np.testing.assert_allclose(fitted.score_samples(X[7:9]), fitted.score_samples(X)[7:9], rtol=1e-5)
    np.testing.assert_array_equal(fitted.score_samples(X), fitted.score_samples(X))


def test_each_image_has_draws_of_its_own_that_its_pixels_determine():
    images = digits(50)
    noise = spread(images, 4) - images[:, None]
    np.testing.assert_array_equal(noise[7:9], spread(images[7:9], 4) - images[7:9, None])
    assert len(np.unique(noise)) > 0.99 * noise.size
    assert stats.kstest(noise.ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("dtype", "n_levels", "drawn"),
    [("bool", 2, "bool"), ("bool", 17, "uint8"), ("int8", 17, "int8"), ("int8", 129, "int16"), ("uint8", 256, "uint8")],
)
def test_samples_have_a_dtype_that_holds_all_levels(dtype, n_levels, drawn):
    X = np.random.default_rng(0).integers(0, 2, (40, 16)).astype(dtype)
    images = small(n_levels=n_levels, max_iter=1).fit(X).sample(500, random_state=0)
    assert images.dtype == drawn
    assert images.min() >= 0
    assert images.max() < n_levels


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_pixels_in_are_pixels_out(dtype):
    X = digits(60).astype(dtype)
    density = small(max_iter=1).fit(X)
    noise = density.transform(X)
    assert noise.dtype == np.float32
    back = density.inverse_transform(noise)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, X)
    drawn = density.sample(200, random_state=0)
    assert drawn.dtype == dtype
    assert drawn.min() == 0
    assert drawn.max() == 16
    np.testing.assert_array_equal(drawn, density.sample(200, random_state=0))
    np.testing.assert_array_equal(drawn, np.floor(drawn))


def test_whatever_the_noise_pixels_are_in_range(fitted):
    images = fitted.inverse_transform(np.random.default_rng(0).standard_normal((20, 64)) * 1e6)
    assert ((images >= 0) & (images <= 16)).all()


@pytest.mark.parametrize(
    ("image_shape", "n_features"),
    [((1, 7, 5), 35), ((3, 8, 8), 192), ((2, 1, 3), 6), ((1, 1, 1), 1), ([1, 12, 16], 192)],
)
def test_images_of_any_sides_can_be_fitted(image_shape, n_features):
    X = np.random.default_rng(0).integers(0, 4, (30, n_features))
    density = small(image_shape=image_shape, n_levels=4, max_iter=1, flip=True).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    np.testing.assert_array_equal(density.inverse_transform(density.transform(X)), X)
    assert density.sample(3).shape == (3, n_features)


def test_pickles_score_sample_and_go_on_the_same(fitted):
    text = pickle.dumps(fitted)
    assert b"torch" not in text
    twin = pickle.loads(text)
    np.testing.assert_array_equal(twin.score_samples(digits()), fitted.score_samples(digits()))
    np.testing.assert_array_equal(twin.sample(5, random_state=0), fitted.sample(5, random_state=0))
    np.testing.assert_array_equal(twin.transform(digits()), fitted.transform(digits()))
    first = small(max_iter=1).partial_fit(digits())
    twin = pickle.loads(pickle.dumps(first))
    for density in (first, twin):
        density.partial_fit(digits())
    np.testing.assert_array_equal(twin.score_samples(digits()), first.score_samples(digits()))


def test_partial_fit_learns_call_by_call():
    density = small()
    bits = [density.partial_fit(digits()).bits_per_dim(digits()) for _ in range(4)]
    assert bits == sorted(bits, reverse=True)
    assert density.n_iter_ == len(density.loss_curve_) == 4


@pytest.mark.parametrize("method", ["partial_fit", "fit"])
def test_who_goes_on_draws_anew_whatever_the_seed(monkeypatch, method):
    """Or the flow would learn the noise, and the same images would be mirrored for ever."""
    seen, inputs = [], Dequantized._rows

    def noted(self, rows, training):
        x = inputs(self, rows, training)
        seen.append(np.sort((x % 1).ravel())) if training else None
        return x

    monkeypatch.setattr(Dequantized, "_rows", noted)
    density = small(warm_start=True, max_iter=1, batch_size=200, early_stopping=False)
    for _ in range(3):
        getattr(density, method)(digits())
    assert not any(np.intersect1d(a, b).size > 0.01 * a.size for a, b in itertools.combinations(seen, 2))
    twin = clone(density)
    for _ in range(3):
        getattr(twin, method)(digits())
    assert all((a == b).all() for a, b in zip(seen[:3], seen[3:], strict=True))


def test_warm_start_goes_on_and_keeps_its_shape():
    density = small(warm_start=True).fit(digits())
    before = density.bits_per_dim(digits())
    density = pickle.loads(pickle.dumps(density)).set_params(max_iter=6).fit(digits())
    after = density.bits_per_dim(digits())
    assert after < before - 0.05
    for name, value in {"n_filters": 5, "n_blocks": 0, "image_shape": (1, 4, 16), "n_levels": 18}.items():
        was = density.get_params()[name]
        with pytest.raises(ValueError, match=f"{name} must stay"):
            density.set_params(**{name: value}).fit(digits())
        density.set_params(**{name: was})
    assert density.bits_per_dim(digits()) == after
    density.set_params(image_shape=(1, 8, 8), max_iter=1).fit(digits())  # which None stood for


def test_ctrl_c_ends_training_with_what_was_learned(monkeypatch):
    steps, gradients = [], Dequantized.loss_and_gradients

    def interrupted(self, *batch):
        steps.append(1)
        if len(steps) == 60:
            raise KeyboardInterrupt
        return gradients(self, *batch)

    monkeypatch.setattr(Dequantized, "loss_and_gradients", interrupted)
    with pytest.warns(UserWarning, match="interrupted by user"):
        density = small(max_iter=100).fit(digits())
    assert len(density.loss_curve_) == 2
    assert density.n_iter_ == 12  # of five batches; the last was not learned from
    assert density.bits_per_dim(digits()) < 4


def test_weights_count_without_batch_norm_only():
    X, weights = digits(60), np.arange(60) % 3
    settings = {"batch_norm": False, "batch_size": 10**9, "early_stopping": False, "max_iter": 3}
    weighted = small(**settings).fit(X, sample_weight=weights)
    repeated = small(**settings).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X), rtol=1e-3)
    with pytest.raises(ValueError, match="batch_norm must be False if sample_weight tells rows apart"):
        small().fit(X, sample_weight=weights)


def test_every_parameter_changes_the_fit():
    X = digits(30).reshape(-1, 8, 8)[:, 3:5, 3:5].reshape(-1, 4)
    base = {"max_iter": 60, "tol": 500.0, "n_iter_no_change": 1, "n_blocks": 0, "batch_size": 30}
    before = small(**base).fit(X).loss_curve_
    changed = {
        "image_shape": (1, 1, 4), "n_levels": 20, "n_filters": 5, "n_blocks": 1, "batch_norm": False, "flip": True,
        "alpha": 100.0, "batch_size": 20, "learning_rate_init": 1e-2, "max_iter": 10, "early_stopping": False,
        "validation_fraction": 0.3, "n_iter_no_change": 2, "tol": 0.0, "random_state": 1,
    }  # fmt: skip
    for name, value in changed.items():
        assert small(**{**base, name: value}).fit(X).loss_curve_ != before, name
    assert {*changed, "warm_start", "device", "verbose"} == set(RealNVPImageDensity().get_params())


@pytest.mark.parametrize(
    ("settings", "X", "message"),
    [
        ({"image_shape": (8, 8)}, digits(9), "image_shape must be None or three integers"),
        ({"image_shape": (1, 8, 9)}, digits(9), "image_shape must be .* the number of X's columns, 64, got"),
        ({}, digits(9)[:, :63], "None stands for square ones of one channel"),
        ({}, digits(9) / 16, "X must hold whole numbers from 0 to n_levels - 1 = 16, got 0.3125 in row 0. Rescale"),
        ({}, digits(9) - 1, "Negative values in data passed to X of RealNVPImageDensity"),
        ({"n_levels": 15}, digits(9), "fit anew with n_levels as the number of values"),
        ({"n_levels": 1}, digits(9), "n_levels must be an integer of at least 2 and at most 65536, got 1"),
        ({"n_filters": 0}, digits(9), "n_filters must be an integer of at least 1"),
        ({"n_blocks": -1}, digits(9), "n_blocks must be an integer of at least 0"),
        ({"flip": "no"}, digits(9), "flip must be True or False"),
        ({}, digits(9).reshape(9, 8, 8), "dim 3"),
    ],
)
def test_errors_tell_the_cure_and_leave_what_was_fitted(fitted, settings, X, message):
    density = pickle.loads(pickle.dumps(fitted)).set_params(**settings)
    with pytest.raises(ValueError, match=message):
        density.fit(X)
    np.testing.assert_array_equal(density.score_samples(digits(5)), fitted.score_samples(digits(5)))


def test_new_images_are_checked_too(fitted):
    for method in (fitted.score_samples, fitted.transform, fitted.bits_per_dim):
        with pytest.raises(ValueError, match="X must hold whole numbers"):
            method(digits(3) + 0.5)
        with pytest.raises(ValueError, match="63 features"):
            method(digits(3)[:, 1:])
    with pytest.raises(ValueError, match="as many columns of noise as there are features, 64, got 3"):
        fitted.inverse_transform(np.zeros((1, 3)))
    with pytest.raises(NotFittedError):
        small().bits_per_dim(digits(3))


def test_a_cpu_with_units_for_bfloat16_trains_in_it_and_finds_pixels_again(monkeypatch):
    seen, convolve = [], residual.functional.conv2d
    monkeypatch.setattr(residual, "_cpu_has_bfloat16_units", lambda: True)
    monkeypatch.setattr(residual.functional, "conv2d", lambda *a, **k: seen.append((o := convolve(*a, **k)).dtype) or o)
    density = small().fit(digits())
    assert set(seen) == {torch.bfloat16, torch.float32}  # in training and in validation
    seen.clear()
    np.testing.assert_array_equal(density.inverse_transform(density.transform(digits())), digits())
    assert set(seen) == {torch.float32}
    monkeypatch.setattr(residual, "_cpu_has_bfloat16_units", lambda: False)
    assert density.bits_per_dim(digits()) == pytest.approx(small().fit(digits()).bits_per_dim(digits()), abs=0.1)


def test_what_the_cpu_has_decides_for_the_cpu_alone(monkeypatch):
    monkeypatch.setattr(residual, "_cpu_has_bfloat16_units", lambda: True)
    network = residual.ResidualNetwork(1, 2, 4, 1).float()
    for device, dtype in (("meta", torch.float32), ("cpu", torch.bfloat16)):
        seen = []
        network.to_empty(device=device).first.register_forward_hook(lambda *a, seen=seen: seen.append(a[-1].dtype))
        network(torch.zeros(1, 1, 4, 4, device=device))
        assert seen[0] == dtype


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_trains_in_half_precision_and_finds_pixels_again():
    on_gpu, on_cpu = small(device="cuda").fit(digits()), small().fit(digits())
    assert on_gpu.bits_per_dim(digits()) == pytest.approx(on_cpu.bits_per_dim(digits()), abs=0.1)
    np.testing.assert_array_equal(on_gpu.inverse_transform(on_gpu.transform(digits())), digits())
    assert on_gpu.sample(3, random_state=0).shape == (3, 64)
