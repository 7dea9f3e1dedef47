"""Image metadata: conversions made on reading, and metadata kept in the completion."""

import math
from pathlib import Path
from typing import Any, Literal

from PIL import ExifTags, Image

from datamodules.bands import Bands, extra_bands
from masks.files import deep_colours
from masks.regular import open_regular

_WORDS = {"1": "black and white", "L": "grey", "P": "palette"}
# Tags that say how the pixels lie in a TIFF, not what the picture is: those in between, 270 to 276, are about it.
_LAYOUT = {*range(254, 270), 273, *range(277, 282), *range(284, 293), 297, 317, *range(320, 342), 347, *range(512, 533)}
_LAYOUT |= {700, 33723, 34377, 34675}  # XMP, IPTC, Photoshop's and the colour profile, which have places of their own


def conversions(path: Path, bands: Bands | None = None, to: Literal["RGB", "grey"] = "RGB") -> list[str]:
    """Describe the conversions of a file to 8 bits in RGB or grey; ``bands`` as it was read."""
    with open_regular(path) as file, Image.open(file) as image:
        mode, deep, frames = image.mode, deep_colours(image), getattr(image, "n_frames", 1)
        said = [f"first of {frames} frames"] if frames > 1 and image.format != "MPO" else []
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            said.append("rotated by its EXIF")
        if mode.startswith("I"):
            said.append("16 bits scaled to 8")
        elif deep:
            said.append("16 bits per channel reduced to 8")
        if not mode.startswith(("I", "RGB", "LA")):
            said += [f"{kind} to {to}"] if (kind := _WORDS.get(mode, mode)) != to else []
        if bands == "rgb" and (extra := extra_bands(image)):
            said.append(f"{extra} left out")
        elif image.has_transparency_data:
            said.append("transparency composited over white")
    return said


def kept(path: Path, width: int, height: int) -> tuple[dict[str, Any], list[str]]:
    """Options of Pillow's PNG writer that keep the ICC profile, EXIF and resolution, and what is dropped.

    EXIF is set to upright, like the pixels, and loses its thumbnail, which would still show the erased content.
    """
    options: dict[str, Any] = {}
    said: list[str] = []
    with open_regular(path) as file, Image.open(file) as image:
        if profile := image.info.get("icc_profile"):
            space = profile[16:20].decode("latin-1").strip()
            if profile[36:40] != b"acsp":
                said.append("damaged colour profile dropped")
            elif space != "RGB":
                said.append(f"{space} colour profile dropped")
            else:
                options["icc_profile"] = profile
        try:
            if exif := _exif(image, width, height):
                options["exif"] = exif
        except Exception:  # broken in as many ways as there are cameras
            said.append("damaged EXIF dropped")
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
