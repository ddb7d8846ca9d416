import json
import os
import resource

import numpy as np
import pytest

from dal_toolbox.errors import UserError
from dal_toolbox.io import (
    append_lines,
    atomic_directory,
    atomic_file,
    block_digest,
    block_digests,
    load_array,
    read_json,
    read_lines,
    read_text,
    remove_leftovers,
    verify_blocks,
    write_json,
    write_text,
)


def test_a_directory_is_there_in_full_or_not_at_all(tmp_path):
    path = tmp_path / "entry"
    with pytest.raises(RuntimeError), atomic_directory(path) as temporary:
        (temporary / "a").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with atomic_directory(path) as temporary:
            (temporary / "a").write_text(text)
            assert not path.exists() or (path / "a").read_text() == "first"
        assert (path / "a").read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_removed(tmp_path):
    path = tmp_path / "entry"
    for name in ("entry", ".entry.1a", ".entry.1a.old", ".entry2.1a", "other"):
        (tmp_path / name).mkdir()
    remove_leftovers(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".entry2.1a", "entry", "other"]


def test_a_mapped_array_cannot_reach_its_file(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(4.0))
    array = load_array(tmp_path / "x.npy")
    array[0] = 7
    assert load_array(tmp_path / "x.npy").tolist() == [0, 1, 2, 3]
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(ValueError, match="mmap"):
        load_array(tmp_path / "x.npy")
    with pytest.raises(OSError):
        load_array(tmp_path / "y.npy")


def test_names_that_are_no_utf8_survive_whatever_the_locale(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    write_text(tmp_path / "names.txt", f"{name}\n")
    write_json(tmp_path / "names.json", [name])
    assert (tmp_path / "names.txt").read_bytes() == b"caf\xe9\n"
    assert read_text(tmp_path / "names.txt") == f"{name}\n"
    assert read_json(tmp_path / "names.json") == [name]


def test_numbers_that_are_not_finite_are_null_in_json(tmp_path):
    write_json(tmp_path / "x.json", {"a": [float("nan")], "b": float("inf")})
    append_lines(tmp_path / "x.jsonl", [{"a": float("nan")}])
    assert read_json(tmp_path / "x.json") == {"a": [None], "b": None}
    assert read_lines(tmp_path / "x.jsonl") == [{"a": None}]


def test_deep_nesting_is_an_error_of_the_file(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"deep|Expecting"):
        read_json(tmp_path / "deep.json")


def test_files_have_the_mode_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "x") as temporary:
            temporary.touch(mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 5000])
def test_blocks_of_a_sound_file(tmp_path, size):
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "x").write_bytes(content)
    digests = block_digests(tmp_path / "x", 64)  # more blocks than one thread takes at once
    assert digests == [block_digest(content[i : i + 64]) for i in range(0, size, 64)]
    assert verify_blocks(tmp_path / "x", digests, 64) is None


def test_any_damage_is_found_in_its_block(tmp_path):
    path, content = tmp_path / "x", np.random.default_rng(0).bytes(1000)
    path.write_bytes(content)
    digests = block_digests(path, 64)
    for place in range(1000):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert verify_blocks(path, digests, 64) == place // 64
    for other, block in {content[:-1]: 15, content[:64]: 1, b"": 0, content + b"x": 15}.items():
        path.write_bytes(other)
        assert verify_blocks(path, digests, 64) == block
    path.write_bytes(content + bytes(64))
    assert verify_blocks(path, digests, 64) == 15
    path.write_bytes(content)
    assert verify_blocks(path, [*digests, digests[0]], 64) == 16


def test_every_changed_byte_of_a_line_is_found(tmp_path):
    path = tmp_path / "x.jsonl"
    record = {"names": ["caf\udce9"], "metrics": {"accuracy": 0.1 + 0.2}, "empty": [], "n": None}
    append_lines(path, [record, {"b": 1}])
    whole = path.read_bytes()
    assert read_lines(path) == [record, {"b": 1}]
    changed = 0
    for place in range(whole.index(b"\n")):
        for flip in (1, 4, 16):
            content = bytearray(whole)
            content[place] ^= flip
            path.write_bytes(content)
            loaded = _loaded(content)
            if loaded == json.loads(whole.split(b"\n")[0]) or (loaded and "crc" not in loaded):
                continue  # the same record in other letters, or one as written by hand
            changed += 1
            with pytest.raises(UserError, match="line 1|line 2"):
                read_lines(path)
    assert changed > 300


def _loaded(content):
    try:
        return json.loads(bytes(content).split(b"\n")[0])
    except ValueError:
        return None


def test_lines_written_by_hand_need_no_checksum(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n')
    assert read_lines(tmp_path / "x.jsonl") == [{"a": 1}]


@pytest.mark.parametrize("write", [write_text, append_lines])
def test_a_file_that_cannot_grow_is_named_and_as_before(tmp_path, write):
    path = tmp_path / "labels.jsonl"
    write_text(path, "")
    content = {write_text: "x" * 10_000, append_lines: [{"text": "x" * 10_000}]}[write]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"labels\.jsonl") as error:
            write(path, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.filename == str(path)
    assert read_lines(path) == []
