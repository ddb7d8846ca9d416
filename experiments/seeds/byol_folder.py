"""Document 003: BYOL on a folder with split files, and a model for deployment."""

import json
import runpy
import shutil
from pathlib import Path

import yaml
from checks import ROOT, System, call, column, exist, logged, results
from formats import write_folder

EPOCHS = 20
SMALL = (
    "experiment=byol_folder", "encoder=small", "trainer=cpu", "dataset.image_size=32",
    f"model.n_epochs={EPOCHS}", "model.train_batch_size=64", "model.optimizer.warmup_epochs=2",
    "le_model.callback.enabled=false",
)  # fmt: skip
TYPES = {"torchscript": "model.pt", "onnx": "model.onnx", "torch_export": "model.pt2"}
# Runs in a process that must not know dal_toolbox: features of one batch by each exported file.
LOADER = """
import sys
import numpy as np, torch
folder, x = sys.argv[1], torch.from_numpy(np.load(sys.argv[2]))
with torch.no_grad():
    outputs = [torch.jit.load(f"{folder}/model.pt")(x), torch.export.load(f"{folder}/model.pt2").module()(x)]
import onnxruntime
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
outputs.append(torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]))
expected = torch.from_numpy(np.load(sys.argv[3]))
assert "dal_toolbox" not in sys.modules
print(max(float((output - expected).abs().max()) for output in outputs))
"""


def show(system: System) -> None:
    """Twenty epochs on 400 images of 32 pixels; a tiny ViT; changed augmentations."""
    root = system.work / "images"
    write_folder(root, number=400, size=32)
    place = f"dataset.root={root}"
    run = system.run("ssl", "ssl", *SMALL, place, f"export.types=[{','.join(TYPES)}]")
    system.check("outputs of a run", "the run folder",
                 lambda: exist(run, "checkpoints/best.ckpt", "checkpoints/last.ckpt", "config_resolved.yaml",
                               "config_tree.txt", "data", "deployment_model", "main.log"))  # fmt: skip
    system.check("train.txt, val.txt, test.txt; the exact split", "data/*.txt",
                 lambda: all((run / "data" / name).read_text().split() == sorted((root / name).read_text().split())
                             for name in ("train.txt", "val.txt", "test.txt")))  # fmt: skip
    knn = column(run, "val/knn_accuracy")
    system.check(
        "kNN (20 neighbors) every 10 epochs", "metrics.csv", lambda: len(knn) == 1 + EPOCHS // 10
    )
    system.check(
        f"it learns: kNN {knn[0]:.2f} -> {max(knn):.2f}", "metrics.csv", lambda: max(knn) > knn[0]
    )
    system.check("best epoch by kNN accuracy", "results.json",
                 lambda: results(run)["monitor"] == "val/knn_accuracy")  # fmt: skip
    system.check("LARS, warmup, cosine", "main.log", lambda: logged(run, "lars, learning rate"))
    _show_deployment(system, run)
    _show_bad_files(system, root)
    _show_changes(system, place)


def _show_deployment(system: System, run: Path) -> None:
    import numpy as np
    import torch

    from dal_toolbox.encoders import load_encoder

    model = run / "deployment_model"
    facts = json.loads((model / "model.json").read_text())
    system.check(
        "described by a JSON", "model.json", lambda: facts["classes"] and facts["input"]["shape"]
    )
    encoder, facts = load_encoder(run)
    x = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(facts[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        np.save(system.work / "features.npy", encoder((x - mean) / std).numpy())
    np.save(system.work / "images.npy", x.numpy())
    paths = (str(model), str(system.work / "images.npy"), str(system.work / "features.npy"))
    process = call(["-I", "-c", LOADER, *paths])
    found = process.stdout.strip() or process.stderr.strip().splitlines()[-1]
    system.check("torchscript, onnx, torch_export without this package", f"max difference {found[:3]}{found[-4:]}",
                 lambda: float(found) <= 1e-4)  # fmt: skip


def _show_bad_files(system: System, root: Path) -> None:
    make_bad_files = runpy.run_path(str(ROOT / "tests/datasets/bad_files.py"))["make_bad_files"]
    folder = system.work / "with_bad_files"
    shutil.copytree(root, folder, ignore=shutil.ignore_patterns("*.txt"))
    bad = make_bad_files(folder / "class_3")
    short = ("model.n_epochs=1", "model.optimizer.warmup_epochs=0", "export.types=[]")
    run = system.run(
        "ssl", "bad_files", *SMALL, *short, f"dataset.root={folder}", "dataset.on_error=skip"
    )
    lines = (run / "data" / "skipped.txt").read_text().splitlines()
    named = {Path(line.split("\t")[0]).name for line in lines}
    system.check(
        f"trains with {len(bad)} kinds of bad files, names each",
        "data/skipped.txt",
        lambda: named == set(bad) and len(bad) >= 12,
    )


def _show_changes(system: System, place: str) -> None:
    short = (
        *SMALL,
        place,
        "model.n_epochs=1",
        "model.optimizer.warmup_epochs=0",
        "export.types=[]",
    )
    vit = system.run("ssl", "vit", *short, "encoder=vit16_tiny")
    system.check("backbone vit16_tiny", "encoder.json",
                 lambda: "vit16_tiny" in (vit / "encoder.json").read_text())  # fmt: skip
    changed = system.run("ssl", "changed", *short, "model.augmentation.blur=0",
                         "model.augmentation.solarize=[0,0.2]")  # fmt: skip
    system.check("no blur; solarize in the second view", "config_resolved.yaml",
                 lambda: _augmentation(changed) == (0, [0, 0.2]))  # fmt: skip
    bf16 = system.run("ssl", "bf16", *short, "trainer.precision=bf16")
    system.check(
        "mixed precision", "trainer.precision=bf16", lambda: logged(bf16, "precision bf16")
    )


def _augmentation(run: Path) -> tuple[object, object]:
    node = yaml.safe_load((run / "config_resolved.yaml").read_text())["model"]["augmentation"]
    return node["blur"], node["solarize"]
