"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017)."""

from pathlib import Path

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import array_bundle, check_drawing
from dal_toolbox.datasets._download import Files, fetch_files
from dal_toolbox.datasets._idx import read_idx
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, ImageArray

SIZE = 28
MNIST = Files(
    dataset="MNIST",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    md5={  # training images and labels, test images and labels
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    homes=("MNIST/raw", "MNIST"),
)
FASHION_MNIST = Files(
    dataset="FashionMNIST",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    md5={  # training images and labels, test images and labels
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    homes=("FashionMNIST/raw", "FashionMNIST"),
)
CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"


@DATASETS.register("MNIST")
def mnist(
    dataset_path: Path, *, val_size: float = 0.0, split_seed: int = 0, download: bool = True
) -> DatasetBundle:
    """60,000 training and 10,000 test images of handwritten digits, 28×28 gray pixels.

    Args:
        dataset_path: Holds the four idx files, compressed or not, in ``MNIST/raw`` or ``MNIST``.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        download: Downloads the official files where they are missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
        BadArchive: A file is not in the official format.
    """
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), download=download)
    train, test = _read(MNIST, dataset_path, download)
    statistics = (0.1307,), (0.3081,)
    classes = tuple("0123456789")
    return array_bundle("MNIST", train, test, classes, statistics, val_size, split_seed)


@DATASETS.register("FashionMNIST")
def fashion_mnist(
    dataset_path: Path, *, val_size: float = 0.0, split_seed: int = 0, download: bool = True
) -> DatasetBundle:
    """60,000 training and 10,000 test images of ten kinds of clothes, 28×28 gray pixels.

    https://arxiv.org/abs/1708.07747

    Args:
        dataset_path: Holds the four idx files, compressed or not, in ``FashionMNIST/raw`` or
            ``FashionMNIST``.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        download: Downloads the official files where they are missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
        BadArchive: A file is not in the official format.
    """
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), download=download)
    train, test = _read(FASHION_MNIST, dataset_path, download)
    statistics = (0.2860,), (0.3530,)
    classes = tuple(CLOTHES.split(","))
    return array_bundle("FashionMNIST", train, test, classes, statistics, val_size, split_seed)


def _read(files: Files, dataset_path: Path, download: bool) -> tuple[ImageArray, ImageArray]:
    train, train_labels, test, test_labels = fetch_files(
        files, dataset_path, list(files.md5), download=download
    )
    return _split(train, train_labels, "train"), _split(test, test_labels, "test")


def _split(image_file: Path, label_file: Path, split: str) -> ImageArray:
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if (
        not len(labels)
        or len(images) != len(labels)
        or images.shape[1:] != (SIZE, SIZE)
        or labels.max(initial=0) > 9
    ):
        raise BadArchive(
            f"{image_file} and {label_file} hold images {images.shape} and labels {labels.shape}; "
            f"wanted (n, {SIZE}, {SIZE}) and n labels from 0 to 9; delete both and start again"
        )
    return ImageArray(images[:, None], labels, [f"{split}/{row:05d}" for row in range(len(labels))])
