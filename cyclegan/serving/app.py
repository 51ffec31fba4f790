"""The HTTP side of the server: plain pictures at /translate, the Open Inference Protocol below /v2."""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from cyclegan import __version__
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference.media.pictures import QUALITY
from cyclegan.serving.config import ServeConfig
from cyclegan.serving.options import FORMATS, RANGES, PictureOptions
from cyclegan.serving.protocol import InferRequest, InferResponse, read_request, write_response
from cyclegan.serving.served import Served

T = TypeVar("T")

HEADER_LENGTH = "Inference-Header-Content-Length"
MOST_DIGITS = 18  # of a number of bytes: int() refuses thousands
ABOUT = """\
Send a JPEG, PNG, WebP, … to **/translate** and get the translated picture in the same size. Below **/v2** the
server speaks the [Open Inference Protocol](https://github.com/kserve/open-inference-protocol)."""
PICTURES = {f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS}


class Error(BaseModel):
    """What every answer from 400 on holds."""

    error: str
    """One sentence: what is wrong and what to do."""


class Refused(CycleGANError):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Slots:
    """Turns: so many translations at a time, so many requests waiting for one, and no more."""

    def __init__(self, concurrency: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(concurrency, "translate")
        self._free = asyncio.Semaphore(concurrency)
        self._open, self._most = 0, concurrency + queue

    async def run(self, request: Request, config: ServeConfig, work: Callable[[bytes], T]) -> T:
        """`work` on the body, in a thread; the body is read only if there is room for the request."""
        if self._open >= self._most:
            raise Refused(503, f"The server is busy with {self._open} requests: try again later.")
        self._open += 1
        try:
            body = await _body(request, config)
            async with self._free:
                if await request.is_disconnected():
                    raise Refused(499, "The client has gone.")
                return await asyncio.get_running_loop().run_in_executor(self._pool, work, body)
        except asyncio.CancelledError:  # by the server that stops, after its time of grace
            raise Refused(503, "The server is stopping: ask again later.") from None
        finally:
            self._open -= 1


def create_app(served: Mapping[str, Served], config: ServeConfig) -> FastAPI:
    """The server's application for loaded models; the first one is that of /translate by default.

    What a client does wrong is answered with 4xx and one sentence, a full queue with 503.
    """
    app = FastAPIOffline(title="cyclegan serve", version=__version__, description=ABOUT, redoc_url=None)
    slots = Slots(config.concurrency, config.queue)
    failures: dict[int | str, dict[str, Any]] = {
        400: {"model": Error, "description": "Wrong input; the sentence says what is wrong"},
        404: {"model": Error, "description": "No such model"},
        408: {"model": Error, "description": "The body did not arrive in time"},
        413: {"model": Error, "description": f"More than {config.max_bytes} bytes"},
        503: {"model": Error, "description": "Too many requests are waiting: try again later"},
    }

    def find(name: str) -> Served:
        if name not in served:
            raise Refused(404, f"There is no model {name!r}: use {', '.join(served)}.")
        return served[name]

    @app.get("/", include_in_schema=False)
    async def documentation() -> RedirectResponse:
        return RedirectResponse("docs")

    @app.post(
        "/translate",
        tags=["Pictures"],
        summary="Translate a picture",
        response_class=Response,
        responses={200: {"content": PICTURES, "description": "The translated picture"}, **failures},
        openapi_extra={"requestBody": {"required": True, "content": {**PICTURES, "image/*": {}}}},
    )
    async def translate(
        request: Request,
        model: Annotated[str, Query(description="A name that /v2/models lists; by default the first")] = "",
        format: Annotated[
            Literal["png", "jpeg", "webp"] | None,
            Query(description="Of the answer; by default as Accept says, else as the picture came, else png"),
        ] = None,
        quality: Annotated[int, _ranged("quality", "Of jpeg and webp")] = QUALITY,
        size: Annotated[int, _ranged("size", "Scale the shorter side to so many pixels; 0: as it is")] = 0,
        tile: Annotated[int | None, _ranged("tile", "Side of the tiles of larger pictures")] = None,
    ) -> Response:
        unknown = set(request.query_params) - {"model", "format", "quality", "size", "tile"}
        if unknown:
            raise UsageError(
                f"There is no parameter {min(unknown)!r}: use model, format, quality, size or tile."
            )
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise Refused(
                415, "Send the picture itself as the body, not a form: curl --data-binary @photo.jpg."
            )
        chosen = find(model or next(iter(served)))
        accepted = request.headers.get("accept", "")

        def work(body: bytes) -> Response:
            kind = format or _accepted(accepted) or _kind(body)
            options = PictureOptions(format=kind, quality=quality, size=size, tile=tile or config.tile)
            return Response(chosen.picture(body, chosen.limited(options)), media_type=options.media_type)

        return await slots.run(request, config, work)

    protocol: dict[str, Any] = {"tags": ["Open Inference Protocol v2"]}

    @app.get("/v2/health/live", summary="Whether the server runs", **protocol)
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Whether every model is loaded", **protocol)
    async def ready() -> dict[str, bool]:
        return {"ready": True}  # it listens only once they are

    @app.get("/v2", summary="About the server", **protocol)
    async def about() -> dict[str, Any]:
        return {"name": "cyclegan", "version": __version__, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/models", summary="The names of the models", **protocol)
    async def models() -> dict[str, list[str]]:
        return {"models": list(served)}

    @app.get("/v2/models/{name}", summary="About a model", responses={404: failures[404]}, **protocol)
    async def metadata(name: str) -> dict[str, Any]:
        return find(name).metadata()

    @app.get(
        "/v2/models/{name}/ready", summary="Whether it is loaded", responses={404: failures[404]}, **protocol
    )
    async def model_ready(name: str) -> dict[str, Any]:
        return {"name": find(name).name, "ready": True}

    @app.post(
        "/v2/models/{name}/infer",
        summary="Translate pictures or tensors",
        response_class=Response,
        responses={200: {"model": InferResponse}, **failures},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": InferRequest.model_json_schema()}},
            }
        },
        **protocol,
    )
    async def infer(request: Request, name: str) -> Response:
        chosen, length = find(name), _header_length(request)

        def work(body: bytes) -> Response:
            asked = read_request(body, length)
            content, header = write_response(name, asked, chosen.infer(asked))
            if header is None:
                return Response(content, media_type="application/json")
            return Response(
                content, media_type="application/octet-stream", headers={HEADER_LENGTH: str(header)}
            )

        return await slots.run(request, config, work)

    _answer_errors(app)
    return app


def _ranged(name: str, description: str) -> Any:
    least, most = RANGES[name]
    return Query(description=description, ge=least, le=most)


def _header_length(request: Request) -> int | None:
    """Where the request's JSON ends, if it says so."""
    given = request.headers.get(HEADER_LENGTH)
    if given is None:
        return None
    if not given.isdecimal() or len(given) > MOST_DIGITS:
        raise UsageError(f"{HEADER_LENGTH} = {reprlib.repr(given)} is not a number of bytes.")
    return int(given)


async def _body(request: Request, config: ServeConfig) -> bytes:
    too_large = Refused(413, f"The body has more than {config.max_bytes} bytes: send a smaller picture.")
    if int(request.headers.get("content-length", 0)) > config.max_bytes:
        raise too_large
    chunks, received = [], 0
    try:
        async with asyncio.timeout(config.upload_seconds):
            async for chunk in request.stream():
                received += len(chunk)
                if received > config.max_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise Refused(408, f"The body did not arrive within {config.upload_seconds:g} seconds.") from None
    return b"".join(chunks)


def _accepted(header: str) -> str:
    """The first of our formats that an Accept header names; empty where it leaves the choice."""
    named = [part.split(";")[0].strip() for part in header.split(",")]
    return next((name.removeprefix("image/") for name in named if name in PICTURES), "")


def _kind(data: bytes) -> str:
    """The format of an encoded picture if it is one of ours, else png."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else "png"


def _answer_errors(app: FastAPI) -> None:
    """Every failure as `{"error": "one sentence"}`, as the protocol wants it."""

    def answer(status: int, message: str) -> JSONResponse:
        headers = {"Retry-After": "1"} if status == 503 else None
        return JSONResponse({"error": message}, status, headers)

    @app.exception_handler(CycleGANError)
    async def ours(_: Request, error: CycleGANError) -> JSONResponse:
        if isinstance(error, Refused):
            return answer(error.status, str(error))
        return answer(400 if isinstance(error, UsageError) else 500, str(error))

    @app.exception_handler(RequestValidationError)
    async def wrong_query(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return answer(400, f"{first['loc'][-1]} = {first.get('input')!r} is wrong: {first['msg']}.")

    @app.exception_handler(HTTPException)
    async def wrong_route(request: Request, error: HTTPException) -> JSONResponse:
        path = request.url.path
        known = {
            404: f"There is nothing at {path}: see /docs.",
            405: f"{path} does not take {request.method}: see /docs.",
        }
        response = answer(error.status_code, known.get(error.status_code, str(error.detail)))
        response.headers.update(error.headers or {})
        return response
