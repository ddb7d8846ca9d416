"""Constructed runs: in memory, and as the folders that a run leaves."""

import json

import numpy as np
import pytest
import yaml

from dal_toolbox.analysis.grouping import LearningCurve


@pytest.fixture
def write_run():
    """Writes a finished run: its config is ``strategy``, ``random_seed`` and whatever else is named."""

    def write(folder, strategy, seed, accuracies, labels=(10, 20, 30), results=None, **config):
        folder.mkdir(parents=True)
        node = strategy if isinstance(strategy, dict) else {"name": strategy}
        config = {"strategy": node, "random_seed": seed, "output_dir": str(folder), **config}
        (folder / "config_resolved.yaml").write_text(yaml.safe_dump(config))
        rows = [
            {"cycle": i, "num_labeled": n, "metrics": {"accuracy": a, "nll": None if a is None else 1 - a}}
            for i, (n, a) in enumerate(zip(labels, accuracies, strict=True))
        ]  # fmt: skip
        (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        results = {"num_labeled": labels[-1]} if results is None else results
        (folder / "results.json").write_text(json.dumps(results))
        return folder

    return write


@pytest.fixture
def curves_of():
    """Curves of one strategy: areas by seed, constant in height."""

    def make(strategy, areas, setting="", metric="accuracy", **attributes):
        labels = np.array([10, 20, 30])
        return [
            LearningCurve(strategy, seed, labels, {metric: np.full(3, area)}, setting, **attributes)
            for seed, area in enumerate(areas)
        ]

    return make
