"""Document 001: the self-supervised main, its arguments and datasets."""

from pathlib import Path

import numpy as np
from checks import System, call, column, exist, results
from formats import write_cifar10, write_cifar100, write_imagenet, write_svhn

WNIDS = Path(__file__).resolve().parents[2] / "dal_toolbox" / "datasets" / "wnids"
TINY = (
    "encoder=small",
    "encoder.width=8",
    "model.n_epochs=1",
    "le_model.num_epochs=2",
    "trainer=cpu",
)
DOCUMENTED = (
    "ssl_model=simclr", "dataset=CIFAR10", "le_model.num_epochs=2", "le_model.train_batch_size=4096",
    "le_model.val_batch_size=512", "le_model.optimizer.base_lr=0.1",
    "le_model.optimizer.weight_decay=0.0", "le_model.optimizer.momentum=0.9",
    "le_model.callback.enabled=True", "le_model.callback.interval=50", "n_cpus=16", "random_seed=42",
    "ssl_val_interval=25", "color_distortion_strength=0.5", "model.name=simclr",
    "model.encoder=small", "model.projector=mlp", "model.projector_dim=128", "model.temperature=0.5",
    "model.n_epochs=2", "model.train_batch_size=128", "model.accumulate_batches=2",
    "model.predict_batch_size=512", "model.optimizer.base_lr=0.06",
    "model.optimizer.weight_decay=0.0005", "model.optimizer.momentum=0.9",
)  # fmt: skip
ALIASES = (
    "ssl_model.temperature=0.3", "ssl_model.val_batch_size=256", "dataset.color_distortion_strength=0.4",
)  # fmt: skip


def show(system: System) -> None:
    """Every argument of the tables, every dataset, training on precomputed features."""
    write_cifar10(system.data, 500)
    run = system.run("ssl", "documented", *DOCUMENTED)
    system.check(f"all {len(DOCUMENTED) + 2} documented arguments", "config_resolved.yaml",
                 lambda: exist(run, "config_resolved.yaml", "encoder.safetensors", "results.json"))  # fmt: skip
    system.check("linear evaluation", "metrics.csv", lambda: column(run, "test/linear_accuracy"))
    aliased = system.run("ssl", "aliases", *TINY, *ALIASES)
    text = (aliased / "config_resolved.yaml").read_text()
    system.check("older spellings", "config_resolved.yaml",
                 lambda: "temperature: 0.3" in text and "predict_batch_size: 256" in text
                 and "color_distortion_strength: 0.4" in text)  # fmt: skip
    _show_datasets(system)
    _show_precomputed(system, run)


def _show_datasets(system: System) -> None:
    write_cifar100(system.data, 300)
    write_svhn(system.data, 200)
    wnids = (WNIDS / "imagenet200.txt").read_text().split()
    wnids = [wnid for wnid in wnids if not wnid.startswith("#")]
    subsets = [set((WNIDS / f"imagenet{n}.txt").read_text().split()) for n in (50, 100)]
    written = sorted({*wnids, *subsets[0], *subsets[1]})
    write_imagenet(system.data, written, per_class=2, size=40)
    expected = {"CIFAR10": 10, "CIFAR100": 100, "SVHN": 10, "ImageNet50": 50, "ImageNet100": 100,
                "ImageNet200": 200, "ImageNet": len(written)}  # fmt: skip
    for name, number in expected.items():
        size = ("dataset.image_size=32",) if name.startswith("ImageNet") else ()
        run = system.run("ssl", name, *TINY, f"dataset={name}", *size)
        classes = len((run / "data" / "classes.txt").read_text().splitlines())
        system.check(f"dataset {name}", f"{classes} classes",
                     lambda classes=classes, number=number: classes == number)  # fmt: skip


def _show_precomputed(system: System, encoder: Path) -> None:
    run = system.run("evaluation", "evaluation", "dataset=CIFAR10", f"encoder_checkpoint={encoder}",
                     "classifier.num_epochs=3")  # fmt: skip
    system.check(
        "training on cached features", "experiments/evaluation", lambda: results(run)["rows"]
    )
    folder = system.work / "elsewhere"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, n in (("train", 200), ("test", 50)):
        targets = np.arange(n) % 4
        np.save(
            folder / f"{split}.npy",
            (rng.normal(size=(n, 16)) + 2 * np.eye(16)[targets]).astype(np.float32),
        )
        np.save(folder / f"{split}_targets.npy", targets)
    for main, options in (
        ("evaluation", ()),
        ("active_learning", ("strategy=typiclust", "num_cycles=2")),
    ):
        done = system.run(main, f"elsewhere_{main}", f"features={folder}", *options)
        system.check(f"precomputed features of others: {main}", f"features={folder.name}",
                     lambda done=done: exist(done, "results.json"))  # fmt: skip
    process = call(["experiments/ssl/main.py", "dataset=CIFAR9"])
    system.check("a mistake is one line", "exit status 2",
                 lambda: process.returncode == 2 and "Did you mean 'CIFAR" in process.stderr)  # fmt: skip
