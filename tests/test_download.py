"""Downloads against a local server: whole, torn, resumed, changed, wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from course_lib import datasets
from course_lib.datasets import public
from course_lib.datasets.cards import Remote
from course_lib.datasets.catalogue import CARDS
from course_lib.datasets.download import REMEMBERED, fetch_file
from course_lib.errors import CourseError

BODY = bytes(range(256)) * 2_000  # 512,000 bytes: several blocks
SHA256 = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


@dataclass
class Server:
    """What the local server does, and what it was asked."""

    address: str = ""
    body: bytes = BODY
    etag: str = '"one"'
    cut_after: int | None = None  # bytes of body after which the connection breaks
    status: int = 200
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch):
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = 0
            same = self.headers.get("If-Range", state.etag) == state.etag
            if wanted and state.ranges and same:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(state.body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(state.body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
            else:
                self.send_response(200)
            rest = state.body[start:]
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("ETag", state.etag)
            self.end_headers()
            self.wfile.write(rest[: state.cut_after])
            self.wfile.flush()
            if state.cut_after is not None:
                self.connection.close()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state.address = f"http://127.0.0.1:{running.server_port}/log.bin"
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield state
        running.shutdown()


def remote(server: Server, checksum: str | None = SHA256, size: int | None = len(BODY)) -> Remote:
    return Remote("log.bin", server.address, checksum, size)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_good_file_is_fetched_once(server, tmp_path):
    target = fetch_file(remote(server), tmp_path)
    assert target.read_bytes() == BODY
    assert left_in(tmp_path) == ["log.bin"]
    fetch_file(remote(server), tmp_path)
    assert server.asked == [None], "the second call must not touch the network"


def test_torn_file_is_refused_and_resumed(server, tmp_path):
    server.cut_after = 200_000
    with pytest.raises(CourseError, match=r"stopped after [\d,]+ of 512,000 bytes.*goes on from"):
        fetch_file(remote(server), tmp_path)
    assert not (tmp_path / "log.bin").exists()
    have = (tmp_path / "log.bin.part").stat().st_size
    assert 0 < have <= 200_000
    server.cut_after = None
    assert fetch_file(remote(server), tmp_path).read_bytes() == BODY
    assert server.asked == [None, f"bytes={have}-"]
    assert left_in(tmp_path) == ["log.bin"]


def test_resume_starts_anew_where_the_file_changed(server, tmp_path):
    server.cut_after = 200_000
    with pytest.raises(CourseError):
        fetch_file(remote(server), tmp_path)
    server.cut_after, server.etag, server.body = None, '"two"', BODY[::-1]
    changed = f"sha256:{hashlib.sha256(server.body).hexdigest()}"
    assert fetch_file(remote(server, changed), tmp_path).read_bytes() == BODY[::-1]


def test_resume_works_where_the_server_cannot(server, tmp_path):
    server.cut_after, server.ranges = 100_000, False
    with pytest.raises(CourseError):
        fetch_file(remote(server), tmp_path)
    server.cut_after = None
    assert fetch_file(remote(server), tmp_path).read_bytes() == BODY


def test_a_part_that_is_already_whole_is_taken(server, tmp_path):
    (tmp_path / "log.bin.part").write_bytes(BODY)
    assert fetch_file(remote(server), tmp_path).read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "log.bin.part").write_bytes(BODY * 2)
    assert fetch_file(remote(server), tmp_path).read_bytes() == BODY
    assert left_in(tmp_path) == ["log.bin"]


@pytest.mark.parametrize(
    ("checksum", "size", "sentence"),
    [
        (SHA256.replace(SHA256[-1], "0" if SHA256[-1] != "0" else "1"), None, "checksum"),
        ("md5:00000000000000000000000000000000", None, "checksum"),
        (None, 17, "512,000 bytes instead of 17"),
    ],
)
def test_wrong_file_leaves_nothing(server, tmp_path, checksum, size, sentence):
    with pytest.raises(CourseError, match=sentence):
        fetch_file(remote(server, checksum, size), tmp_path)
    assert left_in(tmp_path) == []


def test_unknown_checksum_is_remembered(server, tmp_path):
    target = fetch_file(remote(server, checksum=None), tmp_path)
    assert json.loads((tmp_path / REMEMBERED).read_text()) == {"log.bin": SHA256}
    target.unlink()
    server.body = BODY[::-1]
    with pytest.raises(CourseError, match="does not have the checksum"):
        fetch_file(remote(server, checksum=None), tmp_path)
    assert not target.exists()


def test_damaged_cache_is_fetched_again(server, tmp_path):
    fetch_file(remote(server), tmp_path).write_bytes(b"damaged")
    assert fetch_file(remote(server), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("status", [404, 503])
def test_refusal_says_where_to_put_the_file(server, tmp_path, status):
    server.status = status
    with pytest.raises(CourseError, match=f"answers {status}; download .* put it, as it is, into"):
        fetch_file(remote(server), tmp_path)


def test_no_network_is_one_sentence(tmp_path):
    nowhere = Remote("log.bin", "http://127.0.0.1:9/log.bin")
    with pytest.raises(CourseError, match=r"cannot be reached \(ConnectionError\)") as error:
        fetch_file(nowhere, tmp_path)
    assert "\n" not in str(error.value)


def test_load_fetches_into_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    server.body = gzip.compress(b"1 1\n1 2\n2 1\n")
    card = CARDS["beauty"]
    offered = Remote("beauty.txt.gz", server.address, None, len(server.body))
    changed = type(card)(**{**card.__dict__, "files": (offered,)})
    monkeypatch.setitem(public.CARDS, "beauty", changed)
    assert not datasets.available("beauty")
    assert len(datasets.load("beauty")) == 3
    assert datasets.available("beauty")
    assert datasets.fetch("beauty") == [tmp_path / "beauty" / "beauty.txt.gz"]
    assert len(server.asked) == 1


def test_what_is_not_laid_out_as_the_log_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    server.body = b"<html>please log in</html>"
    card = CARDS["beauty"]
    offered = Remote("beauty.txt", server.address, None, None)
    monkeypatch.setitem(
        public.CARDS, "beauty", type(card)(**{**card.__dict__, "files": (offered,)})
    )
    with pytest.raises(CourseError, match="not laid out as 'beauty'"):
        datasets.load("beauty")
