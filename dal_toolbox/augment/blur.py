"""Gaussian blur with one width for each sample, as products with banded matrices."""

import torch
from torch import Tensor

from dal_toolbox.augment.separable import separable


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """Blurs each image with its own Gaussian kernel and reflects at the border, as torchvision.

    Args:
        images: Shape: (n, c, h, w).
        sigma: Standard deviation in pixels, positive. Shape: (n, 1).
        kernel_size: Width and height of the kernel in pixels, odd.

    Returns:
        Shape: (n, c, h, w).
    """
    width, height = kernel_size
    rows = columns = blur_matrices(sigma, height, images.shape[2])
    if (width, images.shape[3]) != (height, images.shape[2]):
        columns = blur_matrices(sigma, width, images.shape[3])
    return separable(images, rows, columns)


def blur_matrices(sigma: Tensor, kernel_size: int, size: int) -> Tensor:
    """Matrices B with (B x)_i = Σ_t k_|t| x_{i+t}, where k_t ∝ exp(-t² / 2σ²) for t ≤ radius.

    Args:
        sigma: Shape: (n, 1).
        kernel_size: 2 · radius + 1, with a radius less than ``size``.
        size: Number of pixels along the axis.

    Returns:
        Shape: (n, size, size).
    """
    t = torch.arange(kernel_size // 2 + 1, device=sigma.device)  # 0, ..., radius
    kernel = torch.exp(-(t**2) / (2 * sigma**2))  # (n, radius + 1)
    kernel = kernel / (2 * kernel.sum(1, keepdim=True) - kernel[:, :1])
    places = _distances(size, sigma.device) == t[:, None, None, None]  # (radius + 1, 3, s, s)
    return (kernel @ places.sum(1, dtype=torch.float32).flatten(1)).view(-1, size, size)


def _distances(size: int, device: torch.device) -> Tensor:
    """Distances from pixel i to pixel j and to its two mirror images, -1 for none.

    Left of the image, place -j shows pixel j; right of it, place 2 (size - 1) - j does. The
    pixel on the border is not repeated. Shape: (3, size, size).
    """
    j = torch.arange(size, device=device)
    i, last = j[:, None], size - 1
    left = torch.where(j > 0, i + j, -1)
    right = torch.where(j < last, 2 * last - i - j, -1)
    return torch.stack([(i - j).abs(), left, right])
