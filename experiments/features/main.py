"""Feature extraction: an encoder and images in, cached features out."""

from pathlib import Path
from typing import Any

import torch

from dal_toolbox.config import device_of, launch, make_dataset, make_encoder, num_workers
from dal_toolbox.errors import UserError
from dal_toolbox.features import FeatureStore, encoder_features
from dal_toolbox.progress import log
from dal_toolbox.runs import RunFolder


def main(config: dict[str, Any], folder: Path) -> None:
    """Extracts what the store does not hold yet, split by split."""
    run = RunFolder(folder, config, overwrite=config["overwrite"])
    if run.finished:
        return
    bundle = make_dataset(config)
    encoder, facts = make_encoder(config, bundle)
    store = FeatureStore(Path(config["feature_dir"]))
    results: dict[str, Any] = {}
    for split in config["splits"]:
        images = getattr(bundle, split, None)
        if images is None:
            raise UserError(f"splits: {bundle.name} has no split '{split}'")
        features = encoder_features(
            store, encoder, images, split,
            mean=facts["mean"], std=facts["std"], image_size=encoder.recipe["image_size"],
            batch_size=config["batch_size"], num_workers=num_workers(config),
            device=device_of(config["accelerator"]),
            precision=config["precision"], dtype=getattr(torch, config["dtype"]),
        )  # fmt: skip
        if config["num_neighbors"] > 0:
            features.neighbors(config["num_neighbors"])
        results[split] = {
            "shape": list(features.values.shape),
            "directory": str(features.directory),
        }
        log.info("%s: %d features of length %d", split, *features.values.shape)
    run.finish(results)


if __name__ == "__main__":
    launch("features", main)
