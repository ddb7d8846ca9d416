"""Where ImageNet lies, and what is there."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dal_toolbox.datasets import _imagenet_tars as tars
from dal_toolbox.datasets import _imagenet_val as labels
from dal_toolbox.datasets._download import not_found, writing
from dal_toolbox.datasets._index import scan
from dal_toolbox.datasets._listing import list_images
from dal_toolbox.datasets._unpack import unpack
from dal_toolbox.datasets.base import DatasetNotFound

ROOTS = ("ImageNet", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "")
NUM_CLASSES = 1000
WANTED = (
    "ImageNet/train/<wnid>/*.JPEG and ImageNet/val/<wnid>/*.JPEG, or the official "
    f"{tars.TRAIN}, {tars.VAL} and {tars.DEVKIT} with unpack=true,"
)


@dataclass(frozen=True)
class Tree:
    """ImageNet, or some classes of it.

    Args:
        name: For messages.
        dataset_path: Where it is looked for.
        wanted: Ids of the classes; None: all that are there.
        unpack: Whether tar files may be unpacked.
    """

    name: str
    dataset_path: Path
    wanted: Sequence[str] | None
    unpack: bool

    def root(self) -> Path:
        """The folder with ``train`` and ``val``; unpacks what is missing.

        Raises:
            DatasetNotFound: It is not there; the message says what to put where.
            BadArchive: A tar is damaged.
        """
        roots = [self.dataset_path / name for name in ROOTS]
        root = next((root for root in roots if class_folders(root / "train")), roots[0])
        if (tar := self._found(tars.TRAIN, root)) and self._lacks_classes(root / "train"):
            with self._unpacking(tar):
                tars.unpack_train(tar, root / "train", self.wanted)
        if (tar := self._found(tars.VAL, root)) and not (root / "val").is_dir():
            with self._unpacking(tar):
                tars.unpack_val(tar, root / "val")
        if not class_folders(root / "train") or not (root / "val").is_dir():
            reason = "it is not downloaded automatically: see https://image-net.org"
            raise not_found(self.name, self.dataset_path, WANTED, reason)
        return root

    def wnids(self, root: Path) -> list[str]:
        """The classes, sorted.

        Raises:
            DatasetNotFound: One that is wanted is missing.
        """
        found = class_folders(root / "train")
        if missing := sorted(set(self.wanted or ()) - set(found)):
            raise DatasetNotFound(
                f"{self.name} needs {len(self.wanted or ())} classes; {len(missing)} of them are "
                f"missing in {root / 'train'}: {', '.join(missing[:3])} …; put their folders there"
            )
        return sorted(self.wanted or found)

    def train(self, root: Path, wnids: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Names and class indices of the training images."""
        return _of_folders(root, "train", wnids, self.dataset_path / "index")

    def val(self, root: Path, wnids: Sequence[str]) -> tuple[list[str], np.ndarray]:
        """Names and class indices of the validation images, in folders of classes or in one.

        Raises:
            DatasetNotFound: There are no labels.
        """
        if class_folders(root / "val"):
            return _of_folders(root, "val", wnids, self.dataset_path / "index")
        devkit = self._found(tars.DEVKIT, root)
        if devkit and labels.label_file(self.around(root)) is None:
            with self._unpacking(devkit):
                unpack(devkit, root / tars.DEVKIT.removesuffix(".tar.gz"))
        file = labels.label_file(self.around(root))
        if file is None:
            raise DatasetNotFound(
                f"{self.name}: {root / 'val'} has no folders of classes, and there are no labels; "
                f"put {tars.DEVKIT} (unpacked, or with unpack=true), LOC_val_solution.csv "
                f"of Kaggle or val_labels.txt (lines of file and wnid) into {root}"
            )
        images = list_images(root / "val")
        index_of = {wnid: index for index, wnid in enumerate(wnids)}
        targets = np.array([index_of.get(wnid, -1) for wnid in labels.read_labels(file, images)])
        rows = np.flatnonzero(targets >= 0)
        return [f"val/{images[row]}" for row in rows.tolist()], targets[rows]

    def around(self, root: Path) -> list[Path]:
        """Folders where lists may lie: from the root up to ``dataset_path``."""
        ups = [root, *root.parents]
        return ups[: ups.index(self.dataset_path) + 1]

    def _found(self, filename: str, root: Path) -> Path | None:
        files = [folder / filename for folder in self.around(root)]
        return next((file for file in files if file.is_file()), None)

    def _lacks_classes(self, train: Path) -> bool:
        found = class_folders(train)
        if self.wanted is None:
            return len(found) < NUM_CLASSES
        return not set(self.wanted) <= set(found)

    def _unpacking(self, tar: Path) -> AbstractContextManager[None]:
        if not self.unpack:
            raise DatasetNotFound(
                f"{self.name}: {tar} is not unpacked yet; unpack=true does it, class by "
                "class and as far as needed (all of it takes 145 GB)"
            )
        return writing("ImageNet", self.dataset_path, WANTED, str(tar))


def class_folders(folder: Path) -> list[str]:
    """Names of the folders that are called as classes are."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if labels.WNID.fullmatch(path.name))


def _of_folders(
    root: Path, split: str, wnids: Sequence[str], cache_dir: Path
) -> tuple[list[str], np.ndarray]:
    images_in = scan(root / split, cache_dir, wnids)
    found = [images_in.get(wnid, []) for wnid in wnids]
    names = [f"{split}/{path}" for paths in found for path in paths]
    return names, np.repeat(np.arange(len(wnids)), [len(paths) for paths in found])
