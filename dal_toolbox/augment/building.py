"""From the parameters of a recipe and changes to them to a ``BatchAugment``."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from dal_toolbox.arguments import at_least, between
from dal_toolbox.augment.batch import BatchAugment
from dal_toolbox.augment.view import View

FIELDS = tuple(field.name for field in fields(View))
NUMBERS = ("flip", "jitter", "grayscale", "blur", "solarize", "threshold")  # fields of one number
OPTIONS = ("interpolation", "memory_format", "dtype", "chunk_bytes")  # of BatchAugment
MOST_VIEWS = 100


def build(
    images: tuple[int, Sequence[float], Sequence[float]],
    num_views: int,
    changes: Mapping[str, Any],
    **parameters: Any,
) -> BatchAugment:
    """Builds the views from the parameters of a recipe and from changes to them.

    Args:
        images: Size, mean and standard deviation.
        num_views: Number of views.
        changes: By name; they go before ``parameters``.
        **parameters: A value for all views, or a list with one value for each view.

    Raises:
        ValueError: A name is unknown, or the values are not one for each view.
    """
    at_least(1, num_views=num_views)
    between(1, MOST_VIEWS, num_views=num_views)
    for name, value in changes.items():
        if name not in FIELDS + OPTIONS:
            known = ", ".join(FIELDS)
            raise ValueError(f"{name}={value!r}: no parameter of an augmentation. Known: {known}")
    options = {name: value for name, value in changes.items() if name in OPTIONS}
    values = {**parameters, **{name: changes[name] for name in changes if name in FIELDS}}
    columns = {name: _per_view(name, value, num_views) for name, value in values.items()}
    views = [
        View(**{name: column[v] for name, column in columns.items()}) for v in range(num_views)
    ]
    return BatchAugment(*images, views, **options)


def _per_view(name: str, value: Any, num_views: int) -> list[Any]:
    """One value for each view. A range of two numbers is one value."""
    if not isinstance(value, Sequence):
        return [value] * num_views
    if name not in NUMBERS and not any(isinstance(each, Sequence) for each in value):
        return [tuple(value)] * num_views
    if len(value) != num_views:
        raise ValueError(
            f"{name}={value!r}: must be one value, or one for each of {num_views} views"
        )
    return [tuple(each) if isinstance(each, Sequence) else each for each in value]


def jitter(
    strength: float, brightness: float, contrast: float, saturation: float, hue: float
) -> dict[str, float]:
    """Color jitter of some strength, applied with probability 0.8 as in SimCLR."""
    between(0, 0.5 / max(hue, 0.1), strength=strength)  # a hue turns by half a circle at most
    return {
        "brightness": strength * brightness,
        "contrast": strength * contrast,
        "saturation": strength * saturation,
        "hue": strength * hue,
        "jitter": 0.8,
    }


def tenth(size: int) -> int:
    """The kernel of SimCLR's blur: a tenth of the image, but odd and at least 3."""
    return max(3, size // 10 // 2 * 2 + 1)
