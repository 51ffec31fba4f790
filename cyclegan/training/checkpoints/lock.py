"""One process at a time on a checkpoint folder.

In a folder the kernel holds the lock and releases it when the process ends, however it ends. S3 has nothing
like it, so there a small object records the holder, which renews it while running; one that was not renewed
for a while belongs to a process that died, and is taken over.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cyclegan.errors import CycleGANError
from cyclegan.io.files import parse_json
from cyclegan.io.storage import FolderStore
from cyclegan.io.store import NotFound, Store

logger = logging.getLogger(__name__)

RENEW_SECONDS = 15.0
STALE_SECONDS = 60.0


@contextmanager
def locked(store: Store, folder: str) -> Iterator[None]:
    """Hold the lock of `folder` within the block; raises CycleGANError if another process has it."""
    holder = _folder_lock(store, folder) if isinstance(store, FolderStore) else _lease(store, folder)
    with holder:
        yield


@contextmanager
def _folder_lock(store: FolderStore, folder: str) -> Iterator[None]:
    path = store.folder / folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / ".lock").open("a")
    except OSError as error:
        raise CycleGANError(f"Cannot write checkpoints to {path}: {error.strerror}.") from None
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CycleGANError(
                f"Another process is training with the checkpoints in {path}: wait for it, or choose another "
                "folder with --checkpoints."
            ) from None
        except (ImportError, OSError):  # Windows, and network file systems without locks
            logger.warning("Could not lock %s; make sure that only one process at a time uses it.", path)
        for left in path.glob(".*.safetensors.*"):  # of a process killed while writing
            left.unlink(missing_ok=True)
        yield


@contextmanager
def _lease(store: Store, folder: str) -> Iterator[None]:
    key, me = f"{folder}/lock.json", f"{socket.gethostname()} process {os.getpid()} {uuid.uuid4().hex[:8]}"
    task = os.environ.get("CYCLEGAN_KFP_TASK", "")
    _wait_for_turn(store, key)
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(RENEW_SECONDS):
            with suppress(CycleGANError):  # the network may come back before the lease is stale
                store.write(key, json.dumps({"holder": me, "task": task, "beat": uuid.uuid4().hex}).encode())

    store.write(key, json.dumps({"holder": me, "task": task, "beat": uuid.uuid4().hex}).encode())
    time.sleep(0.2)  # of two that came at the same moment, the one whose name stayed continues
    if _content(store, key).get("holder") != me:
        raise CycleGANError(f"Another process has just begun to use the checkpoints in {store.uri}/{folder}.")
    thread = threading.Thread(target=renew, daemon=True, name="checkpoint-lease")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(CycleGANError):
            store.delete(key)


def _wait_for_turn(store: Store, key: str) -> None:
    """Return once there is no lease, or one that nobody renews; clocks of other machines are not trusted."""
    seen = _content(store, key)
    task = os.environ.get("CYCLEGAN_KFP_TASK", "")
    if task and seen.get("task") == task:
        logger.info("%s was an earlier attempt of this task, whose pod is gone.", seen.get("holder"))
        return
    if not seen:
        return
    logger.info("Waiting up to %.0f s to see whether %s is alive.", STALE_SECONDS, seen.get("holder"))
    deadline = time.monotonic() + STALE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, STALE_SECONDS / 10))
        now = _content(store, key)
        if not now:
            return
        if now != seen:
            raise CycleGANError(
                f"{now.get('holder')} is training with the checkpoints in {store.uri}: wait for it, or "
                "choose another place with --checkpoints."
            )


def _content(store: Store, key: str) -> dict[str, str]:
    try:
        content = parse_json(store.read(key).decode())
    except NotFound:
        return {}
    except ValueError:
        content = None
    if isinstance(content, dict) and all(isinstance(part, str) for part in content.values()):
        return content
    return {"holder": "an unknown process"}
