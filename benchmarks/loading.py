"""Time per batch and per epoch of STL-10 for contrastive learning: how images come and who augments them.

    python benchmarks/loading.py --images 1024 --encoder none --repeats 3

The rows are those of a well-known table for SimCLR on STL-10 at 96 px (100,000 unlabeled images):
decoded images cached in the dataset or files opened each time, both augmented sample by sample by
torchvision v2 in 0, 1 or 2 worker processes; kornia on whole batches, fed by 0, 1 or 2 workers; and
dal_toolbox, from memory, from a memory-mapped file, and on a GPU from its memory. All make two views
after SimCLR's recipe with strength 0.5 (with --blur a Gaussian blur with probability 0.5), in a new
order each epoch. Workers are persistent and started before; memory is pinned where there is a GPU.
With --encoder each batch is also trained on, with dal_toolbox's SimCLR.

A repetition is a pass over --images images; an epoch of 100,000 is extrapolated from it. The images are
CIFAR-10's JPEGs enlarged to 96 px where they are in ~/data/cifar10, else smooth noise.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from _bench import Timing, print_table, time_interleaved, version, write_json
from augmentation import MEAN, STD, Tensors, kernel
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from dal_toolbox.augment import RECIPES
from dal_toolbox.datasets import ImageArray, ImageLoader
from dal_toolbox.datasets.residency import resident_loader
from dal_toolbox.encoders import create_encoder
from dal_toolbox.ssl import SSL_METHODS

SIZE, EPOCH = 96, 100_000
CIFAR = Path("~/data/cifar10/train").expanduser()
OURS, KORNIA = "dal_toolbox", "kornia, batch"
CACHED, FILES = "torchvision, cached", "torchvision, files"
Pass = Callable[[], Iterable[Tensor]]  # views of one epoch
Key = tuple[str, str, int]  # pipeline, workers or place, batch size


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        images, paths = make_images(Path(temporary), arguments.images)
        passes = pipelines(images, paths, Path(temporary), arguments)
        step = make_step(arguments)
        contenders = {"|".join(map(str, key)): epoch(run, step) for key, run in passes.items()}
        timings = time_interleaved(contenders, arguments.repeats, min_seconds=0)
    seconds = dict(zip(passes, timings.values(), strict=True))
    report(seconds, timings, arguments)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1024, help="of one repetition")
    parser.add_argument("--batch-size", type=int, default=256, help="of all pipelines")
    parser.add_argument("--larger", type=int, nargs="*", default=[512, 768],
                        help="further batch sizes, of kornia and dal_toolbox")  # fmt: skip
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--encoder", choices=["none", "small", "resnet18"], default="none")
    parser.add_argument("--blur", action="store_true", help="blur with probability 0.5")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", default="loading", help="name of the JSON file")
    arguments = parser.parse_args()
    largest = max([arguments.batch_size, *arguments.larger])
    if arguments.images < largest:
        parser.error(f"--images {arguments.images}: give at least the largest batch, {largest}")
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    return arguments


def make_images(folder: Path, n: int) -> tuple[Tensor, list[Path]]:
    """The same images decoded, uint8 (n, 3, 96, 96), and as JPEG files."""
    sources = sorted(CIFAR.glob("*/*.jpg"))
    rng = np.random.default_rng(0)
    pixels = np.empty((n, SIZE, SIZE, 3), dtype=np.uint8)
    paths = [folder / f"{i:06d}.jpg" for i in range(n)]
    for i, path in enumerate(paths):
        if sources:
            small = Image.open(sources[i * len(sources) // n]).convert("RGB")
        else:
            small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        small.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path, quality=95)
        pixels[i] = np.asarray(Image.open(path))
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), paths


def pipelines(
    images: Tensor, paths: list[Path], folder: Path, arguments: argparse.Namespace
) -> dict[Key, Pass]:
    size, blur, device = arguments.batch_size, 0.5 if arguments.blur else 0.0, arguments.device
    cached, files = Cached(images, blur), Files(images, paths, blur)
    array = make_array(images)
    np.save(folder / "images.npy", images.numpy())
    mapped = make_array(torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c")))
    found: dict[Key, Pass] = {}
    for workers in arguments.workers:
        found[CACHED, f"{workers} workers", size] = sample_by_sample(cached, size, workers, device)
    for workers in arguments.workers:
        found[FILES, f"{workers} workers", size] = sample_by_sample(files, size, workers, device)
    for batch_size in [size, *arguments.larger]:
        for workers in arguments.workers:
            run = kornia_batches(images, batch_size, workers, device, blur)
            found[KORNIA, f"{workers} workers", batch_size] = run
        found[OURS, "memory", batch_size] = ours(array, batch_size, device, blur)
        found[OURS, "disk", batch_size] = ours(mapped, batch_size, device, blur)
        if device == "cuda":
            found[OURS, "device", batch_size] = ours(array, batch_size, device, blur, "device")
    return found


class Cached(Tensors):
    """Two views of decoded images."""

    def __len__(self) -> int:
        return len(self.images)


class Files(Cached):
    """Two views of files that are opened each time."""

    def __init__(self, images: Tensor, paths: list[Path], blur: float) -> None:
        super().__init__(images[:1], blur)
        self.images = paths

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.images[index]) as file:
            image = file.convert("RGB")
        return self.transform(image), self.transform(image)


def loader_of(dataset, batch_size: int, workers: int, device: str) -> DataLoader:
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device == "cuda",
    )


def sample_by_sample(dataset: Cached, batch_size: int, workers: int, device: str) -> Pass:
    loader = loader_of(dataset, batch_size, workers, device)

    def run() -> Iterator[Tensor]:
        for first, second in loader:
            yield torch.cat([first, second]).to(device, non_blocking=True)

    return run


def kornia_batches(images: Tensor, batch_size: int, workers: int, device: str, blur: float) -> Pass:
    import kornia.augmentation as K

    steps: list[nn.Module] = [
        K.RandomResizedCrop((SIZE, SIZE)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
    ]
    if blur:
        steps.append(K.RandomGaussianBlur((kernel(SIZE),) * 2, (0.1, 2.0), p=blur))
    normalize = K.Normalize(torch.tensor(MEAN), torch.tensor(STD))
    transform = nn.Sequential(*steps, normalize).to(device)
    loader = loader_of(TensorDataset(images), batch_size, workers, device)

    def run() -> Iterator[Tensor]:
        for (batch,) in loader:
            batch = batch.to(device, non_blocking=True)
            yield transform(batch.repeat(2, 1, 1, 1).float() / 255)

    return run


def make_array(images: Tensor) -> ImageArray:
    n = len(images)
    return ImageArray(images, np.full(n, -1), [str(i) for i in range(n)])


def ours(
    images: ImageArray, batch_size: int, device: str, blur: float, residency: str | None = None
) -> Pass:
    augment = RECIPES.build("simclr", size=SIZE, mean=MEAN, std=STD, strength=0.5, blur=blur)
    augment = augment.to(device)
    loader = ImageLoader(images, batch_size, shuffle=True, drop_last=True)
    if residency is not None:
        loader = resident_loader(loader, residency, device)
    epochs = iter(range(10**9))

    def run() -> Iterator[Tensor]:
        loader.set_epoch(next(epochs))
        for batch, _, _ in loader:
            yield augment(batch.to(device, non_blocking=True))

    return run


def make_step(arguments: argparse.Namespace) -> Callable[[Tensor], object]:
    """One step of SimCLR on the views of a batch; nothing at all for ``none``."""
    if arguments.encoder == "none":
        return lambda views: None
    encoder = create_encoder(arguments.encoder, image_size=SIZE)
    method = SSL_METHODS.build("simclr", encoder=encoder).to(arguments.device)
    method = method.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(method.parameters(), 0.03, momentum=0.9, weight_decay=5e-4)

    def step(views: Tensor) -> None:
        loss = method.loss(views.contiguous(memory_format=torch.channels_last))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def epoch(run: Pass, step: Callable[[Tensor], object]) -> Callable[[], None]:
    def whole() -> None:
        for views in run():
            step(views)

    return whole


def report(
    seconds: dict[Key, Timing], timings: dict[str, Timing], arguments: argparse.Namespace
) -> None:
    steps = {key: arguments.images // key[2] for key in seconds}
    rates = {key: timing.rate(steps[key] * key[2]) for key, timing in seconds.items()}
    size = arguments.batch_size
    best_ours = max(rate[0] for key, rate in rates.items() if key[0] == OURS and key[2] == size)
    rows = []
    for key, (median, low, _) in rates.items():
        t_batch = f"{seconds[key].median / steps[key]:.4f}"
        times = [t_batch, f"{EPOCH / median:,.0f}", f"{EPOCH / low:,.0f}"]
        rows.append([", ".join(key[:2]), str(key[2]), *times, f"{best_ours / median:.1f}x"])
    blur = ", blur" if arguments.blur else ""
    print_table(
        f"Two views at {SIZE} px{blur}, encoder {arguments.encoder}, {arguments.device}, "
        f"{arguments.threads} threads, {arguments.repeats} repetitions of {arguments.images} images",
        ["seconds", "batch", "t_batch", "t_epoch", "slowest", "ratio"],
        rows,
    )
    print(f"t_epoch: extrapolated to {EPOCH:,} images; ratio: to dal_toolbox at batches of {size}.")
    others = {k: rate[0] for k, rate in rates.items() if k[0] != OURS and k[2] == size}
    best = max(others, key=lambda key: others[key])
    ratio = best_ours / others[best]
    print(f"dal_toolbox is {ratio:.2f} times as fast as {best[0]}, {best[1]} at batches of {size}.")
    results = {
        "encoder": arguments.encoder,
        "device": arguments.device,
        "images": arguments.images,
        "t_batch": {"|".join(map(str, k)): t.median / steps[k] for k, t in seconds.items()},
        "t_epoch": {"|".join(map(str, k)): EPOCH / rate[0] for k, rate in rates.items()},
        "best_other": "|".join(map(str, best)),
        "times_best_other": ratio,
    }
    peers = {"kornia": version("kornia")}
    print("Written to", write_json(arguments.output, results, timings, peers))


if __name__ == "__main__":
    main()
