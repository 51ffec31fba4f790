"""A video translated frame by frame, in segments that an interrupted command resumes; its audio is copied."""

from __future__ import annotations

import hashlib
import heapq
import io
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.errors import CycleGANError, UsageError, enough_memory, first_line
from cyclegan.inference.media.pictures import scaled
from cyclegan.io.files import atomic_file, read_json, remove_leftovers, write_json

if TYPE_CHECKING:
    from cyclegan.inference.translator import Translator

logger = logging.getLogger(__name__)

# container, codec and its options by a file's suffix; constant quality, near to lossless to the eye
H264 = ("libx264", {"crf": "18", "preset": "medium"})
CONTAINERS = {
    ".mp4": ("mp4", *H264),
    ".m4v": ("mp4", *H264),
    ".mov": ("mov", *H264),
    ".mkv": ("matroska", *H264),
    ".webm": ("webm", "libvpx-vp9", {"crf": "24", "b:v": "0", "row-mt": "1"}),
}
WITHOUT_SHAPE = {"libvpx-vp9"}  # leave to the container what shape pixels have, and PyAV does not tell it
READ = {*CONTAINERS, ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp", ".ogv"}
SEGMENT = 240  # frames: what an interruption loses at most
BT709, UNSPECIFIED, BT601, BT2020 = 1, 2, 5, 9  # matrices between RGB and YUV, as FFmpeg numbers them
LIMITED = 1  # the range of brightness that videos have, 16 to 235


def is_video(name: str) -> bool:
    """Whether the name is that of a video."""
    return Path(name).suffix.lower() in READ


def output_path(film: Path, out: str) -> Path:
    """Where the translation of a video goes: `out`, or into it where it is a folder. Raises UsageError."""
    if "://" in out:
        raise UsageError(f"A video is written to a file on this machine, not to {out}.")
    path = Path(out)
    if path.is_dir() or not path.suffix:
        own = film.suffix.lower() in CONTAINERS
        path = path / (film.name if own else f"{film.name}.mp4")
    if path.suffix.lower() not in CONTAINERS:
        raise UsageError(f"Cannot write {path}: a video's name must end in one of {', '.join(CONTAINERS)}.")
    if path.resolve() == film.resolve():
        raise UsageError(f"{film} would be replaced by its translation: use another name or folder.")
    return path


def check_installed() -> None:
    """Raises UsageError where PyAV is missing."""
    if not find_spec("av"):
        raise UsageError("Videos need more packages: pip install 'cyclegan-pipeline[video]'.")


def translate_film(translator: Translator, film: Path, out: Path, *, size: int, job: str) -> int:
    """Write the translation of `film` to `out`; returns the number of frames that were translated now.

    Frames keep their order and timestamps, audio streams are copied, the picture is turned upright. Finished
    segments wait in a hidden folder next to `out` and are used again if `job`, which names model and options,
    and the video are the same. Raises CycleGANError where the video cannot be read, UsageError where its
    audio does not fit into the container.
    """
    kind, codec, options = CONTAINERS[out.suffix.lower()]
    stat = film.stat()
    facts = [job, str(film.resolve()), stat.st_size, stat.st_mtime_ns, codec, options, size, SEGMENT]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    folder = out.parent / f".{out.name}.segments"
    with _opened(film) as source, _without_leftovers(folder):
        _check_audio(source, out, kind)
        finished = _finished(folder, key)
        frames = _frames(source, film)
        done = 0
        with _progress(source, translator) as progress:
            for number in range(len(finished)):
                progress.update(sum(1 for _ in islice(frames, SEGMENT)))
                logger.debug("Segment %d was there.", number)
            while frame := next(frames, None):
                segment = folder / f"{len(finished):05}.nut"
                with (
                    atomic_file(segment) as temporary,
                    _Encoder(temporary, source, codec, options) as encoder,
                ):
                    while frame is not None:
                        encoder.write(frame, _translated(translator, frame, size))
                        done += 1
                        progress.update()
                        frame = next(frames, None) if encoder.count < SEGMENT else None
                finished.append(segment)
        if not finished:
            raise CycleGANError(f"{film} has no frame that can be decoded.")
    with atomic_file(out) as temporary:
        _join(finished, film, temporary, kind)
    shutil.rmtree(folder)
    return done


@contextmanager
def _opened(film: Path) -> Iterator[Any]:
    import av

    try:
        source = av.open(str(film))
    except (av.error.FFmpegError, ValueError) as error:
        raise CycleGANError(f"{film} cannot be read as a video: {_reason(error)}.") from None
    with source:
        if not source.streams.video:
            raise CycleGANError(f"{film} has no pictures, only {_kinds(source) or 'nothing readable'}.")
        yield source


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)


def _kinds(source: Any) -> str:
    return ", ".join(sorted({stream.type for stream in source.streams}))


def _check_audio(source: Any, out: Path, kind: str) -> None:
    """Raises UsageError for an audio codec that the container of `out` does not hold."""
    import av

    with av.open(io.BytesIO(), "w", format=kind) as empty:
        fits = empty.supported_codecs
        for stream in source.streams.audio:
            name = stream.codec_context.name
            if name not in fits:
                raise UsageError(f"The audio is {name}, which a {out.suffix} file cannot hold: write .mkv.")


def _finished(folder: Path, key: str) -> list[Path]:
    """The segments that an earlier run of the same job left; the folder is emptied for another job."""
    facts = folder / "job.json"
    try:
        same = read_json(facts) == key
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(facts, key)
    remove_leftovers(folder)
    found = sorted(folder.glob("*.nut"))
    if found:
        logger.info("Resuming after %d segments of %d frames.", len(found), SEGMENT)
    return found


@contextmanager
def _without_leftovers(folder: Path) -> Iterator[None]:
    """Remove the folder of segments in the end where it has none, from which nothing could resume."""
    try:
        yield
    finally:
        if not any(folder.glob("*.nut")):
            shutil.rmtree(folder, ignore_errors=True)


def _frames(source: Any, film: Path) -> Iterator[Any]:
    """The frames of the first video stream in order; what is damaged is skipped and counted."""
    import av

    stream = source.streams.video[0]
    stream.thread_type = "AUTO"
    damaged = 0
    last = -1
    try:
        for packet in source.demux(stream):
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in decoded:
                if frame.pts is None or frame.pts <= last:  # no timestamp: the next moment
                    frame.pts = last + 1
                last = frame.pts
                yield frame
    except av.error.FFmpegError as error:
        raise CycleGANError(f"{film} cannot be read to its end: {_reason(error)}.") from None
    if damaged:
        logger.warning("%s: %d packets could not be decoded; their frames are missing.", film, damaged)


@contextmanager
def _progress(source: Any, translator: Translator) -> Iterator[Any]:
    from tqdm import tqdm

    stream = source.streams.video[0]
    total = stream.frames or None
    if not total and source.duration and stream.average_rate:
        total = round(source.duration / 1_000_000 * stream.average_rate)
    with tqdm(total=total, desc=translator.direction, unit="frame", disable=None) as progress:
        yield progress


def _matrix(frame: Any) -> int:
    """Which matrix turns the frame's YUV into RGB; where it does not say, HD is BT.709 and others BT.601."""
    known = {1: BT709, 5: BT601, 6: BT601, 9: BT2020, 10: BT2020}
    return known.get(int(frame.colorspace), BT709 if frame.height >= 720 else BT601)


def _quarters(frame: Any) -> int:
    """Quarter turns counterclockwise that make the frame upright, as a phone says how it was held."""
    return round(int(frame.rotation) / 90) % 4


def _translated(translator: Translator, frame: Any, size: int) -> np.ndarray:
    from PIL import Image

    matrix = _matrix(frame)
    image = frame.reformat(format="rgb24", src_colorspace=matrix, dst_colorspace=matrix).to_ndarray()
    image = np.ascontiguousarray(np.rot90(image, _quarters(frame)))
    if size:
        height, width = image.shape[:2]
        picture = Image.fromarray(image).resize(scaled(width, height, size), Image.Resampling.BICUBIC)
        image = np.asarray(picture)
    with enough_memory("use a smaller --tile or --size, or --device cpu"):
        return translator.array(image)


class _Encoder:
    """One segment: a video stream in a NUT file, which keeps every time base exactly."""

    def __init__(self, path: Path, source: Any, codec: str, options: dict[str, str]) -> None:
        import av

        self._file = av.open(str(path), "w", format="nut")
        self._codec, self._options = codec, options
        self._source = source.streams.video[0]
        self._stream: Any = None
        self.count = 0

    def __enter__(self) -> _Encoder:
        return self

    def write(self, frame: Any, image: np.ndarray) -> None:
        """Add uint8 H×W×3, the translation of `frame`, at its time."""
        import av

        height, width = image.shape[:2]
        shape = self._source.sample_aspect_ratio or Fraction(1)
        if _quarters(frame) % 2:
            shape = 1 / shape
        if odd := (height % 2, width % 2):  # colours are stored for squares of two pixels
            image = np.pad(image, [(0, odd[0]), (0, odd[1]), (0, 0)], mode="edge")
            height, width = image.shape[:2]
        if self._codec in WITHOUT_SHAPE and shape != 1:
            width, height = (2 * round(side / 2) for side in (width * max(shape, 1), height / min(shape, 1)))
            shape = Fraction(1)
        matrix = _matrix(frame)
        if self._stream is None:
            rate = self._source.average_rate or Fraction(25)
            # no frames that refer to later ones: segments can then follow one another
            stream: Any = self._file.add_stream(self._codec, rate=rate, options={**self._options, "bf": "0"})
            stream.height, stream.width = height, width
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.time_base = self._source.time_base
            context.colorspace, context.color_range = matrix, LIMITED
            if shape != 1:
                context.sample_aspect_ratio = shape
            self._stream = stream
        made = av.VideoFrame.from_ndarray(image, format="rgb24")
        made = made.reformat(width, height, format="yuv420p", src_colorspace=matrix, dst_colorspace=matrix)
        made.pts, made.time_base = frame.pts, self._source.time_base
        self._file.mux(self._stream.encode(made))
        self.count += 1

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self._file.mux(self._stream.encode(None))
        self._file.close()


def _join(segments: list[Path], film: Path, out: Path, kind: str) -> None:
    """Segments one after another and the video's audio, without encoding anything again."""
    import av

    with ExitStack() as stack:
        target = stack.enter_context(av.open(str(out), "w", format=kind))
        source = stack.enter_context(av.open(str(film)))
        with av.open(str(segments[0])) as first:
            video = target.add_stream_from_template(first.streams.video[0])
            video.time_base = first.streams.video[0].time_base
        audio = {stream.index: target.add_stream_from_template(stream) for stream in source.streams.audio}

        def pictures() -> Iterator[Any]:
            for segment in segments:
                with av.open(str(segment)) as file:
                    for packet in file.demux(video=0):
                        if packet.dts is not None:
                            packet.stream = video
                            yield packet

        def sound() -> Iterator[Any]:
            for packet in source.demux(*source.streams.audio) if audio else ():
                if packet.dts is not None:
                    packet.stream = audio[packet.stream.index]
                    yield packet

        for packet in heapq.merge(pictures(), sound(), key=lambda packet: packet.dts * packet.time_base):
            target.mux(packet)
