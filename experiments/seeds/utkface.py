"""Document 000: SimCLR with CoAtNet on UTKFace."""

from pathlib import Path

from checks import System, column, exist, logged, results
from formats import write_utkface

SMALL = (
    "experiment=utkface_coatnet", "trainer=cpu", "dataset.image_size=64", "model.n_epochs=3",
    "model.optimizer.warmup_share=0.34", "le_model.callback.enabled=false", "tsne=60",
)  # fmt: skip


def show(system: System) -> None:
    """Three epochs on 160 images of 64 pixels."""
    write_utkface(system.data, number=160, size=64)
    run = system.run("ssl", "ssl", *SMALL)
    split = {
        name: len((run / "data" / f"{name}.txt").read_text().split())
        for name in ("train", "val", "test")
    }
    loss = column(run, "val/loss")
    system.check(
        "reads [age]_[gender]_[race]_[date] names", "data/train.txt", lambda: split["train"] > 0
    )
    system.check(
        "malformed names listed, not crashed on", "main.log", lambda: logged(run, "readme_first")
    )
    system.check(
        "70/15/15 stratified split",
        "data/*.txt",
        lambda: split == {"train": 112, "val": 24, "test": 24},
    )
    system.check("class distribution", "plots/classes.png", lambda: exist(run, "plots/classes.png"))
    system.check("coatnet_0_224, untrained", "encoder.json",
                 lambda: '"coatnet_0_224"' in (run / "encoder.json").read_text())  # fmt: skip
    system.check("LARS 0.3 * 32/256, weight decay 1e-6", "main.log",
                 lambda: logged(run, "lars, learning rate 0.0375 = 0.3 * 32/256"))  # fmt: skip
    system.check(
        "warmup, then cosine to 1e-6", "metrics.csv", lambda: _rises_then_falls(column(run, "lr"))
    )
    system.check("mild validation views; loss every epoch", "metrics.csv", lambda: len(loss) == 3)
    system.check("encoder of the best validation loss", "checkpoints/best.ckpt, results.json",
                 lambda: _best_is_lowest(run, loss))  # fmt: skip
    system.check("t-SNE colored by class", "plots/tsne.png", lambda: exist(run, "plots/tsne.png"))
    for target in ("gender", "race"):
        other = system.run("ssl", target, *SMALL, f"dataset.target={target}", "model.n_epochs=1",
                           "model.optimizer.warmup_share=0", "encoder=test_resnet", "tsne=0")  # fmt: skip
        system.check(f"target {target}", "data/classes.txt",
                     lambda other=other, n={"gender": 2, "race": 5}[target]:
                     len((other / "data/classes.txt").read_text().split()) == n)  # fmt: skip


def _rises_then_falls(rates: list[float]) -> bool:
    return max(rates) == rates[0] and rates == sorted(rates, reverse=True)


def _best_is_lowest(run: Path, loss: list[float]) -> bool:
    found = results(run)
    return found["monitor"] == "val/loss" and abs(found["best_score"] - min(loss)) < 1e-5
