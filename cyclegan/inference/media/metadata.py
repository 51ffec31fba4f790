"""What goes from a picture's file into its translation's besides pixels: EXIF, profile, resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

# description, maker, model, software, date, artist, copyright: what describes the picture and not the file
DESCRIBING = (270, 271, 272, 305, 306, 315, 33432)
PHOTOGRAPH, PLACE = 0x8769, 0x8825  # the groups of tags about exposure and GPS
WIDTH, HEIGHT, MAKER_NOTE, INTEROPERABILITY = 0xA002, 0xA003, 0x927C, 0xA005
WITH_PROFILE = {"PNG", "JPEG", "WEBP", "TIFF"}
LONGEST_IN_JPEG = 65_533  # bytes of EXIF: one segment
FINEST = 65_535  # pixels per inch that JPEG can state


@dataclass(frozen=True)
class Metadata:
    """As Pillow and the streaming writers take it; empty where nothing is kept."""

    exif: Image.Exif | None = None
    profile: bytes = b""
    """An ICC profile, always of sRGB: that is what pixels are converted to."""
    resolution: tuple[float, float] | None = None
    """Pixels per inch, horizontally and vertically."""

    def options(self, kind: str) -> dict[str, Any]:
        """The arguments of Pillow's `save` for a file of format `kind`."""
        if kind not in WITH_PROFILE:
            return {}
        exif = self.exif
        if exif and kind == "JPEG" and len(exif.tobytes()) > LONGEST_IN_JPEG:
            exif = None
        given = {"exif": exif, "icc_profile": self.profile, "dpi": self.resolution}
        return {name: value for name, value in given.items() if value}


def read_metadata(image: Image.Image, width: int, height: int) -> Metadata:
    """The metadata of an opened picture for a translation of `width`×`height` pixels, upright.

    The orientation is left out, since pixels are turned upright, as are the thumbnail (of the original) and
    the maker's own notes, whose offsets would be wrong. What cannot be read, or be written again as it was
    read, is left out too.
    """
    try:
        exif = _exif(image, width, height)
    except Exception:  # EXIF comes in every state of disrepair, and the picture is readable
        exif = None
    profile = srgb_profile() if image.info.get("icc_profile") else b""
    return Metadata(exif, profile, resolution_of(image.info.get("dpi")))


def resolution_of(dpi: Any) -> tuple[float, float] | None:
    """Pixels per inch, horizontally and vertically, as a file gives them; None for what no file can state."""
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return (x, y) if 1 <= x <= FINEST and 1 <= y <= FINEST else None


def _exif(image: Image.Image, width: int, height: int) -> Image.Exif | None:
    from PIL import Image

    there = image.getexif()
    kept = Image.Exif()
    for tag in DESCRIBING:
        if tag in there and _can_be_written(tag, there[tag]):
            kept[tag] = there[tag]
    for group in (PHOTOGRAPH, PLACE):
        values = dict(there.get_ifd(group))
        for tag in (MAKER_NOTE, INTEROPERABILITY):
            values.pop(tag, None)
        if {WIDTH, HEIGHT} & values.keys():
            values |= {WIDTH: width, HEIGHT: height}
        values = {tag: value for tag, value in values.items() if _can_be_written(tag, value, group)}
        if values:
            kept.get_ifd(group).update(values)
            kept[group] = 0  # Pillow puts the group's place here
    return kept if len(kept) else None


def _can_be_written(tag: int, value: Any, group: int | None = None) -> bool:
    """Whether Pillow writes the tag as it read it: values of a type other than the tag's own fail there."""
    from PIL import Image

    alone = Image.Exif()
    if group:
        alone.get_ifd(group)[tag] = value
        alone[group] = 0
    else:
        alone[tag] = value
    try:
        alone.tobytes()
    except Exception:  # of many kinds, from the code of each type
        return False
    return True


def srgb_profile() -> bytes:
    """An ICC profile of sRGB."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
