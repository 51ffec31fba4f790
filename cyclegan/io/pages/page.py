"""Pages for people: one set of templates, one style sheet, one way to embed a picture.

A page is one HTML file with everything inside, so that it can be sent by mail and opened without a network.
Templates (`*.html.j2`) are next to the module that fills them and extend `io/pages/page.html.j2`.
"""

from __future__ import annotations

import base64
import io
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cyclegan.io.files import atomic_file

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> Environment:
    """The templates of the package; what is put into them is escaped."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.PackageLoader("cyclegan", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters["number"] = number
    found.filters["unbroken"] = unbroken
    return found


def palette() -> str:
    """The colours of the project's pages as a style sheet, for pages that others render."""
    return (Path(__file__).parent / "palette.css").read_text(encoding="utf-8")


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write the page that `template` (such as 'evaluation/pages/report.html.j2') renders from the values."""
    text = environment().get_template(template).render(**values)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def picture(
    image: np.ndarray | Image.Image | bytes, largest: int = 320, quality: int = 85, effort: int = 4
) -> str:
    """A picture as a data: address, WebP of at most `largest` pixels a side.

    It is uint8 H×W×3, one of Pillow's, or the bytes of an image file. `effort` is WebP's method, 0 to 6: 2
    takes half the time of 4, for a file a few per cent larger.
    """
    if isinstance(image, bytes):
        shown = Image.open(io.BytesIO(image)).convert("RGB")
    else:
        shown = image.convert("RGB") if isinstance(image, Image.Image) else Image.fromarray(image)
    shown.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=quality, method=effort)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def unbroken(text: str) -> str:
    """The text with its per cent signs on the line of their numbers."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def number(value: float) -> str:
    """Four significant digits, at most five decimals, never an exponent: for people who compare."""
    if value == 0:
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 5)}f}"


def interval(ends: tuple[float, float] | None) -> str:
    """'1.2 – 3.4'; empty for None."""
    return "" if ends is None else f"{number(ends[0])} – {number(ends[1])}"


def nearer(error: float, baseline: float) -> str:
    """How an error compares with another one, to be followed by what both are measured to."""
    if error <= 0:
        return "exactly equal, and so nearer to"
    if error <= baseline:
        return f"{baseline / error:.1f} times closer to"
    return f"{error / baseline:.1f} times farther from"
