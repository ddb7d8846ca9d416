"""Document 002: SimCLR on CIFAR-10, logistic regression on ten classes of CIFAR-100."""

from checks import System, column, exist, logged, results
from formats import write_cifar10, write_cifar100


def show(system: System) -> None:
    """Ten epochs of a small encoder; ResNet-18 from ImageNet needs a network."""
    write_cifar10(system.data, 1000)
    write_cifar100(system.data, 600)
    run = system.run("ssl", "ssl", "experiment=cifar_transfer", "encoder=small", "trainer=cpu",
                     "model.n_epochs=10", "model.train_batch_size=128", "ssl_val_interval=5",
                     "le_model.callback.enabled=false")  # fmt: skip
    evaluation = ("experiment=cifar_transfer", f"encoder_checkpoint={run}")
    done = system.run("evaluation", "evaluation", *evaluation)
    row = results(done)["rows"][0]
    system.check("contrastive top-1 and top-5", "metrics.csv",
                 lambda: column(run, "train/contrastive_top5")[-1] > column(run, "train/contrastive_top1")[-1] > 0)  # fmt: skip
    system.check("learning rate 2e-4, weight decay 1e-4", "main.log",
                 lambda: logged(run, "learning rate 0.0002") and logged(run, "weight decay 0.0001"))  # fmt: skip
    system.check("ten classes of CIFAR-100, 100 epochs", "metrics.csv",
                 lambda: len(column(done, "test/accuracy")) == 100)  # fmt: skip
    system.check(
        "train and test curves", "plots/curves.png", lambda: exist(done, "plots/curves.png")
    )
    system.check(f"test accuracy {row['accuracy']:.2f}, train {row['train_accuracy']:.2f}", "results.json",
                 lambda: 0.15 < row["accuracy"] <= row["train_accuracy"] + 0.05)  # fmt: skip
    few = system.run("evaluation", "three", *evaluation, "classes=[fine_1,fine_5,fine_7]")
    system.check("a chosen subset of classes", "classes=[fine_1,fine_5,fine_7]",
                 lambda: results(few)["rows"][0]["accuracy"] > row["accuracy"])  # fmt: skip
