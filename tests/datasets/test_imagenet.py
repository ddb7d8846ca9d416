"""ImageNet as folders, as one folder with labels, and as the official tars of tars."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from dal_toolbox.datasets import DATASETS, DatasetNotFound, _imagenet_tars
from dal_toolbox.datasets._imagenet_val import read_labels
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets._wnids import subset

WNIDS = ["n01440764", "n01443537", "n01484850"]
WORDS = ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark"]
TRAIN = {
    f"{wnid}/{wnid}_{row}.JPEG": 3 * i + row for i, wnid in enumerate(WNIDS) for row in range(3)
}
VAL_LABELS = [2, 0, 1, 0, 2, 1]
VAL = [f"ILSVRC2012_val_{row + 1:08d}.JPEG" for row in range(6)]


def jpeg(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg")
    return buffer.getvalue()


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def train_files():
    return {f"train/{name}": jpeg(seed) for name, seed in TRAIN.items()}


def val_files():
    return {f"val/{name}": jpeg(100 + row) for row, name in enumerate(VAL)}


def devkit():
    """Ids are in another order than the classes, and there are classes above them."""
    dtype = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    rows = [(3, WNIDS[0], WORDS[0]), (1, WNIDS[1], WORDS[1]), (2, WNIDS[2], WORDS[2])]
    rows += [(4, "n00001740", "entity")]
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": np.array(rows, dtype=dtype)[:, None]})
    number_of = {0: 3, 1: 1, 2: 2}
    lines = "".join(f"{number_of[label]}\n" for label in VAL_LABELS).encode()
    folder = "ILSVRC2012_devkit_t12/data"
    return {
        f"{folder}/meta.mat": buffer.getvalue(),
        f"{folder}/ILSVRC2012_validation_ground_truth.txt": lines,
    }


def solution():
    rows = [
        f"{VAL[row][:-5]},{WNIDS[label]} 1 2 3 4 {WNIDS[label]} 5 6 7 8" for row, label in LISTED
    ]
    return "\n".join(["ImageId,PredictionString", *rows]).encode()


LISTED = list(enumerate(VAL_LABELS))[::-1]
MAPPING = "".join(f"{wnid} {words}\n" for wnid, words in zip(WNIDS, WORDS, strict=True)).encode()


def build(path, name="ImageNet", **options):
    options = {"dataset_path": path, "num_workers": 0, "image_size": 16} | options
    return DATASETS.build(name, **options)


def check(bundle, check_bundle):
    check_bundle(bundle)
    assert bundle.train.names == [f"train/{name}" for name in TRAIN]
    assert bundle.train.targets.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert bundle.test.names == [f"val/{name}" for name in VAL]
    assert bundle.test.targets.tolist() == VAL_LABELS


@pytest.mark.parametrize("root", ["ImageNet", "imagenet", "ILSVRC2012", "."])
def test_class_folders(tmp_path, check_bundle, root):
    val = {f"val/{WNIDS[label]}/{VAL[row]}": jpeg(row) for row, label in LISTED}
    write(tmp_path / root, train_files() | val)
    bundle = build(tmp_path, pack="never")
    check_bundle(bundle)
    assert bundle.classes == tuple(WNIDS)
    assert bundle.test.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert bundle.test.names[:2] == [f"val/{WNIDS[0]}/{VAL[row]}" for row in (1, 3)]


@pytest.mark.parametrize(
    "labels",
    [
        devkit(),
        {name.rpartition("/")[2]: content for name, content in devkit().items()},
        {"LOC_val_solution.csv": solution()},
        {
            "val_labels.txt": "\n".join(
                f"{VAL[row]} {WNIDS[label]}" for row, label in LISTED
            ).encode()
        },
        {"val_labels.txt": "\n".join(WNIDS[label] for label in VAL_LABELS).encode()},
    ],
)
def test_validation_images_in_one_folder(tmp_path, check_bundle, labels):
    write(tmp_path / "ImageNet", train_files() | val_files() | labels)
    check(build(tmp_path), check_bundle)


def test_the_layout_of_kaggle(tmp_path, check_bundle):
    write(tmp_path / "ILSVRC/Data/CLS-LOC", train_files() | val_files())
    write(tmp_path, {"LOC_val_solution.csv": solution(), "LOC_synset_mapping.txt": MAPPING})
    bundle = build(tmp_path)
    check(bundle, check_bundle)
    assert bundle.classes[:2] == ("n01440764 tench", "n01443537 goldfish")


def test_words_of_the_devkit(tmp_path):
    write(tmp_path / "ImageNet", train_files() | val_files() | devkit())
    assert build(tmp_path).classes[2] == "n01484850 great white shark"


def test_validation_is_taken_from_training(tmp_path, check_bundle):
    write(tmp_path / "ImageNet", train_files() | val_files() | devkit())
    bundle = build(tmp_path, val_size=1 / 3, max_size=20)
    assert [len(bundle.train), len(bundle.val), len(bundle.test)] == [6, 3, 6]
    assert sorted(bundle.val.targets) == [0, 1, 2]
    assert bundle.train.shape == (3, 20, 20)


def test_no_labels(tmp_path):
    write(tmp_path / "ImageNet", train_files() | val_files())
    with pytest.raises(DatasetNotFound, match="there are no labels; put ILSVRC2012_devkit"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("val_labels.txt", b"ILSVRC2012_val_00000001.JPEG n01440764\n"),
        ("val_labels.txt", b"1\n2\n3\n1\n2\n3\n"),
        ("LOC_val_solution.csv", b"ImageId,PredictionString\n"),
        ("ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", b"1\n2\n"),
        ("ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", b"9\n" * 6),
        ("ILSVRC2012_devkit_t12/data/meta.mat", b"text"),
        ("ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", b"\xff\xfe\xfa"),
    ],
)
def test_wrong_labels_are_named(tmp_path, file, content):
    kit = devkit() if "devkit" in file else {}
    write(tmp_path / "ImageNet", train_files() | val_files() | kit | {file: content})
    with pytest.raises(BadArchive, match=file.rpartition("/")[2]) as caught:
        build(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_list_with_more_than_is_wanted(tmp_path):
    file = tmp_path / "val_labels.txt"
    file.write_text("b.JPEG n01440764\na.JPEG n01443537\nc.JPEG n01484850\n")
    assert read_labels(file, ["a.JPEG", "b.JPEG"]) == ["n01443537", "n01440764"]


@pytest.mark.parametrize("name", ["ImageNet", "ImageNet50"])
def test_missing_data_says_what_to_do(tmp_path, name):
    with pytest.raises(DatasetNotFound) as caught:
        build(tmp_path, name)
    message = str(caught.value)
    for part in [name, str(tmp_path), "ImageNet/train/<wnid>", "ILSVRC2012_img_train.tar"]:
        assert part in message
    for part in ["image-net.org", "the dataset digits", "root=<folder of images>"]:
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("number", [50, 100, 200])
def test_subsets(tmp_path, check_bundle, number):
    wnids = subset(number)
    assert len(set(wnids)) == number
    files = {f"train/{wnid}/{wnid}_1.JPEG": jpeg(0) for wnid in [*wnids, "n00000001"]}
    write(tmp_path / "ImageNet", files | val_files())
    rows = [f"{VAL[row]} {[*wnids, 'n00000001'][-row - 1]}" for row in range(6)]
    write(tmp_path / "ImageNet", {"val_labels.txt": "\n".join(rows).encode()})
    bundle = build(tmp_path, f"ImageNet{number}", pack="never")
    check_bundle(bundle)
    assert bundle.classes == tuple(wnids) == tuple(sorted(wnids))
    assert bundle.train.targets.tolist() == list(range(number))
    assert bundle.test.names == [
        f"val/{name}" for name in VAL[1:]
    ]  # the first is of no wanted class
    assert bundle.test.targets.tolist() == [number - row for row in range(1, 6)]


def test_larger_subsets_hold_the_smaller_ones():
    assert set(subset(50)) < set(subset(100)) < set(subset(200))


def test_missing_classes_are_named(tmp_path):
    write(tmp_path / "ImageNet", train_files() | val_files())
    with pytest.raises(
        DatasetNotFound, match=r"ImageNet50 needs 50 classes; \d+ of them are missing"
    ):
        build(tmp_path, "ImageNet50")


@pytest.fixture
def tars(tmp_path):
    inner = {
        f"{wnid}.tar": tar(
            {name.split("/")[1]: jpeg(TRAIN[name]) for name in TRAIN if wnid in name}
        )
        for wnid in WNIDS
    }
    write(tmp_path, {"ILSVRC2012_img_train.tar": tar(inner)})
    val = {name: jpeg(100 + row) for row, name in enumerate(VAL)}
    write(tmp_path, {"ImageNet/ILSVRC2012_img_val.tar": tar(val)})
    with tarfile.open(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        for name, content in devkit().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return tmp_path


def test_official_tars(tars, check_bundle):
    with pytest.raises(DatasetNotFound, match=r"img_train.tar is not unpacked yet; unpack=true"):
        build(tars)
    bundle = build(tars, unpack=True)
    check(bundle, check_bundle)
    assert bundle.classes[0] == "n01440764 tench"
    assert (tars / "ImageNet/train" / next(iter(TRAIN))).read_bytes() == jpeg(0)
    left = [path.name for path in (tars / "ImageNet").rglob(".*")]
    assert left == []


def test_only_missing_classes_are_unpacked(tars, monkeypatch):
    write(tars / "ImageNet", {"train/n01443537/mine.JPEG": jpeg(0)})
    _imagenet_tars.unpack_train(
        tars / "ILSVRC2012_img_train.tar", tars / "ImageNet/train", WNIDS[:2]
    )
    found = sorted(path.name for path in (tars / "ImageNet/train").iterdir())
    assert found == WNIDS[:2]
    assert [path.name for path in (tars / "ImageNet/train/n01443537").iterdir()] == ["mine.JPEG"]


@pytest.mark.parametrize("damage", ["cut", "text", "inner", "path"])
def test_damaged_tars(tars, damage):
    file = tars / "ILSVRC2012_img_train.tar"
    content = {
        "cut": file.read_bytes()[:8000],
        "text": b"no tar" * 1000,
        "inner": tar({"n01440764.tar": b"no tar" * 1000}),
        "path": tar({"n01440764.tar": tar({"../../evil": b"evil"})}),
    }
    file.write_bytes(content[damage])
    with pytest.raises(BadArchive, match="img_train.tar cannot be unpacked") as caught:
        build(tars, unpack=True)
    assert "\n" not in str(caught.value)
    assert not list(tars.rglob("evil"))
    assert not (tars / "ImageNet/train/n01440764").exists() or damage == "cut"


def test_no_room_for_tars(tars, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(_imagenet_tars.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DatasetNotFound, match="unpacking ImageNet takes"):
        build(tars, unpack=True)


@pytest.mark.parametrize("member", [f"{WNIDS[0]}.tar", "other"])
def test_a_tar_that_leads_back_to_itself_ends(tmp_path, member):
    header = bytearray(tarfile.TarInfo(member).tobuf())
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512 bytes long
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(
        BadArchive, match=r"img_train.tar cannot be unpacked: .* has a negative size"
    ):
        build(tmp_path, unpack=True)


def test_bombs_in_inner_tars_are_counted_together(tmp_path, monkeypatch):
    monkeypatch.setattr("dal_toolbox.datasets._unpack.FLOOR", 1_500_000)
    inner = gzip.compress(tar({"x.JPEG": bytes(600_000)}))
    outer = tar({f"{wnid}.tar": inner for wnid in WNIDS})
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(outer)
    with pytest.raises(
        BadArchive, match=r"img_train.tar cannot be unpacked: it unpacks to more than"
    ):
        build(tmp_path, unpack=True)
    assert not (tmp_path / "ImageNet/train" / WNIDS[2]).exists()
