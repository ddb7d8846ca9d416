"""Small datasets in the official formats of large ones: the digits of scikit-learn, in color."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image

from dal_toolbox.datasets import DATASETS

NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905


def colored_digits(size: int, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits on backgrounds of random colors: color tells nothing, shape tells the class.

    Returns:
        Images (number, 3, size, size), uint8, and targets (number,).
    """
    rng = np.random.default_rng(seed)
    bundle = DATASETS.build("digits")
    rows = rng.choice(len(bundle.train), number, replace=number > len(bundle.train))
    gray = bundle.train.batch(rows).float() / 255
    gray = F.interpolate(gray, (size, size), mode="bicubic").clamp(0, 1).numpy()
    front, back = rng.uniform(0.5, 1, (number, 3, 1, 1)), rng.uniform(0, 0.5, (number, 3, 1, 1))
    images = gray * front + (1 - gray) * back + rng.normal(0, 0.02, (number, 3, size, size))
    return (255 * images.clip(0, 1)).astype(np.uint8), bundle.train.targets[rows]


def write_utkface(root: Path, number: int, size: int) -> None:
    """``[age]_[gender]_[race]_[date].jpg.chip.jpg``, and three names as malformed as the real ones."""
    folder = root / "UTKFace"
    folder.mkdir(parents=True)
    images, digits = colored_digits(size, number, seed=0)
    for i, (image, digit) in enumerate(zip(images, digits, strict=True)):
        name = f"{1 + 9 * digit + i % 9}_{i % 2}_{i % 5}_201701{i:011d}.jpg.chip.jpg"
        save_image(folder / name, image)
    for name in ("39_1_20170116174525125", "61_1_20170109150557335", "readme_first"):
        save_image(folder / f"{name}.jpg.chip.jpg", images[0])


def write_cifar10(root: Path, number: int) -> None:
    """Five training batches and a test batch."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for part in range(1, 6):
        images, targets = colored_digits(32, number // 5, seed=part)
        rows = {b"data": images.reshape(len(images), -1), b"labels": targets.tolist()}
        _pickle(folder / f"data_batch_{part}", rows)
    images, targets = colored_digits(32, number // 5, seed=6)
    rows = {b"data": images.reshape(len(images), -1), b"labels": targets.tolist()}
    _pickle(folder / "test_batch", rows)
    _pickle(folder / "batches.meta", {b"label_names": [name.encode() for name in NAMES]})


def write_cifar100(root: Path, number: int) -> None:
    """Train and test batch; the first ten classes occur."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for seed, (split, n) in enumerate((("train", number), ("test", number // 3)), start=7):
        images, targets = colored_digits(32, n, seed)
        rows = {
            b"data": images.reshape(n, -1),
            b"fine_labels": targets.tolist(),
            b"coarse_labels": (targets // 5).tolist(),
        }
        _pickle(folder / split, rows)
    fine = [f"fine_{i}".encode() for i in range(100)]
    coarse = [f"coarse_{i}".encode() for i in range(20)]
    _pickle(folder / "meta", {b"fine_label_names": fine, b"coarse_label_names": coarse})


def write_svhn(root: Path, number: int) -> None:
    """Matlab files; the digit 0 has label 10."""
    from scipy.io import savemat

    root.mkdir(parents=True, exist_ok=True)
    for seed, split in enumerate(("train", "test")):
        images, targets = colored_digits(32, number, seed)
        labels = np.where(targets == 0, 10, targets)[:, None].astype(np.uint8)
        savemat(root / f"{split}_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": labels})


def write_stl10(root: Path, labeled: int, unlabeled: int) -> None:
    """Binary files: columns first, labels from 1, unlabeled images without any."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for seed, (split, n) in enumerate(
        (("train", labeled), ("test", labeled), ("unlabeled", unlabeled))
    ):
        images, targets = colored_digits(96, n, seed)
        images.transpose(0, 1, 3, 2).tofile(folder / f"{split}_X.bin")
        if split != "unlabeled":
            (targets + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
    (folder / "class_names.txt").write_text("\n".join(NAMES) + "\n")


def write_imagenet(root: Path, wnids: Sequence[str], per_class: int, size: int) -> None:
    """``ImageNet/{train,val}/<wnid>/*.JPEG``."""
    images, _ = colored_digits(size, len(wnids) * per_class, seed=0)
    for i, image in enumerate(images):
        wnid, number = wnids[i // per_class], i % per_class
        for split in ("train", "val"):
            save_image(root / "ImageNet" / split / wnid / f"{wnid}_{number}.JPEG", image)


def write_folder(root: Path, number: int, size: int) -> None:
    """A folder per class, with split files."""
    images, targets = colored_digits(size, number, seed=0)
    names = [f"class_{target}/{i:05d}.jpg" for i, target in enumerate(targets)]
    for name, image in zip(names, images, strict=True):
        save_image(root / name, image)
    first, second = number * 6 // 10, number * 8 // 10
    for split, part in (
        ("train", names[:first]),
        ("val", names[first:second]),
        ("test", names[second:]),
    ):
        (root / f"{split}.txt").write_text("\n".join(part) + "\n")


def save_image(path: Path, image: np.ndarray) -> None:
    """One image (3, h, w), uint8, in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.transpose(1, 2, 0)).save(path, quality=95)


def _pickle(path: Path, value: object) -> None:
    path.write_bytes(pickle.dumps(value, protocol=4))
