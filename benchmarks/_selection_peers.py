"""scikit-activeml's strategies, asked for the same picks with the same features and the same head."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from _selection_data import Problem
from sklearn.base import BaseEstimator, ClassifierMixin

Query = Callable[[], np.ndarray]


class GivenHead(ClassifierMixin, BaseEstimator):
    """A linear head that needs no fit, for scikit-learn; scikit-activeml passes X by name."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        self.weight = weight
        self.bias = bias

    def fit(self, X: np.ndarray, y: np.ndarray) -> "GivenHead":
        self.classes_ = np.arange(self.weight.shape[1])
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        return softmax((X @ self.weight + self.bias).astype(np.float64), axis=1)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return (X @ self.weight + self.bias).argmax(axis=1)


class Setting:
    """A problem as scikit-activeml wants it: NaN where there is no label."""

    def __init__(self, problem: Problem, batch: int, seed: int, rows: int | None = None) -> None:
        self.x = problem.features(mapped=False)[:rows]
        labels = problem.labels[: len(self.x) // 2]
        self.y = np.full(len(self.x), np.nan)
        self.y[: len(labels)] = labels
        self.num_classes = problem.num_classes
        self.heads = [self._wrap(head, seed) for head in problem.heads]
        self.batch = batch
        self.seed = seed

    def _wrap(self, head: np.ndarray, seed: int) -> Any:
        from skactiveml.classifier import SklearnClassifier

        estimator = GivenHead(head[:-1], head[-1])
        classes = range(self.num_classes)
        return SklearnClassifier(estimator, classes=classes, random_state=seed).fit(self.x, self.y)

    def query(self, name: str, arguments: dict[str, Any], **inputs: Any) -> np.ndarray:
        from skactiveml import pool

        warnings.simplefilter("ignore")
        strategy = getattr(pool, name)(random_state=self.seed, **arguments)
        return strategy.query(self.x, self.y, batch_size=self.batch, **inputs)

    def with_head(self, name: str, **arguments: Any) -> np.ndarray:
        return self.query(name, arguments, clf=self.heads[0], fit_clf=False)

    def with_draws(self, name: str, **arguments: Any) -> np.ndarray:
        return self.query(name, arguments, ensemble=self.heads[1:], fit_ensemble=False)


def _subsample(setting: Setting) -> np.ndarray:
    from skactiveml.pool import UncertaintySampling

    base = UncertaintySampling(method="margin_sampling", random_state=setting.seed)
    arguments = {"query_strategy": base, "max_candidates": 0.1}
    return setting.query("SubSamplingWrapper", arguments, clf=setting.heads[0], fit_clf=False)


def _discriminative(setting: Setting) -> np.ndarray:
    from skactiveml.classifier import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    model = SklearnClassifier(LogisticRegression(), random_state=setting.seed)
    return setting.query("DiscriminativeAL", {}, discriminator=model)


# Defaults of scikit-activeml, but for what must be equal on both sides.
PEERS: dict[str, Callable[[Setting], np.ndarray]] = {
    "random": lambda s: s.query("RandomSampling", {}),
    "least_confident": lambda s: s.with_head("UncertaintySampling", method="least_confident"),
    "margin": lambda s: s.with_head("UncertaintySampling", method="margin_sampling"),
    "entropy": lambda s: s.with_head("UncertaintySampling", method="entropy"),
    "coreset": lambda s: s.query("CoreSet", {}),
    "typiclust": lambda s: s.query("TypiClust", {"k": 20}),
    "probcover": lambda s: s.query("ProbCover", {"n_classes": s.num_classes}),
    "maxherding": lambda s: s.query("MaxHerding", {"metric_dict": {"gamma": 1.0}}),
    "badge": lambda s: s.with_head("Badge"),
    "dropquery": lambda s: s.with_head("DropQuery", n_dropout_samples=3),
    "falcun": lambda s: s.with_head("Falcun"),
    "cal": lambda s: s.with_head("ContrastiveAL", nearest_neighbors_dict={"n_neighbors": 10}),
    "clue": lambda s: s.query("Clue", {}, estimator=s.heads[0], fit_estimator=False),
    "discriminative": _discriminative,
    "bald": lambda s: s.with_draws("GreedyBALD"),
    "batchbald": lambda s: s.with_draws("BatchBALD"),
    "variation_ratio": lambda s: s.with_draws("QueryByCommittee", method="variation_ratios"),
    "subsample": _subsample,
}
