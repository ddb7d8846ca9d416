"""How far an item must move toward an anchor until its predicted class changes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning.strategies._critical import CriticalBounds
from dal_toolbox.classifiers import Classifier
from dal_toolbox.progress import log

Inputs = Callable[[np.ndarray], Tensor]  # z of positions (m,), (m, d)

ROWS = 8192  # of one call of the classifier
PROBE = 64  # items that tell whether weights and logits belong together
CACHED = 2**18  # numbers of a part of a block: its temporaries stay in the cache
NOISE = 1e-12  # smaller differences of slopes are rounding errors


class Head(Protocol):
    """A classifier as a function of its last inputs z."""

    def inputs(self, features: Tensor) -> Tensor:
        """Features (n, d) as z, float64. Shape: (n, d)."""
        ...

    def growing(
        self, inputs: Inputs, n: int, anchors: Tensor, epsilons: Iterable[float]
    ) -> Iterator[np.ndarray]:
        """For each ε, in ascending order, which of n items change their class. Shapes: (n,).

        An item changes if a move of length ε ‖z* − z‖ does it, for some anchor z*.
        """
        ...


def head_of(classifier: Classifier, features: Tensor) -> Head:
    """The linear head if ``weight_`` and ``bias_`` explain the logits; else the classifier itself."""
    linear = _linear_head(classifier, features[:PROBE])
    if linear is not None:
        return linear
    with torch.enable_grad():
        probe = features[:1].float().clone().requires_grad_()
        differentiable = classifier.logits(probe).requires_grad
    if not differentiable:
        name = type(classifier).__name__
        log.info("%s has no gradient: items are moved straight toward the anchors", name)
    return AnyHead(classifier, differentiable)


class LinearHead:
    """z W + b, where z are the features, of unit norm if the classifier scales them so."""

    def __init__(self, weight: Tensor, bias: Tensor, normalize: bool) -> None:
        self.weight = weight  # (d, C) float64
        self.bias = bias  # (C,) float64
        self.normalize = normalize

    def inputs(self, features: Tensor) -> Tensor:
        z = features.double()
        return F.normalize(z, dim=1) if self.normalize else z

    def logits(self, z: Tensor) -> Tensor:
        return z @ self.weight + self.bias

    def growing(
        self, inputs: Inputs, n: int, anchors: Tensor, epsilons: Iterable[float]
    ) -> Iterator[np.ndarray]:
        bounds = CriticalBounds(self.weight, self.bias, anchors)
        low, high = np.empty((2, n))
        size = max(1, CACHED // max(self.weight.shape))
        for start in range(0, n, size):
            part = np.arange(start, min(start + size, n))
            low[part], high[part] = (bound.cpu().numpy() for bound in bounds(inputs(part)))
        for epsilon in epsilons:
            doubtful = np.flatnonzero((low < epsilon) & (high >= epsilon))
            for start in range(0, len(doubtful), size):
                part = doubtful[start : start + size]
                low[part] = high[part] = self.critical(inputs(part), anchors).cpu().numpy()
            yield high < epsilon

    def critical(self, z: Tensor, anchors: Tensor) -> Tensor:
        """The ε beyond which the class changes; inf: never. Shape: (n,).

        Along the gradient of the loss logit c rises with slope_c, so that c overtakes the predicted
        class after gap_c / (slope_c − slope_ŷ). The farthest anchor allows the longest move.
        """
        logits = self.logits(z)
        predicted = logits.argmax(dim=1, keepdim=True)
        # ∂ loss / ∂ logits over 1 − p_ŷ: the same direction, and exact where the prediction is certain
        errors = logits.scatter(1, predicted, -torch.inf).softmax(dim=1).scatter(1, predicted, -1.0)
        direction = _unit(errors @ self.weight.T)  # ∇ / ‖∇‖
        slopes = direction @ self.weight  # (n, C)
        gap = logits.gather(1, predicted) - logits
        rise = slopes - slopes.gather(1, predicted)
        overtakes = rise > NOISE * slopes.abs().amax(dim=1, keepdim=True)
        length = torch.where(overtakes, gap / rise, torch.inf).amin(dim=1)
        farthest = torch.cdist(z, anchors).amax(dim=1)
        # Rounded, so that the order of a sum does not decide.
        return torch.where(farthest > 0, length / farthest, torch.inf).float()


class AnyHead:
    """A classifier that is asked with every moved item."""

    def __init__(self, classifier: Classifier, differentiable: bool) -> None:
        self.classifier = classifier
        self.differentiable = differentiable

    def inputs(self, features: Tensor) -> Tensor:
        return features.double()

    def growing(
        self, inputs: Inputs, n: int, anchors: Tensor, epsilons: Iterable[float]
    ) -> Iterator[np.ndarray]:
        change = np.zeros(n, dtype=bool)
        for epsilon in epsilons:
            rest = np.flatnonzero(~change)
            for start in range(0, len(rest), ROWS):
                part = rest[start : start + ROWS]
                change[part] = self.changes(inputs(part), anchors, epsilon).cpu().numpy()
            yield change

    def changes(self, z: Tensor, anchors: Tensor, epsilon: float) -> Tensor:
        """Shape: (n,)."""
        predicted = self.classifier.logits(z.float()).argmax(dim=1)
        gradient = self._direction(z, predicted) if self.differentiable else None
        change = torch.zeros_like(predicted, dtype=torch.bool)
        for anchor in anchors:
            way = anchor - z
            if gradient is not None:
                way = way.norm(dim=1, keepdim=True) * gradient
            moved = self.classifier.logits((z + epsilon * way).float())
            change |= moved.argmax(dim=1) != predicted
        return change

    def _direction(self, z: Tensor, predicted: Tensor) -> Tensor:
        """∇ / ‖∇‖, zero where there is no gradient. Shape: (n, d)."""
        with torch.enable_grad():
            inputs = z.float().requires_grad_()
            logits = self.classifier.logits(inputs)
            own = predicted[:, None]
            # The loss is log(1 + exp of this): the same direction, and no underflow.
            odds = logits.scatter(1, own, -torch.inf).logsumexp(dim=1) - logits.gather(1, own)[:, 0]
            gradient = torch.autograd.grad(odds.sum(), inputs)[0]
        return _unit(gradient.double())


def _unit(x: Tensor) -> Tensor:
    norms = x.norm(dim=1, keepdim=True)
    return torch.where(norms > 0, x / norms, 0.0)


def _linear_head(classifier: Classifier, features: Tensor) -> LinearHead | None:
    weight, bias = getattr(classifier, "weight_", None), getattr(classifier, "bias_", None)
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor) or weight.ndim != 2:
        return None
    expected = classifier.logits(features).double()
    for matrix in (weight.double(), weight.double().T):
        if matrix.shape != (features.shape[1], len(bias)):
            continue
        for normalize in (True, False):
            head = LinearHead(matrix, bias.double(), normalize)
            found = head.logits(head.inputs(features))
            if torch.allclose(found, expected, rtol=1e-3, atol=1e-4):
                return head
    return None
