"""Images: bits per dimension, samples and outliers of `RealNVPImageDensity`.

    python benchmarks/images.py digits                                        # beside a mixture and a flat flow
    python benchmarks/images.py anomaly                                       # one digit against the others
    python benchmarks/images.py mnist --data FOLDER --minutes 60              # FOLDER/mnist.npz
    python benchmarks/images.py cifar --data FOLDER --minutes 5 --rows 200    # FOLDER/cifar10_jpeg.npz

The .npz files have arrays X_train, y_train, X_test, y_test of uint8. Bits per dimension are those of the discrete
images, ``-log2 P(x) / n_features``, by uniform dequantisation: the logarithm of the mean density of x + u over so many
draws of the noise u, of which one is what is mostly published. With --checkpoint FILE a fit is pickled every two
minutes, and one that is there already goes on, with the parameters that it has. --pictures FOLDER draws samples,
interpolations and the loss.
"""

import argparse
import json
import pickle
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

import sknvp.image
from sknvp import RealNVPDensity, RealNVPImageDensity

N_CHUNK = 1000  # images between two looks at the clock
NOISES = (1, 4)


def timed_fit(density, X, minutes, rate, checkpoint=None, held_out=None):
    """Train for so many minutes by `partial_fit`, while the learning rate falls to zero; return how many images."""
    rng, start, told = np.random.default_rng(0), time.perf_counter(), 0.0
    n_seen, order = 0, np.arange(0)
    while (past := (time.perf_counter() - start) / 60) < minutes:
        if not len(order):
            order = rng.permutation(len(X))
        chunk, order = order[:N_CHUNK], order[N_CHUNK:]
        warm = (1 + n_seen / 1500) / 10
        density.set_params(learning_rate_init=rate * min(1.0, warm, 1.02 - past / minutes))
        density.partial_fit(X[chunk])
        n_seen += len(chunk)
        if past - told > 1 or n_seen == N_CHUNK:
            told = past
            loss = density.loss_curve_[-1] / (X.shape[1] * np.log(2))
            print(
                f"{past:6.1f} min {n_seen:8d} images, loss {loss:.4f}, held out {density.bits_per_dim(held_out):.4f}",
                flush=True,
            )
            keep(density, checkpoint)
    keep(density, checkpoint)
    return n_seen


def keep(density, checkpoint):
    """Pickle, such that an interruption leaves the file before or the new one."""
    if checkpoint:
        part = Path(f"{checkpoint}.part")
        part.write_bytes(pickle.dumps(density))
        part.replace(checkpoint)


def started(checkpoint, settings):
    """The estimator in the file, if there is one, else a new one."""
    if checkpoint and Path(checkpoint).exists():
        return pickle.loads(Path(checkpoint).read_bytes())
    return RealNVPImageDensity(random_state=0, **settings)


def bits(log_probability, X):
    return -log_probability.mean() / (X.shape[1] * np.log(2))


def report_bits(density, X, name):
    for n in NOISES:
        sknvp.image.N_NOISES = n
        print(f"{name}: {density.bits_per_dim(X):.4f} bits/dim of {len(X)} test images, noises {n}", flush=True)


def large(arguments, file, shape, settings):
    """Train on a set of images for some minutes."""
    data = np.load(arguments.data / file)
    X, T = (as_rows(data[name]) for name in ("X_train", "X_test"))
    settings = {"image_shape": shape, "batch_size": 32, **settings, **json.loads(arguments.settings)}
    rate = settings.pop("learning_rate_init", 2e-3)
    density = started(arguments.checkpoint, settings)
    start = time.perf_counter()
    n_seen = timed_fit(density, X, arguments.minutes, rate, arguments.checkpoint, T[:200])
    print(f"{density}: {n_seen} images in {(time.perf_counter() - start) / 60:.1f} minutes", flush=True)
    report_bits(density, T[: arguments.rows], file)
    if arguments.pictures:
        draw(density, T[:100], shape, arguments.pictures / Path(file).stem)


def as_rows(images):
    """Channels first, flattened."""
    return (images if images.ndim == 3 else np.moveaxis(images, -1, 1)).reshape(len(images), -1)


def mnist(arguments):
    large(arguments, "mnist.npz", (1, 28, 28), {})


def cifar(arguments):
    large(arguments, "cifar10_jpeg.npz", (3, 32, 32), {"flip": True})


def digits(arguments):
    X, _ = load_digits(return_X_y=True)
    X, T = train_test_split(X, test_size=0.25, random_state=0)
    start = time.perf_counter()
    density = RealNVPImageDensity(n_levels=17, random_state=0, **json.loads(arguments.settings)).fit(X)
    print(f"digits, multi-scale: {time.perf_counter() - start:.0f} s, {density.n_iter_} epochs")
    report_bits(density, T, "digits, multi-scale")
    rng = np.random.default_rng(0)
    noisy = X + rng.random(X.shape)
    others = {"Gaussian mixture by BIC": mixture(noisy), "RealNVPDensity": RealNVPDensity(random_state=0)}
    for name, other in others.items():
        start = time.perf_counter()
        other.fit(noisy)
        print(f"digits, {name}: {other}, {time.perf_counter() - start:.0f} s")
        for n in NOISES:
            parts = [other.score_samples(T + rng.random(T.shape)) for _ in range(n)]
            value = bits(np.logaddexp.reduce(parts, 0) - np.log(n), T)
            print(f"digits, {name}: {value:.4f} bits/dim of {len(T)} test images, noises {n}", flush=True)
    if arguments.pictures:
        draw(density, T[:100], (1, 8, 8), arguments.pictures / "digits")


def mixture(X):
    """The mixture of lowest BIC."""
    candidates = [
        GaussianMixture(k, covariance_type=kind, random_state=0)
        for kind, sizes in {"full": range(1, 11), "diag": range(10, 101, 10)}.items()
        for k in sizes
    ]
    return min(candidates, key=lambda each: each.fit(X).bic(X))


def anomaly(arguments):
    """Each digit in turn is what is normal; negative log-probabilities tell it from the others."""
    X, y = load_digits(return_X_y=True)
    X, T, y, t = train_test_split(X, y, test_size=0.25, random_state=0)
    print("area under the ROC curve, and mean log-probability in nats of the class, the others, a blank image")
    rows = []
    for digit in range(10):
        settings = {"n_filters": 16, "n_blocks": 1, "learning_rate_init": 4e-3, **json.loads(arguments.settings)}
        density = RealNVPImageDensity(n_levels=17, random_state=0, **settings)
        scores = density.fit(X[y == digit]).score_samples(T)
        own = t == digit
        mixed = GaussianMixture(1, reg_covar=1e-2).fit(X[y == digit] + 0.5).score_samples(T + 0.5)
        blank = density.score_samples(np.zeros((1, 64)))[0]
        rows.append((roc_auc_score(~own, -scores), roc_auc_score(~own, -mixed)))
        print(
            f"{digit}  ours {rows[-1][0]:.4f}  one normal distribution {rows[-1][1]:.4f}   {scores[own].mean():7.1f} "
            f"{scores[~own].mean():7.1f} {blank:7.1f}",
            flush=True,
        )
    print("mean  ours {:.4f}  one normal distribution {:.4f}".format(*np.mean(rows, axis=0)))


def draw(density, T, shape, folder):
    """Samples, interpolations through noise, the loss."""
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    noise = density.transform(T[:20])
    angles = np.linspace(0, np.pi / 2, 10)[:, None, None]
    between = (np.cos(angles) * noise[:10] + np.sin(angles) * noise[10:]).swapaxes(0, 1)
    pictures = {
        "samples": density.sample(100, random_state=0),
        "interpolation": density.inverse_transform(between.reshape(100, -1)),
    }
    for name, images in pictures.items():
        grid = images.reshape(10, 10, *shape).transpose(0, 3, 1, 4, 2).reshape(10 * shape[1], 10 * shape[2], shape[0])
        grid = np.asarray(grid, dtype=np.uint8 if shape[0] == 3 else float)
        plt.imsave(folder / f"{name}.png", grid if shape[0] == 3 else grid[..., 0], cmap="gray")
    _, axes = plt.subplots()
    axes.plot(np.array(density.loss_curve_) / (T.shape[1] * np.log(2)))
    axes.set(xlabel="evaluation", ylabel="bits per dimension in training")
    plt.savefig(folder / "loss.png")
    plt.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = {"digits": digits, "anomaly": anomaly, "mnist": mnist, "cifar": cifar}
    parser.add_argument("task", choices=tasks)
    parser.add_argument("--data", type=Path, help="folder of mnist.npz and cifar10_jpeg.npz")
    parser.add_argument("--minutes", type=float, default=60, help="of training, on large sets")
    parser.add_argument("--checkpoint", help="file to pickle to, and to go on from")
    parser.add_argument("--settings", default="{}", help="parameters as JSON")
    parser.add_argument("--rows", type=int, default=10_000, help="test images at most")
    parser.add_argument("--pictures", type=Path, help="folder to draw to")
    arguments = parser.parse_args()
    if arguments.task in ("mnist", "cifar") and arguments.data is None:
        parser.error("--data must name the folder of the images")
    warnings.simplefilter("ignore")
    tasks[arguments.task](arguments)


if __name__ == "__main__":
    main()
