"""Pictures with labels in them, for places that show nothing but pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH = 1200
"""Pixels: wide enough that details show on a page that does not enlarge."""
GAP = 8
LINE = 30


def sheet(
    columns: Mapping[str, NDArray[np.uint8]], names: Sequence[str] = (), width: int = WIDTH
) -> NDArray[np.uint8]:
    """Columns of pictures, uint8 N×H×W×3 by label, as one picture `width` pixels wide: a row an image.

    Labels stand above the columns, `names` above the rows. Small pictures are enlarged.
    """
    count, height, across = next(iter(columns.values())).shape[:3]
    cell = (width - GAP * (len(columns) + 1)) // len(columns)
    size = (cell, max(1, round(cell * height / across)))
    caption = LINE if names else GAP
    page = Image.new("RGB", (width, LINE + count * (size[1] + caption) + GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for i, (label, images) in enumerate(columns.items()):
        left = GAP + i * (cell + GAP)
        draw.text((left + cell / 2, LINE / 2), label, "#333333", font, anchor="mm")
        for row, image in enumerate(images):
            top = LINE + row * (size[1] + caption) + caption * bool(names)
            if names and i == 0:
                draw.text((left, top - LINE / 2), names[row], "#666666", font, anchor="lm")
            page.paste(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), (left, top))
    return np.asarray(page)
