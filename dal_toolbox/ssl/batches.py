"""The batches of a run: a pure function of seed and epoch."""

from collections.abc import Callable, Iterator

from dal_toolbox import seeding
from dal_toolbox.arguments import at_least
from dal_toolbox.augment import BatchAugment
from dal_toolbox.datasets import ImageLoader, Images
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log
from dal_toolbox.ssl.base import Batch


class EpochBatches:
    """Batches whose order, views and dropout depend on nothing but seed and epoch.

    Every epoch reseeds what is random in it, so that a resumed run repeats an undisturbed one.

    Args:
        loader: Shuffled batches.
        augment: Makes the views later on; reseeded here.
        seed: Seed of the run.
        epoch: Tells the present epoch, which counts from 0.
    """

    def __init__(
        self, loader: ImageLoader, augment: BatchAugment, seed: int, epoch: Callable[[], int]
    ) -> None:
        self.loader = loader
        self.augment = augment
        self.seed = seed
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        rng = seeding.generator(self.seed, "pretraining", epoch)
        self.augment.seed(seeding.draw_seed(rng))
        seeding.seed_everything(seeding.draw_seed(rng))  # for dropout and stochastic depth
        self.loader.set_epoch(epoch)
        yield from self.loader


def training_loader(images: Images, batch_size: int, *, num_workers: int, seed: int) -> ImageLoader:
    """Shuffled full batches, at least one an epoch: too large a batch size becomes that of the data.

    Raises:
        ValueError: A number is out of its range.
        UserError: Fewer than 2 images, of which nothing can be contrasted.
    """
    at_least(2, batch_size=batch_size)
    at_least(0, num_workers=num_workers)
    if len(images) < 2:
        raise UserError(f"{len(images)} images to pretrain on; give at least 2")
    if batch_size > len(images):
        log.warning("batch_size=%d exceeds the %d images: uses %d", batch_size, *[len(images)] * 2)
    return ImageLoader(
        images,
        min(batch_size, len(images)),
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        seed=seed,
    )
