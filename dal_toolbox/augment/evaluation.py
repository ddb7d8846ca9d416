"""The fixed transform for evaluation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dal_toolbox.arguments import at_least, between, positive
from dal_toolbox.augment.pipeline import per_channel, to_float
from dal_toolbox.augment.separable import resize_weights, separable

CROP = 0.875  # 224 of 256: the share that evaluation on ImageNet keeps


class EvalTransform(nn.Module):
    """Cuts out the central square, resizes it with antialiasing where needed, and normalizes it.

    Of images larger than ``size``, the central ``crop`` of the shorter side is kept, but at least
    ``size``: the field's convention of resizing to 256 and cutting out 224 (such as Grill et al.,
    2020, https://arxiv.org/abs/2006.07733, appendix). Of 256 stored pixels those are the very
    ones, without resampling. Other images keep their whole shorter side.

    Args:
        size: Height and width of the result.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        crop: Share of the shorter side that is kept of larger images, in (0, 1].

    >>> EvalTransform(size=8, mean=(0.5,), std=(0.25,)).key
    'crop(0.875) resize(8) normalize(mean=[0.5], std=[0.25])'
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, size: int, mean: Sequence[float], std: Sequence[float], *, crop: float = CROP
    ) -> None:
        super().__init__()
        at_least(1, size=size)
        positive(crop=crop)
        between(0, 1, crop=crop)
        self.size = size
        self.crop = float(crop)
        self.key = (
            f"crop({self.crop}) resize({size}) normalize(mean={[float(m) for m in mean]}, "
            f"std={[float(s) for s in std]})"
        )
        self.register_buffer("mean", per_channel(mean), persistent=False)
        self.register_buffer("std", per_channel(std), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Transforms a batch.

        Args:
            images: uint8, or float in [0, 1]. Shape: (b, c, h, w).

        Returns:
            Float32. Shape: (b, c, size, size).
        """
        h, w = images.shape[2:]
        side = self._side(min(h, w))
        top, left = (h - side) // 2, (w - side) // 2
        if side == self.size:
            x = to_float(images[..., top : top + side, left : left + side])
        else:
            with torch.autocast(images.device.type, enabled=False):
                x = self._resize(to_float(images), top, left, side)
        return x.sub(self.mean).div_(self.std).contiguous()

    def _side(self, shorter: int) -> int:
        """Height and width of what is kept, in pixels."""
        return shorter if shorter <= self.size else max(self.size, round(self.crop * shorter))

    def _resize(self, x: Tensor, top: int, left: int, side: int) -> Tensor:
        b, _, h, w = x.shape
        length = torch.full((1, 1), float(side), device=x.device)
        start = torch.full_like(length, top), torch.full_like(length, left)
        rows = resize_weights(start[0], length, h, self.size).expand(b, -1, -1)
        columns = resize_weights(start[1], length, w, self.size).expand(b, -1, -1)
        return separable(x, rows, columns)
