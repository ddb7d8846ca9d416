"""Weights from elsewhere: whatever names and containers, the features are those of their source."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dal_toolbox.encoders import create_encoder, load_encoder, load_weights, save_encoder
from dal_toolbox.errors import UserError

SIZE = 32


@pytest.fixture(scope="module")
def source():
    """torchvision's ResNet-18, with statistics that a fresh one does not have."""
    from torchvision.models import resnet18

    torch.manual_seed(1)
    model = resnet18().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


def resnet(stem="imagenet"):
    torch.manual_seed(0)
    return create_encoder("resnet18", image_size=SIZE, stem=stem).eval()


def features_of(model):
    body = nn.Sequential(*list(model.children())[:-1])
    return lambda x: body(x).flatten(1)


def prefixed(state, prefix):
    return {f"{prefix}{key}": value for key, value in state.items()}


def other(state):
    return {key: torch.zeros_like(value) for key, value in state.items()}


CONTAINERS = {
    "torchvision": (lambda s: s, ""),
    "DataParallel": (lambda s: prefixed(s, "module."), "module."),
    "solo-learn": (
        lambda s: {"state_dict": prefixed(s, "backbone."), "epoch": 3},
        "state_dict.backbone.",
    ),
    "MoCo": (
        lambda s: {
            "arch": "resnet18",
            "state_dict": prefixed(other(s), "module.encoder_k.")
            | prefixed(s, "module.encoder_q.")
            | {"module.queue": torch.zeros(3)},
            "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []},
        },
        "state_dict.module.encoder_q.",
    ),
    "DINO": (
        lambda s: {
            "student": prefixed(other(s), "module.backbone."),
            "teacher": prefixed(s, "backbone.") | {"head.mlp.0.weight": torch.zeros(4, 4)},
            "args": Namespace(arch="resnet18", lr=0.1),
        },
        "teacher.backbone.",
    ),
    "BYOL": (
        lambda s: prefixed(other(s), "target_encoder.net.") | prefixed(s, "online_encoder.net."),
        "online_encoder.net.",
    ),
    "our pretraining": (
        lambda s: {"state_dict": prefixed(other(s), "target.0.model.")
                   | prefixed(s, "encoder.model.")
                   | {"projector.0.weight": torch.zeros(4, 4)}},
        "state_dict.encoder.model.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTAINERS)
def test_prefix_is_found(source, case, tmp_path, caplog):
    wrap, prefix = CONTAINERS[case]
    torch.save(wrap(source.state_dict()), tmp_path / "weights.pth")
    encoder, x = resnet(), torch.randn(2, 3, SIZE, SIZE)
    with caplog.at_level("INFO"):
        report = load_weights(encoder, tmp_path / "weights.pth")
    assert report.prefix == prefix
    assert report.matched == report.total == 120
    torch.testing.assert_close(encoder(x), features_of(source)(x))
    assert f"matched 120 of 120 tensors of resnet18 (prefix '{prefix}')" in caplog.text
    assert "0 missing" in caplog.text


def test_classifier_is_reported_as_not_used(source, tmp_path):
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    report = load_weights(resnet(), tmp_path / "weights.pth")
    assert report.unused == ("fc.weight", "fc.bias")
    assert "2 in the file not used: fc.weight, fc.bias; 0 missing" in report.line("resnet18")


@pytest.mark.parametrize("write", [torch.save, save_file])
def test_numbered_layers_in_either_format(source, write, tmp_path):
    path = tmp_path / ("w.safetensors" if write is save_file else "w.pt")
    body = nn.Sequential(*list(source.children())[:-1])
    write(prefixed(body.state_dict(), "backbone."), path)
    encoder, x = resnet(), torch.randn(2, 3, SIZE, SIZE)
    assert load_weights(encoder, path).spelling == "numbered layers"
    torch.testing.assert_close(encoder(x), features_of(source)(x))


def test_shortcuts_of_cifar_resnets(tmp_path):
    torch.manual_seed(1)
    theirs = create_encoder("resnet18", image_size=SIZE)
    state = theirs.model.state_dict()
    renamed = {key.replace("downsample", "shortcut"): value for key, value in state.items()}
    torch.save({"model": prefixed(renamed, "encoder.")}, tmp_path / "ckpt.pth")
    encoder = resnet("small")
    report = load_weights(encoder, tmp_path / "ckpt.pth")
    assert (report.prefix, report.complete) == ("model.encoder.", True)
    assert all(torch.equal(a, state[k]) for k, a in encoder.model.state_dict().items())


def test_vision_transformer_of_torchvision(tmp_path):
    from torchvision.models import VisionTransformer

    torch.manual_seed(1)
    theirs = VisionTransformer(
        image_size=SIZE, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768
    ).eval()
    nn.init.normal_(theirs.class_token)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    theirs.heads = nn.Identity()
    encoder, x = create_encoder("vit16_tiny", image_size=SIZE).eval(), torch.randn(2, 3, SIZE, SIZE)
    report = load_weights(encoder, tmp_path / "vit.pth")
    assert set(report.unused) == {"heads.head.weight", "heads.head.bias"}
    torch.testing.assert_close(encoder(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_position_embeddings_follow_the_image_size(tmp_path):
    torch.manual_seed(1)
    theirs = create_encoder("vit16_tiny", image_size=224).model
    torch.save({"teacher": prefixed(theirs.state_dict(), "backbone.")}, tmp_path / "dino.pth")
    encoder = create_encoder("vit16_tiny", image_size=96)
    report = load_weights(encoder, tmp_path / "dino.pth")
    assert report.resized == ("pos_embed",)
    assert report.complete
    ours = encoder.model.pos_embed
    assert ours.shape == (1, 37, 192)
    torch.testing.assert_close(ours[:, 0], theirs.pos_embed[:, 0])  # of the class token
    assert "interpolated to the image size: pos_embed" in report.line("vit16_tiny")


@pytest.mark.parametrize(
    ("file", "wanted", "way_out"),
    [("imagenet", "small", "7x7: choose stem=imagenet"),
     ("small", "imagenet", "3x3: choose stem=small")],
)  # fmt: skip
def test_other_stem_says_which(file, wanted, way_out, tmp_path):
    torch.save(resnet(file).state_dict(), tmp_path / "w.pth")
    encoder = resnet(wanted)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(UserError, match="matched 119 of 120 tensors") as caught:
        load_weights(encoder, tmp_path / "w.pth")
    assert way_out in str(caught.value)
    assert "conv1.weight (64, 3, " in str(caught.value)
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_part_of_the_weights_only_if_asked_for(source, tmp_path):
    state = {key: value for key, value in source.state_dict().items() if "layer4" not in key}
    torch.save(state, tmp_path / "w.pth")
    encoder = resnet()
    with pytest.raises(UserError, match=r"missing: layer4\.0\.conv1\.weight"):
        load_weights(encoder, tmp_path / "w.pth")
    report = load_weights(encoder, tmp_path / "w.pth", strict=False)
    assert not report.complete
    assert torch.equal(encoder.model.conv1.weight, source.conv1.weight)


def test_another_network_is_refused_even_if_not_strict(tmp_path):
    torch.save(create_encoder("vit16_tiny", image_size=32).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="does not fit resnet18: none of its 150 tensors"):
        load_weights(resnet(), tmp_path / "w.pth", strict=False)


def test_prefix_can_be_chosen(source, tmp_path):
    state = source.state_dict()
    both = {"state_dict": prefixed(state, "a.") | prefixed(other(state), "b.")}
    torch.save(both, tmp_path / "w.pth")
    encoder = resnet()
    assert load_weights(encoder, tmp_path / "w.pth").others == ("state_dict.a.",)
    assert load_weights(encoder, tmp_path / "w.pth", prefix="a.").prefix == "state_dict.a."
    assert torch.equal(encoder.model.conv1.weight, source.conv1.weight)
    with pytest.raises(UserError, match="behind prefix=c.; it holds: state_dict.a.conv1.weight"):
        load_weights(encoder, tmp_path / "w.pth", prefix="c.")


def test_counters_of_batches_are_not_needed(source, tmp_path):
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "w.pth")
    assert load_weights(resnet(), tmp_path / "w.pth").total == 100


class Code:
    def __reduce__(self):
        return (Path.exists, (Path(),))


@pytest.mark.parametrize("content", [Code(), {"state_dict": {}, "x": Code()}, nn.Linear(2, 2)])
def test_code_is_refused_in_one_line(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds objects other than tensors") as caught:
        load_weights(resnet(), tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off", b"\x80\x02K"])
def test_broken_file_is_one_line(suffix, content, tmp_path):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="or not complete") as caught:
        load_weights(resnet(), path)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(UserError, match=r"no weights at .*w\.pth; give a \.pth"):
        load_weights(resnet(), tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no tensors by name"):
        load_weights(resnet(), tmp_path / "w.pth")


def test_create_encoder_starts_from_a_file(tmp_path):
    torch.manual_seed(1)
    first = create_encoder("small", image_size=16).eval()
    save_encoder(first, tmp_path / "encoder.safetensors")
    second = create_encoder("small", image_size=16, checkpoint=tmp_path).eval()
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(first(x), second(x))
    assert second.recipe == first.recipe
    save_encoder(second, tmp_path / "second" / "encoder.safetensors")
    (tmp_path / "encoder.safetensors").unlink()  # never needed again
    third, facts = load_encoder(tmp_path / "second")
    assert torch.equal(first(x), third(x))
    assert set(facts["started_from"]) == {"file", "sha256"}


def test_two_sources_of_weights_are_one_too_many(tmp_path):
    with pytest.raises(ValueError, match=r"^checkpoint=.*: pretrained=true gives weights, too"):
        create_encoder("resnet18", image_size=32, pretrained=True, checkpoint=tmp_path / "w.pth")


def test_foreign_file_needs_a_name(tmp_path, source):
    torch.save(source.state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="weights from elsewhere .* beside checkpoint=.*w.pth"):
        load_encoder(tmp_path / "w.pth")
