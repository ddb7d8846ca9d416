"""Images that stay in their files until they are asked for."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.arguments import at_least
from dal_toolbox.datasets import _decode
from dal_toolbox.datasets._decode import CorruptImage
from dal_toolbox.datasets._stamps import content_digests, file_stamps
from dal_toolbox.datasets.base import DatasetNotFound, Images, as_rows

OnError: TypeAlias = Literal["raise", "skip"]


class ImageFiles(Images):
    """Image files below one folder, decoded when asked for.

    An image becomes RGB, its shorter side is resized to ``image_size`` (antialiased) and its
    center square is cut out; ``_decode.decode`` tells the details.

    Args:
        root: The folder.
        names: Paths relative to ``root``, with forward slashes. Length: n.
        targets: Class indices, -1 = no label. Shape: (n,).
        image_size: Height and width of the decoded images.
        on_error: Whether :func:`~dal_toolbox.datasets.opening.open_images` refuses files that
            cannot be decoded, or leaves them out and lists them. ``batch`` refuses always.
        max_pixels: Larger images, by height times width, cannot be decoded.
        cache_dir: Where digests of many files are kept, so that later runs need not read them.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        targets: np.ndarray,
        image_size: int,
        *,
        on_error: OnError = "raise",
        max_pixels: int = _decode.MAX_PIXELS,
        cache_dir: Path | None = None,
    ) -> None:
        at_least(1, image_size=image_size, max_pixels=max_pixels)
        super().__init__(targets, names)
        self.root = Path(root)
        self.image_size = image_size
        self.on_error = on_error
        self.max_pixels = max_pixels
        self.cache_dir = cache_dir
        self._contents: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.image_size, self.image_size

    def batch(self, indices: np.ndarray) -> Tensor:
        """The images at ``indices`` (b,), decoded. Shape: (b, 3, image_size, image_size), uint8.

        Raises:
            CorruptImage: A file cannot be decoded, whatever ``on_error``; the message names it.
        """
        rows = as_rows(indices, len(self)).tolist()
        images = np.empty((len(rows), *self.shape), dtype=np.uint8)
        for image, row in zip(images, rows, strict=True):
            image[:] = self._decode(row)
        return torch.from_numpy(images)

    def readable(self, indices: np.ndarray) -> tuple[Tensor, dict[int, str]]:
        """Those of the images at ``indices`` that can be decoded, and what is wrong with the others.

        Returns:
            The k images, in order. Shape: (k, 3, image_size, image_size), uint8.
            The reason for each index of the others.
        """
        images, bad = [np.empty((0, *self.shape), dtype=np.uint8)], {}
        for row in as_rows(indices, len(self)).tolist():
            try:
                images.append(self._decode(row)[None])
            except CorruptImage as error:
                bad[row] = error.reason
        return torch.from_numpy(np.concatenate(images)), bad

    def find_bad(self, indices: np.ndarray) -> dict[int, str]:
        """What is wrong with those of the images at ``indices`` that cannot be decoded."""
        return self.readable(indices)[1]

    def _decode(self, row: int) -> np.ndarray:
        return _decode.decode(self.root / self.names[row], self.image_size, self.max_pixels)

    def _item_digests(self) -> np.ndarray | None:
        _ = self.fingerprint  # reads the files
        return self._contents

    def _digest(self) -> str:
        """Of path, size, modification time, content (in part) and target of every file.

        Also of how files are decoded. Time and size alone may be those of another file: archives
        and copies keep times, and some formats always have the same size.
        """
        try:
            stamps = file_stamps(self.root, self.names, missing_ok=self.on_error == "skip")
        except OSError as error:
            raise DatasetNotFound(
                f"cannot read {error.filename}: {error.strerror}; remove it, or leave such files "
                "out with on_error=skip where the dataset has that option"
            ) from error
        digest = sha256(f"{_decode.VERSION} {self.image_size} {len(self)}\n".encode())
        digest.update(os.fsencode("\0".join(self.names)))
        digest.update(np.ascontiguousarray(stamps[:, :2].T).tobytes())
        self._contents = content_digests(self.root, self.names, stamps, self.cache_dir)
        digest.update(self._contents.tobytes())
        digest.update(self.targets.tobytes())
        if self.max_pixels != _decode.MAX_PIXELS:  # says which files are left out
            digest.update(str(self.max_pixels).encode())
        return digest.hexdigest()
