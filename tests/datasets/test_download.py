"""Downloads from a server on this machine that breaks off, knows ranges or does not."""

import errno
import hashlib
import io
import os
import re
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dal_toolbox.datasets import DatasetNotFound, _download
from dal_toolbox.datasets._download import Archive, Files, fetch, fetch_files
from dal_toolbox.datasets._unpack import BadArchive


def make_tar(member="data/file", size=3_000_000):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(member)
        info.size = size
        tar.addfile(info, io.BytesIO(bytes(size)))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    content = make_tar()
    ranges = True
    break_after = None  # bytes of the first answer
    requests: list

    @property
    def archive(self):
        url = f"http://127.0.0.1:{self.server_port}/files/data.tar"
        return Archive("Data", url, hashlib.md5(self.content).hexdigest(), "data")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        if start >= len(server.content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        stop = server.break_after if len(server.requests) == 1 else None
        self.wfile.write(server.content[start:][:stop])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_download(server, tmp_path):
    path = tmp_path / "new"
    folder = fetch(server.archive, path, download=True)
    assert (folder / "file").stat().st_size == 3_000_000
    assert {entry.name for entry in path.iterdir() if entry.name[0] != "."} == {"data", "data.tar"}
    fetch(server.archive, path, download=True)
    assert server.requests == [None]  # the second time, nothing is asked for


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(server, tmp_path, ranges):
    server.break_after, server.ranges = 1_000_000, ranges
    folder = fetch(server.archive, tmp_path, download=True)
    assert (folder / "file").stat().st_size == 3_000_000
    assert server.requests == [None, "bytes=1000000-"]


@pytest.mark.parametrize("length", [1_234_567, None])
def test_a_part_of_an_earlier_run_is_used(server, tmp_path, length):
    (tmp_path / "data.tar.part").write_bytes(server.content[:length])
    fetch(server.archive, tmp_path, download=True)
    assert server.requests == [f"bytes={length or len(server.content)}-"]


def test_a_wrong_download_is_deleted(server, tmp_path):
    (tmp_path / "data.tar.part").write_bytes(b"of another file")
    with pytest.raises(BadArchive, match=r"data.tar sent has MD5 \w+ instead of .* deleted"):
        fetch(server.archive, tmp_path, download=True)
    fetch(server.archive, tmp_path, download=True)


@pytest.mark.parametrize(
    ("member", "message"),
    [("../data/file", "leads out of its folder"), ("other/file", "holds no folder data")],
)
def test_an_archive_with_other_paths(server, tmp_path, member, message):
    server.content = make_tar(member, size=10)
    with pytest.raises(BadArchive, match=message):
        fetch(server.archive, tmp_path / "here", download=True)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "here/data").exists()


def test_no_server(tmp_path):
    archive = Archive("Data", "http://127.0.0.1:1/data.tar", "0", "data")
    with pytest.raises(
        DatasetNotFound, match=r"failed: Connection refused\); put data.tar"
    ) as caught:
        fetch(archive, tmp_path, download=True)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_no_such_file(server, tmp_path):
    server.content = b""  # answers 416 to everything
    with pytest.raises(DatasetNotFound, match="failed: Requested Range Not Satisfiable"):
        fetch(server.archive, tmp_path, download=True)


def test_not_writable(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatasetNotFound, match=r"cannot write .*file"):
        fetch(server.archive, tmp_path / "file", download=True)


def test_an_archive_in_a_home_of_its_own(server, tmp_path):
    archive = replace(server.archive, home="home")
    assert fetch(archive, tmp_path / "a", download=True) == tmp_path / "a/home/data"
    (tmp_path / "b").mkdir()
    (tmp_path / "a/home/data.tar").rename(tmp_path / "b/data.tar")  # beside it will do, too
    assert fetch(archive, tmp_path / "b", download=False) == tmp_path / "b/home/data"


def test_no_room_is_said_in_one_line(server, tmp_path, monkeypatch):
    def unpack(file, folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_download, "unpack", unpack)
    with pytest.raises(DatasetNotFound, match=r"cannot write there: No space left") as caught:
        fetch(server.archive, tmp_path, download=True)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def files(server):
    url = f"http://127.0.0.1:{server.server_port}/files/"
    md5 = hashlib.md5(server.content).hexdigest()
    return Files("Data", url, {"one.gz": md5, "two": md5}, ("raw", "other"))


def test_files_are_found_before_they_are_downloaded(server, files, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/one").write_bytes(b"unpacked")  # the other file of the other folder
    paths = fetch_files(files, tmp_path, ["one.gz", "two"], download=True)
    assert paths == [tmp_path / "other/one", tmp_path / "raw/two"]
    assert paths[1].read_bytes() == server.content
    assert server.requests == [None]
    assert fetch_files(files, tmp_path, ["two"], download=False) == paths[1:]


def test_missing_files_are_named(files, tmp_path):
    with pytest.raises(DatasetNotFound) as caught:
        fetch_files(files, tmp_path / "new", ["one.gz", "two"], download=False)
    for part in [
        "one.gz, two",
        "raw",
        "other",
        str(tmp_path),
        "the dataset digits",
        "root=<folder of images>",
    ]:
        assert part in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_wrong_file_is_deleted(files, tmp_path):
    wrong = replace(files, md5={"two": "0" * 32})
    with pytest.raises(BadArchive, match="it was deleted"):
        fetch_files(wrong, tmp_path, ["two"], download=True)
    assert not any((tmp_path / "raw").iterdir())
