"""Handwritten digits that come with scikit-learn: no download, seconds to train on."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from dal_toolbox.datasets._bundles import check_drawing
from dal_toolbox.datasets._splits import split_off
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, ImageArray
from dal_toolbox.datasets.summary import log_summary

TEST_SHARE = 0.2
MEAN, STD = (0.3056,), (0.3762,)


@DATASETS.register("digits")
def digits(*, val_size: float = 0.0, split_seed: int = 0) -> DatasetBundle:
    """1,797 digits of 8×8 gray pixels (Alpaydin and Kaynak, 1998, https://doi.org/10.24432/C50P49).

    There is no official test split: a fifth of each class is set apart, the same for everybody
    who leaves ``split_seed`` alone.

    Args:
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the test and the validation images.
    """
    check_drawing(split_seed, val_size=val_size)
    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)  # (1797, 65), the target last
    images, target = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    pixels = np.rint(images * (255 / 16)).astype(np.uint8)[:, None]  # (1797, 1, 8, 8)
    names = [f"digits/{row:04d}" for row in range(len(pixels))]
    whole = ImageArray(torch.from_numpy(pixels), target, names)
    rest, test = split_off(whole.targets, TEST_SHARE, split_seed, "test")
    train, val = split_off(whole.targets[rest], val_size, split_seed, "val")
    bundle = DatasetBundle(
        name="digits",
        train=whole.subset(rest[train]),
        val=whole.subset(rest[val]) if len(val) else None,
        test=whole.subset(test),
        unlabeled=None,
        classes=tuple("0123456789"),
        image_size=8,
        mean=MEAN,
        std=STD,
    )
    log_summary(bundle)
    return bundle


def _file() -> Path:
    """The table in scikit-learn, which is not imported: that takes longer than all else here."""
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
