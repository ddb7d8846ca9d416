"""Images per second of SimCLR pretraining, end to end: dal_toolbox and lightly.

    python benchmarks/pretraining.py --images 2048 --batch-size 256 --repeats 5

Both train the same encoder with the same head, temperature, recipe of views (SimCLR, strength 0.5,
no blur), batch size and optimizer in float32. dal_toolbox keeps the decoded images in memory, as its
datasets do, and runs its whole `pretrain` with meters, logging and checkpoints. lightly runs its
transform, dataset, loss and head in the plain loop of its own examples, without any logging, with
0, 1 and 2 workers; the best of them is compared. Rates count source images.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _bench import print_table, time_interleaved, write_json
from PIL import Image
from torch import nn

from dal_toolbox.augment import RECIPES
from dal_toolbox.datasets import ImageArray
from dal_toolbox.encoders import Encoder, create_encoder
from dal_toolbox.ssl import SSL_METHODS, Optimization
from dal_toolbox.ssl.optimization import build_optimizer
from dal_toolbox.ssl.pretrain import pretrain

SIZE, TEMPERATURE, DIM, LEARNING_RATE = 32, 0.5, 128, 0.06
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CIFAR = Path("~/data/cifar10/train").expanduser()
OURS, FLOOR = "dal_toolbox", "encoder alone"
PARTS = ("augmentation", FLOOR, "head and loss", "optimizer")


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    n = arguments.images // arguments.batch_size * arguments.batch_size
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = prepare_images(folder / "images", n)
        rows: list[dict[str, float]] = []
        contenders: dict[str, Callable[[], object]] = {OURS: ours(images, folder, arguments, rows)}
        for workers in arguments.workers:
            contenders[f"lightly, {workers} workers"] = lightly(
                folder / "images", arguments, workers
            )
        contenders |= parts(images, arguments)
        timings = time_interleaved(contenders, arguments.repeats)
    rates = {name: timing.rate(n) for name, timing in timings.items()}
    best = max((name for name in rates if name.startswith("lightly")), key=lambda x: rates[x][0])
    results = {
        "images_per_second": {name: rate[0] for name, rate in rates.items()},
        "times_lightly": rates[OURS][0] / rates[best][0],
        "best_of_lightly": best,
        "share": {name: timings[name].median / timings[OURS].median for name in PARTS},
        "data_wait": float(np.median([row["data_wait"] for row in rows])),
        "width": arguments.width,
    }
    table = [[name, f"{r[0]:,.0f}", f"{r[1]:,.0f} - {r[2]:,.0f}"] for name, r in rates.items()]
    title = (
        f"SimCLR, small encoder of width {arguments.width}, {SIZE} px, {arguments.threads} threads"
    )
    print_table(title, ["training", "images/s", "spread"], table)
    print(f"{results['times_lightly']:.2f} times {best}; shares of the time: {results['share']}")
    print(f"waiting for data and trainer: {results['data_wait']:.3f}")
    print(f"written: {write_json(arguments.output, results, timings)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=2048, help="of an epoch")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--width", type=int, default=32, help="of the small encoder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="of lightly")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", default="pretraining", help="name of the JSON file")
    return parser.parse_args()


def prepare_images(folder: Path, n: int) -> ImageArray:
    """JPEG files in ``folder``, of CIFAR-10 where it is there, else random; and their pixels."""
    folder.mkdir()
    sources = sorted(CIFAR.glob("*/*.jpg"))
    rng = np.random.default_rng(0)
    pixels = np.empty((n, SIZE, SIZE, 3), dtype=np.uint8)
    for i in range(n):
        path = folder / f"{i:05d}.jpg"
        if sources:
            path.symlink_to(sources[i * len(sources) // n])
        else:
            noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)
        pixels[i] = np.asarray(Image.open(path).convert("RGB"))
    names = [f"{i:05d}" for i in range(n)]
    return ImageArray(pixels.transpose(0, 3, 1, 2), np.full(n, -1), names)


def build_encoder(arguments: argparse.Namespace) -> Encoder:
    torch.manual_seed(0)
    return create_encoder("small", image_size=SIZE, width=arguments.width)


def build_method(arguments: argparse.Namespace) -> nn.Module:
    options = {"projector": "mlp_bn", "projector_dim": DIM, "temperature": TEMPERATURE}
    return SSL_METHODS.build("simclr", encoder=build_encoder(arguments), **options)


def ours(
    images: ImageArray, folder: Path, arguments: argparse.Namespace, rows: list[dict[str, float]]
) -> Callable[[], object]:
    method = build_method(arguments)

    def epoch() -> None:
        result = pretrain(
            method,
            images,
            folder=Path(tempfile.mkdtemp(dir=folder)),
            augment=RECIPES.build("simclr", size=SIZE, mean=MEAN, std=STD, strength=0.5),
            epochs=1,
            batch_size=arguments.batch_size,
            optimization=Optimization(base_lr=LEARNING_RATE, lr_scaling="none"),
            precision="32",
            device="cpu",
        )
        rows.extend(result.rows)

    return epoch


def lightly(folder: Path, arguments: argparse.Namespace, workers: int) -> Callable[[], object]:
    """One epoch of lightly's own example of SimCLR."""
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(
        input_size=SIZE,
        cj_strength=0.5,
        gaussian_blur=0.0,
        normalize={"mean": list(MEAN), "std": list(STD)},
    )
    loader = torch.utils.data.DataLoader(
        LightlyDataset(str(folder), transform=transform),
        batch_size=arguments.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    encoder = build_encoder(arguments)
    model = nn.Sequential(
        encoder, SimCLRProjectionHead(encoder.num_features, encoder.num_features, DIM)
    )
    criterion = NTXentLoss(temperature=TEMPERATURE)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=5e-4)

    def epoch() -> None:
        for (first, second), _, _ in loader:
            loss = criterion(model(first), model(second))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def parts(images: ImageArray, arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """The parts of our epoch, each alone: what remains of the epoch is loader, trainer and files."""
    method = build_method(arguments).to(memory_format=torch.channels_last)
    augment = RECIPES.build("simclr", size=SIZE, mean=MEAN, std=STD, strength=0.5)
    steps = len(images) // arguments.batch_size
    batch = images.batch(np.arange(arguments.batch_size))
    views = augment(batch).contiguous(memory_format=torch.channels_last)
    features = method.encoder(views)
    h = features.detach().requires_grad_()
    z = nn.Sequential(method.projector)
    optimizer = build_optimizer(method.parameters(), Optimization(), LEARNING_RATE)

    def encoder_alone() -> None:
        method.encoder(views).backward(torch.ones_like(features))

    def head_and_loss() -> None:
        from dal_toolbox.ssl.losses import nt_xent

        nt_xent(z(h), TEMPERATURE).backward()

    once = (partial(augment, batch), encoder_alone, head_and_loss, optimizer.step)

    def repeated(run: Callable[[], object]) -> None:
        for _ in range(steps):
            run()

    return {name: partial(repeated, run) for name, run in zip(PARTS, once, strict=True)}


if __name__ == "__main__":
    main()
