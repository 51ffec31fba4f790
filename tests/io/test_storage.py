from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io import s3
from cyclegan.io.s3 import S3Store
from cyclegan.io.storage import open_store
from cyclegan.io.store import Entry, NotFound, Store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, s3_bucket: str, tmp_path: Path) -> Store:
    # asked for even where it is not used: a test cannot ask for a fixture with parameters later
    address = str(tmp_path / "store") if request.param == "folder" else f"s3://{s3_bucket}/some/prefix/"
    return open_store(address)


def test_what_is_put_comes_back(store: Store, tmp_path: Path) -> None:
    source, target = tmp_path / "source.bin", tmp_path / "new" / "target.bin"
    source.write_bytes(bytes(range(256)) * 1000)
    store.put(source, "deep/name with space ä.bin")
    store.get("deep/name with space ä.bin", target)
    assert target.read_bytes() == source.read_bytes()
    store.write("note.json", b"{}")
    assert store.read("note.json") == b"{}"
    store.write("note.json", b"")
    assert store.read("note.json") == b""


def test_listing_and_deleting(store: Store) -> None:
    assert store.list() == []
    for key in ("b/2", "a/1", "a/10"):
        store.write(key, key.encode())
    assert store.list() == [Entry("a/1", 3), Entry("a/10", 4), Entry("b/2", 3)]
    assert [entry.key for entry in store.list("a/")] == ["a/1", "a/10"]
    store.delete("a/1")
    store.delete("a/1")
    assert [entry.key for entry in store.list("a/")] == ["a/10"]


def test_a_missing_object_leaves_the_former_file(store: Store, tmp_path: Path) -> None:
    former = tmp_path / "former"
    former.write_text("kept")
    with pytest.raises(NotFound, match="no/such"):
        store.get("no/such", former)
    with pytest.raises(NotFound):
        store.read("no/such")
    assert former.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["former"]


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b", "nul\0"])
def test_keys_stay_below_the_store(store: Store, key: str) -> None:
    with pytest.raises(UsageError):
        store.write(key, b"x")


def test_addresses(tmp_path: Path) -> None:
    open_store(f"file://{tmp_path}/with%20space").write("k", b"v")
    assert (tmp_path / "with space" / "k").read_bytes() == b"v"
    for wrong in ("gs://bucket/x", "s3://", "", "https:user:password@host/x"):
        with pytest.raises(UsageError):
            open_store(wrong)


@pytest.fixture
def large(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that goes up in two parts: S3 wants at least 5 MiB in all but the last."""
    monkeypatch.setattr(s3, "PART", 1 << 20)
    path = tmp_path / "source.bin"
    path.write_bytes(b"".join(i.to_bytes(4, "big") for i in range(9 << 18)))
    return path


def requests(store: Store) -> list[tuple[str, dict[str, Any]]]:
    """The requests that the store sends from now on: name and parameters."""
    assert isinstance(store, S3Store)
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(params: dict[str, Any], event_name: str, **_: Any) -> None:
        seen.append((event_name.rpartition(".")[2], dict(params)))

    store.client.meta.events.register_last("before-parameter-build.s3", note)
    return seen


@pytest.mark.parametrize("way", ["file", "bytes"])
def test_a_large_object_is_transferred_in_parts(
    s3_bucket: str, tmp_path: Path, large: Path, way: str
) -> None:
    target = tmp_path / "target.bin"
    store = open_store(f"s3://{s3_bucket}/x")
    sent = requests(store)
    if way == "file":
        store.put(large, "large.bin")
        store.get("large.bin", target)
    else:
        store.write("large.bin", large.read_bytes())
        target.write_bytes(store.read("large.bin"))
    assert target.read_bytes() == large.read_bytes()
    ranges = [params.get("Range") for name, params in sent if name == "GetObject"]
    assert ranges[0] is None
    assert sorted(map(str, ranges[1:]))[:2] == ["bytes=0-1048575", "bytes=1048576-2097151"]
    assert len(ranges) == 1 + 9
    parts = [params for name, params in sent if name == "UploadPart"]
    assert len(parts) == 2 and not any(name == "PutObject" for name, _ in sent)
    assert all(len(base64.b64decode(part["ContentMD5"])) == 16 for part in parts)
    (created,) = [params for name, params in sent if name == "CreateMultipartUpload"]
    assert created["Metadata"] == {"sha256": hashlib.sha256(large.read_bytes()).hexdigest()}


def test_a_small_object_takes_one_request_each_way(s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}/x")
    sent = requests(store)
    store.write("small", b"data")
    assert store.read("small") == b"data"
    assert [name for name, _ in sent] == ["PutObject", "GetObject"]
    assert sent[0][1]["ContentMD5"] == "jXd/OF09/siBXSD3SWAm3A=="


def test_a_large_object_whose_content_is_not_its_checksum_is_refused(
    s3_bucket: str, tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    boto3.client("s3").put_object(
        Bucket=s3_bucket, Key="k", Body=large.read_bytes(), Metadata={"sha256": "0" * 64}
    )
    store = open_store(f"s3://{s3_bucket}")
    with pytest.raises(CycleGANError, match=r"s3://[^ ]*/k arrived corrupted in all 2 attempts"):
        store.get("k", tmp_path / "k")
    with pytest.raises(CycleGANError, match="arrived corrupted"):
        store.read("k")
    assert list(tmp_path.iterdir()) == [large]


def break_parts(store: Store, broken: Callable[[int], bool]) -> list[int]:
    """Cut the connection at the uploads of parts, counted from 0, that `broken` says; returns those sent."""
    from botocore.exceptions import ConnectionClosedError

    assert isinstance(store, S3Store)
    sent: list[int] = []

    def cut(request: Any, **_: Any) -> None:
        sent.append(len(sent))
        if broken(sent[-1]):
            raise ConnectionClosedError(endpoint_url=request.url)

    store.client.meta.events.register("before-send.s3.UploadPart", cut)
    return sent


def test_a_part_that_breaks_off_is_sent_again(s3_bucket: str, large: Path) -> None:
    store = open_store(f"s3://{s3_bucket}")
    sent = break_parts(store, lambda count: count == 1)
    store.put(large, "k")
    assert len(sent) == 3
    assert store.read("k") == large.read_bytes()


def test_an_upload_that_breaks_off_leaves_the_former_object(
    s3_bucket: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    store = open_store(f"s3://{s3_bucket}")
    store.write("k", b"former")
    break_parts(store, lambda count: count > 0)
    with pytest.raises(CycleGANError, match=r"Cannot write s3://[^ ]*/k: Connection was closed"):
        store.put(large, "k")
    assert store.read("k") == b"former"
    assert isinstance(store, S3Store)
    assert "Uploads" not in store.client.list_multipart_uploads(Bucket=s3_bucket)


def test_ten_thousand_objects_are_all_listed(s3_bucket: str, s3_is_moto: None) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    # into the server's memory: 10,000 requests would take a minute
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for i in range(10_000):
        backend.put_object(s3_bucket, f"many/{i:05d}.jpg", b"x")
    store = open_store(f"s3://{s3_bucket}/many")
    entries = store.list()
    assert len(entries) == 10_000
    assert entries[0] == Entry("00000.jpg", 1)
    assert entries[-1].key == "09999.jpg"


def test_an_object_that_changed_under_its_checksum_is_refused(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    boto3.client("s3").put_object(Bucket=s3_bucket, Key="k", Body=b"evil", Metadata={"sha256": "0" * 64})
    with pytest.raises(CycleGANError, match="arrived corrupted"):
        open_store(f"s3://{s3_bucket}").get("k", tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bucket_is_named(s3_server: str) -> None:
    with pytest.raises(CycleGANError, match="no bucket 'absent-bucket'"):
        open_store("s3://absent-bucket/x").list()
    with pytest.raises(CycleGANError, match="no bucket 'absent-bucket'"):
        open_store("s3://absent-bucket/x").read("k")


def test_no_credentials_is_one_sentence(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(CycleGANError, match="credentials"):
        open_store("s3://bucket/x").read("k")


class _Unsteady(BaseHTTPRequestHandler):
    """Serves one object; the first requests fail in the way that `faults` says."""

    faults: list[str]

    def do_GET(self) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if fault.isdecimal():
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        whole = b"0123456789" * 100_000
        body = whole
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            body = whole[int(asked[1]) : int(asked[2]) + 1 if asked[2] else None]
            self.send_response(206)
            self.send_header(
                "Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(body) - 1}/{len(whole)}"
            )
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"b0b8e1a3e2b9a7d9c94bd14f38ce3b1d-2"')
        self.end_headers()
        if self.command == "GET":
            with suppress(OSError):  # the client may have read what it wants
                self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("part", [1 << 20, 300_000])
def test_reading_survives_cuts_and_server_errors(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    class Handler(_Unsteady):
        faults = ["503", "cut", "500", "cut", "500", "cut"]  # noqa: RUF012

    monkeypatch.setattr(s3, "PART", part)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        assert open_store("s3://bucket").read("k") == b"0123456789" * 100_000
        assert Handler.faults == []
        server.shutdown()


@pytest.mark.parametrize("part", [1 << 20, 300_000])
def test_an_endless_fault_ends_in_one_sentence(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    class Handler(_Unsteady):
        faults = ["cut"] * 100

    monkeypatch.setattr(s3, "PART", part)
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(CycleGANError, match=r"s3://bucket/k broke off in all 2 attempts"):
            open_store("s3://bucket").read("k")
        server.shutdown()


def test_a_server_that_redirects_in_circles_is_one_sentence(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>PermanentRedirect</Code><Endpoint>x</Endpoint></Error>"
            self.send_response(301)
            self.send_header("x-amz-bucket-region", "eu-west-1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_HEAD = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    store = open_store(f"s3://{s3_bucket}/x")
    calls = (lambda: store.list(), lambda: store.read("k"), lambda: store.write("k", b"v"))
    for call in calls:
        with pytest.raises(CycleGANError, match="server") as error:
            call()
        assert str(error.value).isprintable() and s3_bucket in str(error.value)
    server.shutdown()
