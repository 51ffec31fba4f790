"""Colour profiles that change pixels."""

from __future__ import annotations

import struct

from PIL import ImageCms


def display_p3() -> bytes:
    """An RGB profile whose red and blue curves differ much from sRGB's: exchanged primaries."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    table = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, blue = table[b"rXYZ"], table[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = profile[blue : blue + 4], profile[red : red + 4]
    return (
        bytes(profile)
        .replace(b"sRGB", b"swap")
        .replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    )


def grey_profile(gamma: float) -> bytes:
    """A grey profile of this gamma, by hand, since Pillow makes only those of colours."""
    white = struct.pack(">iii", *(round(value * 65536) for value in (0.9642, 1, 0.8249)))
    parts = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(81),
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0),
    }
    place = 128 + 4 + 12 * len(parts)
    table, body = struct.pack(">I", len(parts)), b""
    for name, part in parts.items():
        part += bytes(-len(part) % 4)
        table += struct.pack(">4sII", name, place + len(body), len(part))
        body += part
    head = struct.pack(">I4xI4s4s4s", 128 + len(table) + len(body), 0x02200000, b"mntr", b"GRAY", b"XYZ ")
    return (head + bytes(12) + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + body
