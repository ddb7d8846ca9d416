"""LARS (You et al., 2017, https://arxiv.org/abs/1708.03888)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dal_toolbox.arguments import non_negative


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling, the classic form that SimCLR used.

    Of a parameter w with gradient g, and with the learning rate inside the momentum::

        g ← g + weight_decay · w
        r = trust_coefficient · ‖w‖ / ‖g‖        (1 where a norm is 0)
        v ← momentum · v + lr · r · g
        w ← w − v

    Vectors and scalars (biases, normalization; ``ndim`` ≤ 1) get neither weight decay nor adaptation:
    r = 1 for them. That rests on the shape alone, so ``weight_decay=0`` keeps the adaptation.
    The momentum of the popular form, v ← momentum · v + g, w ← w − lr · r · v, differs while the
    learning rate changes. No value is read back from the device.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Momentum of the updates.
        weight_decay: Of matrices and convolutions only.
        trust_coefficient: η of the paper.

    Raises:
        ValueError: A number is negative.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        non_negative(**options, trust_coefficient=trust_coefficient)
        super().__init__(params, {**options, "trust_coefficient": trust_coefficient})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; returns what ``closure``, which recomputes the gradients, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [w for w in group["params"] if w.grad is not None]
            self._update([w for w in parameters if w.ndim > 1], group, adapt=True)
            self._update([w for w in parameters if w.ndim <= 1], group, adapt=False)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any], *, adapt: bool) -> None:
        if not parameters:
            return
        gradients: Sequence[Tensor] = [w.grad for w in parameters if w.grad is not None]
        if adapt:
            gradients = torch._foreach_add(list(gradients), parameters, alpha=group["weight_decay"])
            rates = group["lr"] * _trust_ratios(parameters, gradients, group["trust_coefficient"])
            updates = torch._foreach_mul(list(gradients), list(rates.unbind()))
        else:
            updates = torch._foreach_mul(list(gradients), group["lr"])
        velocities = [self._velocity(w) for w in parameters]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates)
        torch._foreach_sub_(parameters, velocities)

    def _velocity(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        return state["velocity"]


def _trust_ratios(
    parameters: Sequence[Tensor], gradients: Sequence[Tensor], coefficient: float
) -> Tensor:
    """η · ‖w‖ / ‖g‖ of every tensor, 1 where a norm is 0. Shape: (number of tensors,)."""
    w = torch.stack(torch._foreach_norm(list(parameters)))
    g = torch.stack(torch._foreach_norm(list(gradients)))
    return torch.where((w > 0) & (g > 0), coefficient * w / g, torch.ones_like(w))
