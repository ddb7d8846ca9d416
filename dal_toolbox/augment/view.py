"""What is random in one view of an image, in the words and units of torchvision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from dal_toolbox.arguments import between, non_negative

Range = tuple[float, float]
SMALLEST = 1e-6  # stands for "more than 0"
LARGEST = 1e6  # stands for "as large as you like": beyond it float32 overflows


@dataclass(frozen=True, kw_only=True)
class View:
    """Parameters of one view. Operations run in the order of the fields; jitter's own in random.

    Args:
        scale: Least and greatest share of the area that a crop keeps (``RandomResizedCrop``).
        ratio: Least and greatest width / height of a crop, log-uniform.
        flip: Probability of mirroring left to right.
        brightness: Factor from [max(0, 1 - v), 1 + v], or from an explicit range.
        contrast: As ``brightness``.
        saturation: As ``brightness``.
        hue: Turn from [-v, v] with v ≤ 0.5, or from an explicit range.
        jitter: Probability of applying the four color operations above.
        grayscale: Probability of removing the color.
        blur: Probability of a Gaussian blur.
        kernel_size: Width and height of its kernel in pixels, odd.
        sigma: Least and greatest standard deviation of its kernel in pixels.
        solarize: Probability of inverting bright pixels.
        threshold: Least value that is inverted, in [0, 1]. The default is torchvision's 128.

    Raises:
        ValueError: A value is out of its range.
    """

    scale: Range = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float | Range = 0.0
    contrast: float | Range = 0.0
    saturation: float | Range = 0.0
    hue: float | Range = 0.0
    jitter: float = 1.0
    grayscale: float = 0.0
    blur: float = 0.0
    kernel_size: int | tuple[int, int] = 3
    sigma: Range = (0.1, 2.0)
    solarize: float = 0.0
    threshold: float = 128 / 255

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "grayscale", "blur", "solarize", "threshold"):
            between(0, 1, **{name: getattr(self, name)})
        _check_range("scale", self.scale, self.scale, least=SMALLEST, most=1)
        _check_range("ratio", self.ratio, self.ratio, least=SMALLEST)
        _check_range("sigma", self.sigma, self.sigma, least=SMALLEST)
        brightness, contrast, saturation, hue = self.factors
        _check_range("brightness", self.brightness, brightness)
        _check_range("contrast", self.contrast, contrast)
        _check_range("saturation", self.saturation, saturation)
        _check_range("hue", self.hue, hue, least=-0.5, most=0.5)
        _check_kernel(self.kernel, self.kernel_size)

    @property
    def factors(self) -> tuple[Range, Range, Range, Range]:
        """Ranges of brightness, contrast, saturation and hue."""
        brightness, contrast, saturation = (
            (max(0.0, 1 - value), 1 + value) if isinstance(value, int | float) else value
            for value in (self.brightness, self.contrast, self.saturation)
        )
        hue = (-self.hue, self.hue) if isinstance(self.hue, int | float) else self.hue
        return brightness, contrast, saturation, hue

    @property
    def colorful(self) -> bool:
        """Whether any color operation can change an image."""
        return self.factors != ((1, 1), (1, 1), (1, 1), (0, 0))

    @property
    def kernel(self) -> tuple[int, int]:
        """Width and height of the blur's kernel."""
        return (self.kernel_size,) * 2 if isinstance(self.kernel_size, int) else self.kernel_size


def _check_range(
    name: str, value: object, range_: object, least: float = 0.0, most: float = LARGEST
) -> None:
    if range_ is not value and not isinstance(value, Sequence):  # one number, such as brightness
        non_negative(**{name: value})
    if not (_is_range(range_) and least <= range_[0] and range_[1] <= most):
        raise ValueError(
            f"{name}={value!r}: must be an increasing range within [{least:g}, {most:g}]"
        )


def _is_range(value: object) -> TypeGuard[Range]:
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(_is_number(bound) for bound in value)
        and value[0] <= value[1]
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_kernel(kernel: object, value: object) -> None:
    sizes = list(kernel) if isinstance(kernel, Sequence) else []
    odd = all(type(size) is int and size > 0 and size % 2 for size in sizes)
    if len(sizes) != 2 or not odd:
        raise ValueError(f"kernel_size={value!r}: must be one or two odd numbers of pixels")
