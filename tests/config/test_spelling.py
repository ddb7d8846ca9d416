"""Only ``config`` spells keys of the config: parts speak of their own parameters."""

import ast
import re
from pathlib import Path

from dal_toolbox.config.parts import GROUPS

PACKAGE = Path(__file__).resolve().parents[2] / "dal_toolbox"
GROUP = "|".join(
    {group.package for group in GROUPS.values()} | {"trainer", "le_model", "knn", "optimizer"}
)
TOP = "n_cpus|output_dir|encoder_checkpoint|feature_dir|ssl_val_interval|color_distortion_strength"
KEY = re.compile(rf"(?<![\w.`/'\"])({GROUP})\.[a-z_]+(?=[=\s)'\",;:]|$)|(?<![\w.])({TOP})=")
FILES = re.compile(r"\.(safetensors|json|jsonl|npy|pt|onnx|yaml|csv|py)\b")
NAMES_OF_WEIGHTS = {"encoders/_spellings.py"}
# Files that still do; each goes when it is repaired, none comes.
KNOWN = {
    "datasets/_decode.py",
    "datasets/_download.py",
    "datasets/_imagenet_tree.py",
    "datasets/_layout.py",
    "datasets/dtd.py",
    "datasets/files.py",
    "datasets/folder.py",
    "datasets/opening.py",
    "datasets/packing.py",
    "datasets/stl10.py",
    "datasets/utkface.py",
    "encoders/_pretrained.py",
    "encoders/base.py",
    "encoders/checkpoint.py",
    "encoders/state_dict.py",
    "encoders/timm.py",
    "ssl/_memory.py",
    "ssl/byol.py",
    "ssl/callbacks/collapse.py",
    "ssl/callbacks/features.py",
    "ssl/callbacks/finite.py",
    "ssl/evaluation.py",
    "ssl/optimization.py",
    "ssl/simclr.py",
}


def spelled(file):
    """Config keys in the messages of a file: its strings, without docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body and isinstance(node.body[0], ast.Expr)
    }  # fmt: skip
    texts = [
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]  # fmt: skip
    return [f"{file.name}: {text}" for text in texts if KEY.search(FILES.sub("", text))]


def test_no_file_below_config_spells_a_config_key():
    found = {}
    for file in PACKAGE.rglob("*.py"):
        name = str(file.relative_to(PACKAGE))
        if not name.startswith("config/") and (keys := spelled(file)):
            found[name] = keys
    new = {name: found[name] for name in sorted(set(found) - KNOWN - NAMES_OF_WEIGHTS)}
    assert not new, new


def test_the_search_finds_keys():
    for text in (
        "lower model.train_batch_size",
        "give encoder_checkpoint=<folder>",
        "dataset.root=x",
    ):
        assert KEY.search(text), text
    for text in ("the encoder. It", "encoder.safetensors", "a model.\n", "image_size=3: must be"):
        assert not KEY.search(FILES.sub("", text)), text
