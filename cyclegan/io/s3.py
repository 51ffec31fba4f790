"""Objects in an S3 bucket, with retries and checksums.

Only the plain S3 calls are used, so that SeaweedFS, MinIO and Ceph serve as well as AWS. The endpoint comes
from AWS_ENDPOINT_URL, credentials from boto3's usual chain.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.files import atomic_file, sha256
from cyclegan.io.store import Entry, NotFound, Store, checked

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig
    from mypy_boto3_s3 import S3Client

PART = 8 << 20
"""Bytes. Larger objects are transferred in parts of at least this size, several at a time."""
BLOCK = 1 << 20
ATTEMPTS = 6


class S3Store(Store):
    """Objects below a prefix of a bucket; safe to use from several threads.

    What is put carries its SHA-256 as metadata, which `get` and `read` check; for objects from elsewhere the
    size is checked, and the ETag where it is an MD5. boto3's transfer manager sends and fetches large objects
    in parts and repeats a part that fails; every part goes up with its MD5, which the server checks.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self.client = _make_client()

    def put(self, path: Path, key: str) -> None:
        with self._failing("write", key):
            metadata = {"sha256": sha256(path)}
            with path.open("rb") as file:
                self._upload(key, file, path.stat().st_size, metadata)

    def write(self, key: str, data: bytes) -> None:
        with self._failing("write", key):
            metadata = {"sha256": hashlib.sha256(data).hexdigest()}
            self._upload(key, io.BytesIO(data), len(data), metadata)

    def _upload(self, key: str, file: BinaryIO, size: int, metadata: dict[str, str]) -> None:
        self.client.upload_fileobj(
            file, self.bucket, self._full(key), ExtraArgs={"Metadata": metadata}, Config=_in_parts(size)
        )
        if size > PART:
            stored = self.client.head_object(Bucket=self.bucket, Key=self._full(key))["ContentLength"]
            if stored != size:
                raise CycleGANError(f"{self._name(key)} has {stored} bytes after uploading {size}.")

    def get(self, key: str, path: Path) -> None:
        with self._failing("read", key), atomic_file(path) as temporary:
            self._retry(key, lambda: self._download(key, temporary))

    def read(self, key: str) -> bytes:
        buffer = io.BytesIO()
        with self._failing("read", key):
            self._retry(key, lambda: self._fetch(key, buffer))
        return buffer.getvalue()

    def _download(self, key: str, path: Path) -> None:
        with path.open("w+b") as file:
            self._fetch(key, file)

    def _fetch(self, key: str, file: BinaryIO) -> None:
        """Copy the object into `file`, from its start, and check what came."""
        file.seek(0)
        file.truncate()
        # The transfer manager asks for the size first. Datasets are many small objects: one request for each.
        answer = self.client.get_object(Bucket=self.bucket, Key=self._full(key))
        size = answer["ContentLength"]
        with closing(answer["Body"]) as body:
            if size <= PART:
                for block in body.iter_chunks(BLOCK):
                    file.write(block)
        if size > PART:
            self.client.download_fileobj(self.bucket, self._full(key), file, Config=_in_parts(size))
        if file.seek(0, os.SEEK_END) != size:
            raise _Damaged
        etag = answer["ETag"].strip('"')
        etag_is_md5 = len(etag) == 32 and answer.get("ServerSideEncryption") in {None, "AES256"}
        if expected := answer["Metadata"].get("sha256"):
            sound = expected == _hexdigest(file, hashlib.sha256())
        else:
            sound = not etag_is_md5 or etag == _hexdigest(file, hashlib.md5(usedforsecurity=False))
        if not sound:
            raise _Damaged

    def _retry(self, key: str, action: Callable[[], None]) -> None:
        """boto3 repeats requests and parts by itself, but not a whole object that came damaged."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError
        from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError

        broken = (IncompleteReadError, ResponseStreamingError, HTTPClientError)
        for attempt in range(ATTEMPTS):
            try:
                action()
                return
            except RetriesExceededError:  # a part did, in as many attempts
                raise CycleGANError(f"{self._name(key)} broke off in all {ATTEMPTS} attempts.") from None
            except (*broken, S3DownloadFailedError, _Damaged) as error:  # the second: replaced meanwhile
                if attempt == ATTEMPTS - 1:
                    what = "broke off" if isinstance(error, broken) else "arrived corrupted"
                    raise CycleGANError(f"{self._name(key)} {what} in all {ATTEMPTS} attempts.") from None
                time.sleep(min(0.1 * 2**attempt, 5))

    def list(self, prefix: str = "") -> list[Entry]:
        with self._failing("list", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            found = [
                Entry(item["Key"][len(self.prefix) :], item["Size"], item.get("ETag", ""))
                for page in pages
                for item in page.get("Contents", [])
                if not item["Key"].endswith("/")  # consoles make such objects to show folders
            ]
        return sorted(found, key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        with self._failing("delete", key):
            self.client.delete_object(Bucket=self.bucket, Key=self._full(key))

    def _full(self, key: str) -> str:
        return self.prefix + checked(key)

    def _name(self, key: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}"

    @contextmanager
    def _failing(self, what: str, key: str) -> Iterator[None]:
        """Turn what boto3 and the disk raise into one sentence."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in {"NoSuchKey", "404", "NotFound"}:
                raise NotFound(f"There is no {self._name(key)}.") from None
            raise CycleGANError(f"Cannot {what} {self._name(key)}: {_explain(code, self.bucket)}.") from None
        except _NotS3:
            raise CycleGANError(
                f"Cannot {what} {self._name(key)}: this is not an S3 server; look at AWS_ENDPOINT_URL."
            ) from None
        except RecursionError:  # a server that answers "elsewhere" to every address
            raise CycleGANError(
                f"Cannot {what} {self._name(key)}: the server redirects in circles; look at AWS_ENDPOINT_URL "
                "and AWS_DEFAULT_REGION."
            ) from None
        except (BotoCoreError, S3UploadFailedError, ValueError) as error:
            raise CycleGANError(f"Cannot {what} {self._name(key)}: {_first_sentence(error)}.") from None
        except OSError as error:
            raise CycleGANError(
                f"Cannot {what} {error.filename or self._name(key)}: {error.strerror}."
            ) from None


class _NotS3(Exception):
    """Something else answers at the address of the store."""


class _Damaged(Exception):
    """What arrived is not what was stored."""


def _hexdigest(file: BinaryIO, digest: hashlib._Hash) -> str:
    """Of the whole file."""
    file.seek(0)
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _in_parts(size: int) -> TransferConfig:
    """For the transfer of `size` bytes; what fits into one part needs no threads."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(
        multipart_threshold=PART + 1,  # the transfer manager counts an object of just this size as large
        multipart_chunksize=PART,
        num_download_attempts=ATTEMPTS,
        use_threads=size > PART,
    )


def _add_md5(params: dict[str, Any], **_: Any) -> None:
    """Let the server check the body of a PUT; every S3 server knows this header, not so newer checksums."""
    body = params["Body"]
    start = body.tell()
    digest = hashlib.md5(usedforsecurity=False)
    while block := body.read(BLOCK):
        digest.update(block)
    body.seek(start)
    params["ContentMD5"] = base64.b64encode(digest.digest()).decode()


def _require_s3(parsed: dict[str, Any], **_: Any) -> None:
    """Refuse an answer with none of what S3 always sends: a proxy's page also says 200."""
    status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 200)
    if status < 300 and not {"ETag", "Name", "KeyCount", "Contents"} & parsed.keys():
        raise _NotS3


def _make_client() -> S3Client:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise UsageError("s3:// needs boto3: pip install 'cyclegan-pipeline[s3]'.") from None
    config = Config(
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        # auto: the path style for an endpoint of its own; some servers know only the other, `virtual`
        s3={"addressing_style": _addressing_style()},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
        # boto3's newer default adds checksum trailers, which other S3 servers refuse
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        client = boto3.session.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise UsageError(f"Cannot set up S3 access: {_first_sentence(error)}.") from None
    for request in ("GetObject", "PutObject", "ListObjectsV2"):
        client.meta.events.register(f"after-call.s3.{request}", _require_s3)
    for request in ("PutObject", "UploadPart"):
        client.meta.events.register(f"before-parameter-build.s3.{request}", _add_md5)
    return client


def _addressing_style() -> Literal["auto", "virtual", "path"]:
    asked = os.environ.get("CYCLEGAN_S3_ADDRESSING_STYLE") or "auto"
    styles: tuple[Literal["auto", "virtual", "path"], ...] = ("auto", "virtual", "path")
    for style in styles:
        if asked == style:
            return style
    raise UsageError(f"CYCLEGAN_S3_ADDRESSING_STYLE={asked}: expected auto, path or virtual.")


def _explain(code: str, bucket: str) -> str:
    known = {
        "NoSuchBucket": f"there is no bucket '{bucket}'",
        "AccessDenied": "access denied; look at AWS_ACCESS_KEY_ID and what its owner may do",
        "403": "access denied; look at AWS_ACCESS_KEY_ID and what its owner may do",
        "InvalidAccessKeyId": "the server does not know AWS_ACCESS_KEY_ID",
        "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is wrong",
        "ExpiredToken": "the session token has expired",
        "SlowDown": "the server asks to slow down, also after repeated attempts",
    }
    return known.get(code, f"the server answers {code}" if code else "the server refuses")


def _first_sentence(error: Exception) -> str:
    name = type(error).__name__
    if name in {"NoCredentialsError", "PartialCredentialsError"}:
        return "no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return " ".join(str(error).split()).split("?")[0].rstrip(".")[:200]
