"""Files with image names that are no images: one of each kind that folders of real data hold."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def make_bad_files(folder: Path) -> dict[str, str]:
    """Writes some 25 kinds of bad files into ``folder``; returns what each is by its name.

    Damage inside the compressed data of a JPEG is none of them: libjpeg conceals it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {
        _write(folder / name, content): kind
        for name, (kind, content) in {**_broken(), **_foreign()}.items()
    } | _special(folder)


def _write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return path.name


def _broken() -> dict[str, tuple[str, bytes]]:
    """Images that were damaged."""
    jpeg, png, gif = _encoded("JPEG"), _encoded("PNG"), _encoded("GIF")
    huffman = jpeg.index(b"\xff\xc4") + 5  # how many codes there are of each length
    return {
        "truncated.jpg": ("JPEG without its second half", jpeg[: len(jpeg) // 2]),
        "cut_header.jpg": ("JPEG cut off in its header", jpeg[:200]),
        "corrupt_header.jpg": ("JPEG with zeros as header", bytes(64) + jpeg[64:]),
        "tables.jpg": ("JPEG without quantization tables", _without_segments(jpeg, 0xDB)),
        "huffman.jpg": ("JPEG with impossible Huffman codes", _flip(jpeg, huffman)),
        "truncated.png": ("PNG without its second half", png[: len(png) // 2]),
        "checksum.png": ("PNG with a wrong checksum", _flip(png, png.index(b"IHDR") + 5)),
        "pixels.png": ("PNG whose pixels do not inflate", _flip(png, png.index(b"IDAT") + 6)),
        "truncated.gif": ("GIF without its second half", gif[: len(gif) // 2]),
        "truncated.webp": ("WebP without its second half", _half("WEBP")),
        "truncated.tif": ("TIFF without its second half", _half("TIFF")),
        "truncated.bmp": ("BMP without its second half", _half("BMP")),
        "bomb.png": ("PNG of 900 million pixels", _bomb(30_000)),
        "float.tif": ("TIFF of floating-point pixels", _float_tiff()),
    }


def _foreign() -> dict[str, tuple[str, bytes]]:
    """Files that never were images that this project reads."""
    noise = np.random.default_rng(0).bytes(5000)
    return {
        "empty.jpg": ("zero bytes", b""),
        "one_byte.png": ("one byte", b"\x89"),
        "text.jpg": ("text", b"label,name\n1,cat\n"),
        "page.jpg": ("HTML, as a failed download leaves it", b"<!DOCTYPE html><title>404</title>"),
        "paper.jpg": ("PDF", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"),
        "script.jpg": ("PostScript, which must not be run", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        "archive.jpeg": ("ZIP", b"PK\x03\x04" + noise[:200]),
        "pointer.png": ("Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\n"),
        "noise.jpg": ("random bytes", noise),
        "drawing.png": ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    }


def _special(folder: Path) -> dict[str, str]:
    """What is no regular file. Root may read everything, so permissions would prove nothing."""
    kinds = {"folder.jpg": "a folder"}
    (folder / "folder.jpg").mkdir(exist_ok=True)
    link = folder / "broken_link.jpg"
    if not link.is_symlink():
        link.symlink_to("no such file.jpg")
    kinds[link.name] = "a link to nowhere"
    if hasattr(os, "mkfifo"):
        pipe = folder / "pipe.png"
        if not pipe.exists():
            os.mkfifo(pipe)
        kinds[pipe.name] = "a named pipe, which nobody writes to"
    return kinds


def _encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _half(kind: str) -> bytes:
    content = _encoded(kind)
    return content[: len(content) // 2]


def _flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def _without_segments(jpeg: bytes, kind: int) -> bytes:
    """A JPEG without the segments of one kind before its scan."""
    kept, place = jpeg[:2], 2
    while jpeg[place + 1] != 0xDA:
        length = 2 + struct.unpack(">H", jpeg[place + 2 : place + 4])[0]
        if jpeg[place + 1] != kind:
            kept += jpeg[place : place + length]
        place += length
    return kept + jpeg[place:]


def _bomb(side: int) -> bytes:
    """A PNG that says it is huge, in a hundred bytes."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _float_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(buffer, "TIFF")
    return buffer.getvalue()
