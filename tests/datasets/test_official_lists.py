"""Datasets of image files with lists beside them: small ones in the official form."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from dal_toolbox.datasets import DATASETS, DatasetNotFound
from dal_toolbox.datasets._decode import CorruptImage
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.opening import BadSize

TEXTURES = ["banded", "blotchy"]
DISHES = ["apple_pie", "baby_back_ribs", "baklava"]
WNIDS = ["n02124075", "n01443537"]
NAMES = ["DTD", "Flowers102", "Food101", "Imagenette", "TinyImageNet"]


def jpeg(seed, size=40):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size + 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg")
    return buffer.getvalue()


def mat(**content):
    buffer = io.BytesIO()
    savemat(buffer, content)
    return buffer.getvalue()


def text(*lines):
    return "".join(f"{line}\n" for line in lines).encode()


def make_dtd():
    paths = [f"{kind}/{kind}_{number:04d}.jpg" for kind in TEXTURES for number in range(6)]
    files = {f"dtd/images/{path}": jpeg(seed) for seed, path in enumerate(paths)}
    for partition in range(1, 11):
        for part, split in enumerate(["train", "val", "test"]):
            rows = [(2 * part + partition + row) % 6 for row in range(2)]
            lines = [f"{kind}/{kind}_{row:04d}.jpg" for kind in TEXTURES for row in rows]
            files[f"dtd/labels/{split}{partition}.txt"] = text(*lines)
    return files


def make_food101():
    files = {"food-101/meta/classes.txt": text(*DISHES)}
    for split, rows in {"train": range(4), "test": range(4, 6)}.items():
        paths = [f"{dish}/{100 + row}" for dish in DISHES for row in rows]
        files[f"food-101/meta/{split}.txt"] = text(*paths)
        files |= {f"food-101/images/{path}.jpg": jpeg(len(path)) for path in paths}
    return files


def make_flowers102():
    files = {f"flowers-102/jpg/image_{number:05d}.jpg": jpeg(number) for number in range(1, 10)}
    files["flowers-102/imagelabels.mat"] = mat(labels=np.array([[77, 1, 2, 102, 5, 6, 7, 8, 9]]))
    ids = {"trnid": [[4, 1]], "valid": [[2, 3]], "tstid": [[9, 8, 7, 6, 5]]}
    files["flowers-102/setid.mat"] = mat(**{key: np.array(value) for key, value in ids.items()})
    return files


def make_imagenette():
    wnids = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079"]
    wnids += ["n03394916", "n03417042", "n03425413", "n03445777", "n03888257"]
    counts = {"train": 2, "val": 1}
    return {
        f"imagenette2-160/{split}/{wnid}/{wnid}_{row}.JPEG": jpeg(seed)
        for split, count in counts.items()
        for seed, wnid in enumerate(wnids)
        for row in range(count)
    } | {"imagenette2-160/noisy_imagenette.csv": b"path,noisy_labels_0\n"}


def make_tiny_imagenet():
    root = "tiny-imagenet-200"
    files = {
        f"{root}/train/{wnid}/images/{wnid}_{row}.JPEG": jpeg(row)
        for wnid in WNIDS
        for row in range(3)
    }
    files |= {f"{root}/val/images/val_{row}.JPEG": jpeg(row) for row in range(4)}
    lines = [f"val_{row}.JPEG\t{WNIDS[row % 2]}\t0\t32\t44\t62" for row in range(4)]
    files[f"{root}/val/val_annotations.txt"] = text(*lines)
    files[f"{root}/wnids.txt"] = text(*WNIDS)
    words = ["n01443537\tgoldfish, Carassius auratus", "n02124075\tEgyptian cat"]
    files[f"{root}/words.txt"] = text("n00001740\tentity", *words)
    return files


MAKE = {
    "DTD": make_dtd,
    "Flowers102": make_flowers102,
    "Food101": make_food101,
    "Imagenette": make_imagenette,
    "TinyImageNet": make_tiny_imagenet,
}


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def build(name, path, **options):
    options = {
        "dataset_path": path,
        "num_workers": 0,
        "image_size": 16,
        "download": False,
    } | options
    return DATASETS.build(name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_folder_is_read(tmp_path, check_bundle, name):
    write(tmp_path, MAKE[name]())
    bundle = build(name, tmp_path)
    check_bundle(bundle)
    assert bundle.name == name
    assert bundle.image_size == 16


@pytest.mark.parametrize("name", NAMES)
def test_options(tmp_path, check_bundle, name):
    write(tmp_path, MAKE[name]())
    bundle = build(name, tmp_path, max_size=24, pack="never")
    assert bundle.train.shape == (3, 24, 24)
    assert bundle.image_size == 16
    assert not (tmp_path / "packed/images.npy").exists()
    with pytest.raises(BadSize, match=r"^max_size=8: must not be below image_size=16"):
        build(name, tmp_path, max_size=8)


@pytest.mark.parametrize("name", NAMES)
def test_missing_data_says_what_to_do(tmp_path, name):
    with pytest.raises(DatasetNotFound) as caught:
        build(name, tmp_path / "new")
    message = str(caught.value)
    for part in [
        name,
        f"dataset_path={tmp_path / 'new'}",
        "put ",
        "the dataset digits",
        "root=<folder of images>",
    ]:
        assert part in message
    assert "\n" not in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pack", ["always", "never"])
def test_broken_files_are_left_out(tmp_path, check_bundle, name, pack):
    files = MAKE[name]()
    broken = next(file for file in files if "/test" not in file and ".jp" in file.lower())
    write(tmp_path, files | {broken: b"no image"})
    bundle = build(name, tmp_path, pack=pack, on_error="skip")
    check_bundle(bundle)
    assert [broken.endswith(file.name) for file in bundle.skipped] == [True]
    if pack == "always":  # else when its turn comes
        with pytest.raises(CorruptImage, match="cannot decode"):
            build(name, tmp_path, pack=pack)


def test_dtd(tmp_path):
    write(tmp_path, make_dtd())
    bundle = build("DTD", tmp_path, partition=10)
    assert bundle.classes == ("banded", "blotchy")
    paths = [f"images/{kind}/{kind}_{row:04d}.jpg" for kind in TEXTURES for row in (4, 5)]
    assert bundle.train.names == paths
    assert bundle.train.targets.tolist() == [0, 0, 1, 1]
    assert bundle.val.names[:2] == [
        "images/banded/banded_0000.jpg",
        "images/banded/banded_0001.jpg",
    ]
    with pytest.raises(ValueError, match="^partition=0: must be an integer of at least 1"):
        build("DTD", tmp_path, partition=0)


def test_dtd_where_torchvision_puts_it(tmp_path, check_bundle):
    write(tmp_path / "dtd", make_dtd())
    check_bundle(build("DTD", tmp_path))


def test_flowers102(tmp_path):
    write(tmp_path, make_flowers102())
    bundle = build("Flowers102", tmp_path)
    assert bundle.train.names == ["image_00004.jpg", "image_00001.jpg"]  # the order of the list
    assert bundle.train.targets.tolist() == [101, 76]
    assert bundle.val.targets.tolist() == [0, 1]
    assert [bundle.classes[0], bundle.classes[72], bundle.classes[101]] == [
        *("pink primrose", "water lily", "blackberry lily")
    ]
    assert bundle.num_classes == 102


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("setid.mat", b"text", "setid.mat is not the official file"),
        ("setid.mat", mat(trnid=[[1]], valid=[[2]]), "it has no tstid"),
        ("setid.mat", mat(trnid=[[1]], valid=[[2]], tstid=[[10]]), "put the official file there"),
        ("imagelabels.mat", mat(labels=np.full((1, 9), 103)), "put the official file there"),
    ],
)
def test_flowers102_damaged(tmp_path, file, content, message):
    write(tmp_path, make_flowers102() | {f"flowers-102/{file}": content})
    with pytest.raises(BadArchive, match=message) as caught:
        build("Flowers102", tmp_path)
    assert "\n" not in str(caught.value)


def test_food101(tmp_path, check_bundle):
    write(tmp_path, make_food101())
    bundle = build("Food101", tmp_path, val_size=0.25)
    check_bundle(bundle)
    assert [len(bundle.train), len(bundle.val), len(bundle.test)] == [9, 3, 6]
    assert bundle.classes == tuple(DISHES)
    assert bundle.test.names[2:4] == [
        "images/baby_back_ribs/104.jpg",
        "images/baby_back_ribs/105.jpg",
    ]
    assert bundle.test.targets.tolist() == [0, 0, 1, 1, 2, 2]


def test_food101_with_an_unknown_class(tmp_path):
    files = make_food101() | {"food-101/meta/test.txt": text("pizza/1")}
    write(tmp_path, files)
    with pytest.raises(BadArchive, match="unknown class 'pizza'"):
        build("Food101", tmp_path)


def test_missing_list_is_named(tmp_path):
    files = make_food101()
    del files["food-101/meta/test.txt"]
    write(tmp_path, files)
    with pytest.raises(DatasetNotFound, match=r"test.txt is missing; delete \S+food-101 and"):
        build("Food101", tmp_path)


def test_imagenette(tmp_path):
    files = make_imagenette()
    write(tmp_path, files)
    bundle = build("Imagenette", tmp_path)
    assert bundle.classes[:2] == ("tench", "English springer")
    assert bundle.train.names[:2] == [f"train/n01440764/n01440764_{row}.JPEG" for row in range(2)]
    assert bundle.train.targets.tolist() == np.repeat(np.arange(10), 2).tolist()
    assert bundle.test.targets.tolist() == list(range(10))
    with pytest.raises(DatasetNotFound, match="imagenette2-320.tgz"):
        build("Imagenette", tmp_path, size="320")
    with pytest.raises(DatasetNotFound, match=r"imagenette2\.tgz"):
        build("Imagenette", tmp_path, size="full")


def test_tiny_imagenet(tmp_path):
    write(tmp_path, make_tiny_imagenet())
    bundle = build("TinyImageNet", tmp_path)
    assert bundle.classes == ("n01443537 goldfish", "n02124075 Egyptian cat")
    assert bundle.train.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert bundle.test.names == [f"val/images/val_{row}.JPEG" for row in range(4)]
    assert bundle.test.targets.tolist() == [1, 0, 1, 0]


def test_tiny_imagenet_with_a_broken_line(tmp_path):
    lines = text("val_0.JPEG")
    write(tmp_path, make_tiny_imagenet() | {"tiny-imagenet-200/val/val_annotations.txt": lines})
    with pytest.raises(BadArchive, match="unknown class ''"):
        build("TinyImageNet", tmp_path)


def test_archives_are_unpacked(tmp_path, check_bundle, monkeypatch):
    from dal_toolbox.datasets import _download

    monkeypatch.setattr(_download, "_md5", lambda file: {"zip": ZIP, "tgz": TGZ}[file.suffix[1:]])
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as archive:
        for name, content in make_tiny_imagenet().items():
            archive.writestr(name, content)
    check_bundle(build("TinyImageNet", tmp_path))
    files = make_flowers102()
    with tarfile.open(tmp_path / "102flowers.tgz", "w:gz") as archive:
        for name in [name for name in files if "/jpg/" in name]:
            info = tarfile.TarInfo(name.removeprefix("flowers-102/"))
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    write(tmp_path, {name.rpartition("/")[2]: files[name] for name in files if ".mat" in name})
    check_bundle(build("Flowers102", tmp_path))


ZIP, TGZ = "90528d7ca1a48142e341f4ef8d21d0de", "52808999861908f626f3c1f4e79d11fa"
