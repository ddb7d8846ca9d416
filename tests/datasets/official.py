"""A small dataset of every registered name, in its official format."""

import runpy
from pathlib import Path

HERE = Path(__file__).parent


def _tests_of(name):
    return runpy.run_path(str(HERE / f"test_{name}.py"))


def _cifar10(path):
    tests = _tests_of("cifar")
    batches = {f"data_batch_{part}": tests["make_batch"](4, 10, part) for part in range(1, 6)}
    meta = {"label_names": [f"class {label}" for label in range(10)]}
    files = {**batches, "test_batch": tests["make_batch"](6, 10, 6), "batches.meta": meta}
    tests["write_folder"](path / "cifar-10-batches-py", files)


def _cifar100(path):
    tests = _tests_of("cifar")
    batch, kinds = tests["make_batch"], {"fine": 100, "coarse": 20}
    files = {
        split: {
            **batch(8, 100, seed, "fine_labels"),
            "coarse_labels": batch(8, 20, seed)["labels"],
        }
        for seed, split in enumerate(["train", "test"])
    }
    meta = {f"{kind}_label_names": [f"{kind} {i}" for i in range(n)] for kind, n in kinds.items()}
    tests["write_folder"](path / "cifar-100-python", {**files, "meta": meta})


def _svhn(path):
    for seed, split in enumerate(["train", "test", "extra"]):
        _tests_of("svhn")["write"](path / f"{split}_32x32.mat", 8, seed)


def _stl10(path):
    _tests_of("stl10")["write"](path / "stl10_binary", {"train": 20, "test": 10, "unlabeled": 3})


def _idx(name):
    return lambda path: _tests_of("mnist")["make"](path / name, ".gz")


def _lists(name):
    def make(path):
        tests = _tests_of("official_lists")
        tests["write"](path, tests["MAKE"][name]())

    return make


def _imagenet(wnids):
    def make(path):
        tests = _tests_of("imagenet")
        names = [
            f"{split}/{wnid}/{wnid}_{row}.JPEG"
            for split in ("train", "val")
            for wnid in wnids
            for row in range(2)
        ]
        content = tests["jpeg"](0)
        tests["write"](path / "ImageNet", dict.fromkeys(names, content))

    return make


def _imagenet_with_devkit(path):
    tests = _tests_of("imagenet")
    files = tests["train_files"]() | tests["val_files"]() | tests["devkit"]()
    tests["write"](path / "ImageNet", {**files, "synset_words.txt": tests["MAPPING"]})


def _imagenet_subset(number):
    from dal_toolbox.datasets._wnids import subset

    return _imagenet(subset(number))


def _utkface(path):
    tests = _tests_of("utkface")
    for number in range(30):
        tests["write"](path / "UTKFace" / tests["face_name"](number), number)


def _folder(path):
    tests = _tests_of("utkface")
    for number in range(20):
        tests["write"](path / "images" / ("cat" if number % 2 else "dog") / f"{number}.jpg", number)


MAKE = {
    "digits": lambda path: None,
    "CIFAR10": _cifar10,
    "CIFAR100": _cifar100,
    "SVHN": _svhn,
    "STL10": _stl10,
    "MNIST": _idx("MNIST"),
    "FashionMNIST": _idx("FashionMNIST"),
    "ImageNet": _imagenet_with_devkit,
    **{f"ImageNet{number}": _imagenet_subset(number) for number in (50, 100, 200)},
    "UTKFace": _utkface,
    "folder": _folder,
}
for _name in ("DTD", "Flowers102", "Food101", "Imagenette", "TinyImageNet"):
    MAKE[_name] = _lists(_name)


def options(name, path):
    """What a dataset needs beside its defaults: small images, and the folder of one's own."""
    small = {"image_size": 16} if name in MAKE and not _is_array(name) else {}
    return {**small, **({"root": str(path / "images")} if name == "folder" else {})}


def _is_array(name):
    return name in ("digits", "CIFAR10", "CIFAR100", "SVHN", "STL10", "MNIST", "FashionMNIST")
