"""Laplace approximation of logistic regression on frozen features (last-layer Laplace)."""

from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.arguments import at_least, between
from dal_toolbox.classifiers._heads import MAX_SAMPLES, head_probabilities
from dal_toolbox.classifiers.base import CLASSIFIERS, in_blocks
from dal_toolbox.classifiers.linear import LinearClassifier


@CLASSIFIERS.register("laplace")
class LaplaceClassifier(LinearClassifier):
    """Logistic regression with a Gaussian posterior around its solution.

    MacKay, 1992, https://doi.org/10.1162/neco.1992.4.3.448; on the last layer alone: Daxberger et
    al., 2021, https://arxiv.org/abs/2106.14806. The Hessian of Σᵢ −log softmax(W [xᵢ; 1])_yᵢ + l2/2 ‖W‖²
    is taken class by class: H_c = Σᵢ p_ic (1 − p_ic) xᵢxᵢᵀ + l2, without its blocks between classes.
    Weights are drawn from N(W_c, H_c⁻¹) exactly, so that the draws of all items belong together.
    Predictions are those of ``linear``.

    Args:
        num_classes: Number of classes, C.
        l2: Precision of the prior.
        normalize: Scale every feature vector to unit norm.
        tolerance: Largest gradient of the preconditioned problem at the solution.
        num_samples: Draws from the posterior, M.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        l2: float = 0.01,
        normalize: bool = True,
        tolerance: float = 1e-6,
        num_samples: int = 16,
    ) -> None:
        super().__init__(num_classes, l2=l2, normalize=normalize, tolerance=tolerance)
        at_least(1, num_samples=num_samples)
        between(1, MAX_SAMPLES, num_samples=num_samples)
        self.num_samples = num_samples

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        super().fit(features, labels)
        self._x = F.pad(self._prepare(features), (0, 1), value=1.0)  # (n, d + 1)
        self._p = (self._x @ self._map).softmax(dim=1)  # (n, C)
        self._last: tuple[Any, Tensor, Any] | None = None  # states around it
        return self

    def samples(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        """Class probabilities under M draws of the weights, float32. Shape: (n, C, M)."""
        weights = self._drawn(rng)  # (d + 1, M, C)

        def predict(block: Tensor) -> Tensor:
            return head_probabilities(self._prepare(block), weights[:-1], weights[-1])

        return in_blocks(predict, features, rows=1024)

    def _drawn(self, rng: np.random.Generator) -> Tensor:
        """``draw_weights``, remembered: blocks of items come one by one with the same rng.

        Shape: (d + 1, M, C).
        """
        state = rng.bit_generator.state
        if self._last is not None and self._last[0] == state:
            rng.bit_generator.state = self._last[2]
            return self._last[1]
        weights = self.draw_weights(rng).movedim(2, 1).contiguous()
        self._last = state, weights, rng.bit_generator.state
        return weights

    def draw_weights(self, rng: np.random.Generator) -> Tensor:
        """M draws of the weights, the bias last, float64. Shape: (d + 1, C, M)."""
        (n, d), device = self._x.shape, self._x.device
        variances = self._p * (1 - self._p)  # (n, C)
        draws = []
        for c in range(self.num_classes):
            a = self._x * variances[:, c : c + 1].sqrt()  # (n, d + 1): H = AᵀA + l2
            noise = torch.from_numpy(rng.standard_normal((d + min(n, d), self.num_samples)))
            draw = _few_items if n < d else _many_items
            draws.append(self._map[:, c : c + 1] + draw(a, self.l2, noise.to(device)))
        return torch.stack(draws, dim=1)

    @property
    def _map(self) -> Tensor:
        return torch.cat([self.weight_, self.bias_[None]])  # (d + 1, C)


def _many_items(a: Tensor, l2: float, noise: Tensor) -> Tensor:
    """Draws from N(0, (AᵀA + l2)⁻¹), by a Cholesky factor of the precision. Shape: (d, M)."""
    d = a.shape[1]
    precision = a.T @ a + l2 * torch.eye(d, dtype=a.dtype, device=a.device)
    factor = torch.linalg.cholesky(
        precision
    )  # precision = L Lᵀ, and L⁻ᵀε has the covariance wanted
    return torch.linalg.solve_triangular(factor.T, noise[:d], upper=True)


def _few_items(a: Tensor, l2: float, noise: Tensor) -> Tensor:
    """The same with fewer items than features: a draw of the prior, corrected by n equations.

    Matheron's rule (Wilson et al., 2020, Eq. 9, https://arxiv.org/abs/2002.09309): of θ ~ N(0, 1/l2)
    seen as Aθ + ε = 0.
    """
    n, d = a.shape
    prior, errors = noise[:d] / l2**0.5, noise[d : d + n]  # (d, M), (n, M)
    gram = a @ a.T + l2 * torch.eye(n, dtype=a.dtype, device=a.device)
    solved = torch.cholesky_solve(a @ prior + errors, torch.linalg.cholesky(gram))
    return prior - a.T @ solved
