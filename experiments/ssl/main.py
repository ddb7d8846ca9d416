"""Self-supervised pretraining: images in, an encoder out."""

from pathlib import Path
from typing import Any

import outputs

from dal_toolbox.analysis.plots import plot_pretraining
from dal_toolbox.augment import RECIPES, BatchAugment
from dal_toolbox.config import build, device_of, launch, make_dataset, num_workers
from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.encoders import create_encoder, save_encoder
from dal_toolbox.progress import log
from dal_toolbox.runs import RunFolder
from dal_toolbox.seeding import seed_everything
from dal_toolbox.ssl import SSL_METHODS
from dal_toolbox.ssl.evaluation import Evaluation, plan_evaluation
from dal_toolbox.ssl.loggers import make_loggers
from dal_toolbox.ssl.optimization import Optimization
from dal_toolbox.ssl.pretrain import PretrainResult, pretrain

# Keys of ``model`` that belong to the training, not to the method.
TRAINING = ("encoder", "n_epochs", "train_batch_size", "accumulate_batches", "predict_batch_size",
            "optimizer", "augmentation")  # fmt: skip


def main(config: dict[str, Any], folder: Path) -> None:
    """Pretrains, evaluates and saves an encoder; resumes where an interrupted run stopped."""
    run = RunFolder(folder, config, overwrite=config["overwrite"])
    if run.finished:
        return
    seed, model, trainer = config["random_seed"], config["model"], config["trainer"]
    bundle = make_dataset(config)
    outputs.write_data(run, bundle)
    seed_everything(seed)
    encoder = create_encoder(
        **config["encoder"], image_size=bundle.image_size, in_channels=bundle.in_channels
    )
    method_node = {key: value for key, value in model.items() if key not in TRAINING}
    method = build(SSL_METHODS, method_node, encoder=encoder)
    evaluation = make_evaluation(config, bundle)
    result = pretrain(
        method,
        bundle.unlabeled or bundle.train,
        folder=run.path,
        augment=make_augment(config, bundle, model["augmentation"]),
        epochs=model["n_epochs"],
        batch_size=model["train_batch_size"],
        optimization=Optimization(**model["optimizer"]),
        accumulate_batches=model["accumulate_batches"],
        precision=trainer["precision"],
        device=device_of(trainer["accelerator"]),
        residency=config["residency"],
        num_workers=num_workers(config),
        seed=seed,
        callbacks=evaluation.callbacks,
        monitor=evaluation.monitor,
        loggers=make_loggers(config["logger"]["name"], run.path),
        compile=trainer["compile"],
    )
    finish(run, config, result, bundle)


def make_augment(
    config: dict[str, Any], bundle: DatasetBundle, augmentation: dict[str, Any]
) -> BatchAugment:
    """The views of the method's own recipe, or of another, with what the config changes."""
    node = {key: value for key, value in augmentation.items() if value is not None}
    if node["name"] == "auto":
        node["name"] = SSL_METHODS[config["model"]["name"]].default_augmentation
    return build(
        RECIPES, node,
        size=bundle.image_size, mean=bundle.mean, std=bundle.std,
        strength=config["color_distortion_strength"],
    )  # fmt: skip


def make_evaluation(config: dict[str, Any], bundle: DatasetBundle) -> Evaluation:
    """k-NN and linear evaluation, and the validation loss where there is a validation split."""
    le_model, model = config["le_model"], config["model"]
    linear = {
        "classifier": le_model["name"],
        "num_epochs": le_model["num_epochs"],
        "train_batch_size": le_model["train_batch_size"],
        "val_batch_size": le_model["val_batch_size"],
        **le_model["optimizer"],
    }
    mild = config["validation_augmentation"]
    return plan_evaluation(
        bundle,
        augment=make_augment(config, bundle, {"name": mild} if mild else model["augmentation"]),
        monitor=config["monitor"],
        interval=config["ssl_val_interval"],
        k=config["knn"]["k"],
        temperature=config["knn"]["temperature"],
        linear=linear if le_model["callback"]["enabled"] else None,
        linear_interval=le_model["callback"]["interval"],
        train_batch_size=model["train_batch_size"],
        predict_batch_size=model["predict_batch_size"],
        num_workers=num_workers(config),
        seed=config["random_seed"],
    )


def finish(
    run: RunFolder, config: dict[str, Any], result: PretrainResult, bundle: DatasetBundle
) -> None:
    """Saves the encoder of the best epoch, pictures, deployment model and results."""
    encoder = result.load_best().encoder
    facts = {"dataset": bundle.name, "mean": bundle.mean, "std": bundle.std}
    save_encoder(encoder, run.path / "encoder.safetensors", **facts)
    plot_pretraining(result.rows, run.path / "plots" / "pretraining.png")
    results: dict[str, Any] = {
        "last": result.rows[-1],
        "best_epoch": result.best_epoch,
        "monitor": result.monitor,
        "best_score": result.best_score,
    }
    if config["tsne"]:
        outputs.write_map(run, encoder, bundle, config["tsne"], config["random_seed"])
    if config["export"]["types"]:
        types = config["export"]["types"]
        results["export"] = outputs.write_deployment(run, encoder, bundle, types)
    log.info("encoder for features and active learning: encoder_checkpoint=%s", run.path)
    run.finish(results)


if __name__ == "__main__":
    launch("ssl", main)
