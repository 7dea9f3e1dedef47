"""What an image file holds beside 8-bit RGB pixels: what reading it changed, and what its completion keeps."""

import math
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from datamodules.bands import Bands, extra_bands
from masks.files import deep_colours
from masks.regular import open_regular

_WORDS = {"1": "black and white", "L": "grey", "P": "palette"}
# Tags that say how the pixels lie in a TIFF, not what the picture is: those in between, 270 to 276, are about it.
_LAYOUT = {*range(254, 270), 273, *range(277, 282), *range(284, 293), 297, 317, *range(320, 342), 347, *range(512, 533)}
_LAYOUT |= {700, 33723, 34377, 34675}  # XMP, IPTC, Photoshop's and the colour profile, which have places of their own


def conversions(path: Path, bands: Bands | None = None) -> list[str]:
    """What reading a file as 8-bit RGB did to it, in words; ``bands`` as it was read."""
    with open_regular(path) as file, Image.open(file) as image:
        mode, deep, frames = image.mode, deep_colours(image), getattr(image, "n_frames", 1)
        said = [f"first of {frames} frames"] if frames > 1 and image.format != "MPO" else []
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            said.append("turned as its EXIF says")
        if mode.startswith("I"):
            said.append("16 bits scaled to 8")
        elif deep:
            said.append("16 bits a channel reduced to 8")
        if not mode.startswith(("I", "RGB", "LA")):
            said.append(f"{_WORDS.get(mode, mode)} to RGB")
        if bands == "rgb" and (extra := extra_bands(image)):
            said.append(f"{extra} left out")
        elif image.has_transparency_data:
            said.append("transparency laid over white")
    return said


def kept(path: Path, width: int, height: int) -> tuple[dict[str, Any], list[str]]:
    """Options of Pillow's PNG writer that keep the ICC profile, EXIF and resolution; and what is left out, in words.

    EXIF says upright, as the pixels are, and has no thumbnail: that would still show what was filled.
    """
    options: dict[str, Any] = {}
    said: list[str] = []
    with open_regular(path) as file, Image.open(file) as image:
        if profile := image.info.get("icc_profile"):
            space = profile[16:20].decode("latin-1").strip()
            if profile[36:40] != b"acsp":
                said.append("its damaged colour profile left out")
            elif space != "RGB":
                said.append(f"its {space} colour profile left out")
            else:
                options["icc_profile"] = profile
        try:
            if exif := _exif(image, width, height):
                options["exif"] = exif
        except Exception:  # broken in as many ways as there are cameras
            said.append("its damaged EXIF left out")
        resolution = image.info.get("dpi")
        if isinstance(resolution, tuple) and all(math.isfinite(x) and 0 < x < 1e6 for x in resolution):
            options["dpi"] = tuple(map(float, resolution))
    return options, said


def _exif(image: Image.Image, width: int, height: int) -> bytes:
    exif = image.getexif()
    for tag in set(exif) & _LAYOUT:
        del exif[tag]
    if ExifTags.Base.Orientation in exif:
        exif[ExifTags.Base.Orientation] = 1
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    if ExifTags.Base.ExifImageWidth in inner:
        inner[ExifTags.Base.ExifImageWidth], inner[ExifTags.Base.ExifImageHeight] = width, height
    return exif.tobytes() if exif or inner else b""
