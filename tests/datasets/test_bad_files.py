"""Awkward files are read as people see them; bad ones are refused or skipped, always by name."""

import json
import logging
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dal_toolbox.datasets import ImageArray, ImageFiles
from dal_toolbox.datasets._decode import CorruptImage, decode
from dal_toolbox.datasets.folder import folder
from dal_toolbox.datasets.opening import open_images, split_images
from dal_toolbox.datasets.packing import pack
from dal_toolbox.datasets.skipping import NothingReadable, find_bad

make_bad_files = runpy.run_path(str(Path(__file__).with_name("bad_files.py")))["make_bad_files"]

SIDE = 16
RAMP = np.linspace(20, 230, SIDE).astype(np.uint8)
COLORS = np.stack(np.broadcast_arrays(RAMP[:, None], RAMP[::-1, None], RAMP[None]), axis=2)


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad")
    return root, make_bad_files(root)


@pytest.fixture
def mixed(class_folders):
    """10 cats, 5 dogs, and every kind of bad file among the cats."""
    return class_folders, [f"cat/{name}" for name in make_bad_files(class_folders / "cat")]


def open_files(root, on_error="skip", image_size=8):
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))
    return ImageFiles(root, names, np.arange(len(names)), image_size, on_error=on_error)


def test_every_kind_of_bad_file_is_named(bad_folder):
    root, kinds = bad_folder
    assert len(kinds) >= 20
    for name in kinds:
        with pytest.raises(CorruptImage) as caught:
            decode(root / name, 8)
        assert str(caught.value).count(str(root / name)) == 1
        assert "\n" not in str(caught.value)
        assert caught.value.reason and str(root) not in caught.value.reason


def test_the_largest_image_is_a_choice(class_folders, tmp_path, write_image):
    write_image(class_folders / "cat/00.png", 0, size=(30, 20))
    options = {"root": str(class_folders), "image_size": 8, "on_error": "skip"}
    small = folder(tmp_path, 0, **options, max_pixels=599)
    assert [file.name for file in small.skipped] == ["cat/00.png"]
    assert "30 x 20 pixels, more than max_pixels=599" in small.skipped[0].reason
    large = folder(tmp_path, 0, **options, max_pixels=600)
    assert large.skipped == ()
    with pytest.raises(CorruptImage, match="more than max_pixels=599"):
        folder(tmp_path, 0, root=str(class_folders), max_pixels=599)


def test_more_than_the_limit_of_pillow(tmp_path, monkeypatch):
    Image.new("L", (64, 32)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    assert decode(tmp_path / "large.png", 8).shape == (3, 8, 8)
    assert Image.MAX_IMAGE_PIXELS == 64


def png_in_jpg(path, image):
    image.save(path, "PNG")


def exif_rotated(path, image):
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned counterclockwise
    image.rotate(-90).save(path, exif=exif)


def corrupt_exif(path, image):
    image.save(path, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff")


def animation(path, image):
    frames = [Image.new("RGB", image.size, color) for color in ("red", "blue")]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    image.save(path, save_all=True, append_images=frames, **options)


def cmyk(path, image):
    image.convert("CMYK").save(path, quality=100)


def transparent(path, image):
    image.putalpha(255)
    image.save(path)


def gray(path, image):
    image.convert("L").save(path)


def gray_16_bit(path, image):
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)


def palette(path, image):
    image.quantize(256).save(path)


@pytest.mark.parametrize(
    ("write", "name", "tolerance"),
    [
        (png_in_jpg, "a.jpg", 0),
        (exif_rotated, "a.png", 0),
        (corrupt_exif, "a.png", 0),
        (animation, "a.webp", 0),
        (animation, "a.gif", 8),
        (cmyk, "a.jpg", 8),
        (cmyk, "a.tif", 0),
        (transparent, "a.png", 0),
        (transparent, "a.webp", 40),
        (palette, "a.png", 8),
        (gray, "a.jpg", 8),
        (gray_16_bit, "a.png", 0),
        (gray_16_bit, "a.tif", 0),
    ],
)
def test_awkward_files_are_read(tmp_path, write, name, tolerance):
    write(tmp_path / name, Image.fromarray(COLORS))
    pixels = decode(tmp_path / name, SIDE).astype(int)
    expected = COLORS
    if write in (gray, gray_16_bit):
        expected = np.asarray(Image.fromarray(COLORS).convert("L").convert("RGB"))
    assert np.abs(pixels - expected.transpose(2, 0, 1)).max() <= tolerance


@pytest.mark.parametrize("pack", ["always", "never"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_files_are_left_out_and_listed(mixed, tmp_path, pack, num_workers, caplog):
    root, bad = mixed
    files = open_files(root)
    with caplog.at_level(logging.WARNING, "dal_toolbox"):
        images = open_images(files, tmp_path / "data", num_workers, pack=pack)
    assert isinstance(images, ImageArray if pack == "always" else ImageFiles)
    assert sorted(file.name for file in images.skipped) == sorted(bad)
    assert all(file.reason for file in images.skipped)
    good = [name for name in files.names if name not in bad]
    assert images.names == good
    assert images.targets.tolist() == [files.names.index(name) for name in good]
    expected = np.stack([decode(root / name, 8) for name in good])
    assert (images.batch(np.arange(15)).numpy() == expected).all()
    assert f"{len(bad)} of {len(files)} files cannot be decoded" in caplog.text
    (record,) = (tmp_path / "data/packed").glob("*/*.json")
    assert str(record) in caplog.text
    assert {entry["name"] for entry in json.loads(record.read_text())["skipped"]} == set(bad)


@pytest.mark.parametrize("pack", ["always", "never"])
def test_later_openings_decode_nothing(mixed, tmp_path, pack, monkeypatch):
    root, _ = mixed
    first = open_images(open_files(root), tmp_path / "data", 0, pack=pack)
    monkeypatch.setattr("dal_toolbox.datasets._decode.decode", None)
    second = open_images(open_files(root), tmp_path / "data", 0, pack=pack)
    assert second.skipped == first.skipped
    assert second.fingerprint == first.fingerprint


def test_fingerprint_tells_what_was_skipped(mixed, tmp_path):
    root, bad = mixed
    files = open_files(root)
    checked = open_images(files, tmp_path, 0, pack="never")
    assert checked.fingerprint != files.fingerprint
    shutil.copy(root / "cat/00.png", root / "cat/text.jpg")  # repaired
    again = open_images(open_files(root), tmp_path, 0, pack="never")
    assert again.fingerprint != checked.fingerprint
    assert len(again.skipped) == len(bad) - 1
    assert "cat/text.jpg" in again.names


def test_nothing_is_skipped_where_all_is_well(class_folders, tmp_path):
    for mode in ("always", "never"):
        skipping = open_images(open_files(class_folders), tmp_path, 0, pack=mode)
        refusing = open_images(open_files(class_folders, "raise"), tmp_path, 0, pack=mode)
        assert skipping.skipped == ()
        assert skipping.fingerprint == refusing.fingerprint


@pytest.mark.parametrize("done", range(0, 15, 3))
def test_an_interrupted_pack_knows_what_it_skipped(mixed, tmp_path, done, monkeypatch):
    root, _ = mixed
    whole = pack(open_files(root), tmp_path / "whole")
    files = open_files(root)
    readable, written = files.readable, []

    def fails_later(indices):
        images, bad = readable(indices)
        written.extend(images)
        if len(written) > done:
            raise KeyboardInterrupt
        return images, bad

    monkeypatch.setattr("dal_toolbox.datasets.packing.CHUNK_BYTES", 3 * 3 * 8 * 8)
    monkeypatch.setattr(files, "readable", fails_later)
    with pytest.raises(KeyboardInterrupt):
        pack(files, tmp_path / "resumed")
    resumed = pack(open_files(root), tmp_path / "resumed")
    assert resumed.names == whole.names
    assert torch.equal(resumed.images, whole.images)
    assert resumed.skipped == whole.skipped
    assert resumed.fingerprint == whole.fingerprint
    assert not list((tmp_path / "resumed").glob("*/*.part"))


def test_an_interrupted_check_goes_on(mixed, tmp_path, monkeypatch):
    root, _ = mixed
    monkeypatch.setattr("dal_toolbox.datasets.skipping.CHUNK", 2)
    monkeypatch.setattr("dal_toolbox.datasets.skipping.SAVE_SECONDS", 0)
    whole = find_bad(open_files(root), tmp_path / "whole")
    files, looked_at = open_files(root), []

    def look(indices):
        looked_at.extend(indices)
        return files.readable(indices)[1]

    def look_until_interrupted(indices):
        if len(looked_at) > 12:
            raise KeyboardInterrupt
        return look(indices)

    monkeypatch.setattr(files, "find_bad", look_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        find_bad(files, tmp_path / "resumed")
    looked_at.clear()
    monkeypatch.setattr(files, "find_bad", look)
    assert find_bad(files, tmp_path / "resumed") == whole
    assert looked_at == list(range(14, len(files)))


@pytest.mark.parametrize(
    "content",
    ["", "{}", "null", "[", '{"checked": 99, "skipped": []}', '{"checked": "all", "skipped": []}',
     '{"checked": 30, "skipped": [{"row": 99, "name": "a", "reason": "b"}]}',
     '{"checked": 30, "skipped": [{"row": 0, "name": "another", "reason": "b"}]}'],
)  # fmt: skip
def test_a_damaged_record_is_made_anew(mixed, tmp_path, content, caplog):
    root, _ = mixed
    files = open_files(root)
    whole = find_bad(files, tmp_path)
    (record,) = tmp_path.glob("*/checked.json")
    record.write_text(content)
    assert find_bad(files, tmp_path) == whole
    assert f"{record} is damaged" in caplog.text


def test_refusing_after_skipping_names_the_file_and_keeps_the_pack(mixed, tmp_path):
    root, bad = mixed
    pack(open_files(root), tmp_path)
    with pytest.raises(CorruptImage):
        pack(open_files_with_stamps_of_links(root), tmp_path)
    assert len(pack(open_files(root), tmp_path).skipped) == len(bad)


def open_files_with_stamps_of_links(root):
    """Refuses bad files, but has the fingerprint of one that skips them."""
    files = open_files(root)
    assert files.fingerprint
    files.on_error = "raise"
    return files


def test_all_bad(bad_folder, tmp_path):
    root, kinds = bad_folder
    for mode in ("always", "never", "always"):
        with pytest.raises(NothingReadable, match=rf"none of the {len(kinds)} files below"):
            open_images(open_files(root), tmp_path, 0, pack=mode)


def test_splits_follow_what_is_left(mixed, tmp_path):
    root, bad = mixed
    files = open_files(root)
    images = open_images(files, tmp_path, 0)
    rows = np.random.default_rng(0).permutation(len(files))
    splits = {"train": rows[:20], "test": rows[20:]}
    for split, part in split_images(images, files, splits).items():
        names = [files.names[row] for row in splits[split]]
        assert part.names == [name for name in names if name not in bad]
        assert part.skipped == images.skipped
        assert [files.names[target] for target in part.targets] == part.names
    with pytest.raises(NothingReadable, match=r"none of the 1 files for test"):
        split_images(images, files, {"train": rows, "test": np.array([files.names.index(bad[0])])})


@pytest.mark.parametrize("pack", ["auto", "never"])
def test_a_folder_with_bad_files(mixed, tmp_path, pack, check_bundle):
    root, bad = mixed
    with pytest.raises((CorruptImage, FileNotFoundError)):
        folder(tmp_path / "data", 0, root=str(root), pack="always", image_size=8)
    bundle = folder(tmp_path / "data", 0, root=str(root), pack=pack, on_error="skip", val_size=0.2)
    check_bundle(bundle)
    assert sorted(file.name for file in bundle.skipped) == sorted(bad)
    assert bundle.image_size == 12  # of those that can be decoded
    assert len(bundle.train) + len(bundle.val) + len(bundle.test) == 15
