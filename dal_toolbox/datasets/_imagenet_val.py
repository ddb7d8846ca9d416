"""Labels of the 50,000 validation images of ImageNet where they lie in one folder."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dal_toolbox.datasets._listing import read_lines
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets._wnids import read_words
from dal_toolbox.datasets.matlab import read_structs

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
DEVKIT = "ILSVRC2012_devkit_t12/data"
MOST_SYNSETS = 10_000  # the devkit has 1,860
WNID = re.compile(r"n\d{8}")


def label_file(roots: Iterable[Path]) -> Path | None:
    """The first file with labels: of Kaggle, of the devkit, or a list of one's own."""
    names = ("LOC_val_solution.csv", f"{DEVKIT}/{GROUND_TRUTH}", GROUND_TRUTH, "val_labels.txt")
    files = [root / name for root in roots for name in names]
    return next((file for file in files if file.is_file()), None)


def read_labels(file: Path, images: list[str]) -> list[str]:
    """The id of the class of each image.

    Args:
        file: What ``label_file`` found.
        images: File names; sorted, for a list may hold classes alone.

    Raises:
        BadArchive: It does not label each image.
    """
    if file.name == GROUND_TRUTH:
        return _of_devkit(file, images)
    lines = [re.split(r"[\s,]+", line) for line in read_lines(file)]
    if all(len(words) == 1 for words in lines) and len(lines) == len(images):
        labels = dict(zip(images, (words[0] for words in lines), strict=True))
    else:
        labels = {words[0]: words[1] for words in lines if len(words) > 1}
    wnids = [labels.get(image, labels.get(image.rpartition(".")[0], "")) for image in images]
    for image, wnid in zip(images, wnids, strict=True):
        if not WNID.fullmatch(wnid):
            raise BadArchive(
                f"{file} gives {image} the class {wnid!r}; wanted lines such as "
                f"'{image} n01440764', or just the ids in the order of the images"
            )
    return wnids


def wnids_of_devkit(meta: Path) -> tuple[dict[int, str], dict[str, str]]:
    """Ids and words of ``meta.mat``: ``ILSVRC2012_ID`` to id, id to words.

    Raises:
        BadArchive: It is not the file of the devkit.
    """
    rows = read_structs(meta, "synsets", ("ILSVRC2012_ID", "WNID", "words"), MOST_SYNSETS)
    ids, words_of = {}, {}
    for number, wnid, words in rows:
        is_number = (
            isinstance(number, np.ndarray) and number.size == 1 and np.isfinite(number).all()
        )
        if not is_number or not isinstance(wnid, str) or not WNID.fullmatch(wnid):
            raise BadArchive(f"{meta} is not meta.mat of the devkit ({wnid!r:.40}); replace it")
        ids[int(number.item())] = wnid
        words_of[wnid] = str(words)
    return ids, words_of


def find_words(roots: Iterable[Path]) -> dict[str, str]:
    """Readable words of the ids, from whatever file has some."""
    for root in roots:
        for name in ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt"):
            if words := read_words(root / name):
                return words
        if (meta := root / DEVKIT / "meta.mat").is_file():
            return wnids_of_devkit(meta)[1]
    return {}


def _of_devkit(file: Path, images: list[str]) -> list[str]:
    """Line i is the ``ILSVRC2012_ID`` of image i."""
    ids = wnids_of_devkit(file.with_name("meta.mat"))[0]
    lines = read_lines(file)
    unknown = [line for line in lines if not line.isdecimal() or int(line) not in ids]
    if unknown:
        raise BadArchive(f"{file} names the unknown class {unknown[0]!r}; replace it")
    matches = [re.fullmatch(r"ILSVRC2012_val_(\d{8})\.\w+", image) for image in images]
    rows = [int(match[1]) - 1 if match else -1 for match in matches]
    if any(not 0 <= row < len(lines) for row in rows):
        raise BadArchive(
            f"{file} labels images 1 to {len(lines)}; not all of {len(images)} files are "
            f"ILSVRC2012_val_00000001.JPEG to {len(lines):08d}; put the official files there"
        )
    return [ids[int(lines[row])] for row in rows]
