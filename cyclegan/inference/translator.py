"""A trained generator as a function of images: `load("outputs/model")("photo.jpg").save("map.png")`."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.errors import UsageError
from cyclegan.io.uri import redact, reveal

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from cyclegan.model import Direction

logger = logging.getLogger(__name__)


class Translator:
    """One generator as a function of images; RGB in, RGB of the same size out."""

    def __init__(
        self,
        generator: torch.nn.Module,
        direction: Direction,
        config: dict[str, Any],
        *,
        tile: int = 1024,
        overlap: int = 128,
    ) -> None:
        self.generator = generator
        self.direction = direction
        self.config = config
        self.multiple = int(generator.multiple)  # type: ignore[arg-type]
        self.tile = tile
        self.overlap = overlap
        self._told = False

    def __call__(self, image: Image.Image | np.ndarray | str | Path) -> Any:
        """Translate a Pillow image or a file into a Pillow image, uint8 H×W×3 into uint8 H×W×3.

        Raises UsageError for an array of another form and for a file that is no image.
        """
        import numpy as np
        from PIL import Image

        from cyclegan.data.decode import BadImage, open_image, to_rgb

        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise UsageError(f"An image must be uint8 H×W×3, not {image.dtype} {image.shape}.")
            return self.array(image)
        try:
            opened = open_image(Path(image).read_bytes()) if isinstance(image, str | Path) else image
            rgb = np.asarray(to_rgb(opened))
        except BadImage as error:
            raise UsageError(f"Cannot read {image}: {error}.") from None
        except OSError as error:
            raise UsageError(f"Cannot read {image}: {error.strerror}.") from None
        return Image.fromarray(self.array(rgb))

    def array(self, image: np.ndarray) -> np.ndarray:
        """uint8 H×W×3 to the same."""
        height, width = image.shape[:2]
        if not self.tile or max(height, width) <= self.tile:
            return _to_uint8(self._piece(image))
        if not self._told:
            self._told = True
            logger.info(
                "Images above %d pixels are translated in tiles; each is normalised by itself, so that tones "
                "can differ between distant tiles.",
                self.tile,
            )
        return _to_uint8(self._tiles(image))

    def _piece(self, image: np.ndarray) -> np.ndarray:
        """uint8 H×W×3 to float32 H×W×3 in [-1, 1]."""
        import torch

        from cyclegan.networks.padding import at_any_size

        parameter = next(self.generator.parameters())
        with torch.inference_mode():
            batch = torch.tensor(image, device=parameter.device).permute(2, 0, 1)[None]
            out = at_any_size(self.generator, batch.to(torch.float32) / 127.5 - 1)[0].permute(1, 2, 0)
        return out.float().cpu().numpy()

    def _tiles(self, image: np.ndarray) -> np.ndarray:
        """Overlapping tiles, weighted by their distance to the tile's border, summed and divided."""
        import numpy as np

        height, width = image.shape[:2]
        total = np.zeros((height, width, 3), np.float32)
        weight = np.zeros((height, width, 1), np.float32)
        for top in _starts(height, self.tile, self.overlap):
            for left in _starts(width, self.tile, self.overlap):
                place = np.s_[top : top + self.tile, left : left + self.tile]
                piece = self._piece(image[place])
                mask = _ramp(piece.shape[0], self.overlap)[:, None] * _ramp(piece.shape[1], self.overlap)
                total[place] += piece * mask[..., None]
                weight[place] += mask[..., None]
        return total / weight


def load(
    source: str | Path,
    direction: Direction | None = None,
    *,
    device: str = "auto",
    tile: int = 1024,
    overlap: int = 128,
) -> Translator:
    """A translator from a model folder, `s3://…`, `models:/name@champion`, `models:/name/3` or `runs:/id`.

    Nothing else need be known: the model says what it is. Raises UsageError where there is no model.
    """
    from cyclegan.runtime.device import resolve_device

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        text = reveal(str(source))
        if text.startswith(("models:/", "runs:/")):
            from cyclegan.registry.locate import download

            wanted: Direction = download(text, direction, folder)
        else:
            wanted = direction or "AtoB"
            if text.startswith("s3://"):
                _copy_from_store(text, wanted, folder)
            else:
                folder = Path(source)
        generator, config = _read_generator(folder, wanted, redact(text))
    generator.to(resolve_device(device))
    return Translator(generator, wanted, config, tile=tile, overlap=overlap)


def _copy_from_store(uri: str, direction: Direction, folder: Path) -> None:
    from cyclegan.io.storage import NotFound, open_store

    store = open_store(uri)
    try:
        for name in ("config.json", f"{direction}.safetensors"):
            store.get(name, folder / name)
    except NotFound as error:
        raise UsageError(f"There is no model in {store.uri}: {error}") from None


def _read_generator(folder: Path, direction: Direction, where: str) -> tuple[Any, dict[str, Any]]:
    """One generator of a model folder, in eval mode, and the model's config."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from cyclegan.io.files import read_json
    from cyclegan.networks import build_generator

    if not (folder / "config.json").is_file():
        raise UsageError(f"There is no model in {where}: it has no config.json.")
    try:
        config = read_json(folder / "config.json")
        options = dict(config["generator"])
        generator = build_generator(options.pop("name"), **options)
        generator.load_state_dict(load_file(folder / f"{direction}.safetensors"))
    except (KeyError, ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"The model in {where} is damaged: {str(error).splitlines()[0]}.") from None
    return generator.eval().requires_grad_(False), config


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: evenly spread, the last one ending at the border."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def _ramp(length: int, overlap: int) -> np.ndarray:
    """Weights along a tile's side: rising linearly over `overlap` pixels from both ends, all positive."""
    import numpy as np

    distance = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1
    return np.minimum(distance / (overlap + 1), 1).astype(np.float32)


def _to_uint8(image: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1] to uint8, rounded."""
    import numpy as np

    return np.clip(np.round((image + 1) * 127.5), 0, 255).astype(np.uint8)
