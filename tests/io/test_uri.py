"""Addresses show themselves without their secrets, however oddly they are written."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from dataclasses import asdict, dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cyclegan.io.uri import Address, hide_secrets, printable, redact, reveal, scrub

SECRET = "hunter2"
noise = st.text("aZ9-._~%:/?#@!$&'()*+,;=[]\\ é", max_size=6)
users = st.sampled_from(["user", "u", "", "AKIAEXAMPLE", "user.name"])
paths = st.sampled_from(["", "/", "/x.zip", "/a/b.zip", "/x@2.zip", "/x:1"])
schemes = st.sampled_from(
    ["https://", "http://", "s3://", "http:/", "https:", "postgresql://", "ssh://", "hf://", ""]
)


@st.composite
def addresses_with_a_password(draw: st.DrawFn) -> str:
    """user:password@host in any scheme, the password with anything around the secret word."""
    password = draw(noise) + SECRET + draw(noise)
    host = draw(st.sampled_from(["host", "host.org", "host:8080", "[::1]", "bucket"]))
    return f"{draw(schemes)}{draw(users)}:{password}@{host}{draw(paths)}"


@st.composite
def addresses_with_a_token(draw: st.DrawFn) -> str:
    """A token in the query or the fragment, as presigned addresses have it."""
    token = draw(noise) + SECRET + draw(noise)
    mark = draw(st.sampled_from(["?token=", "#token=", "?a=1&X-Amz-Signature=", "?"]))
    scheme = draw(st.sampled_from(["https://", "http://", "s3://", "http:/"]))
    host = draw(st.sampled_from(["host.org", "host", "host:8080", "127.0.0.1", "[::1]"]))
    return f"{scheme}{host}{draw(paths)}{mark}{token}"


@given(st.one_of(addresses_with_a_password(), addresses_with_a_token()))
@settings(max_examples=1500, deadline=None)
@example("https://user:hunter2/x@host/y")
@example("https://user:a?hunter2@host/y")
@example("http:/u:hunter2@h")
@example("u:hunter2@h/x")
@example("s3://KEY:hunter2@bucket")
@example("https://h.org/x?sig=a@hunter2")
@example("user:/9.hunter2/@host")
@example("user://9.hunter2/@host")
def test_no_secret_is_shown(whole: str) -> None:
    assert SECRET not in redact(whole)
    address = Address(whole)
    assert reveal(address) == whole
    shown = [
        str(address),
        repr(address),
        f"{address}",
        f"{address!r:>3}",
        str.format("{}", address),
        json.dumps([address]),
    ]
    shown += [address + "", address[:], "".join([address]), address.strip(), repr(vars), repr({"a": address})]
    assert not any(SECRET in text for text in shown)
    assert SECRET not in redact(redact(whole))


@given(noise.map(lambda text: text.replace(" ", "")))
@settings(max_examples=300, deadline=None)
def test_secrets_in_the_sentences_of_libraries(word: str) -> None:
    whole = f"https://user:{word}{SECRET}@host.org/x?token={SECRET}"
    assert SECRET not in scrub(f"HTTPSConnectionPool: cannot open '{whole}' (timeout)", whole)
    assert SECRET not in scrub(f"failed for url: https://host.org/x?token={SECRET} twice")
    assert SECRET not in scrub(f"failed for user:{SECRET}@host/x")


@pytest.mark.parametrize(
    ("whole", "shown"),
    [
        ("https://u:p@host:8080/x.zip?a=b#c", "https://host:8080/x.zip"),
        ("https://host.org/img@2x.zip?sig=a@b", "https://host.org/img@2x.zip"),
        ("https://[::1]:5000/x", "https://[::1]:5000/x"),
        ("s3://bucket/a@b/c", "s3://bucket/a@b/c"),
        ("s3://KEY:SECRET@bucket", "s3://bucket"),
        ("synthetic:city?seed=3", "synthetic:city?seed=3"),
        ("models:/cyclegan-AtoB@champion", "models:/cyclegan-AtoB@champion"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("hf://org/name@v9", "hf://org/name@v9"),
        ("hf://org/name@refs/pr/1", "hf://org/name@refs/pr/1"),
        ("hf://user:secret@org/name@v9", "hf://…"),
        ("/plain/path with ?", "/plain/path with ?"),
        ("data/images@2x", "data/images@2x"),
        ("C:\\images\\maps", "C:\\images\\maps"),
        ("http://[::1/x", "http://…"),
        ("", ""),
        ("a\x1b[2Jb\nc", "a\\x1b[2Jb\\nc"),
    ],
)
def test_what_is_shown(whole: str, shown: str) -> None:
    assert redact(whole) == shown
    assert redact(shown) == shown or "\\" in shown


def test_a_revision_on_the_hub_is_no_secret() -> None:
    said = "There is no model hf://org/name@v9: the repository has no such revision."
    assert scrub(said) == said


def test_an_address_keeps_its_secret_through_copies_and_processes_and_gives_it_only_to_reveal() -> None:
    @dataclass(frozen=True)
    class Config:
        source: str

        def __post_init__(self) -> None:
            hide_secrets(self, "source")

    whole = "https://user:hunter2@host.org/x.zip?t=1"
    config = Config(whole)
    for twin in (copy.deepcopy(config), replace(config), Config(config.source)):
        assert reveal(twin.source) == whole
    assert reveal(pickle.loads(pickle.dumps(config.source))) == whole
    assert "hunter2" not in f"{config}" + json.dumps(asdict(config))
    assert config.source == "https://host.org/x.zip"


def test_control_characters_are_shown_as_their_code() -> None:
    assert printable("a\r\x07\u202eb é") == "a\\r\\x07\\u202eb é"


def test_logging_an_address_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("cyclegan").warning("%s %r", Address("https://u:hunter2@h.org"), Address("u:hunter2@h"))
    assert "hunter2" not in caplog.text
