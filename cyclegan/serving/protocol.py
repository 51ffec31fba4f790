"""Tensors of the Open Inference Protocol, version 2: JSON, and its extension for binary data.

https://github.com/kserve/open-inference-protocol (rest_inference.yaml); the extension is Triton's
"binary_tensor_data", which KServe's clients speak as well. Knows nothing of HTTP and nothing of models.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cyclegan.errors import UsageError

LENGTH = struct.Struct("<I")  # before every element of a binary BYTES tensor


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")


class RequestInput(_Message):
    """One tensor of a request."""

    name: str
    shape: list[int] = Field(max_length=8)
    datatype: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    """`binary_data_size`: this tensor's bytes follow the JSON, so many of them."""
    data: Any = None
    """Values in a list, nested or flat; pictures as base64."""


class RequestOutput(_Message):
    """One output that a request asks for."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    """`binary_data`: true for bytes after the JSON of the answer."""


class InferRequest(_Message):
    """The JSON of a request."""

    id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    """format, quality, size and tile as for /translate; `binary_data_output`: true for binary outputs."""
    inputs: list[RequestInput]
    outputs: list[RequestOutput] = Field(default_factory=list)


class ResponseOutput(_Message):
    """One tensor of an answer."""

    name: str
    shape: list[int]
    datatype: Literal["BYTES", "FP32"]
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any] | None = None


class InferResponse(_Message):
    """The JSON of an answer."""

    model_name: str
    id: str | None = None
    outputs: list[ResponseOutput]


@dataclass(frozen=True)
class Request:
    """A request whose tensors are read: BYTES as bytes, FP32 as float32 of their shape."""

    header: InferRequest
    tensors: dict[str, list[bytes] | np.ndarray] = field(default_factory=dict)

    def wants_binary(self, output: str) -> bool:
        """Whether that output is to follow the JSON as bytes."""
        for one in self.header.outputs:
            if one.name == output and "binary_data" in one.parameters:
                return one.parameters["binary_data"] is True
        return self.header.parameters.get("binary_data_output") is True


def read_request(body: bytes, header_length: int | None = None) -> Request:
    """Read a request's body, whose JSON ends at `header_length` if binary data follows it.

    Raises UsageError that says which tensor is wrong, and how.
    """
    if header_length is not None and not 0 < header_length <= len(body):
        raise UsageError(
            f"Inference-Header-Content-Length = {header_length}, but the body has {len(body)} bytes."
        )
    end = len(body) if header_length is None else header_length
    try:
        header = InferRequest.model_validate_json(body[:end])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"The request does not follow the protocol{where and f' ({where})'}: {first['msg']}."
        ) from None
    except RecursionError:
        raise UsageError("The request's JSON is nested too deeply.") from None
    rest = memoryview(body)[end:]
    tensors: dict[str, list[bytes] | np.ndarray] = {}
    for tensor in header.inputs:
        if tensor.name in tensors:
            raise UsageError(f"Input {tensor.name} occurs twice.")
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            tensors[tensor.name] = _from_json(tensor)
            continue
        if type(size) is not int or not 0 <= size <= len(rest):
            raise UsageError(
                f"Input {tensor.name} has binary_data_size = {size!r}, but {len(rest)} bytes follow the JSON."
            )
        tensors[tensor.name] = _from_bytes(tensor, rest[:size])
        rest = rest[size:]
    if len(rest):
        raise UsageError(f"{len(rest)} bytes after the JSON belong to no input: set binary_data_size.")
    return Request(header, tensors)


def write_response(
    model: str, request: Request, outputs: dict[str, Sequence[bytes] | np.ndarray]
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON if binary data follows that, else None."""
    tensors, binary = [], []
    for name, values in outputs.items():
        as_bytes = request.wants_binary(name)
        if isinstance(values, np.ndarray):
            tensor = ResponseOutput(name=name, shape=list(values.shape), datatype="FP32")
            raw = values.astype("<f4", copy=False).tobytes() if as_bytes else b""
        else:
            tensor = ResponseOutput(name=name, shape=[len(values)], datatype="BYTES")
            raw = b"".join(LENGTH.pack(len(value)) + value for value in values) if as_bytes else b""
        if as_bytes:
            tensor.parameters = {"binary_data_size": len(raw)}
            binary.append(raw)
        elif isinstance(values, np.ndarray):
            tensor.data = values.ravel().tolist()
        else:
            tensor.parameters = {"content_type": "base64"}
            tensor.data = [base64.b64encode(value).decode() for value in values]
        tensors.append(tensor)
    answer = InferResponse(model_name=model, id=request.header.id, outputs=tensors)
    header = answer.model_dump_json(exclude_defaults=True).encode()
    return (header + b"".join(binary), len(header)) if binary else (header, None)


def _count(tensor: RequestInput) -> int:
    """How many elements a tensor has by its shape; UsageError for a negative side or another type."""
    if tensor.datatype not in {"BYTES", "FP32"}:
        raise UsageError(f"Input {tensor.name} is {tensor.datatype}: use BYTES or FP32.")
    if min(tensor.shape, default=0) < 1:
        raise UsageError(f"Input {tensor.name} has shape {tensor.shape}: every side must be at least 1.")
    return prod(tensor.shape)


def _from_json(tensor: RequestInput) -> list[bytes] | np.ndarray:
    count = _count(tensor)
    if not isinstance(tensor.data, list):
        raise UsageError(f"Input {tensor.name} has neither a list `data` nor binary_data_size.")
    if tensor.datatype == "BYTES":
        flat = [item for entry in tensor.data for item in (entry if isinstance(entry, list) else [entry])]
        _fits(tensor, count, len(flat))
        return [_decoded(item, f"Image {i} of {count}") for i, item in enumerate(flat, start=1)]
    try:
        values = np.asarray(tensor.data)
    except ValueError:
        raise UsageError(f"Input {tensor.name}: the lists in `data` are of unequal lengths.") from None
    if values.dtype.kind not in "fiu":
        raise UsageError(f"Input {tensor.name} holds something other than numbers.")
    _fits(tensor, count, values.size)
    with np.errstate(over="ignore"):  # becomes inf, which whoever uses it refuses
        return values.astype(np.float32).reshape(tensor.shape)


def _from_bytes(tensor: RequestInput, data: memoryview) -> list[bytes] | np.ndarray:
    count = _count(tensor)
    if tensor.datatype == "FP32":
        if len(data) != 4 * count:
            raise UsageError(
                f"Input {tensor.name} has {len(data)} bytes, but FP32 of shape {tensor.shape} has "
                f"{4 * count}."
            )
        return np.frombuffer(data, "<f4").reshape(tensor.shape)
    found: list[bytes] = []
    place = 0
    while place < len(data):
        end = place + LENGTH.size
        length = LENGTH.unpack(data[place:end])[0] if end <= len(data) else len(data)
        if end + length > len(data):
            raise UsageError(f"Input {tensor.name}: element {len(found) + 1} is longer than what was sent.")
        found.append(bytes(data[end : end + length]))
        place = end + length
    _fits(tensor, count, len(found))
    return found


def _fits(tensor: RequestInput, count: int, found: int) -> None:
    if found != count:
        raise UsageError(
            f"Input {tensor.name} has {found} values, but its shape {tensor.shape} means {count}."
        )


def _decoded(item: object, which: str) -> bytes:
    try:
        if isinstance(item, str):
            return base64.b64decode(item, validate=True)
    except ValueError:
        pass
    raise UsageError(f"{which} is not base64.")
