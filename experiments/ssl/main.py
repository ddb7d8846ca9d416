"""Self-supervised pretraining: images in, an encoder out."""

import dal_toolbox.starting  # noqa: F401  before what takes seconds

from pathlib import Path
from typing import Any

import checks
import outputs
import parts

from dal_toolbox.analysis.plots import plot_pretraining
from dal_toolbox.config import launch, make_dataset, make_encoder
from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.encoders import save_encoder
from dal_toolbox.progress import log
from dal_toolbox.runs import RunFolder
from dal_toolbox.ssl.evaluation import Evaluation
from dal_toolbox.ssl.loggers import make_loggers
from dal_toolbox.ssl.pretrain import PretrainResult, pretrain


def main(config: dict[str, Any], folder: Path) -> None:
    """Pretrains, evaluates and saves an encoder; resumes where an interrupted run stopped."""
    checks.check(config)
    checks.refuse_other_length(config, folder)
    run = RunFolder(folder, config, overwrite=config["overwrite"])
    if run.finished:
        return
    bundle = make_dataset(config)
    images = bundle.unlabeled or bundle.train
    run.stand_on({"training data": f"{len(images)} images ({images.fingerprint[:16]})"})
    outputs.write_data(run, bundle)
    encoder = make_encoder(config, bundle)
    method, options = parts.make_method(config, encoder), parts.make_options(config)
    with parts.in_keys():
        facts = parts.facts_of(bundle)
        views = parts.make_validation_views(config, **facts)
        evaluation = parts.make_plan(config).on(bundle, views)
        result = pretrain(
            method,
            images,
            folder=run.path,
            augment=parts.make_views(config, **facts),
            epochs=options.epochs,
            batch_size=options.batch_size,
            optimization=parts.make_optimization(config),
            accumulate_batches=options.accumulate_batches,
            precision=options.precision,
            device=options.device,
            residency=options.residency,
            num_workers=options.num_workers,
            seed=options.seed,
            callbacks=evaluation.callbacks,
            monitor=evaluation.monitor,
            loggers=make_loggers(config["logger"]["name"], run.path),
            compile=config["trainer"]["compile"],
        )
    finish(run, config, result, bundle, evaluation)


def finish(
    run: RunFolder,
    config: dict[str, Any],
    result: PretrainResult,
    bundle: DatasetBundle,
    evaluation: Evaluation,
) -> None:
    """Saves the encoder of the best epoch, pictures, deployment model and results."""
    encoder = result.load_best().encoder
    facts = {
        "dataset": bundle.name,
        "mean": bundle.mean,
        "std": bundle.std,
        "chosen_by": evaluation.monitor,
        "labels_used": evaluation.labels_used,
    }
    save_encoder(encoder, run.path / "encoder.safetensors", **facts)
    log.info("encoder for features and active learning: encoder_checkpoint=%s", run.path)
    plot_pretraining(result.rows, run.path / "plots" / "pretraining.png")
    if config["tsne"]:
        outputs.write_map(run, encoder, bundle, config["tsne"], config["random_seed"])
    results: dict[str, Any] = {
        "last": result.rows[-1],
        "best_epoch": result.best_epoch,
        "monitor": result.monitor,
        "best_score": result.best_score,
        "notes": outputs.notes(result, evaluation),
    }
    with outputs.results_in_any_case(run, results):
        if config["export"]["types"]:
            types = config["export"]["types"]
            results["export"] = outputs.write_deployment(run, encoder, bundle, types)


if __name__ == "__main__":
    launch("ssl", main)
