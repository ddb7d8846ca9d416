"""Linear maps that act on the rows and on the columns of images: resizing, cropping, blurring."""

import torch
from torch import Tensor


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Computes ``rows @ image @ columns.T`` for every channel of every image.

    Args:
        images: Shape: (n, c, h, w).
        rows: Matrix on the left of each image. Shape: (n, h_out, h).
        columns: Matrix on the right of each image, transposed. Shape: (n, w_out, w).

    Returns:
        Shape: (n, c, h_out, w_out). In memory, channels come first and images second.
    """
    n, c, h, w = images.shape
    wide = images.reshape(n, c * h, w).bmm(columns.transpose(1, 2)).view(n, c, h, -1)
    out = images.new_empty(c, n, rows.shape[1], columns.shape[1])
    for k in range(c):  # broadcasting over the channels would copy the matrices c times
        torch.bmm(rows, wide[:, k], out=out[k])
    return out.transpose(0, 1)


def resize_weights(
    start: Tensor,
    length: Tensor,
    size_in: int,
    size_out: int,
    flip: Tensor | None = None,
    bicubic: bool = False,
) -> Tensor:
    """Weights that resize the pixels start, ..., start + length - 1 of an axis to ``size_out``.

    Output pixel i lies at start + (i + 1/2) · length / size_out. An input pixel at distance d
    gets the weight k(d / s), where k is the kernel and s = max(1, length / size_out) widens it
    when shrinking, as the antialiasing of PIL and torchvision does; the weights sum to 1.

    Args:
        start: First pixel. Shape: (n, 1).
        length: Number of pixels. Shape: (n, 1).
        size_in: Number of pixels of the whole axis.
        size_out: Number of output pixels.
        flip: 1 where the output is reversed, 0 elsewhere. Shape: (n, 1).
        bicubic: Keys' cubic kernel (a = -1/2) instead of the triangle max(0, 1 - |d|).

    Returns:
        Shape: (n, size_out, size_in).

    >>> resize_weights(torch.zeros(1, 1), torch.full((1, 1), 4.0), size_in=4, size_out=2)
    tensor([[[0.4286, 0.4286, 0.1429, 0.0000],
             [0.0000, 0.1429, 0.4286, 0.4286]]])
    """
    step = length / size_out
    i = torch.arange(size_out, device=start.device, dtype=torch.float32)
    if flip is not None:
        i = (flip * (size_out - 1) - i).abs_()
    centers = start + (i + 0.5) * step  # (n, size_out)
    pixels = torch.arange(size_in, device=start.device, dtype=torch.float32) + 0.5
    if size_in <= size_out and not bicubic:  # nothing shrinks: two weights that sum to 1
        centers = centers.clamp(start + 0.5, start + length - 0.5)
        return (pixels - centers[:, :, None]).abs_().neg_().add_(1).clamp_min_(0)
    stretch = step.clamp_min(1)
    outside = (pixels < start) | (pixels > start + length)
    places = (pixels / stretch).masked_fill_(outside, float("inf"))  # (n, size_in)
    distance = (places[:, None] - (centers / stretch)[:, :, None]).abs_()
    weights = _cubic(distance) if bicubic else distance.neg_().add_(1).clamp_min_(0)
    return weights.div_(weights.sum(-1, keepdim=True))


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (Keys, 1981)."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
