"""One image file to one uint8 array."""

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dal_toolbox.errors import UserError

MAX_PIXELS = 89_478_485  # as PIL: 256 MB of three bytes a pixel
VERSION = 1  # counts changes of what decode returns; part of fingerprints

# What a file holds is told from its content. Not all that PIL knows: EPS, for one, runs a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = frozenset(".bmp .gif .jfif .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp".split())  # noqa: SIM905


class CorruptImage(UserError, ValueError):
    """An image file that cannot be decoded.

    Args:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"cannot decode {path}: {reason}; replace the file, remove it, or leave out all such "
            "files with on_error=skip where the dataset has that option"
        )
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["CorruptImage"], tuple[Path, str]]:
        return CorruptImage, (self.path, self.reason)  # workers send it


def decode(path: Path, size: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The center square of an image, as people see it: upright and in 8-bit RGB.

    Orientation in EXIF is applied, 16-bit gray is scaled to 8 bit, CMYK is read as Adobe writes it,
    transparent pixels become white; of an animation the first frame is taken. The shorter side is
    resized to ``size`` (bicubic, antialiased); no resampling happens where it has that length
    already. JPEGs four times as large or more are reduced while decoding. The content tells the
    format, whatever the name says.

    Args:
        path: The file.
        size: Height and width of the result.
        max_pixels: Images of more pixels are refused.

    Returns:
        Shape: (3, size, size), uint8.

    Raises:
        CorruptImage: Whatever is wrong with the file, in one line with its path. Damage within the
            compressed data of a JPEG is not always noticed: its decoder guesses what is missing.
    """
    with _opened(path, max_pixels) as image:
        image.draft(None, (2 * size, 2 * size))  # twice, so that the last step antialiases
        ImageOps.exif_transpose(image, in_place=True)
        square = ImageOps.fit(to_rgb(image), (size, size), Image.Resampling.BICUBIC)
        return np.asarray(square).transpose(2, 0, 1)


def shorter_side(path: Path, max_pixels: int = MAX_PIXELS) -> int:
    """Length of the shorter side in pixels, from the head of the file alone."""
    with _opened(path, max_pixels) as image:
        return min(image.size)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """Opens a file; whatever goes wrong until the block ends is a :class:`CorruptImage`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait forever
            raise ValueError("a folder, pipe or device instead of a file")
        with warnings.catch_warnings(), _any_size():
            warnings.simplefilter("ignore")  # such as of odd metadata beside good pixels
            with Image.open(path, formats=FORMATS) as image:
                _check_pixels(image, max_pixels)
                yield image
    except Exception as error:  # a broken file makes PIL raise nearly anything
        raise CorruptImage(path, _reason(path, error)) from error


@contextmanager
def _any_size() -> Iterator[None]:
    """Lets PIL open images of any size: it has one limit for the whole process, ours is a parameter."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _check_pixels(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(
            f"{width} x {height} pixels, more than max_pixels={max_pixels}, "
            "which guards against files that only say that they are huge"
        )


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


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        is_empty = path.stat().st_size == 0
        return "the file is empty" if is_empty else f"no image ({', '.join(FORMATS)})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
