"""L-BFGS for a smooth, strictly convex function."""

from collections import deque
from collections.abc import Callable

from torch import Tensor

from dal_toolbox.progress import log

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]


def minimize(
    objective: Objective,
    start: Tensor,
    *,
    tolerance: float,
    max_iterations: int = 1000,
    history: int = 10,
) -> Tensor:
    """The last point of ``descend``; a warning is logged if the gradient is still large there."""
    point, gradient, settled = descend(
        objective, start, tolerance=tolerance, max_iterations=max_iterations, history=history
    )
    if not settled:
        log.warning(
            "L-BFGS stopped after %d iterations with a gradient of %.1e (tolerance %.1e)",
            max_iterations,
            gradient.abs().max(),
            tolerance,
        )
    return point


def descend(
    objective: Objective,
    start: Tensor,
    *,
    tolerance: float,
    max_iterations: int = 1000,
    history: int = 10,
) -> tuple[Tensor, Tensor, bool]:
    """Minimizes with limited-memory BFGS and Armijo's backtracking (Nocedal & Wright, 2006, 7.2).

    Strict convexity makes yᵀs > 0 at any step length, so that no curvature condition is searched.

    Args:
        objective: Maps a point to its value (a scalar) and its gradient, in float64.
        start: The first point; a step of length 1 along −gradient must be sensible there.
        tolerance: Largest absolute entry of the gradient at the solution.
        max_iterations: Largest number of steps.
        history: Number of remembered steps.

    Returns:
        The last point, its gradient, and whether the gradient is small or all that is left to gain
        is rounding error.
    """
    point, (value, gradient) = start, objective(start)
    steps: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history)
    for _ in range(max_iterations):
        if gradient.abs().max() <= tolerance:
            return point, gradient, True
        direction = -_inverse_hessian_times(gradient, steps)
        slope = (gradient * direction).sum()
        noise = 1e-15 * value.abs()  # rounding error of a value
        length = 1.0
        new_value, new_gradient = objective(point + direction)
        while new_value > value + 1e-4 * length * slope + noise and length > 1e-10:
            length /= 2
            new_value, new_gradient = objective(point + length * direction)
        if new_value >= value - noise and new_gradient.abs().max() >= gradient.abs().max():
            return point, gradient, True  # nothing is left to gain but rounding errors
        s, y = length * direction, new_gradient - gradient
        steps.append((s, y, 1 / (s * y).sum()))
        point, value, gradient = point + s, new_value, new_gradient
    return point, gradient, False


def _inverse_hessian_times(gradient: Tensor, steps: deque[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The two-loop recursion (Nocedal & Wright, 2006, Algorithm 7.4)."""
    q, alphas = gradient, []
    for s, y, rho in reversed(steps):
        alpha = rho * (s * q).sum()
        q = q - alpha * y
        alphas.append(alpha)
    if steps:
        s, y, rho = steps[-1]
        q = q / (rho * y.square().sum())  # the length of the last step scales the start
    for (s, y, rho), alpha in zip(steps, reversed(alphas), strict=True):
        q = q + (alpha - rho * (y * q).sum()) * s
    return q
