import numpy as np
import pytest
import torch

from dal_toolbox.datasets import DatasetBundle, ImageArray
from dal_toolbox.datasets.base import SkippedFile


def make(n=6, seed=0, targets=None, names=None, **kwargs):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, 4, 4), dtype=np.uint8)
    targets = np.arange(n) if targets is None else targets
    return ImageArray(pixels, targets, names or [f"train/{row}" for row in range(n)], **kwargs)


def test_batch_and_subset_follow_the_indices():
    images = make()
    part = images.subset(np.array([4, 1, 5])).subset(np.array([2, 0]))
    assert part.names == ["train/5", "train/4"]
    assert part.targets.tolist() == [5, 4]
    assert torch.equal(part.batch(np.array([1, 0, 1])), images.images[[4, 5, 4]])
    assert torch.equal(part.images, images.images[[5, 4]])
    assert part.shape == (3, 4, 4)


def test_subset_of_consecutive_rows_shares_memory():
    images = make()
    assert images.subset(np.arange(2, 5)).images.data_ptr() == images.images[2:].data_ptr()
    assert len(images.subset(np.array([], dtype=np.int64)).images) == 0


def test_batch_is_a_copy():
    images = make()
    images.batch(np.array([0])).zero_()
    assert images.images[0].any()


def test_read_only_indices_and_lists_are_fine():
    indices = np.array([1, 2])
    indices.setflags(write=False)
    assert torch.equal(make().batch(indices), make().batch([1, 2]))


@pytest.mark.parametrize("indices", [[6], [-1], [0, 7]])
def test_indices_out_of_range(indices):
    for act in (make().batch, make().subset, make().subset(np.arange(6)).batch):
        with pytest.raises(IndexError, match="of 6 images"):
            act(np.array(indices))


def test_masks_are_no_indices():
    with pytest.raises(ValueError, match="wanted integers"):
        make().subset(np.ones(6, dtype=bool))


def test_fingerprint_is_of_content():
    assert make().fingerprint == make().fingerprint
    others = [
        make(seed=1),
        make(targets=np.zeros(6)),
        make(names=[f"test/{row}" for row in range(6)]),
        make(n=5),
    ]
    assert len({images.fingerprint for images in [make(), *others]}) == 5


def test_fingerprint_takes_a_known_digest():
    assert make(digest="a").fingerprint == make(seed=1, digest="a").fingerprint
    assert make(digest="a").fingerprint != make(digest="b").fingerprint


def test_fingerprint_of_subsets():
    images = make()
    part = images.subset(np.array([3, 1]))
    assert part.fingerprint == images.subset(np.array([0, 3, 1])).subset([1, 2]).fingerprint
    assert part.fingerprint not in (images.fingerprint, images.subset([1, 3]).fingerprint)
    assert part.fingerprint != make(seed=1).subset([3, 1]).fingerprint


@pytest.mark.parametrize(
    ("pixels", "targets"),
    [
        (np.zeros((2, 3, 4, 4), dtype=np.float32), [0, 1]),
        (np.zeros((2, 4, 4), dtype=np.uint8), [0, 1]),
        (np.zeros((3, 3, 4, 4), dtype=np.uint8), [0, 1]),
        (np.zeros((2, 3, 4, 4), dtype=np.uint8), [0, 1, 2]),
    ],
)
def test_wrong_arrays(pixels, targets):
    with pytest.raises(ValueError, match="shape"):
        ImageArray(pixels, np.array(targets), ["a", "b"])


def test_bundle_checks_its_facts():
    images = make()
    facts = {"val": None, "unlabeled": None, "classes": tuple("abcdef"), "image_size": 4}
    gray = {"mean": (0.5,), "std": (0.5,)}
    with pytest.raises(ValueError, match=r"\(3, 4, 4\) in a dataset of shape \(1, 4, 4\)"):
        DatasetBundle(name="wrong", train=images, test=images, **facts, **gray)


def test_subsets_and_bundles_know_what_was_skipped():
    images = make()
    images.skipped = (SkippedFile("a.jpg", "empty"), SkippedFile("b.jpg", "text"))
    train, test = images.subset([0, 1]).subset([1]), images.subset([2])
    assert train.skipped == images.skipped
    gray = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    facts = {"val": None, "unlabeled": None, "classes": tuple("abcdef"), "image_size": 4}
    bundle = DatasetBundle(name="some", train=train, test=test, **facts, **gray)
    assert bundle.skipped == images.skipped
