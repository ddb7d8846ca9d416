"""One image file to one uint8 array."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dal_toolbox.errors import UserError

VERSION = 1  # counts changes of what decode returns; part of fingerprints

EXTENSIONS = frozenset(".bmp .gif .jfif .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp".split())  # noqa: SIM905


class CorruptImage(UserError, ValueError):
    """An image file that cannot be decoded."""


def decode(path: Path, size: int) -> np.ndarray:
    """The center square of an image, as people see it: upright and in 8-bit RGB.

    Orientation in EXIF is applied, 16-bit gray is scaled to 8 bit, transparent pixels become
    white. The shorter side is resized to ``size`` (bicubic, antialiased); no resampling happens
    where it has that length already. JPEGs four times as large or more are reduced while decoding.

    Returns:
        Shape: (3, size, size), uint8.

    Raises:
        CorruptImage: Whatever is wrong with the file, in one line with its path.
    """
    try:
        with Image.open(path) as image:
            image.draft(None, (2 * size, 2 * size))  # twice, so that the last step antialiases
            ImageOps.exif_transpose(image, in_place=True)
            square = ImageOps.fit(to_rgb(image), (size, size), Image.Resampling.BICUBIC)
        return np.asarray(square).transpose(2, 0, 1)
    except Exception as error:  # a broken file makes PIL raise nearly anything
        raise CorruptImage(_message(path, error)) from error


def shorter_side(path: Path) -> int:
    """Length of the shorter side in pixels, from the head of the file alone."""
    try:
        with Image.open(path) as image:
            return min(image.size)
    except Exception as error:
        raise CorruptImage(_message(path, error)) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit RGB."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise ValueError(
            "floating-point pixels have no known range; convert the file to 8 or 16 bit"
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.int64)
    if pixels.size and not 0 <= pixels.min() <= pixels.max() < 2**16:
        raise ValueError(f"pixels from {pixels.min()} to {pixels.max()}; wanted 16 bit")
    scaled = (pixels * 255 + 32767) // 65535  # rounded, without a float on the way
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")


def _message(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()).removesuffix(f" '{path}'") or type(error).__name__
    return f"cannot decode {path}: {reason}; replace the file or remove it"
