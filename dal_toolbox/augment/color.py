"""Color operations of torchvision with one factor for each sample, on a whole batch and in place.

Images are float in [0, 1], shape (n, c, h, w) with c = 1 or 3. Saturation, hue and grayscale
leave images of one channel alone, as in torchvision.
"""

import torch
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
TINY = 1e-20  # a chroma that changes nothing, though far from the slow subnormal numbers


def blend_(images: Tensor, factor: Tensor, of_gray: Tensor, of_mean: Tensor) -> None:
    """clamp(f x + g gray(x) + m mean(gray(x))): brightness, contrast, or saturation.

    Args:
        images: Shape: (n, c, h, w).
        factor: Shape: (n, 1, 1, 1), as the other two.
        of_gray: See ``blend_shares``.
        of_mean: See ``blend_shares``.
    """
    gray = to_gray(images)
    mean = gray.mean((1, 2, 3), keepdim=True).mul_(of_mean)
    rest = gray.mul_(of_gray).add_(mean)
    torch.addcmul(rest, images, factor, out=images).clamp_(0, 1)


def blend_shares(factor: Tensor, operation: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of the gray image and of its mean in f x + (1 - f) y.

    torchvision's y is black for the brightness, the mean of the gray image for the contrast,
    and the gray image for the saturation.
    """
    rest = 1 - factor
    return rest * (operation == SATURATION), rest * (operation == CONTRAST)


def adjust_hue_(images: Tensor, offsets: Tensor) -> None:
    """Turns the hue at constant value and saturation of HSV.

    With L = min(r, g, b), C = max(r, g, b) - L, and hues in sixths of a turn, the hexagon of
    HSV has the closed forms

        H = ±(1 + (g + b - r - L) / C)   with the sign of g - b,
        x_c = L + C clamp(2 - |H + turn - H_c|, 0, 1)   with H_c = 0, 2, 4 for r, g, b,

    where |·| is the distance on the circle of length 6. They need neither the six cases nor
    the value and the saturation of the usual conversion, and agree with it to rounding.

    Args:
        images: Shape: (n, c, h, w).
        offsets: turn - H_c in [-3, 3), see ``hue_offsets``. Shape: (n, 3, 1, 1).
    """
    if images.shape[1] == 1:
        return
    r, g, b = images.split(1, dim=1)  # (n, 1, h, w)
    low = torch.minimum(r, g)
    torch.minimum(low, b, out=low)
    chroma = torch.maximum(r, g)
    torch.maximum(chroma, b, out=chroma).sub_(low).clamp_min_(TINY)
    hue = (g - low).sub_(r).add_(b).div_(chroma).add_(1).copysign_(g - b)  # in [-3, 3]
    weight = hue + offsets  # (n, 3, h, w), in [-6, 6]
    weight.abs_().sub_(3).abs_().clamp_(1, 2)  # 3 - ||t| - 3| is the distance of t from 0
    torch.addcmul(low.sub_(chroma), chroma, weight, out=images)


def hue_offsets(shift: Tensor) -> Tensor:
    """Sixths of a turn from the hues of red, green and blue, for shifts in turns.

    Args:
        shift: Shape: (n, 1).

    Returns:
        Shape: (n, 3), in [-3, 3).
    """
    centers = torch.arange(0, 6, 2, device=shift.device)
    return (6 * shift - centers + 3).remainder_(6).sub_(3)


def grayscale_(images: Tensor) -> None:
    """Removes the color."""
    images.copy_(to_gray(images))


def solarize_(images: Tensor, threshold: Tensor) -> None:
    """Inverts the pixels that are at least the threshold, of shape (n, 1, 1, 1)."""
    bright = (images >= threshold).to(images.dtype)
    images.sub_(bright).abs_()  # |x - 1| = 1 - x where bright, |x| = x elsewhere


def to_gray(images: Tensor) -> Tensor:
    """Luma of ITU-R BT.601. Shape: (n, 1, h, w)."""
    if images.shape[1] == 1:
        return images.clone()
    r, g, b = images.split(1, dim=1)
    return r.mul(0.2989).add_(g, alpha=0.587).add_(b, alpha=0.114)
