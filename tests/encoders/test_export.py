"""Exports: each file gives the encoder's features, in a process that does not know this package."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from dal_toolbox.encoders import _exporters, create_encoder
from dal_toolbox.encoders.export import ExportFailed, check_types, export_encoder
from dal_toolbox.errors import UserError

FACTS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25), "classes": ("cat", "dog")}
RUNNERS = {
    "torchscript": "import torch; y = torch.jit.load(path)(torch.tensor(x)).detach().numpy()",
    "torch_export": "import torch; y = torch.export.load(path).module()(torch.tensor(x)).detach().numpy()",
    "onnx": "import onnxruntime as o; y = o.InferenceSession(path).run(None, {'images': x})[0]",
}


def real_batch(n, size, channels=3):
    """Digits of scikit-learn, enlarged; uint8 (n, channels, size, size)."""
    from sklearn.datasets import load_digits

    images = torch.tensor(load_digits().images[:n] * 15.9, dtype=torch.float32)
    images = torch.nn.functional.interpolate(images[:, None], size=(size, size), mode="bilinear")
    return images.expand(-1, channels, -1, -1).to(torch.uint8).contiguous()


def make(name, size, **options):
    torch.manual_seed(0)
    encoder = create_encoder(name, image_size=size, **options)
    encoder(torch.randn(4, encoder.recipe["in_channels"], size, size))  # statistics of their own
    return encoder


def run_elsewhere(exported, images, tmp_path):
    """Features by a fresh Python that only has the libraries of the formats."""
    np.save(tmp_path / "x.npy", images.numpy())
    paths = {item.type: str(item.path) for item in exported}
    lines = ["import sys, warnings; warnings.simplefilter('ignore'); import numpy as np"]
    lines += [f"x = np.load({str(tmp_path / 'x.npy')!r})"]
    for type_, path in paths.items():
        lines += [f"path = {path!r}", RUNNERS[type_]]
        lines += [f"np.save({str(tmp_path / f'{type_}.npy')!r}, y)"]
    lines += ["assert not any(n.startswith(('dal_toolbox', 'timm')) for n in sys.modules)"]
    command = [sys.executable, "-I", "-c", "\n".join(lines)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=240)
    return [torch.from_numpy(np.load(tmp_path / f"{type_}.npy")) for type_ in paths]


def check_export(encoder, types, folder, tmp_path):
    """The files hold the features of the encoder on another number of images."""
    size = encoder.recipe["image_size"]
    batch = real_batch(8, size)
    exported = export_encoder(encoder, folder, types=types, facts=FACTS, batch=batch)
    assert [item.type for item in exported] == types
    assert all(item.path.parent == folder for item in exported)
    images = batch[:5].float() / 255
    mean, std = (torch.tensor(FACTS[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = encoder.eval()((images - mean) / std)
    for features in run_elsewhere(exported, images, tmp_path):
        torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)


def test_small_without_this_package(tmp_path, caplog):
    with caplog.at_level("INFO"):
        check_export(make("small", 16), ["torchscript"], tmp_path / "deployment_model", tmp_path)
    names = {path.name for path in (tmp_path / "deployment_model").iterdir()}
    assert names == {"model.pt", "model.json"}
    assert caplog.text.count("largest difference of a feature") == 1


def test_torch_export_takes_every_batch_size(tmp_path):
    exported = export_encoder(
        make("small", 8), tmp_path, types=["torch_export"], facts=FACTS, batch=real_batch(2, 8)
    )
    run = _exporters.load_torch_export(exported[0].path)
    assert [len(run(real_batch(n, 8).float() / 255)) for n in (1, 3, 20)] == [1, 3, 20]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [("small", 16), ("resnet18", 32), ("wide_resnet28_2", 32), ("vit16_tiny", 32),
     ("vit16_tiny", 64), ("coatnet_nano_rw_224", 64), ("convnext_atto", 32),
     ("swin_tiny_patch4_window7_224", 64)],
)  # fmt: skip
def test_network_in_every_format(name, size, tmp_path):
    check_export(make(name, size), list(RUNNERS), tmp_path / "deployment_model", tmp_path)


def test_encoder_stays_as_it_is(tmp_path):
    encoder = make("small", 8).to(memory_format=torch.channels_last)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    export_encoder(encoder, tmp_path, types=["torchscript"], facts=FACTS, batch=real_batch(2, 8))
    assert encoder.training
    assert all(p.requires_grad for p in encoder.parameters())
    assert encoder.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_description(tmp_path):
    encoder = make("small", 8, in_channels=1)
    facts = {"mean": [0.5], "std": [0.5], "classes": list("ab"), "method": "byol"}
    export_encoder(
        encoder, tmp_path, types=["torchscript"], facts=facts, batch=real_batch(3, 8, channels=1)
    )
    about = json.loads((tmp_path / "model.json").read_text())
    assert about["input"]["shape"] == ["batch", 1, 8, 8]
    assert about["input"]["range"] == [0, 1]
    assert about["input"]["normalization"].startswith("inside the model")
    assert (about["input"]["mean"], about["input"]["std"]) == ([0.5], [0.5])
    assert about["num_features"] == 128
    assert about["encoder"]["name"] == "small"
    assert (about["classes"], about["method"]) == (["a", "b"], "byol")
    assert about["files"]["torchscript"]["path"] == "model.pt"
    assert about["files"]["torchscript"]["max_difference"] < 1e-4
    assert (
        about["versions"]["torch"] == torch.__version__.split("+")[0] or about["versions"]["torch"]
    )


def test_one_type_that_fails_leaves_the_others(tmp_path, monkeypatch):
    def fails(*_arguments):
        raise RuntimeError("no such operator\nand a long story")

    broken = _exporters.Exporter("model.onnx", "", fails, _exporters.load_onnx)
    monkeypatch.setitem(_exporters.EXPORTERS, "onnx", broken)
    types = ["onnx", "torchscript"]
    with pytest.raises(ExportFailed, match="^onnx cannot export small: no such operator$"):
        export_encoder(make("small", 8), tmp_path, types=types, facts=FACTS, batch=real_batch(2, 8))
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "model.json"}
    assert set(json.loads((tmp_path / "model.json").read_text())["files"]) == {"torchscript"}


def test_difference_is_an_error_that_keeps_the_file(tmp_path, monkeypatch):
    def wrong(path):
        run = _exporters.load_torchscript(path)
        return lambda images: run(images) + (len(images) == 8) * 0.01  # only in larger batches

    original = _exporters.EXPORTERS["torchscript"]
    broken = _exporters.Exporter(original.file, "", original.write, wrong)
    monkeypatch.setitem(_exporters.EXPORTERS, "torchscript", broken)
    with pytest.raises(ExportFailed, match="differs from small by 1.0e-02.*do not use it"):
        export_encoder(
            make("small", 8), tmp_path, types=["torchscript"], facts=FACTS, batch=real_batch(2, 8)
        )
    assert (tmp_path / "model.pt").exists()


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    with pytest.raises(ExportFailed, match=r"needs the package onnx: pip install 'dal-toolbox"):
        export_encoder(
            make("small", 8), tmp_path, types=["onnx"], facts=FACTS, batch=real_batch(2, 8)
        )


def test_mistakes_are_plain_lines(tmp_path):
    encoder, batch = make("small", 8), real_batch(2, 8)
    with pytest.raises(
        ValueError, match="types='tflite': choose one of torchscript, onnx, torch_export"
    ):
        export_encoder(encoder, tmp_path, types=["tflite"], facts=FACTS, batch=batch)
    with pytest.raises(UserError, match="needs the std of 3 channels"):
        export_encoder(encoder, tmp_path, facts={"mean": FACTS["mean"]}, batch=batch)
    with pytest.raises(UserError, match=r"images of shape \(b, 3, 8, 8\), not \(2, 3, 9, 9\)"):
        export_encoder(encoder, tmp_path, facts=FACTS, batch=real_batch(2, 9))


@pytest.mark.parametrize("types", ["onnx", None, 3, ["onx"], ["torchscript", ["onnx"]], {"a": 1}])
def test_types_are_checked_without_an_encoder(types):
    with pytest.raises((ValueError, UserError), match="^types="):
        check_types(types)


def test_missing_packages_are_found_without_an_encoder(monkeypatch):
    monkeypatch.setattr("dal_toolbox.encoders.export.find_spec", lambda name: None)
    check_types(["torchscript", "torch_export"])
    with pytest.raises(UserError, match=r"types=onnx: needs the package onnx: pip install"):
        check_types(["onnx"])
