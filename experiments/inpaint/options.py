"""The options of `inpaint`, without what it runs on."""

from collections.abc import Mapping
from pathlib import Path

from lit_inpaint.options import Parser


def inpaint(guides: Mapping[str, str] | None = None) -> Parser:
    """``guides``: what each guide of a method means, by the name of its option; `--help` alone does without."""
    p = Parser(
        prog="lit-inpaint inpaint",
        description="Fill the holes in an image, or in all images of a folder. Known pixels stay unchanged in PNGs.",
        epilog="Masks in a folder are matched by file name (x.png or x_mask001.png for x.jpg) or by order; a single "
        "mask file is used for all images. `lit-inpaint inpaint --method NAME --help` shows the guides of methods too.",
    )
    p.add_argument(
        "--method", required=True, help="Telea, PatchMatch, ..., a checkpoint, a YAML, hf://user/name or zoo:NAME"
    )
    p.add_argument("--image", required=True, nargs="+", help="a file, a folder, a quoted pattern or several files")
    p.add_argument("--mask", type=Path, help="a file or folder; white is the hole (--mask-white known)")
    p.add_argument("--mask-law", metavar="NAME", help="draw a mask per image: a class such as Wide, or a YAML of masks")
    p.add_argument("--out", required=True, type=Path, help="a .png file; a folder if --image is more than one file")
    p.add_argument("--format", choices=["png", "jpeg", "webp"], help="of the outputs (default: as --out ends, or png)")
    p.add_argument("--quality", type=int, help="of JPEG and WebP, 1 to 100 (default: 95; WebP of 100 is lossless)")
    for name, what in (guides or {}).items():
        p.add_argument(f"--{name}", type=Path, help=f"a file or folder: {what}")
    p.add_argument("--prompt", help="what the holes show, for methods that take words; default: what its YAML says")
    p.add_argument("--mask-white", choices=["hole", "known"], default="hole", help="meaning of white in the mask files")
    p.add_argument("--dilate", type=int, default=0, metavar="N", help="enlarge the holes by N pixels to every side")
    p.add_argument(
        "--mask-threshold",
        type=int,
        help="grey value (1-255) from which a pixel counts as white; without it, grey is rejected",
    )
    p.add_argument(
        "--mask-alpha",
        choices=["opaque", "transparent"],
        help="side of an alpha channel that is the hole (in a guide: the line); without it, such a mask is rejected",
    )
    p.add_argument(
        "--bands",
        choices=["rgb", "alpha"],
        help="meaning of a fourth band in TIFF images; without it, such images are rejected",
    )
    p.add_argument("--white-level", type=int, help="value of white in 16-bit images, e.g. 4095 for 12-bit data")
    p.add_argument(
        "--pairing", choices=["name", "order"], default="name", help="how masks in a folder are matched with images"
    )
    p.add_argument("--weights", choices=["ema", "raw"], default="ema", help="EMA or raw weights of a checkpoint")
    p.add_argument(
        "--sampler", nargs="+", default=[], metavar="S", help="NAME KEY=VALUE ... instead of the checkpoint's sampler"
    )
    p.add_argument("--samples", type=int, default=1, help="completions per image, for diverse methods")
    p.add_argument("--seed", type=int, default=0, help="seed of the random draws; combined with the image's name")
    p.add_argument("--device", help="cpu, cuda, ... (default: cuda, if there is one)")
    p.add_argument("--workers", type=int, default=1, help="number of processes, each with its own copy of the method")
    p.add_argument(
        "--tile",
        type=int,
        default=1024,  # lit_inpaint.windows.TILE
        help="complete larger images in windows of about this side around their holes; 0: always whole images",
    )
    p.add_argument("--overwrite", action="store_true", help="replace existing output files")
    return p
