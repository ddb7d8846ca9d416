"""ImageNet (Deng et al., 2009, https://doi.org/10.1109/CVPR.2009.5206848; ILSVRC 2012), and parts."""

from collections.abc import Sequence
from pathlib import Path

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import Storage, check_drawing, file_bundle, joined, with_val
from dal_toolbox.datasets._imagenet_tree import NUM_CLASSES, Tree
from dal_toolbox.datasets._imagenet_val import find_words
from dal_toolbox.datasets._wnids import described, subset
from dal_toolbox.datasets.base import DATASETS, DatasetBundle
from dal_toolbox.datasets.files import OnError
from dal_toolbox.datasets.opening import PACK_BYTES, Pack
from dal_toolbox.progress import log

STATISTICS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as all publish with their weights


@DATASETS.register("ImageNet")
def imagenet(
    dataset_path: Path,
    num_workers: int,
    *,
    unpack: bool = False,
    image_size: int = 224,
    max_size: int = 0,
    val_size: float = 0.0,
    split_seed: int = 0,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
    on_error: OnError = "raise",
) -> DatasetBundle:
    """1,281,167 training and 50,000 test images (the official validation) in 1,000 classes.

    ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG`` are looked for in the folders ``ImageNet``,
    ``imagenet``, ``ILSVRC2012`` and ``ILSVRC/Data/CLS-LOC`` of ``dataset_path``, and in itself.
    Images in ``val`` alone get their labels from the devkit, from ``LOC_val_solution.csv`` or from
    ``val_labels.txt``. It is never downloaded.

    Args:
        dataset_path: Where it lies; what is listed is kept in ``dataset_path/index``.
        num_workers: Processes that decode.
        unpack: Unpacks the official tar files, class by class, where folders are missing.
        image_size: Height and width of what the network gets.
        max_size: Height and width of what is stored; 0: ``image_size``.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.
        on_error: Whether a file that cannot be decoded ends the run or is left out.

    Raises:
        DatasetNotFound: The data is not there; the message says what to put where.
        BadArchive: A tar or a list is damaged.
    """
    storage = Storage(dataset_path, num_workers, image_size, max_size, pack, pack_bytes, on_error)
    return _bundle("ImageNet", None, storage, unpack, val_size, split_seed)


def _register_subset(number: int) -> None:
    @DATASETS.register(f"ImageNet{number}")
    def imagenet_subset(
        dataset_path: Path,
        num_workers: int,
        *,
        unpack: bool = False,
        image_size: int = 224,
        max_size: int = 0,
        val_size: float = 0.0,
        split_seed: int = 0,
        pack: Pack = "auto",
        pack_bytes: int = PACK_BYTES,
        on_error: OnError = "raise",
    ) -> DatasetBundle:
        """50, 100 or 200 classes of ImageNet (Van Gansbeke et al., 2020); see ``imagenet``."""
        storage = Storage(
            dataset_path, num_workers, image_size, max_size, pack, pack_bytes, on_error
        )
        name, wnids = f"ImageNet{number}", subset(number)
        return _bundle(name, wnids, storage, unpack, val_size, split_seed)


for _number in (50, 100, 200):
    _register_subset(_number)


def _bundle(
    name: str,
    wanted: Sequence[str] | None,
    storage: Storage,
    unpack: bool,
    val_size: float,
    split_seed: int,
) -> DatasetBundle:
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), unpack=unpack)
    tree = Tree(name, storage.dataset_path, wanted, unpack)
    root = tree.root()
    wnids = tree.wnids(root)
    if wanted is None and len(wnids) != NUM_CLASSES:
        log.warning("%s has %d classes, not %d", root / "train", len(wnids), NUM_CLASSES)
    parts = {"train": tree.train(root, wnids), "test": tree.val(root, wnids)}
    layout = joined(parts, described(wnids, find_words(tree.around(root))))
    return file_bundle(name, root, with_val(layout, val_size, split_seed), storage, STATISTICS)
