"""Weight files of strangers: one line that says what they are, bounded memory, no advice to run them."""

import io
import json
import pickle
import resource
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dal_toolbox.encoders import create_encoder, load_weights
from dal_toolbox.errors import UserError

ADVICE = ("weights_only", "torch.load(", "safe_globals", "arbitrary", "Re-running")


class Code:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def refusal(path):
    """The line with which a file is refused."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as caught:
        load_weights(create_encoder("small", image_size=8, in_channels=1, width=8), path)
    line = str(caught.value)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000, f"{grown / 1000:.0f} MB"
    assert "\n" not in line
    assert "\x1b" not in line
    assert str(path.parent) in line
    assert not [word for word in ADVICE if word in line]
    return line


def archive(path, pickled, **entries):
    """What torch.save writes, around any pickle."""
    with zipfile.ZipFile(path, "w", entries.pop("compression", zipfile.ZIP_STORED)) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, content in {"version": "3\n", "byteorder": "little", **entries}.items():
            file.writestr(f"archive/{name.replace('__', '/')}", content)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_objects_are_called_objects(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(Code(), protocol)
    (tmp_path / "plain.pt").write_bytes(pickled)
    for path in (tmp_path / "plain.pt", archive(tmp_path / "zip.pt", pickled)):
        assert "holds objects other than tensors" in refusal(path)
    assert not (tmp_path / "executed").exists()


def test_other_protocols_of_pickle(tmp_path):
    torch.save({"a": torch.zeros(3)}, tmp_path / "w.pt", pickle_protocol=4)
    line = refusal(tmp_path / "w.pt")
    assert "torch.save(model.state_dict(), path)" in line


@pytest.mark.parametrize("depth", [60, 2_000, 100_000])
def test_deep_nesting(depth, tmp_path):
    nested = b"\x80\x02" + b"}U\x01a" * depth + b"}" + b"s" * depth + b"."
    assert "nested too deep" in refusal(archive(tmp_path / "w.pt", nested))


def test_dicts_without_end(tmp_path):
    itself: dict = {}
    itself["a"] = itself
    torch.save(itself, tmp_path / "w.pt")
    assert "nested too deep" in refusal(tmp_path / "w.pt")
    twice: dict = {"w": torch.zeros(1)}
    for _ in range(40):
        twice = {"a": twice, "b": twice}
    torch.save(twice, tmp_path / "w.pt")
    assert "more than 1,000,000 entries" in refusal(tmp_path / "w.pt")


def test_compressed_archive(tmp_path):
    written = io.BytesIO()
    torch.save({"a": torch.zeros(250_000_000, dtype=torch.uint8)}, written)
    with (
        zipfile.ZipFile(written) as old,
        zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert (tmp_path / "w.pt").stat().st_size < 1_000_000
    assert "would unpack to 0.250 GB" in refusal(tmp_path / "w.pt")


def test_sizes_that_no_file_has(tmp_path):
    """A legacy file says how large its storages are before their bytes come."""
    written = io.BytesIO()
    torch.save({"a": torch.zeros(77)}, written, _use_new_zipfile_serialization=False)
    crafted = written.getvalue().replace(b"K\x4d", b"\x8a\x06" + (10**14).to_bytes(6, "little"))
    assert crafted != written.getvalue()
    (tmp_path / "w.pt").write_bytes(crafted)
    refusal(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1).expand(6, 10**7), torch.zeros(3, device="meta"), torch.eye(3).to_sparse(),
     torch.zeros(3, dtype=torch.complex64)],
    ids=["expanded", "meta", "sparse", "complex"],
)  # fmt: skip
def test_tensors_that_are_no_weights(tensor, tmp_path):
    torch.save({"conv1.weight": tensor}, tmp_path / "w.pt")
    assert "holds no tensors by name" in refusal(tmp_path / "w.pt")


def test_position_embedding_of_a_huge_image(tmp_path):
    vit = create_encoder("vit16_tiny", image_size=32)
    state = vit.model.state_dict()
    state["pos_embed"] = torch.zeros(1, 1, 192).expand(1, 30_000**2 + 1, 192)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match="missing: pos_embed"):
        load_weights(vit, tmp_path / "w.pt")


def header(value, size=None):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text


HEADERS = {
    "longer than the file": header({}, 10**6),
    "beyond every memory": header({}, 2**63),
    "tensor beyond the file": header(
        {"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}
    ),
    "shape that overflows": header(
        {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}
    ) + bytes(4),
    "unknown type": header({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
    "4 bits": header({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}) + bytes(1),
    "deep": header(b'{"a":' + b"[" * 10**6),
    "no JSON": header(b"{]"),
    "a list": header([]),
    "negative": header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + bytes(4),
    "nothing": header({}),
    "escapes": header({"\x1b[2J": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_headers_of_safetensors(case, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(HEADERS[case])
    refusal(tmp_path / "w.safetensors")


def small():
    torch.manual_seed(0)
    return create_encoder("small", image_size=8, in_channels=1, width=8)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(number, tmp_path):
    state = dict(small().state_dict())
    state["conv1.weight"] = torch.full_like(state["conv1.weight"], number)
    save_file(state, tmp_path / "w.safetensors")
    assert "conv1.weight holds NaN or infinity" in refusal(tmp_path / "w.safetensors")


def test_quantized_weights(tmp_path):
    state = {key: value.to(torch.int8) for key, value in small().state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    assert "holds torch.int8, where real numbers are wanted" in refusal(tmp_path / "w.safetensors")


def test_names_in_the_log_are_escaped(tmp_path, caplog):
    state = {f"\x1b[2J.{key}": value for key, value in small().state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    with caplog.at_level("INFO"):
        load_weights(small(), tmp_path / "w.pt")
    assert r"\x1b[2J" in caplog.text
    assert "\x1b" not in caplog.text


def test_names_with_a_million_dots(tmp_path):
    torch.save({"." * 10**6: torch.zeros(1)}, tmp_path / "w.pt")
    assert "holds no tensors by name" in refusal(tmp_path / "w.pt")
    save_file({"." * 10**6: torch.zeros(1)}, tmp_path / "w.safetensors")
    refusal(tmp_path / "w.safetensors")
