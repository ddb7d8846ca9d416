"""Encoders on disk: what is damaged is named, never used; older files still load."""

import json
import os
import stat

import pytest
import torch

from dal_toolbox.encoders import create_encoder, load_encoder, save_encoder
from dal_toolbox.errors import UserError

FACTS = {"mean": (0.5,), "std": (0.25,), "dataset": "digits", "labels_used": None}
JSON_VALUES = [None, True, -1, 10**9, 0.5, "x", [], ["x"], {}, {"x": 1}]


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    encoder = create_encoder("small", image_size=8, in_channels=1, width=8).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors", **FACTS)
    return tmp_path


def refusal(folder):
    """The line with which a damaged encoder is refused."""
    with pytest.raises(UserError) as caught:
        load_encoder(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert "encoder." in line
    return line


def older(folder, change=lambda facts: None):
    """Writes the facts as an earlier version did, without checksums, with a change."""
    file = folder / "encoder.json"
    facts = json.loads(file.read_text())
    del facts["sha256"], facts["facts_sha256"]
    change(facts)
    file.write_text(json.dumps(facts))


def test_every_flipped_byte_of_the_facts(saved):
    file = saved / "encoder.json"
    content = file.read_bytes()
    before, facts = load_encoder(saved)
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 7
        file.write_bytes(changed)
        try:
            _, found = load_encoder(saved)
        except UserError as error:
            assert "\n" not in str(error)
        else:  # white space, or the name of a checksum; all else is as it was
            assert {k: v for k, v in found.items() if k in facts and "sha256" not in k} == {
                k: v for k, v in facts.items() if "sha256" not in k
            }
    file.write_bytes(content)
    assert load_encoder(saved)[0].recipe == before.recipe


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.999])
def test_flipped_bytes_of_the_weights(saved, share):
    file = saved / "encoder.safetensors"
    content = bytearray(file.read_bytes())
    content[int(share * len(content))] ^= 4
    file.write_bytes(content)
    assert "encoder.safetensors is damaged" in refusal(saved)


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "two bytes less": lambda content: content[:-2],
    "one byte more": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "zeros at the end": lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
    "other bytes": lambda content: b"\xff\xfe\0hello",
    "deep": lambda content: b"[" * 200_000,
    "deep object": lambda content: b'{"encoder":' * 200_000,
    "a huge number": lambda content: b"9" * 10_000,
}


@pytest.mark.parametrize("has_checksums", [True, False])
@pytest.mark.parametrize("name", ["encoder.safetensors", "encoder.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(saved, damage, name, has_checksums):
    if not has_checksums:
        if damage == "zeros at the end" and name == "encoder.safetensors":
            pytest.skip("nothing tells them from weights")
        older(saved)
    file = saved / name
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    assert name in refusal(saved)


@pytest.mark.parametrize("value", JSON_VALUES)
def test_json_of_another_type(saved, value):
    (saved / "encoder.json").write_text(json.dumps(value))
    assert "encoder.json is damaged" in refusal(saved)


CHANGES = [
    *({"encoder": value} for value in JSON_VALUES),
    *({"num_features": value} for value in JSON_VALUES),
    *({"mean": value} for value in [*JSON_VALUES, [0.5, 0.5], [None], [float("nan")], [-1]]),
    *({"std": value} for value in [*JSON_VALUES, [0.5, 0.5], [None], [float("inf")], [0]]),
]
RECIPES = [
    *({"name": value} for value in [*JSON_VALUES, "hf-hub:a/b", "resnet81", "../small"]),
    *({"width": value} for value in [*JSON_VALUES, 16, 0]),
    *({"image_size": value} for value in [*JSON_VALUES, 0]),
    *({"in_channels": value} for value in [*JSON_VALUES, 3, 0]),
    {"no_such": 1}, {"checkpoint": "/etc/passwd"}, {"pretrained": True},
    {"name": "timm", "model": "resnet17"}, {"name": "timm", "model": "hf-hub:a/b"}, {"": 1},
    {"name": "resnet18"}, {"name": "vit16_tiny"},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_other_facts_in_an_older_file(saved, change):
    older(saved, lambda facts: facts.update(change))
    refusal(saved)


@pytest.mark.parametrize("change", RECIPES, ids=str)
def test_other_recipes_in_an_older_file(saved, change):
    older(saved, lambda facts: facts["encoder"].update(change))
    refusal(saved)


@pytest.mark.parametrize("key", ["encoder", "name", "image_size"])
def test_missing_keys(saved, key):
    older(saved, lambda facts: facts.pop(key, None) or facts["encoder"].pop(key))
    refusal(saved)


@pytest.mark.parametrize("value", [None, "", "0" * 64, 3, []])
@pytest.mark.parametrize("key", ["sha256", "facts_sha256"])
def test_other_checksums(saved, key, value):
    facts = json.loads((saved / "encoder.json").read_text())
    (saved / "encoder.json").write_text(json.dumps({**facts, key: value}))
    assert "is damaged" in refusal(saved)


def test_weights_of_another_run(saved, tmp_path):
    other = create_encoder("small", image_size=8, in_channels=1, width=8)
    save_encoder(other, tmp_path / "other" / "encoder.safetensors", **FACTS)
    (tmp_path / "other" / "encoder.safetensors").replace(saved / "encoder.safetensors")
    assert "its bytes are not those that were saved" in refusal(saved)


def test_older_files_load(saved):
    encoder, facts = load_encoder(saved)
    older(saved)
    again, fewer = load_encoder(saved)
    assert {**fewer, "sha256": facts["sha256"]} == facts
    assert all(torch.equal(a, again.state_dict()[k]) for k, a in encoder.state_dict().items())


def test_facts_that_json_changes(saved):
    encoder, _ = load_encoder(saved)
    strange = {"score": float("nan"), "losses": {2: (1.5, float("inf")), 10: "Käse \udce4"}}
    save_encoder(encoder, saved / "encoder.safetensors", **FACTS, **strange)
    facts = load_encoder(saved)[1]
    assert facts["score"] is None
    assert facts["losses"] == {"2": [1.5, None], "10": "Käse \udce4"}


def test_the_global_generator_is_left_alone(saved):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_encoder(saved)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(saved, mask, mode):
    encoder, _ = load_encoder(saved)
    before = os.umask(mask)
    try:
        save_encoder(encoder, saved / "new" / "encoder.safetensors", **FACTS)
    finally:
        os.umask(before)
    for file in (saved / "new").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == mode, file.name
