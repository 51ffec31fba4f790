"""Videos: every frame at its time, audio untouched, an interrupted command resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.inference import translate as step
from cyclegan.inference.media import video
from cyclegan.inference.translate import TranslateConfig, translate
from cyclegan.inference.translator import Translator
from cyclegan.pixels import to_unit_array

av = pytest.importorskip("av")
TIMES = [0, 1, 2, 3, 5, 8, 9, 10, 11, 12, 13]  # of frames, in 1/25 s: some take longer
COLOURS = np.linspace(30, 220, len(TIMES)).round().astype(np.uint8)


class Negative:
    """An engine that needs no model; counts its pictures and can be made to fail."""

    name, multiple, batch = "negative", 4, 1

    def __init__(self) -> None:
        self.count = 0
        self.fails_after = 10**9

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if self.count == self.fails_after:
            raise KeyboardInterrupt
        self.count += len(images)
        return -to_unit_array(images)


@pytest.fixture
def engine(monkeypatch):
    engine = Negative()

    def load(model: str, direction: object, **options: object) -> Translator:
        return Translator(engine, "AtoB", {"model": model})

    monkeypatch.setattr(step, "load", load)
    return engine


def write_film(
    path: Path,
    *,
    width: int = 64,
    height: int = 48,
    audio: str = "aac",
    codec: str = "libx264",
    shape: Fraction | None = None,
):
    """Grey frames, the left half darker by 20, at TIMES, and a tone of half a second; `shape`: of pixels."""
    with av.open(str(path), "w") as film:
        picture = film.add_stream(codec, rate=25)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 25)
        if shape:
            picture.codec_context.sample_aspect_ratio = shape
        sound = film.add_stream(audio, rate=48000, layout="mono") if audio else None
        for time, colour in zip(TIMES, COLOURS, strict=True):
            pixels = np.full((height, width, 3), colour, np.uint8)
            pixels[:, : width // 2] -= 20
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            film.mux(picture.encode(frame))
        film.mux(picture.encode(None))
        if sound:
            tone = (np.sin(np.arange(24000) / 20) * 9000).astype(np.int16)[None]
            for i in range(0, 24000, 1024):
                part = av.AudioFrame.from_ndarray(tone[:, i : i + 1024], format="s16", layout="mono")
                part.sample_rate, part.pts, part.time_base = 48000, i, Fraction(1, 48000)
                film.mux(sound.encode(part))
            film.mux(sound.encode(None))
    return path


def frames(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    with av.open(str(path)) as film:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)
        ]


def sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as film:
        return [bytes(packet) for packet in film.demux(audio=0) if packet.size]


def run(film: Path, out: Path, **options):
    return translate("model", str(film), str(out), TranslateConfig(**options))


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47)])
def test_frames_keep_their_times_and_audio_its_bytes(engine, tmp_path, monkeypatch, width, height):
    monkeypatch.setattr(video, "SEGMENT", 4)
    film = write_film(tmp_path / "film.mp4", width=width + width % 2, height=height + height % 2)
    out = tmp_path / "new" / "b.mp4"
    options = {} if width == 64 else {"size": 47}
    assert run(film, out, **options).written == 1
    assert [path.name for path in out.parent.iterdir()] == ["b.mp4"]
    made = frames(out)
    before = frames(film)
    assert [time for time, _ in made] == [time for time, _ in before]
    assert [float(time) * 25 for time, _ in made] == TIMES
    for (_, image), colour in zip(made, COLOURS, strict=True):
        assert image.shape == (48, 64, 3)
        for part, expected in ((image[:, 40:], 255 - colour), (image[:, :24], 255 - (colour - 20))):
            assert np.abs(part.astype(int) - int(expected)).mean() < 3
    assert sound(out) == sound(film) and len(sound(film)) > 10
    with av.open(str(out)) as opened:
        assert opened.streams.video[0].codec_context.name == "h264"


def test_an_interrupted_film_resumes_and_is_the_same(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "SEGMENT", 4)
    film = write_film(tmp_path / "film.mp4")
    run(film, tmp_path / "whole.mp4")
    assert engine.count == len(TIMES)
    engine.count, engine.fails_after = 0, 6
    with pytest.raises(KeyboardInterrupt):
        run(film, tmp_path / "again.mp4")
    assert not (tmp_path / "again.mp4").exists()
    engine.count, engine.fails_after = 0, 10**9
    assert run(film, tmp_path / "again.mp4").written == 1
    assert engine.count == len(TIMES) - 4
    whole, again = frames(tmp_path / "whole.mp4"), frames(tmp_path / "again.mp4")
    assert [time for time, _ in whole] == [time for time, _ in again]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(whole, again, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.mp4", "film.mp4", "whole.mp4"]
    assert run(film, tmp_path / "again.mp4").skipped == 1


COMMAND = """
import json, os, signal, sys
from pathlib import Path
from cyclegan.inference import translate as step
from cyclegan.inference.media import video
from cyclegan.inference.translator import Translator
from cyclegan.pixels import to_unit_array

film, out, segment, killed_at = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
count = 0

class Negative:
    name, multiple, batch = "negative", 4, 1
    def __call__(self, images):
        global count
        count += len(images)
        if str(count) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return -to_unit_array(images)

def join(*given, former=video._join):
    former(*given)
    if killed_at == "joining":
        os.kill(os.getpid(), signal.SIGKILL)

step.load = lambda *given, **options: Translator(Negative(), "AtoB", {})
video.SEGMENT, video._join = segment, join
# frames are in the file as soon as they are translated, so that a killed process leaves half a segment
video.CONTAINERS[".mp4"] = ("mp4", "libx264", {"crf": "18", "tune": "zerolatency"})
step.translate("model", film, out, step.TranslateConfig())
lines = Path("/proc/self/status").read_text().splitlines() if sys.platform == "linux" else []
peak = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
print(json.dumps({"frames": count, "mb": peak}))
"""


def command(film: Path, out: Path, segment: int, killed_at: str = "never") -> subprocess.CompletedProcess:
    words = [sys.executable, "-c", COMMAND, str(film), str(out), str(segment), killed_at]
    return subprocess.run(words, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
@pytest.mark.parametrize(("killed_at", "left"), [("3", 11), ("6", 7), ("10", 3), ("joining", 0)])
def test_a_killed_command_resumes_and_the_film_is_the_same(tmp_path, killed_at, left):
    film = write_film(tmp_path / "film.mp4")
    assert command(film, tmp_path / "whole.mp4", 4).returncode == 0
    again = tmp_path / "again.mp4"
    assert command(film, again, 4, killed_at).returncode == -signal.SIGKILL
    assert not again.exists() and (tmp_path / ".again.mp4.segments").is_dir()
    resumed = command(film, again, 4)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["frames"] == left
    expected, made = frames(tmp_path / "whole.mp4"), frames(again)
    assert [time for time, _ in made] == [time for time, _ in expected]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(made, expected, strict=True))
    assert sound(again) == sound(film)
    assert not (tmp_path / ".again.mp4.segments").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_film(tmp_path):
    """1200 frames more, 276 MB of pixels, and less than 20 MB of memory."""
    peaks = []
    for count in (300, 1500):
        film, out = tmp_path / f"{count}.mp4", tmp_path / f"{count}_b.mp4"
        with av.open(str(film), "w") as file:
            stream = file.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for i in range(count):
                pixels = np.full((240, 320, 3), i % 200, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            file.mux(stream.encode(None))
        ended = command(film, out, 240)
        assert ended.returncode == 0, ended.stderr
        said = json.loads(ended.stdout)
        assert said["frames"] == count
        peaks += said["mb"]
    assert peaks[1] - peaks[0] < 20, peaks


def test_segments_of_another_job_are_not_used(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "SEGMENT", 4)
    film = write_film(tmp_path / "film.mp4")
    engine.fails_after = 6
    with pytest.raises(KeyboardInterrupt):
        run(film, tmp_path / "b.mp4")
    engine.count, engine.fails_after = 0, 10**9
    run(film, tmp_path / "b.mp4", size=24)
    assert engine.count == len(TIMES)
    assert frames(tmp_path / "b.mp4")[0][1].shape == (24, 32, 3)


def turn(film: Path) -> Path:
    """Mark an .mp4 file as one that is to be turned clockwise."""
    data = bytearray(film.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    one = (1 << 16).to_bytes(4, "big", signed=True)
    minus = (-1 << 16).to_bytes(4, "big", signed=True)
    zero, unit = bytes(4), (1 << 30).to_bytes(4, "big")
    data[matrix : matrix + 36] = b"".join([zero, one, zero, minus, zero, zero, zero, zero, unit])
    film.write_bytes(data)
    return film


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("end", ["mp4", "mkv", "webm"])
def test_pixels_that_are_not_square_keep_their_shape(engine, tmp_path, monkeypatch, end, turned):
    """Of the picture as it is shown: WebM gets square pixels, the others say what shape they have."""
    if end == "webm" and "libvpx-vp9" not in av.codecs_available:
        pytest.skip("PyAV without libvpx")
    monkeypatch.setattr(video, "SEGMENT", 4)
    film = write_film(tmp_path / "film.mp4", audio="", shape=Fraction(3, 2))
    run(turn(film) if turned else film, tmp_path / f"b.{end}")
    with av.open(str(tmp_path / f"b.{end}")) as opened:
        stream = opened.streams.video[0]
        width, height = stream.width * stream.sample_aspect_ratio, stream.height
    expected = Fraction(64 * 3, 48 * 2)
    assert width / height == (1 / expected if turned else expected)
    stored = (64, 48) if end != "webm" else (96, 48)
    assert (stream.width, stream.height) == (stored[::-1] if turned else stored)


def test_a_film_without_frames_leaves_nothing_behind(engine, tmp_path, monkeypatch):
    film = write_film(tmp_path / "film.mp4")
    monkeypatch.setattr(video, "_frames", lambda *given: iter(()))
    with pytest.raises(CycleGANError, match="has no frame that can be decoded"):
        run(film, tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_a_film_that_was_held_upright(engine, tmp_path):
    """The rotation of a phone's video is in its track header; pixels are turned, and the mark is gone."""
    film = turn(write_film(tmp_path / "film.mp4", audio=""))
    run(film, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as opened:
        frame = next(opened.decode(video=0))
    image = frame.to_ndarray(format="rgb24").astype(int)
    assert (image.shape, frame.rotation) == ((64, 48, 3), 0)
    # turned clockwise: what was left and darker is above, and brighter in the negative
    assert image[:24].mean() > image[40:].mean() + 10


@pytest.mark.parametrize("end", ["mkv", "mov", "webm"])
def test_other_containers(engine, tmp_path, end):
    if end == "webm" and "libvpx-vp9" not in av.codecs_available:
        pytest.skip("PyAV without libvpx")
    film = write_film(tmp_path / "film.mkv", audio="libopus" if end == "webm" else "aac")
    run(film, tmp_path / f"b.{end}")
    assert [round(float(time) * 25) for time, _ in frames(tmp_path / f"b.{end}")] == TIMES
    assert sound(tmp_path / f"b.{end}") == sound(film)


def test_mistakes_are_one_sentence(engine, tmp_path, monkeypatch):
    film = write_film(tmp_path / "film.mkv", audio="pcm_s16le")
    with pytest.raises(UsageError, match=r"The audio is pcm_s16le, which a \.webm file cannot hold"):
        run(film, tmp_path / "b.webm")
    with pytest.raises(UsageError, match="a video's name must end in one of"):
        run(film, tmp_path / "b.gif")
    with pytest.raises(UsageError, match="would be replaced"):
        run(film, film)
    with pytest.raises(UsageError, match="no file"):
        run(tmp_path / "none.mp4", tmp_path / "b.mp4")
    with pytest.raises(UsageError, match="shards must be 1"):
        run(film, tmp_path / "b.mkv", shards=2)
    (tmp_path / "no.mp4").write_bytes(b"no video at all" * 100)
    with pytest.raises(CycleGANError, match="cannot be read as a video"):
        run(tmp_path / "no.mp4", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "song.mp4"), "w") as song:
        tone = song.add_stream("aac", rate=48000, layout="mono")
        part = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        part.sample_rate = 48000
        song.mux(tone.encode(part))
        song.mux(tone.encode(None))
    with pytest.raises(CycleGANError, match="has no pictures, only audio"):
        run(tmp_path / "song.mp4", tmp_path / "b.mp4")
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'cyclegan-pipeline\[video\]'"):
        run(film, tmp_path / "b.mkv")


def test_a_folder_of_pictures_has_no_films(engine, tmp_path):
    (tmp_path / "in").mkdir()
    write_film(tmp_path / "in" / "film.mp4", audio="")
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.png")
    assert translate("m", str(tmp_path / "in"), str(tmp_path / "out"), TranslateConfig()).written == 1
