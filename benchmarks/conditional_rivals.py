"""Conditional densities to compare with: functions that fit one to rows and standardised targets."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict, train_test_split

MAX_PROCESS = 2_000  # rows that Gaussian processes are fitted to
MAX_ROUNDS = 2_000  # of natural gradient boosting
PROBABILITIES = (np.arange(100) + 0.5) / 100  # of the quantiles that the CRPS is computed from


class Fitted(NamedTuple):
    """A conditional density: its log-density at rows and targets, and its quantiles, shape (n_rows, n_quantiles)."""

    log_density: Callable[..., NDArray[np.float64]]
    quantiles: Callable[..., NDArray[np.float64]]

    def crps(self, X, y):
        """Return the mean CRPS, which is twice the pinball loss, averaged over the quantiles."""
        below = y[:, None] - self.quantiles(X, PROBABILITIES)
        return 2 * np.maximum(PROBABILITIES * below, (PROBABILITIES - 1) * below).mean()


def normal(predict):
    """The normal distribution of which ``predict`` gives the mean and the standard deviation of each row."""

    def quantiles(X, p):
        mean, scale = np.broadcast_arrays(*predict(X))
        return stats.norm(mean[:, None], scale[:, None]).ppf(p)

    return Fitted(lambda X, y: stats.norm(*predict(X)).logpdf(y), quantiles)


def linear(X, y):
    regression = LinearRegression().fit(X, y)
    scale = np.std(y - regression.predict(X))
    return normal(lambda X: (regression.predict(X), scale))


def boosting(X, y):
    regressor = HistGradientBoostingRegressor(random_state=0)
    scale = np.std(y - cross_val_predict(regressor, X, y, cv=5))
    regressor.fit(X, y)
    return normal(lambda X: (regressor.predict(X), scale))


def gp(X, y):
    kernel = ConstantKernel() * RBF(np.full(X.shape[1], X.shape[1] ** 0.5), (1e-2, 1e3)) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, random_state=0).fit(X[:MAX_PROCESS], y[:MAX_PROCESS])
    return normal(lambda X: process.predict(X, return_std=True))


def ngboost(X, y):
    from ngboost import NGBRegressor

    settings = {"verbose": False, "random_state": 0}
    X_train, X_valid, y_train, y_valid = train_test_split(X, y, test_size=0.1, random_state=0)
    trial = NGBRegressor(n_estimators=MAX_ROUNDS, **settings)
    trial.fit(X_train, y_train, X_val=X_valid, Y_val=y_valid, early_stopping_rounds=100)
    n_rounds = MAX_ROUNDS if trial.best_val_loss_itr is None else trial.best_val_loss_itr + 1
    regressor = NGBRegressor(n_estimators=n_rounds, **settings).fit(X, y)

    def moments(X):
        found = regressor.pred_dist(X).params
        return found["loc"], found["scale"]

    return normal(moments)


def forest(X, y):
    from quantile_forest import RandomForestQuantileRegressor

    regressor = RandomForestQuantileRegressor(n_estimators=500, random_state=0).fit(X, y)
    return Fitted(lambda X, y: np.full(len(X), np.nan), lambda X, p: regressor.predict(X, quantiles=list(p)))


def zuko(X, y, steps=2000, batch=256, every=25):
    import torch
    from zuko.flows import NSF

    torch.manual_seed(0)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y[:, None], dtype=torch.float32)
    order = torch.randperm(len(y))
    valid, train = order[: len(y) // 10], order[len(y) // 10 :]
    best = -np.inf, None
    for rate in (1e-3, 3e-3):
        flow = NSF(1, X.shape[1], transforms=3, hidden_features=(64, 64))
        optimizer = torch.optim.Adam(flow.parameters(), rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps):
            rows = train[torch.randint(len(train), (min(batch, len(train)),))]
            optimizer.zero_grad()
            (-flow(X[rows]).log_prob(y[rows]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            if step % every == every - 1:
                with torch.no_grad():
                    value = flow(X[valid]).log_prob(y[valid]).mean().item()
                if value > best[0]:
                    best = value, {name: part.clone() for name, part in flow.state_dict().items()}
    flow.load_state_dict(best[1])

    def score(X, y):
        with torch.no_grad():
            rows = (torch.tensor(part, dtype=torch.float32) for part in (X, y[:, None]))
            return flow(next(rows)).log_prob(next(rows)).numpy()

    def quantiles(X, p):
        noise = torch.tensor(stats.norm.ppf(p), dtype=torch.float32)[:, None, None]
        with torch.no_grad():
            transform = flow(torch.tensor(X, dtype=torch.float32)).transform
            return transform.inv(noise.expand(-1, len(X), 1))[..., 0].T.numpy()

    return Fitted(score, quantiles)


RIVALS = {"linear": linear, "boosting": boosting, "gp": gp, "zuko": zuko, "ngboost": ngboost, "forest": forest}
