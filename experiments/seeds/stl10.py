"""Document 004: STL-10, few labels per class, where images live, the loading table."""

from checks import System, call, exist, logged, results
from formats import write_stl10

PER_CLASS = (1, 2, 5, 10)


def show(system: System) -> None:
    """Four epochs on 400 unlabeled images of 96 pixels."""
    write_stl10(system.data, labeled=300, unlabeled=400)
    run = system.run("ssl", "ssl", "experiment=stl10", "encoder=small", "trainer=cpu", "model.n_epochs=4",
                     "model.train_batch_size=100", "le_model.callback.enabled=false")  # fmt: skip
    count = {
        name: len((run / "data" / f"{name}.txt").read_text().split())
        for name in ("train", "unlabeled", "test")
    }
    system.check("splits train, test, unlabeled (no label)", "data/*.txt",
                 lambda: count == {"train": 300, "unlabeled": 400, "test": 300})  # fmt: skip
    system.check("pretrains on the unlabeled split", "main.log", lambda: logged(run, "400 images"))
    done = system.run("evaluation", "evaluation", "experiment=stl10", f"encoder_checkpoint={run}",
                      f"images_per_class=[{','.join(map(str, PER_CLASS))}]", "num_repeats=2")  # fmt: skip
    rows = results(done)["rows"]
    system.check("accuracy per number of labels", "plots/label_efficiency.png",
                 lambda: exist(done, "plots/label_efficiency.png") and len(rows) == 2 * len(PER_CLASS))  # fmt: skip
    system.check("images resident where they fit", "main.log", lambda: logged(run, "residency"))
    places = {"disk": "disk", "memory": "memory", "device": "memory"}  # a processor has one memory
    for residency, place in places.items():
        other = system.run("ssl", residency, "experiment=stl10", "encoder=small", "trainer=cpu", "model.n_epochs=1",
                           "model.train_batch_size=100", "le_model.callback.enabled=false",
                           f"residency={residency}")  # fmt: skip
        system.check(
            f"residency={residency}",
            "main.log",
            lambda other=other, place=place: logged(other, f"residency={place}:"),
        )
    table = ("--images", "64", "--batch-size", "32", "--larger", "--workers", "0", "--repeats", "1")
    process = call(["benchmarks/loading.py", *table, "--output", str(system.work / "loading")])
    system.check(
        "the document's table of times",
        "benchmarks/loading.py",
        lambda: process.returncode == 0 and "t_epoch" in process.stdout + process.stderr,
    )
