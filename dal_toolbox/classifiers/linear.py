"""Multinomial logistic regression."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.arguments import inside, one_of, positive
from dal_toolbox.classifiers._lbfgs import Objective, descend
from dal_toolbox.classifiers.base import (
    CLASSIFIERS,
    check_num_classes,
    check_training_data,
    in_blocks,
)
from dal_toolbox.progress import log

CERTIFIED = 1e-3  # share of the objective that the solution may at most be above the minimum
ARRIVED = 1e-6  # share of the objective that another Newton step would gain
ROUNDED = 2.0**-46  # what rounding leaves unknown of the loss of an item
MAX_STEPS = 50  # of Newton's method
CG_STEPS = 200
CG_TOLERANCE = 1e-4


@CLASSIFIERS.register("linear")
class LinearClassifier:
    """Multinomial logistic regression: the maximum a posteriori under W ~ N(0, 1/l2).

    Minimizes Σᵢ −log softmax(W [xᵢ; 1])_yᵢ + l2/2 ‖W‖², with the bias among the weights. The sum is
    strictly convex: one solution, whatever classes are missing from the labels (they get low,
    finite logits). It is scikit-learn's ``LogisticRegression(C=1/l2)`` on [x; 1]. If the minimum is
    not found to 0.1 % of the objective, a warning is logged.

    Args:
        num_classes: Number of classes, C.
        l2: Precision of the prior. For unit-norm features and 1 to 100 labels a class, 0.003 to
            0.03 were equally accurate on digits; smaller values fit slowly, larger ones too little.
        normalize: Scale every feature vector to unit norm.
        tolerance: Largest gradient of the preconditioned problem at the solution.
    """

    weight_: Tensor  # (d, C) float64
    bias_: Tensor  # (C,) float64

    def __init__(
        self,
        num_classes: int,
        *,
        l2: float = 0.01,
        normalize: bool = True,
        tolerance: float = 1e-6,
    ) -> None:
        check_num_classes(num_classes)
        positive(l2=l2)  # without it, missing classes have no solution
        one_of((True, False), normalize=normalize)
        inside(0, 1, tolerance=tolerance)
        self.num_classes = num_classes
        self.l2 = l2
        self.normalize = normalize
        self.tolerance = tolerance

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        check_training_data(features, labels, self.num_classes)
        x = F.pad(self._prepare(features), (0, 1), value=1.0)  # (n, d + 1)
        weight = _solve(x, labels, self.num_classes, self.l2, self.tolerance)  # (d + 1, C)
        self.weight_, self.bias_ = weight[:-1], weight[-1]
        return self

    def logits(self, features: Tensor) -> Tensor:
        return in_blocks(self._logits, features)

    def probabilities(self, features: Tensor) -> Tensor:
        return self.logits(features).double().softmax(dim=1)

    def _logits(self, features: Tensor) -> Tensor:
        # float64 inside: rounded to float32, identical items get identical logits.
        return (self._prepare(features) @ self.weight_ + self.bias_).float()

    def _prepare(self, features: Tensor) -> Tensor:
        features = features.double()
        return F.normalize(features, dim=1) if self.normalize else features


def _solve(x: Tensor, labels: Tensor, num_classes: int, l2: float, tolerance: float) -> Tensor:
    """Returns W ``(d, C)`` by L-BFGS in coordinates where the problem is well conditioned.

    Two exact changes of variables. With fewer rows than columns, W lies in the span of the rows
    (representer theorem). And Böhning's bound on the Hessian, XᵀX/2 + l2 for every class
    (1992, https://doi.org/10.1007/BF00048682), diagonal in the eigenvectors of XᵀX, scales them.
    """
    basis = None
    if x.shape[0] < x.shape[1]:
        basis, r = torch.linalg.qr(x.T)  # (d, n), (n, n)
        x = r.T
    eigenvalues, vectors = torch.linalg.eigh(x.T @ x)
    scale = (eigenvalues.clamp(min=0) / 2 + l2).rsqrt()  # (r,)
    z = (x @ vectors) * scale  # (n, r)
    prior = l2 * scale.square()
    onehot = F.one_hot(labels, num_classes).to(z)

    def objective(b: Tensor) -> tuple[Tensor, Tensor]:  # (C, r)
        log_p = F.log_softmax(z @ b.T, dim=1)  # (n, C)
        value = -(onehot * log_p).sum() + (prior * b.square()).sum() / 2
        errors = (
            log_p.exp() - onehot
        ).T.contiguous()  # a product with z.T takes three times as long
        return value, errors @ z + prior * b

    start = z.new_zeros(num_classes, z.shape[1])
    b, gradient, settled = descend(objective, start, tolerance=tolerance)
    # The Hessian is at least the prior: no point is more than this below the present one.
    gap = (gradient.square() / prior).sum() / 2
    if not settled or gap > CERTIFIED * objective(b)[0] + ROUNDED * len(z):
        b = newton(objective, z, prior, b)
    weight = vectors @ (scale * b).T
    return weight if basis is None else basis @ weight


def newton(objective: Objective, z: Tensor, prior: Tensor, b: Tensor) -> Tensor:
    """Newton's method with conjugate gradients, where L-BFGS is slow: features of large norm.

    There the bound on the Hessian, which L-BFGS starts from, is far above the Hessian itself.
    Nocedal & Wright, 2006, Algorithm 7.1. Logs a warning if it does not arrive.

    Args:
        objective: Of softmax regression on z with a Gaussian prior.
        z: Shape: (n, r).
        prior: Precision of the weights of each column of z. Shape: (r,).
        b: The first point. Shape: (C, r).
    """
    value, gradient = objective(b)
    for _ in range(MAX_STEPS):
        p = (z @ b.T).softmax(dim=1)  # (n, C)
        step = _newton_step(z, p, prior, gradient)
        slope = float((gradient * step).sum())
        if -slope / 2 <= ARRIVED * value + ROUNDED * len(
            z
        ):  # what Newton's quadratic model still promises
            return b
        length = 1.0
        new_value, new_gradient = objective(b + step)
        while not new_value <= value + 1e-4 * length * slope and length > 1e-10:
            length /= 2
            new_value, new_gradient = objective(b + length * step)
        if not new_value < value:
            break  # rounding errors
        b, value, gradient = b + length * step, new_value, new_gradient
    log.warning(
        "linear: the objective %.3e may be up to %.1e above its minimum; scale the features or use "
        "normalize=true",
        value,
        -slope / 2,
    )
    return b


def _newton_step(z: Tensor, p: Tensor, prior: Tensor, gradient: Tensor) -> Tensor:
    """−H⁻¹ gradient by conjugate gradients, preconditioned by the diagonal of H. Shape: (C, r)."""
    diagonal = (p * (1 - p)).T @ z.square() + prior
    step, residual = torch.zeros_like(gradient), -gradient
    scaled = residual / diagonal
    direction, norm = scaled, (residual * scaled).sum()
    enough = CG_TOLERANCE * norm
    for _ in range(CG_STEPS):
        change = p * (z @ direction.T)  # (n, C)
        change -= p * change.sum(dim=1, keepdim=True)
        product = change.T.contiguous() @ z + prior * direction  # H direction
        length = norm / (direction * product).sum()
        step, residual = step + length * direction, residual - length * product
        scaled = residual / diagonal
        norm, before = (residual * scaled).sum(), norm
        if norm <= enough:
            break
        direction = scaled + norm / before * direction
    return step
