"""Mean and standard deviation of pixels."""

import numpy as np
import torch

from dal_toolbox.datasets.base import Images

SAMPLE = 10_000  # images that are looked at


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in [0, 1], of up to 10,000 images.

    Pixels are counted by value, so the result is exact whatever the order.
    """
    step = -(-len(images) // SAMPLE)
    rows = np.arange(0, len(images), step)
    counts = torch.zeros(images.shape[0], 256, dtype=torch.int64)
    for batch in np.array_split(rows, -(-len(rows) // 256)):
        channels = images.batch(batch).transpose(0, 1).flatten(1)  # (c, b * h * w)
        counts += torch.stack([torch.bincount(channel, minlength=256) for channel in channels])
    share = counts.double() / counts.sum(dim=1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(dim=1)
    std = variance.sqrt().clamp(min=1 / 255)  # images of one color are divided by it, too
    return tuple(mean.tolist()), tuple(std.tolist())
