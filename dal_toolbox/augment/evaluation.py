"""The fixed transform for evaluation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dal_toolbox.augment.pipeline import per_channel, to_float
from dal_toolbox.augment.separable import resize_weights, separable


class EvalTransform(nn.Module):
    """Resizes images with antialiasing where their size differs, and normalizes them.

    Of an image that is not square, the central square is taken.

    Args:
        size: Height and width of the result.
        mean: Mean of each channel.
        std: Standard deviation of each channel.

    >>> EvalTransform(size=8, mean=(0.5,), std=(0.25,)).key
    'resize(8) normalize(mean=[0.5], std=[0.25])'
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.size = size
        self.key = (
            f"resize({size}) normalize(mean={[float(m) for m in mean]}, "
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
        x = to_float(images)
        if images.shape[2:] != (self.size, self.size):
            with torch.autocast(images.device.type, enabled=False):
                x = self._resize(x)
        return x.sub(self.mean).div_(self.std).contiguous()

    def _resize(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        side = min(h, w)
        length = torch.full((1, 1), float(side), device=x.device)
        top, left = (
            length.new_full((1, 1), (h - side) // 2),
            length.new_full((1, 1), (w - side) // 2),
        )
        rows = resize_weights(top, length, h, self.size).expand(b, -1, -1)
        columns = resize_weights(left, length, w, self.size).expand(b, -1, -1)
        return separable(x, rows, columns)
