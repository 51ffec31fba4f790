from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.download import RetryPolicy, download
from cyclegan.io.store import NotFound
from cyclegan.io.uri import redact

BODY = random.Random(0).randbytes(300_000)
QUICK = RetryPolicy(retries=3, timeout=0.5, pause=0.001)


def get(web: Any, tmp_path: Path, path: str = "/f.zip", patience: RetryPolicy = QUICK) -> bytes:
    target = tmp_path / "target"
    done = download(web.url + path, target, patience)
    assert done.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()
    return target.read_bytes()


def test_a_file_comes_whole(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    assert get(web, tmp_path) == BODY
    assert len(web.requests) == 1


@pytest.mark.parametrize("cut", [0, 1, 7, 65_535, 65_536, 150_000, 299_999])
def test_a_cut_connection_is_resumed_where_it_broke(web: Any, tmp_path: Path, cut: int) -> None:
    web.files["/f.zip"] = BODY
    web.fail(cut=cut)
    assert get(web, tmp_path) == BODY
    assert web.requests[1][1].get("Range") == (f"bytes={cut}-" if cut else None)


def test_cuts_at_any_place_and_errors_between(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    rng = random.Random(1)
    for _ in range(12):
        web.fail(cut=rng.randrange(1, 20_000))
        if rng.random() < 0.4:
            web.fail(status=rng.choice([429, 500, 502, 503, 504]))
    assert get(web, tmp_path) == BODY
    assert not web.faults


@pytest.mark.parametrize("lack", ["ranges", "etags", "length"])
def test_servers_that_can_less(web: Any, tmp_path: Path, lack: str) -> None:
    web.files["/f.zip"] = BODY
    setattr(web, lack, False)
    if lack != "length":  # without a length a cut cannot be told from the end
        web.fail(cut=100_000)
    assert get(web, tmp_path) == BODY


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_meanwhile_is_begun_again(web: Any, tmp_path: Path, honest: bool) -> None:
    """A server that honours If-Range sends the new file whole; one that ignores it is seen by its ETag."""
    web.files["/f.zip"] = BODY
    web.honest_if_range = honest
    new = BODY[::-1] + b"more"
    web.fail(cut=100_000, then=lambda: web.files.update({"/f.zip": new}))
    assert get(web, tmp_path) == new


def test_a_file_that_shrinks_meanwhile(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    web.honest_if_range = False
    web.fail(cut=200_000, then=lambda: web.files.update({"/f.zip": BODY[:1000]}))
    assert get(web, tmp_path) == BODY[:1000]
    assert "Range" in web.requests[1][1]
    assert "Range" not in web.requests[2][1]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_errors_are_tried_again(web: Any, tmp_path: Path, status: int) -> None:
    web.files["/f.zip"] = BODY
    web.fail(status=status, headers={"Retry-After": "0"})
    assert get(web, tmp_path) == BODY


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416])
def test_final_errors_end_at_once(web: Any, tmp_path: Path, status: int) -> None:
    web.files["/f.zip"] = BODY
    web.fail(status=status)
    with pytest.raises(NotFound if status in {404, 410} else CycleGANError, match=str(status)) as error:
        get(web, tmp_path)
    assert "/f.zip" in str(error.value)
    assert len(web.requests) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"cut": 1000}, {"cut": 0}])
def test_exhausted_retries_leave_nothing(web: Any, tmp_path: Path, fault: dict[str, int]) -> None:
    web.files["/f.zip"] = BODY
    web.ranges = False
    for _ in range(50):
        web.fail(**fault)
    with pytest.raises(CycleGANError, match=r"Cannot download .*/f\.zip"):
        get(web, tmp_path)
    assert not list(tmp_path.iterdir())
    assert len(web.requests) <= 6


def test_a_silent_server_is_given_up(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    for _ in range(9):
        web.fail(wait=1.0)
    with pytest.raises(CycleGANError, match=r"no answer within 0\.05 s"):
        get(web, tmp_path, patience=RetryPolicy(retries=1, timeout=0.05, pause=0.001))


def test_a_slow_answer_is_repeated(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    web.fail(wait=1.0)
    assert get(web, tmp_path, patience=RetryPolicy(retries=2, timeout=0.3, pause=0.001)) == BODY


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(CycleGANError, match="refused"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "x", RetryPolicy(retries=1, pause=0.001))


def test_a_redirect_is_followed_without_the_password(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    web.fail(status=302, headers={"Location": "/f.zip"})
    download(web.url.replace("://", "://user:s%C3%A9cret@") + "/moved.zip", tmp_path / "t", QUICK)
    assert (tmp_path / "t").read_bytes() == BODY
    assert web.requests[0][1]["Authorization"].startswith("Basic ")
    assert "Authorization" not in web.requests[1][1]


def test_a_redirect_to_another_host_is_reported(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    elsewhere = web.url.replace("127.0.0.1", "localhost")
    assert download(web.url + "/f.zip", tmp_path / "t", QUICK).served_by == ""
    web.fail(status=302, headers={"Location": f"{elsewhere}/f.zip"})
    done = download(web.url + "/moved.zip", tmp_path / "t", QUICK)
    assert done.served_by == elsewhere.removeprefix("http://")


def test_a_redirect_to_a_local_file_is_refused(web: Any, tmp_path: Path) -> None:
    web.fail(status=302, headers={"Location": "file:///etc/passwd"})
    with pytest.raises(CycleGANError):
        get(web, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_web_page_is_no_archive(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = b"<html>Please log in</html>"
    web.fail(headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(CycleGANError, match="web page"):
        get(web, tmp_path)


def test_more_than_allowed_is_refused(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    for web.length in (True, False):
        with pytest.raises(CycleGANError, match="max_bytes"):
            get(web, tmp_path, patience=RetryPolicy(max_bytes=1000))
    assert not list(tmp_path.iterdir())


def test_names_with_spaces_and_queries(web: Any, tmp_path: Path) -> None:
    web.files["/a%20b/%C3%BC.zip"] = BODY
    assert get(web, tmp_path, "/a b/ü.zip?token=1") == BODY
    assert web.requests[0][0] == "/a%20b/%C3%BC.zip?token=1"


def test_secrets_never_show(web: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    url = web.url.replace("://", "://someone:hunter2@") + "/f.zip?X-Amz-Signature=abcdef#t0ken"
    web.fail(status=503)
    web.fail(status=403)
    with pytest.raises(CycleGANError) as error:
        download(url, tmp_path / "x", QUICK)
    for text in (str(error.value), caplog.text):
        assert not any(secret in text for secret in ("hunter2", "someone", "abcdef", "t0ken"))
    assert caplog.text


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://u:p@host:8080/x.zip?a=b#c", "https://host:8080/x.zip"),
        ("s3://bucket/x", "s3://bucket/x"),
        ("synthetic:city?seed=3", "synthetic:city?seed=3"),
        ("/plain/path with ?", "/plain/path with ?"),
    ],
)
def test_redacting(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "file:///etc/passwd", "https://", "http://[::1", "http://h:port/"]
)
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="address"):
        download(url, tmp_path / "x", QUICK)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_sentence(web: Any, tmp_path: Path) -> None:
    web.files["/f.zip"] = BODY
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(CycleGANError, match="No space left"):
        download(web.url + "/f.zip", full, QUICK)


def test_a_redirect_out_of_https_is_refused_without_showing_the_token() -> None:
    from urllib.request import Request

    from cyclegan.io.download import _Redirects

    asked = Request("https://host.org/x.zip?token=hunter2")
    with pytest.raises(CycleGANError, match=r"https to http://other\.org/x\.zip") as error:
        _Redirects().redirect_request(asked, None, 302, "Found", {}, "http://other.org/x.zip?token=hunter2")
    assert "hunter2" not in str(error.value)
    followed = _Redirects().redirect_request(asked, None, 302, "Found", {}, "https://other.org/x.zip")
    assert followed is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/x.zip",
        "http://h\u00e4\u00f6.invalid/x.zip",
        f"http://{'a' * 300}/x.zip",
        f"http://{'a.' * 200}invalid/x.zip",
        "http://a..b/x.zip",
        "http://a b/x.zip",
        "http://host\n/x.zip",
        "http://host:99999/x.zip",
        "http://127.0.0.1:1/x y\x01.zip?a b\n",
        "http://\u2024/x.zip",
    ],
)
def test_odd_addresses_are_one_sentence(url: str, tmp_path: Path) -> None:
    with pytest.raises(CycleGANError) as error:
        download(url, tmp_path / "x", RetryPolicy(retries=0, timeout=2, pause=0))
    assert str(error.value).isprintable()
    assert not (tmp_path / "x").exists()
