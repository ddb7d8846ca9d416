"""The export of a finished run, by itself."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from dal_toolbox.encoders import create_encoder, save_encoder
from dal_toolbox.errors import UserError

MAIN = Path(__file__).parents[2] / "experiments" / "export" / "main.py"


@pytest.fixture(scope="module")
def export():
    """The main as a function of its config."""
    spec = importlib.util.spec_from_file_location("export_main", MAIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda **config: module.main({"plugins": [], **config}, Path())


@pytest.fixture
def finished(tmp_path):
    """What a pretraining on gray images of 8 px leaves."""
    encoder = create_encoder("small", image_size=8, in_channels=1, width=8)
    facts = {"dataset": "digits", "mean": (0.3,), "std": (0.4,)}
    save_encoder(encoder.eval(), tmp_path / "encoder.safetensors", **facts)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "classes.txt").write_text("zero\none\n")
    return tmp_path, encoder


@pytest.mark.parametrize("name", ["", "encoder.safetensors"])
def test_the_files_give_the_features_of_the_encoder(export, finished, name):
    folder, encoder = finished
    export(run=str(folder / name), types=["torchscript", "torch_export"])
    images = torch.rand(3, 1, 8, 8)
    model = torch.export.load(folder / "deployment_model" / "model.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(model(images), encoder((images - 0.3) / 0.4))
    facts = json.loads((folder / "deployment_model" / "model.json").read_text())
    assert facts["classes"] == ["zero", "one"]
    assert set(facts["files"]) == {"torchscript", "torch_export"}


@pytest.mark.parametrize("types", [["onx"], "onnx", [], None, 3, [None], ["torchscript", "x"]])
def test_types_that_cannot_be_are_one_line(export, finished, types):
    folder, _ = finished
    with pytest.raises(UserError, match="^types="):
        export(run=str(folder), types=types)
    assert not (folder / "deployment_model").exists()


def test_without_a_run_nothing_is_written(export, tmp_path):
    with pytest.raises(UserError, match="no encoder at"):
        export(run=str(tmp_path / "nowhere"), types=["torchscript"])
    assert not list(tmp_path.iterdir())
