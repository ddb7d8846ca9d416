"""The random parameters of a batch, drawn at once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dal_toolbox.augment.color import HUE
from dal_toolbox.augment.geometry import TRIES, random_boxes, uniform
from dal_toolbox.augment.view import View

NO_HUE, NO_JITTER = 4, 5  # stages without a turn of the hue, and without any color operation
NEVER = float("inf")  # a threshold that no pixel reaches
# Uniform numbers for: boxes, flip, jitter, its factors and order, grayscale, blur, sigma, solarize.
UNIFORMS = (2 * TRIES + 2, 1, 1, 4, 4, 1, 1, 1, 1)


class Parameters(NamedTuple):
    """Parameters of n samples, all float32: the columns of one table."""

    boxes: Tensor  # (n, 4): top, left, height, width in pixels
    flip: Tensor  # (n, 1): 1 or 0
    stage: Tensor  # (n, 1): how many blends precede the hue, or NO_HUE or NO_JITTER
    blends: Tensor  # (n, 3): brightness, contrast and saturation in the order of the sample
    factors: Tensor  # (n, 3): of these
    hue: Tensor  # (n, 1): in turns
    grayscale: Tensor  # (n, 1): 1 or 0
    sigma: Tensor  # (n, 1): 0 for no blur
    threshold: Tensor  # (n, 1): of solarization; NEVER for none

    @classmethod
    def of(cls, table: Tensor) -> "Parameters":
        """The columns of a table of shape (n, 16)."""
        return cls(*table.split((4, 1, 1, 3, 3, 1, 1, 1, 1), dim=-1))


class Distribution:
    """The distribution of the parameters.

    Args:
        views: What is random in each view.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self.num_views = len(views)
        self.scale = _per_view([view.scale for view in views])
        self.ratio = _per_view([view.ratio for view in views])
        self.lowest = _per_view([[low for low, _ in view.factors] for view in views])
        self.highest = _per_view([[high for _, high in view.factors] for view in views])
        self.sigma = _per_view([view.sigma for view in views])
        self.threshold = _per_view([[view.threshold] for view in views])
        self.flip = _per_view([[view.flip] for view in views])
        self.jitter = _per_view([[view.jitter if view.colorful else 0.0] for view in views])
        self.grayscale = _per_view([[view.grayscale] for view in views])
        self.blur = _per_view([[view.blur] for view in views])
        self.solarize = _per_view([[view.solarize] for view in views])

    def draw(self, b: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """Draws a table of the parameters of all views of b images.

        Drawn on the CPU whatever the device of the images: the same seed gives the same
        parameters everywhere, and the host knows without waiting which samples an operation
        changes. A sample takes as many random numbers whichever operations are in use, so that
        switching one on or off leaves the others as they were.

        Args:
            b: Number of images.
            height: Their height.
            width: Their width.
            generator: On the CPU.

        Returns:
            ``Parameters`` of view v of image i. Shape: (num_views, b, 16).
        """
        uniforms = torch.rand(self.num_views, b, sum(UNIFORMS), generator=generator)
        box, flip, jitter, factor, order, gray, blur, sigma, solarize = uniforms.split(UNIFORMS, -1)
        factors = torch.lerp(self.lowest, self.highest, factor)  # (v, b, 4)
        order = order.argsort(dim=-1, stable=True)  # (v, b, 4): which runs first, second, ...
        blends = order[order != HUE].view(self.num_views, b, 3)
        hue = factors[..., HUE:]
        stage = (order == HUE).int().argmax(dim=-1, keepdim=True).masked_fill_(hue == 0, NO_HUE)
        columns = Parameters(
            boxes=random_boxes(box, height, width, self.scale, self.ratio),
            flip=flip < self.flip,
            stage=stage.masked_fill_(jitter >= self.jitter, NO_JITTER),
            blends=blends,
            factors=factors.gather(-1, blends),
            hue=hue,
            grayscale=gray < self.grayscale,
            sigma=uniform(sigma, self.sigma).where(blur < self.blur, 0),
            threshold=self.threshold.where(solarize < self.solarize, NEVER),
        )
        return torch.cat(columns, dim=-1)


def _per_view(values: Sequence[Sequence[float]]) -> Tensor:
    """Shape: (v, 1, number of values)."""
    return torch.tensor(values, dtype=torch.float32)[:, None]
