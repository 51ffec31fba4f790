"""Files of weights by path or URI, read so that nothing in them can run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError, first_line
from cyclegan.io.files import is_file
from cyclegan.io.uri import path_of, redact, reveal


@contextmanager
def local_copy(address: str, *, advice: str) -> Iterator[Path]:
    """The file at `address` (a path, file://, https:// or s3://) as a path, valid within the block.

    `advice`, what a user without such a file can do, ends the message of a failed download. Raises UsageError
    for a file that is missing, CycleGANError for a failed download.
    """
    whole = reveal(address)
    if "://" not in whole or whole.startswith("file://"):
        path = Path(whole.removeprefix("file://")).expanduser()
        if not is_file(path):
            raise UsageError(f"There is no weights file {redact(str(path))}.")
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        obtain(address, path, advice=advice)
        yield path


def write_weights(path: Path, tensors: Mapping[str, Tensor], what: str) -> None:
    """Write tensors as safetensors that others than their owner can read; `what` names them in a failure.

    Raises CycleGANError, for a full disk as an example.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        raise CycleGANError(f"Cannot write {what}: {first_line(error)}.") from None
    path.chmod(0o644)  # safetensors keeps its files to their owner


def obtain(address: str, path: Path, *, advice: str) -> None:
    """Write the file at an https:// or s3:// address to `path`.

    Raises UsageError for another kind of address, CycleGANError, ending in `advice`, if it can't be fetched.
    """
    whole = reveal(address)
    try:
        if whole.startswith("s3://"):
            from cyclegan.io.storage import open_store

            bucket, _, key = whole.rpartition("/")
            open_store(bucket).get(key, path)
        elif whole.startswith(("https://", "http://")):
            from cyclegan.io.download import RetryPolicy, download

            download(address, path, RetryPolicy(retries=2))
        else:
            raise UsageError(f"Cannot fetch {redact(address)}: use a path, https:// or s3://.")
    except UsageError:
        raise
    except CycleGANError as error:
        raise CycleGANError(f"{str(error).rstrip('.')}: {advice}.") from None


_PLAIN = frozenset(
    {
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    }
)


def read_state_dict(path: Path, name: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or a plain PyTorch state dict; `name` says which of both it is.

    All are dense and hold finite numbers, real or whole ones. Raises UsageError where the file is neither, or
    where a tensor is larger than the file, CycleGANError where it cannot be read.
    """
    from safetensors.torch import load_file

    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise CycleGANError(f"Cannot read {redact(name)}: {error.strerror}.") from None
    try:
        if path_of(name).endswith(".safetensors"):
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:  # the readers raise whatever their C code or the pickle runs into
        raise UsageError(
            f"{redact(name)} is not a weights file (a state dict as .pth or .safetensors)."
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UsageError(f"{redact(name)} does not contain a state dict of tensors.")
    if not all(isinstance(key, str) and _is_unicode(key) for key in state):
        raise UsageError(f"{redact(name)} does not contain a state dict of tensors.")
    for key, tensor in state.items():
        plain = tensor.dtype in _PLAIN and tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.nbytes > size:  # a view may repeat a number as often as it likes
            raise UsageError(f"{redact(name)}: {key[:80]} is not a plain tensor of numbers.")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UsageError(f"{redact(name)}: {key[:80]} holds values that are not finite.")
    return dict(state)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def load_state_dict(address: str, *, advice: str) -> dict[str, Tensor]:
    """Read the weights at an address: `local_copy` and `read_state_dict`."""
    with local_copy(address, advice=advice) as path:
        return read_state_dict(path, address)
