import numpy as np
import pytest
import torch

from dal_toolbox.datasets import ImageArray, ImageFiles, ImageLoader
from dal_toolbox.datasets._decode import CorruptImage
from dal_toolbox.datasets.loader import BatchTooLarge


def array(n=11):
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(4, 2).repeat(4, 3)
    return ImageArray(pixels, np.arange(n) % 3, [str(row) for row in range(n)])


def files(root):
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return ImageFiles(root, names, np.arange(len(names)), 8)


def order(loader):
    return torch.cat([indices for _, _, indices in loader]).tolist()


def test_images_targets_and_indices_belong_together():
    images = array()
    for batch, targets, indices in ImageLoader(images, 4, shuffle=True):
        assert (batch[:, 0, 0, 0] == indices).all()
        assert targets.dtype == indices.dtype == torch.int64
        assert (targets == indices % 3).all()


def test_indices_are_rows_of_what_was_given():
    part = array().subset(np.array([7, 2, 9]))
    batch, _, indices = next(iter(ImageLoader(part, 3)))
    assert indices.tolist() == [0, 1, 2]
    assert batch[:, 0, 0, 0].tolist() == [7, 2, 9]


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 3]), (True, [4, 4])])
def test_drop_last(drop_last, sizes):
    loader = ImageLoader(array(), 4, shuffle=True, drop_last=drop_last)
    assert [len(batch) for batch, _, _ in loader] == sizes
    assert len(loader) == len(sizes)


def test_order_is_a_function_of_seed_and_epoch():
    loader = ImageLoader(array(), 4, shuffle=True, seed=1)
    first = order(loader)
    assert sorted(first) == list(range(11))
    assert order(loader) == first  # iterating does not advance the epoch
    loader.set_epoch(1)
    second = order(loader)
    assert second != first
    loader.set_epoch(0)
    assert order(loader) == first
    assert order(ImageLoader(array(), 3, shuffle=True, seed=1)) == first
    assert order(ImageLoader(array(), 4, shuffle=True, seed=2)) != first
    assert order(ImageLoader(array(), 4)) == list(range(11))


def test_a_batch_that_cannot_be_filled():
    with pytest.raises(BatchTooLarge, match="batch of 12 cannot be filled by 11 images"):
        ImageLoader(array(), 12, drop_last=True)
    assert issubclass(BatchTooLarge, ValueError)
    assert len(ImageLoader(array(), 12)) == 1
    assert list(ImageLoader(array(0), 4)) == []
    with pytest.raises(ValueError, match="batch_size=0"):
        ImageLoader(array(), 0)


def test_workers_decode_the_same(class_folders):
    images = files(class_folders)
    state = torch.get_rng_state()
    alone = list(ImageLoader(images, 4, shuffle=True))
    helped = list(ImageLoader(images, 4, shuffle=True, num_workers=64))
    assert len(alone) == len(helped) == 4
    for one, other in zip(alone, helped, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_corrupt_file_is_named(class_folders, num_workers):
    images = files(class_folders)
    (class_folders / "dog/12.png").write_bytes(b"broken")
    with pytest.raises(CorruptImage) as caught:
        list(ImageLoader(images, 4, num_workers=num_workers))
    assert str(class_folders / "dog/12.png") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_targets_and_names_need_no_decoding(class_folders):
    for path in class_folders.rglob("*.png"):
        path.write_bytes(b"broken")
    images = files(class_folders)
    part = images.subset(np.array([14, 0]))
    assert part.targets.tolist() == [14, 0]
    assert part.names == ["dog/14.png", "cat/00.png"]
    assert part.shape == (3, 8, 8)
    assert part.fingerprint != images.fingerprint
