"""Images that stay in their files until they are asked for."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.datasets import _decode
from dal_toolbox.datasets.base import DatasetNotFound, Images, as_rows


class ImageFiles(Images):
    """Image files below one folder, decoded when asked for.

    An image becomes RGB, its shorter side is resized to ``image_size`` (antialiased) and its
    center square is cut out; ``_decode.decode`` tells the details.

    Args:
        root: The folder.
        names: Paths relative to ``root``, with forward slashes. Length: n.
        targets: Class indices, -1 = no label. Shape: (n,).
        image_size: Height and width of the decoded images.
    """

    def __init__(
        self, root: Path, names: Sequence[str], targets: np.ndarray, image_size: int
    ) -> None:
        super().__init__(targets, names)
        if image_size < 1:
            raise ValueError(f"image_size={image_size}; wanted 1 or more")
        self.root = Path(root)
        self.image_size = image_size

    @property
    def shape(self) -> tuple[int, int, int]:
        return 3, self.image_size, self.image_size

    def batch(self, indices: np.ndarray) -> Tensor:
        """The images at ``indices`` (b,), decoded. Shape: (b, 3, image_size, image_size), uint8.

        Raises:
            CorruptImage: A file cannot be decoded; the message names it.
        """
        rows = as_rows(indices, len(self))
        images = np.empty((len(rows), *self.shape), dtype=np.uint8)
        for image, row in zip(images, rows.tolist(), strict=True):
            image[:] = _decode.decode(self.root / self.names[row], self.image_size)
        return torch.from_numpy(images)

    def _digest(self) -> str:
        """Of path, size, modification time and target of every file, and of how it is decoded."""
        folder = f"{self.root}/"
        try:
            status = [os.stat(folder + name) for name in self.names]  # noqa: PTH116  twice as fast
        except OSError as error:
            raise DatasetNotFound(f"cannot read {error.filename}: {error.strerror}") from error
        digest = sha256(f"{_decode.VERSION} {self.image_size} {len(self)}\n".encode())
        digest.update(os.fsencode("\0".join(self.names)))
        for stamps in ((file.st_size for file in status), (file.st_mtime_ns for file in status)):
            digest.update(np.fromiter(stamps, dtype=np.int64).tobytes())
        digest.update(self.targets.tobytes())
        return digest.hexdigest()
