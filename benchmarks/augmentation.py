"""Two views of every image, in images per second: torchvision, kornia, and BatchAugment.

    python benchmarks/augmentation.py --batch-size 256 --size 32 --threads 2 --repeats 7

All follow SimCLR's recipe with strength 0.5: random resized crop, flip, color jitter, grayscale,
normalization; with --blur also a Gaussian blur with probability 0.5. torchvision works sample by
sample, on PIL images and on uint8 tensors, with --workers also in one worker process for each
thread; kornia works on the batch of both views. Rates count source images.
"""

import argparse
from collections.abc import Callable

import torch
from _bench import Timing, memory_bandwidth, print_table, time_interleaved, version, write_json
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dal_toolbox.augment import RECIPES

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
OURS, KORNIA = "dal_toolbox", "kornia, batch"
PIL, TENSORS = "torchvision v2, PIL images", "torchvision v2, uint8 tensors"
WORKERS = ", workers"
BATCHES = 4  # of one pass of the worker processes


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    shape = (arguments.batch_size, 3, arguments.size, arguments.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    timings = time_interleaved(contenders(images, arguments), arguments.repeats)
    rates = {
        name: timing.rate(len(images) * (BATCHES if name.endswith(WORKERS) else 1))
        for name, timing in timings.items()
    }
    results = summary(rates, floor(images, arguments.threads))
    report(arguments, rates, results, timings)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--size", type=int, default=32, help="height and width, e.g. 32, 96, 224")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--blur", action="store_true", help="blur with probability 0.5")
    parser.add_argument("--workers", action="store_true", help="torchvision in processes, too")
    return parser.parse_args()


def contenders(images: Tensor, arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    blur = 0.5 if arguments.blur else 0.0
    pil, tensors = Pictures(images, blur), Tensors(images, blur)
    pipelines: dict[str, Callable[[], object]] = {
        PIL: pil.batch,
        TENSORS: tensors.batch,
        KORNIA: kornia_batch(images, blur),
        OURS: ours(images, blur),
    }
    if arguments.workers:
        pipelines[PIL + WORKERS] = worker_processes(pil, arguments)
        pipelines[TENSORS + WORKERS] = worker_processes(tensors, arguments)
    return pipelines


def summary(
    rates: dict[str, tuple[float, float, float]], floor: dict[str, float]
) -> dict[str, float]:
    return {
        **{f"images_per_second: {name}": rate[0] for name, rate in rates.items()},
        "times_torchvision": rates[OURS][0] / max(rates[PIL][0], rates[TENSORS][0]),
        "times_kornia": rates[OURS][0] / rates[KORNIA][0],
        **floor,
        "share_of_floor": rates[OURS][0] / floor["floor_images_per_second"],
    }


def report(
    arguments: argparse.Namespace,
    rates: dict[str, tuple[float, float, float]],
    results: dict[str, float],
    timings: dict[str, Timing],
) -> None:
    blur = ", blur" if arguments.blur else ""
    size, ours = arguments.size, rates[OURS][0]
    print_table(
        f"Two views of {arguments.batch_size} x 3 x {size} x {size} uint8{blur}, "
        f"{arguments.threads} threads, {arguments.repeats} repetitions",
        ["pipeline", "images/s", "slowest", "fastest", "dal_toolbox is"],
        [
            [
                name,
                f"{median:,.0f}",
                f"{low:,.0f}",
                f"{high:,.0f}",
                f"{ours / median:.1f}x",
            ]
            for name, (median, low, high) in rates.items()
        ],
    )
    print(
        f"Floor: {results['floor_bytes'] / 1e6:.1f} MB read and written at "
        f"{results['bandwidth'] / 1e9:.1f} GB/s are {results['floor_images_per_second']:,.0f} images/s; "
        f"dal_toolbox reaches {results['share_of_floor']:.1%} of it."
    )
    name = f"augmentation_{size}{'_blur' if arguments.blur else ''}"
    print("Written to", write_json(name, results, timings, {"kornia": version("kornia")}))


def floor(images: Tensor, threads: int) -> dict[str, float]:
    """Read every pixel once, write both views once."""
    nbytes = images.numel() * (1 + 2 * 4)
    bandwidth = memory_bandwidth(threads)
    return {
        "floor_bytes": nbytes,
        "bandwidth": bandwidth,
        "floor_images_per_second": len(images) * bandwidth / nbytes,
    }


class Tensors(Dataset):
    """Two views of uint8 tensors, made by torchvision sample by sample."""

    def __init__(self, images: Tensor, blur: float) -> None:
        from torchvision.transforms import v2

        self.images = list(images)
        size = images.shape[-1]
        steps = [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
        ]
        if blur:
            steps.append(v2.RandomApply([v2.GaussianBlur(kernel(size), (0.1, 2.0))], p=blur))
        steps += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        return BATCHES * len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index % len(self.images)]
        return self.transform(image), self.transform(image)

    def batch(self) -> Tensor:
        return torch.stack([view for i in range(len(self.images)) for view in self[i]])


class Pictures(Tensors):
    """The same, of PIL images."""

    def __init__(self, images: Tensor, blur: float) -> None:
        from torchvision.transforms.v2.functional import to_pil_image

        super().__init__(images, blur)
        self.images = [to_pil_image(image) for image in images]


def worker_processes(dataset: Tensors, arguments: argparse.Namespace) -> Callable[[], object]:
    loader = DataLoader(
        dataset,
        batch_size=arguments.batch_size,
        num_workers=arguments.threads,
        persistent_workers=True,
    )
    return lambda: sum(1 for _ in loader)


def kornia_batch(images: Tensor, blur: float) -> Callable[[], Tensor]:
    import kornia.augmentation as K

    size = images.shape[-1]
    steps: list[nn.Module] = [
        K.RandomResizedCrop((size, size)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
    ]
    if blur:
        steps.append(K.RandomGaussianBlur((kernel(size),) * 2, (0.1, 2.0), p=blur))
    transform = nn.Sequential(*steps, K.Normalize(torch.tensor(MEAN), torch.tensor(STD)))
    return lambda: transform(images.repeat(2, 1, 1, 1).float() / 255)


def ours(images: Tensor, blur: float) -> Callable[[], Tensor]:
    augment = RECIPES.build(
        "simclr", size=images.shape[-1], mean=MEAN, std=STD, strength=0.5, blur=blur
    )
    return lambda: augment(images)


def kernel(size: int) -> int:
    """A tenth of the image, odd and at least 3, as in SimCLR."""
    return max(3, size // 10 // 2 * 2 + 1)


if __name__ == "__main__":
    main()
