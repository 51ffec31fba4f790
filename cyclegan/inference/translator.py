"""A trained generator as a function of images: `load("outputs/model")("photo.jpg").save("map.png")`."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.engines.base import Engine, EngineName, Precision
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.io.uri import redact, reveal
from cyclegan.model_config import kinds_of
from cyclegan.pixels import to_integer_array

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from cyclegan.data.deep import Levels
    from cyclegan.inference.tiling import Regions
    from cyclegan.model import Direction

logger = logging.getLogger(__name__)


class Translator:
    """One generator as a function of images of the same size: RGB, unless it was trained on others."""

    def __init__(
        self,
        engine: Engine,
        direction: Direction,
        config: dict[str, Any],
        *,
        tile: int = 1024,
        overlap: int = 128,
    ) -> None:
        self.engine = engine
        self.direction = direction
        self.config = config
        self.multiple = engine.multiple
        self.tile = tile
        self.overlap = overlap
        kinds = kinds_of(config)
        self.source, self.target = (kinds[end] for end in direction.split("to"))
        self._told = False

    @property
    def is_rgb(self) -> bool:
        """Whether both ends are RGB of 8 bits."""
        return self.source.is_rgb and self.target.is_rgb

    @cached_property
    def levels(self) -> Levels:
        """Which values are black and white in files of more than 8 bits."""
        from cyclegan.data.channels.read import levels_of

        return levels_of(self.config)

    def __call__(self, image: Image.Image | np.ndarray | str | Path) -> Any:
        """Translate a Pillow image or a file into a Pillow image, uint8 H×W×3 into uint8 H×W×3.

        A model of other channels or 16 bits takes a file or an array, uint8 or uint16 H×W×C over the whole
        range of that type, and returns such an array. Raises UsageError for an array of another shape or type
        and for a file that is not an image.
        """
        import numpy as np
        from PIL import Image

        from cyclegan.data.decode import open_image, to_rgb
        from cyclegan.data.errors import BadImage

        if isinstance(image, np.ndarray):
            kind = self.source
            if image.dtype != kind.dtype or image.ndim != 3 or image.shape[2] != kind.channels:
                raise UsageError(
                    f"An image must be {kind.dtype} H×W×{kind.channels}, not {image.dtype} {image.shape}."
                )
            return self.array(image)
        if not self.is_rgb:
            return self._file(image)
        try:
            opened = open_image(Path(image).read_bytes()) if isinstance(image, str | Path) else image
            rgb = np.asarray(to_rgb(opened))
        except BadImage as error:
            raise UsageError(f"Cannot read {image}: {error}.") from None
        except OSError as error:
            raise UsageError(f"Cannot read {image}: {error.strerror}.") from None
        return Image.fromarray(self.array(rgb))

    def _file(self, image: Image.Image | str | Path) -> np.ndarray:
        from cyclegan.data.channels.read import read_image
        from cyclegan.data.errors import BadImage

        if not isinstance(image, str | Path):
            raise UsageError(f"This model takes files or arrays of {self.source}.")
        try:
            return self.array(read_image(Path(image).read_bytes(), self.source, self.levels)[0])
        except BadImage as error:
            raise UsageError(f"Cannot read {image}: {error}.") from None
        except OSError as error:
            raise UsageError(f"Cannot read {image}: {error.strerror}.") from None

    def array(self, image: np.ndarray, *, tile: int | None = None) -> np.ndarray:
        """H×W×C of `source` to H×W×C of `target`; `tile` replaces the translator's own."""
        import numpy as np

        out = np.empty((*image.shape[:2], self.target.channels), self.target.dtype)
        top = 0
        for band in self.bands(image, tile=tile):
            out[top : top + len(band)] = band
            top += len(band)
        return out

    def floats(self, image: np.ndarray, *, tile: int | None = None) -> np.ndarray:
        """float32 H×W×C in [-1, 1] to such values of `target`, with nothing rounded."""
        import numpy as np

        return np.concatenate(list(self._float_bands(image, tile)))

    def bands(self, image: Regions, *, tile: int | None = None) -> Iterator[np.ndarray]:
        """The translation of H×W×C of `source` from top to bottom in pieces, h×W×C of `target`.

        What is computed at once, and the memory for it, is one row of tiles. `image` may be anything with a
        shape that two slices cut an array from.
        """
        for band in self._float_bands(image, tile):
            yield to_integer_array(band, self.target.bits)

    def _float_bands(self, image: Regions, tile: int | None) -> Iterator[np.ndarray]:
        from cyclegan.inference.tiling import bands, split

        height, width = image.shape[:2]
        tile = self.tile if tile is None else tile
        rows, columns = (split(side, tile, self.overlap, self.multiple) for side in (height, width))
        if len(rows.starts) == len(columns.starts) == 1:
            yield self._pieces(image[:height, :width][None])[0]
            return
        if not self._told:
            self._told = True
            logger.info(
                "Images above %d pixels are translated in tiles; each is normalised by itself, so that tones "
                "can differ between distant tiles.",
                tile,
            )
        yield from bands(image, rows, columns, self._pieces, self.engine.batch, self.target.channels)

    def _pieces(self, images: np.ndarray) -> np.ndarray:
        """N×H×W×C as engines take it to float32 in [-1, 1].

        Reflected up to sides that the network takes, and cropped after.
        """
        import numpy as np

        height, width = images.shape[1:3]
        # at least two multiples, since normalisation and reflection need more than one position
        target = [max(-(-side // self.multiple), 2) * self.multiple for side in (height, width)]
        spare = [target[0] - height, target[1] - width]
        before = [rest // 2 for rest in spare]
        sides = [(before[i], spare[i] - before[i]) for i in (0, 1)]
        padded = np.pad(images, [(0, 0), *sides, (0, 0)], mode="reflect") if any(spare) else images
        out = self.engine(padded)
        if not np.isfinite(out).all():
            raise CycleGANError(
                f"Generator {self.direction} gives values that are not finite: it has diverged."
            )
        return out[:, before[0] : before[0] + height, before[1] : before[1] + width]


def load(
    source: str | Path,
    direction: Direction | None = None,
    *,
    device: str = "auto",
    precision: Precision = "auto",
    engine: EngineName = "auto",
    tile: int = 1024,
    overlap: int = 128,
    pictures: int | None = None,
) -> Translator:
    """A translator from a model folder, an exported `.onnx` or `.xml` file, `s3://…`, `hf://organisation/name`,
    `models:/name@champion`, `models:/name/3` or `runs:/id`.

    Nothing else need be known: the model says what it is. `precision` auto is bfloat16 where the CPU or GPU
    computes in it; `engine` auto is explained at `open_engine`, as is `pictures`. Raises UsageError where
    there is no model, or for an engine that is not available here.
    """
    from cyclegan.engines.choose import open_engine, open_onnx

    if str(source).endswith((".onnx", ".xml")):
        if not Path(source).is_file():
            raise UsageError(f"There is no file {redact(str(source))}.")
        opened = open_onnx(Path(source), engine, precision, device)
        known: Direction = opened.facts["direction"]
        if direction and direction != known:
            raise UsageError(f"{source} is a generator {known}, not {direction}.")
        return Translator(opened, known, opened.facts["config"], tile=tile, overlap=overlap)
    with model_folder(source, direction) as (folder, wanted):
        chosen, config = open_engine(
            folder,
            wanted,
            engine=engine,
            device=device,
            precision=precision,
            pictures=pictures,
            where=redact(str(source)),
        )
    return Translator(chosen, wanted, config, tile=tile, overlap=overlap)


def directions_of(source: str | Path, wanted: str = "auto") -> list[Direction]:
    """The generators that are meant by an address: `wanted`, or for auto all that it may name, AtoB first."""
    known: tuple[Direction, Direction] = ("AtoB", "BtoA")
    text = str(source)
    if wanted != "auto":
        return [direction for direction in known if direction == wanted]
    if text.startswith("models:/"):
        name = text.removeprefix("models:/").split("@")[0].split("/")[0]
        return [direction for direction in known if name.endswith(f"-{direction}")] or [*known]
    if "://" in text or text.startswith("runs:/"):
        return [*known]
    folder = Path(source)
    there = [d for d in known if any((folder / f"{d}{end}").is_file() for end in (".safetensors", ".onnx"))]
    return there or [*known]


@contextmanager
def model_folder(source: str | Path, direction: Direction | None) -> Iterator[tuple[Path, Direction]]:
    """A folder with config.json and the generator's weights for any address, and the direction it is of.

    A downloaded one is removed at the end. Raises UsageError where there is no model.
    """
    text = str(source)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = reveal(text)
        if text.startswith(("models:/", "runs:/")):
            from cyclegan.registry.locate import download

            yield folder, download(text, direction, folder)
        elif text.startswith("hf://"):
            from cyclegan.inference.hub import download as download_from_hub

            yield download_from_hub(text, direction or "AtoB"), direction or "AtoB"
        elif text.startswith("s3://"):
            _copy_from_store(text, direction or "AtoB", folder)
            yield folder, direction or "AtoB"
        elif Path(source).is_file():
            raise UsageError(f"{source} is a file: name the model's folder, which holds config.json.")
        else:
            yield Path(source), direction or directions_of(source)[0]


def _copy_from_store(uri: str, direction: Direction, folder: Path) -> None:
    from cyclegan.io.storage import open_store
    from cyclegan.io.store import NotFound

    store = open_store(uri)
    try:
        for name in ("config.json", f"{direction}.safetensors"):
            store.get(name, folder / name)
    except NotFound as error:
        raise UsageError(f"There is no model in {store.uri}: {error}") from None
