"""The official format, as Python 2 wrote it."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest

from dal_toolbox.datasets import DATASETS, DatasetNotFound, cifar, plain_pickle
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._unpack import BadArchive


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as the ``str`` of Python 2, which knew no difference."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_str2(self, value):
        content = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_str2


def python2_pickle(value):
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def make_batch(n, num_classes, seed, key="labels"):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
    labels = rng.integers(0, num_classes, n).tolist()
    return {"batch_label": "a batch", key: labels, "data": data, "filenames": ["a.png"] * n}


@pytest.fixture
def cifar10_files():
    batches = {f"data_batch_{part}": make_batch(4, 10, part) for part in range(1, 6)}
    batches["test_batch"] = make_batch(6, 10, 6)
    meta = {"label_names": [f"class {label}" for label in range(10)], "num_vis": 3072}
    return {**batches, "batches.meta": meta}


def write_folder(folder, files):
    folder.mkdir(parents=True)
    for name, value in files.items():
        (folder / name).write_bytes(python2_pickle(value))


def write_tar(path, folder, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, value in files.items():
            content = python2_pickle(value)
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def check_cifar10(bundle, files):
    batches = [files[f"data_batch_{part}"] for part in range(1, 6)]
    data = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    assert (bundle.train.images.numpy() == data).all()
    assert bundle.train.targets.tolist() == [
        label for batch in batches for label in batch["labels"]
    ]
    assert (bundle.test.images.numpy().reshape(6, -1) == files["test_batch"]["data"]).all()
    assert bundle.classes == tuple(files["batches.meta"]["label_names"])
    assert bundle.train.names[:2] == ["train/00000", "train/00001"]


def test_folder_is_read(tmp_path, cifar10_files, check_bundle):
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    bundle = DATASETS.build("CIFAR10", dataset_path=tmp_path)
    check_bundle(bundle)
    check_cifar10(bundle, cifar10_files)
    assert bundle.val is None


@pytest.fixture
def unpacked(tmp_path, cifar10_files):
    """The folder, made of an archive."""
    tar = tmp_path / "cifar-10-python.tar.gz"
    md5 = write_tar(tar, "cifar-10-batches-py", cifar10_files)
    with pytest.raises(BadArchive, match=f"has MD5 {md5} instead of c58f3010"):
        DATASETS.build("CIFAR10", dataset_path=tmp_path)
    assert tar.exists()  # it may be somebody's only copy
    ours = Archive(cifar.CIFAR10.dataset, cifar.CIFAR10.url, md5, cifar.CIFAR10.folder)
    fetch(ours, tmp_path, download=False)
    check_cifar10(DATASETS.build("CIFAR10", dataset_path=tmp_path), cifar10_files)
    return tmp_path / "cifar-10-batches-py"


def test_archive_is_checked_unpacked_and_read(unpacked):
    assert unpacked.is_dir()


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta", "checksums.json"])
@pytest.mark.parametrize("damage", ["flipped", "zeros", "longer"])
def test_what_was_unpacked_is_checked_at_every_start(unpacked, name, damage):
    content = bytearray((unpacked / name).read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "zeros":
        content[-80:-60] = bytes(20)
    (unpacked / name).write_bytes(content + b" x" if damage == "longer" else content)
    with pytest.raises(
        BadArchive, match=r"is not what was unpacked, by .*checksums.json"
    ) as caught:
        DATASETS.build("CIFAR10", dataset_path=unpacked.parent)
    assert "\n" not in str(caught.value)
    (unpacked / "checksums.json").unlink()  # then it is as if it had been unpacked by hand
    if name in ("data_batch_3", "checksums.json"):
        DATASETS.build("CIFAR10", dataset_path=unpacked.parent)


def test_validation_is_taken_from_training(tmp_path, cifar10_files, check_bundle):
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    bundle = DATASETS.build("CIFAR10", dataset_path=tmp_path, val_size=0.25)
    check_bundle(bundle)
    assert [len(bundle.train), len(bundle.val), len(bundle.test)] == [15, 5, 6]


@pytest.mark.parametrize(("labels", "num_classes"), [("fine", 100), ("coarse", 20)])
def test_cifar100(tmp_path, check_bundle, labels, num_classes):
    files = {
        split: {
            **make_batch(8, 100, 0, "fine_labels"),
            **make_batch(8, 20, seed, "coarse_labels"),
        }
        for seed, split in enumerate(["train", "test"])
    }
    names = {f"{kind}_label_names": [f"{kind} {i}" for i in range(n)] for kind, n in KINDS.items()}
    write_folder(tmp_path / "cifar-100-python", {**files, "meta": names})
    bundle = DATASETS.build("CIFAR100", dataset_path=tmp_path, labels=labels)
    check_bundle(bundle)
    assert bundle.num_classes == num_classes
    assert bundle.classes[3] == f"{labels} 3"
    assert bundle.train.targets.tolist() == files["train"][f"{labels}_labels"]


KINDS = {"fine": 100, "coarse": 20}


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_missing_data_says_what_to_do(tmp_path, name):
    with pytest.raises(DatasetNotFound) as caught:
        DATASETS.build(name, dataset_path=tmp_path / "data", download=False)
    message = str(caught.value)
    archive = getattr(cifar, name)
    wanted = [name, f"dataset_path={tmp_path / 'data'}", archive.filename, archive.folder]
    assert all(
        part in message for part in [*wanted, "the dataset digits", "root=<folder of images>"]
    )
    assert "\n" not in message
    assert not (tmp_path / "data").exists()


def test_missing_batch_is_named(tmp_path, cifar10_files):
    del cifar10_files["data_batch_3"]
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    with pytest.raises(DatasetNotFound, match="data_batch_3 is missing"):
        DATASETS.build("CIFAR10", dataset_path=tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "shape", "key", "lengths", "text"])
def test_damaged_batch_is_named(tmp_path, cifar10_files, damage):
    batch = cifar10_files["test_batch"]
    if damage == "shape":
        batch["data"] = batch["data"][:, :-1]
    elif damage == "key":
        del batch["labels"]
    elif damage == "lengths":
        batch["labels"] = batch["labels"][:-1]
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    file = tmp_path / "cifar-10-batches-py/test_batch"
    if damage in ("truncated", "text"):
        file.write_bytes(file.read_bytes()[:500] if damage == "truncated" else b"no pickle")
    with pytest.raises(BadArchive, match="test_batch is no official batch file") as caught:
        DATASETS.build("CIFAR10", dataset_path=tmp_path)
    assert "\n" not in str(caught.value)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [3, 4])
def test_batches_that_were_saved_again_by_python_3(tmp_path, cifar10_files, protocol):
    folder = tmp_path / "cifar-10-batches-py"
    write_folder(folder, cifar10_files)
    before = DATASETS.build("CIFAR10", dataset_path=tmp_path)
    for name, value in cifar10_files.items():
        coded = {key.encode(): value for key, value in value.items()}
        if "label_names" in value:
            coded[b"label_names"] = [label.encode() for label in value["label_names"]]
        (folder / name).write_bytes(pickle.dumps(coded, protocol))
    again = DATASETS.build("CIFAR10", dataset_path=tmp_path)
    assert again.classes == before.classes
    assert again.train.fingerprint == before.train.fingerprint


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_runs_no_code(tmp_path, cifar10_files, protocol):
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    evil = pickle.dumps({b"data": Evil(tmp_path / "pwned")}, protocol)
    check_refused(tmp_path, evil)
    assert not (tmp_path / "pwned").exists()


def check_refused(path, content):
    """The process survives, in little memory, and the file is named in one line."""
    (path / "cifar-10-batches-py/test_batch").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(BadArchive, match="test_batch is no official batch file") as caught:
        DATASETS.build("CIFAR10", dataset_path=path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def crafted_array(n=4, dtype=b"u1", shape=None, content=None, args=None, fortran=False):
    """A batch whose array is said to be anything: BUILD gets the state of an ndarray."""
    pickled = [b"\x80\x02}(", string(b"data"), b"cnumpy.core.multiarray\n_reconstruct\n"]
    pickled += [b"cnumpy\nndarray\n", args or b"K\0\x85", string(b"b"), b"\x87R"]
    pickled += [b"(K\x01", shape or b"J" + struct.pack("<i", n) + b"M\0\x0c\x86"]
    pickled += [b"cnumpy\ndtype\n", string(dtype), b"K\0K\x01\x87R"]
    pickled += [b"(K\x03", string(b"|"), b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"]
    pickled += [b"\x88" if fortran else b"\x89"]
    pickled += [string(bytes(n * 3072) if content is None else content), b"tb"]
    pickled += [string(b"labels"), b"](", b"K\x01" * n, b"eu."]
    return b"".join(pickled)


def string(text):
    return b"T" + struct.pack("<i", len(text)) + text


@pytest.mark.parametrize("first_shape", [b"K\0\x85", b"J\0\xca\x9a\x3bK\x12\x86"])
def test_an_array_is_not_made_before_its_content_is_known(tmp_path, cifar10_files, first_shape):
    """The shape that the array is made with at first may ask for 18 GB."""
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    content = crafted_array(n=3, args=first_shape)
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(content)
    tracemalloc.start()
    bundle = DATASETS.build("CIFAR10", dataset_path=tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert bundle.test.targets.tolist() == [1, 1, 1]


HUGE = b"\x8a\x08" + struct.pack("<q", 10**12)
HOSTILE = {
    "object pointers": crafted_array(dtype=b"O", content=b"A" * 4 * 3072 * 8),
    "objects as a list": crafted_array(dtype=b"O8", content=b""),
    "a structured type": crafted_array(dtype=b"V3072"),
    "a type that is no text": crafted_array().replace(b"cnumpy\ndtype\n", b"cnumpy\nndarray\n"),
    "a huge shape": crafted_array(shape=HUGE + b"M\0\x0c\x86", content=b"x"),
    "a negative shape": crafted_array(shape=b"J\xff\xff\xff\xffM\0\x0c\x86"),
    "a shape of floats": crafted_array(shape=b"G@\x10\0\0\0\0\0\0M\0\x0c\x86"),
    "no images": crafted_array(n=0),
    "a string that does not end": crafted_array()[:-400] + b"T\xff\xff\xff\x7f",
    "a negative length": b"\x80\x02}T\xff\xff\xff\xff.",
    "the memo of 64 GB": b"\x80\x02}r\xff\xff\xff\x7f0.",
    "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples as key": b"\x80\x02}N" + b"q\x01h\x01\x86" * 60 + b"K\x01s.",
    "itself": b"\x80\x02]q\x01h\x01a.",
    "an empty stack": b"\x80\x02as.",
    "no mark": b"\x80\x02t.",
    "no end": b"\x80\x02}",
    "nothing": b"",
    "persistent objects": b"\x80\x02}Q.",
    "attributes": b"\x80\x02(iposix\nsystem\n.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_batches_are_refused(tmp_path, cifar10_files, kind):
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    check_refused(tmp_path, HOSTILE[kind])


def test_sizes_of_files_are_bounded(tmp_path, cifar10_files, monkeypatch):
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    monkeypatch.setattr(plain_pickle, "MAX_OPCODES", 1000)
    assert "more values" in check_refused(tmp_path, b"\x80\x02" + b"]" * 1001 + b".")
    with (tmp_path / "cifar-10-batches-py/test_batch").open("wb") as file:
        file.truncate(plain_pickle.MAX_BYTES + 1)
    with pytest.raises(BadArchive, match="larger than any file"):
        DATASETS.build("CIFAR10", dataset_path=tmp_path)


@pytest.mark.parametrize(
    "labels", [[1, 2, 3, 4, 5, 10], [-1] * 6, [True] * 6, [0.5] * 6, [[1]] * 6]
)
def test_labels_outside_of_the_classes_are_named(tmp_path, cifar10_files, labels):
    cifar10_files["test_batch"]["labels"] = labels
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    with pytest.raises(BadArchive, match="test_batch is no official"):
        DATASETS.build("CIFAR10", dataset_path=tmp_path)


def test_a_hostile_list_of_classes_is_named_once(tmp_path, cifar10_files):
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    (tmp_path / "cifar-10-batches-py/batches.meta").write_bytes(HOSTILE["attributes"])
    with pytest.raises(BadArchive) as caught:
        DATASETS.build("CIFAR10", dataset_path=tmp_path)
    assert str(caught.value).count("batches.meta") == 1


def test_wrong_numbers_of_classes_are_named(tmp_path, cifar10_files):
    cifar10_files["batches.meta"]["label_names"].pop()
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files)
    with pytest.raises(BadArchive, match="wanted the names of 10 classes"):
        DATASETS.build("CIFAR10", dataset_path=tmp_path)
