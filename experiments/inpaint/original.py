"""Image metadata: conversions made on reading, and metadata kept in the completion."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import ExifTags, Image

from datamodules.bands import Bands, extra_bands
from experiments.inpaint.pairing import shown
from masks.files import deep_colours
from masks.regular import open_regular

_WORDS = {"1": "black and white", "L": "grey", "P": "palette"}
_MOST_SIDE = {"jpeg": 65_500, "webp": 16_383}  # pixels; of libjpeg and of the format
_MOST_EXIF = 65_533  # bytes in a JPEG
_MOST_PROFILE = 2**20  # bytes that Pillow reads back from a PNG
_MOST_DENSITY = 65_535  # dots per inch in a JPEG's header, in whole numbers
_RESOLUTION = (ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit)
# What describes a photograph: of TIFF 6.0, EXIF 3.0 and Windows. All other tags may hold a copy of it (layers in
# Photoshop's 37724, previews in the MakerNote).
_DESCRIPTIVE = {269, 270, 271, 272, 274, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 18249, 33432, 37510, 42016}
_DESCRIPTIVE |= {33434, 33437, *range(34850, 34853), *range(34855, 34870), *range(36864, 36883), 37121, 37122}
_DESCRIPTIVE |= {*range(37377, 37397), *range(37520, 37523), *range(37888, 37894), *range(40091, 40096), 42240}
_DESCRIPTIVE |= {*range(40960, 40965), *range(41483, 41496), *range(41728, 41731), *range(41985, 41997)}
_DESCRIPTIVE |= {*range(42032, 42041), *range(42080, 42083)}
_ELSEWHERE = {"xmp": "XMP", "photoshop": "Photoshop's data", "comment": "comment"}
_GPS, _INTEROPERABILITY = {*range(32)}, {1, 2}
# How pixels lie in a file, where other directories begin, and the colour profile, which has a place of its own.
_SILENT = {*range(254, 348), *range(512, 533), 34675, *map(int, ExifTags.IFD)} - _DESCRIPTIVE - {ExifTags.IFD.MakerNote}


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
        if mode not in ("LA", "La") and not mode.startswith(("I", "RGB")):
            said += [f"{kind} to {to}"] if (kind := _WORDS.get(mode, mode)) != to else []
        if bands == "rgb" and (extra := extra_bands(image)):
            said.append(f"{extra} left out")
        elif image.has_transparency_data:
            said.append("transparency composited over white")
    return said


def kept(path: Path, shape: Sequence[int], kind: str = "png") -> tuple[dict[str, Any], list[str]]:
    """Options of Pillow's writer that keep the ICC profile, EXIF and resolution, and what is dropped.

    Of EXIF, the descriptive tags are kept, upright like the pixels. The thumbnail, the MakerNote, XMP and private tags
    would still show the erased content. A resolution that the format's header cannot hold is in the EXIF.

    Args:
        shape: The completion's, (H, W), (H, W, 1) or (H, W, 3).
        kind: png, jpeg or webp.

    Raises:
        ValueError: The format holds no picture of this size.
    """
    height, width = shape[:2]
    if max(height, width) > (most := _MOST_SIDE.get(kind, 2**31)):
        raise ValueError(
            f"{shown(path)}: {width}x{height} is too large for {kind}, at most {most:,} pixels a side. Write a PNG."
        )
    options: dict[str, Any] = {}
    said: list[str] = []
    with open_regular(path) as file, Image.open(file) as image:
        if profile := image.info.get("icc_profile"):
            space = profile[16:20].decode("latin-1").strip()
            if profile[36:40] != b"acsp":
                said.append("damaged colour profile dropped")
            elif space != ("RGB" if shape[2:] == (3,) else "GRAY"):
                said.append(f"{space} colour profile dropped")
            elif len(profile) > _MOST_PROFILE:
                said.append(f"colour profile of {len(profile):,} bytes dropped")
            else:
                options["icc_profile"] = profile
        resolution: Any = image.info.get("dpi")
        if not isinstance(resolution, tuple) or not all(math.isfinite(x) and 0 < x < 1e6 for x in resolution):
            resolution = None
        elif kind == "png" or (kind == "jpeg" and all(0.5 < x <= _MOST_DENSITY for x in resolution)):
            options["dpi"], resolution = tuple(map(float, resolution)), None
        try:
            exif, dropped = _exif(image, width, height, resolution)
        except Exception:  # broken in as many ways as there are cameras
            exif, dropped = b"", ["damaged EXIF"] + ["resolution"] * (resolution is not None)
        if kind == "jpeg" and len(exif) > _MOST_EXIF:
            exif, dropped = b"", [*dropped, f"EXIF of {len(exif):,} bytes"]
        if exif:
            options["exif"] = exif
        more = f" and {len(dropped) - 3} more" if len(dropped) > 3 else ""
        said += [f"{', '.join(dropped[:3])}{more} dropped"] if dropped else []
    return options, said


def _exif(
    image: Image.Image, width: int, height: int, resolution: tuple[float, float] | None
) -> tuple[bytes, list[str]]:
    """The descriptive tags, with ``resolution`` in dots per inch if there is one, and what else there is, by name."""
    found, exif = image.getexif(), Image.Exif()
    exif.endian = found.endian  # also of the text in a UserComment
    inner, place = found.get_ifd(ExifTags.IFD.Exif), found.get_ifd(ExifTags.IFD.GPSInfo)
    others = {*found, *inner} - _DESCRIPTIVE - _SILENT
    dropped = [ExifTags.TAGS.get(tag, f"tag {tag}") for tag in sorted(others)]
    if image.format != "TIFF":  # where they are tags
        dropped += [name for key, name in _ELSEWHERE.items() if key in image.info]
    exif.update({tag: value for tag, value in found.items() if tag in _DESCRIPTIVE})
    if ExifTags.Base.Orientation in exif:
        exif[ExifTags.Base.Orientation] = 1
    if resolution:
        exif.update(zip(_RESOLUTION, (*resolution, 2), strict=True))
    about = {tag: value for tag, value in inner.items() if tag in _DESCRIPTIVE}
    if ExifTags.Base.ExifImageWidth in about:
        about |= {ExifTags.Base.ExifImageWidth: width, ExifTags.Base.ExifImageHeight: height}
    if ExifTags.IFD.Interop in inner:  # says Adobe RGB where there is no profile
        interoperability = found.get_ifd(ExifTags.IFD.Interop)
        about[ExifTags.IFD.Interop] = {t: v for t, v in interoperability.items() if t in _INTEROPERABILITY}
    for ifd, tags in ((ExifTags.IFD.Exif, about), (ExifTags.IFD.GPSInfo, place)):
        if tags:
            exif.get_ifd(ifd).update({t: v for t, v in tags.items() if ifd == ExifTags.IFD.Exif or t in _GPS})
    return exif.tobytes() if exif or about or place else b"", dropped
