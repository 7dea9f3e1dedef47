"""The options of `benchmark` and `protocol`, without what they run on."""

import argparse
from pathlib import Path

from lit_inpaint.options import Parser, count

ABOUT = "List and show protocols, export one for other programs, score what they made of it."
PROTOCOL = {
    "list": "Every built-in protocol: size, number of masks, what it is about.",
    "show": "Keys, masks, hash and published rows of one protocol.",
    "export": "Write images, masks, erased images and an index with the protocol's hash.",
    "score": "Measure the PNGs that another program made of a kit, with the kit alone.",
}


def benchmark() -> Parser:
    p = Parser(
        prog="lit-inpaint benchmark",
        description="Evaluate methods under a protocol. Safe to interrupt: run the same command again to resume.",
        epilog="Records, pictures and journals are written to --out; `lit-inpaint compare OUT` turns them into a page.",
    )
    p.add_argument("protocol", help="name of a built-in protocol (repaint, center_hole, ...) or a YAML file")
    p.add_argument(
        "--methods",
        nargs="+",
        required=True,
        metavar="M",
        help="[LABEL=]class name, checkpoint, YAML, hf://user/name[@revision], zoo:NAME or outputs:FOLDER",
    )
    p.add_argument("--out", type=Path, required=True, help="folder for records and pictures; may contain earlier ones")
    p.add_argument("--images", type=Path, help="use all images below this folder instead of the protocol's data")
    p.add_argument(
        "--mask-folder", type=Path, help="folder with the authors' mask files, if the protocol names any (repaint)"
    )
    p.add_argument(
        "--mask-white",
        choices=["hole", "known"],
        help="meaning of white in --mask-folder (default: known, as in RePaint's files)",
    )
    p.add_argument(
        "--mask-threshold", type=int, help="grey value (1-255) from which a pixel of --mask-folder counts as white"
    )
    p.add_argument(
        "--mask-alpha",
        choices=["opaque", "transparent"],
        help="side of an alpha channel in --mask-folder that is the hole",
    )
    p.add_argument(
        "--bands",
        choices=["rgb", "alpha"],
        help="meaning of a fourth band in TIFF images; without it, such images are rejected",
    )
    p.add_argument("--white-level", type=int, help="value of white in 16-bit images, e.g. 4095 for 12-bit data")
    p.add_argument("--masks", nargs="+", metavar="MASK", help="use only these masks of the protocol")
    p.add_argument("--limit", type=count, help="use only the first N images; changes the protocol hash")
    p.add_argument("--weights", choices=["ema", "raw"], default="ema", help="EMA or raw weights of a checkpoint")
    p.add_argument(
        "--sampler", nargs="+", default=[], metavar="S", help="NAME KEY=VALUE ... instead of the checkpoint's sampler"
    )
    _add_running(p)
    return p


def protocol() -> Parser:
    p = Parser(prog="lit-inpaint protocol", description=ABOUT)
    commands = p.add_subparsers(required=True, metavar="list | show | export | score")
    commands.add_parser("list", help=PROTOCOL["list"], description=PROTOCOL["list"]).set_defaults(command="list")
    w = commands.add_parser("show", help=PROTOCOL["show"], description=PROTOCOL["show"])
    w.add_argument("protocol", help="name of a built-in protocol (repaint, center_hole, ...) or a YAML file")
    w.add_argument("--images", type=Path, help="the hash on all images below this folder")
    w.add_argument("--limit", type=count, help="the hash on the first N images")
    w.set_defaults(command="show")
    e = commands.add_parser("export", help=PROTOCOL["export"], description=PROTOCOL["export"])
    e.add_argument("protocol", help="name of a built-in protocol (repaint, center_hole, ...) or a YAML file")
    e.add_argument("--out", type=Path, required=True, help="new folder; an existing one is never overwritten")
    e.add_argument("--images", type=Path, help="use all images below this folder instead of the protocol's data")
    e.add_argument(
        "--mask-folder", type=Path, help="the authors' mask files (white = known), if the protocol names any (repaint)"
    )
    e.add_argument(
        "--mask-white",
        choices=["hole", "known"],
        default="hole",
        help="meaning of white in written masks (default: hole)",
    )
    e.add_argument("--masks", nargs="+", metavar="MASK", help="use only these masks of the protocol")
    e.add_argument("--limit", type=count, help="use only the first N images; changes the protocol hash")
    e.add_argument("--bands", choices=["rgb", "alpha"], help="meaning of a fourth band in TIFF images")
    e.add_argument("--white-level", type=int, help="value of white in 16-bit images, e.g. 4095 for 12-bit data")
    e.set_defaults(command="export")
    s = commands.add_parser("score", help=PROTOCOL["score"], description=PROTOCOL["score"])
    s.add_argument("kit", type=Path, help="folder written by `protocol export`")
    s.add_argument(
        "--outputs", nargs="+", required=True, metavar="LABEL=FOLDER", help="PNGs that a program made of the kit"
    )
    s.add_argument("--out", type=Path, help="folder for records and pictures (KIT/scores)")
    _add_running(s)
    s.set_defaults(command="score")
    return p


def _add_running(p: argparse.ArgumentParser) -> None:
    """Flags for how jobs are run and shown."""
    p.add_argument(
        "--outputs-are",
        choices=["composited", "raw"],
        default="composited",
        help="what folders of outputs hold: images whose known pixels are unchanged, or a network's raw output",
    )
    p.add_argument("--device", nargs="+", default=["auto"], help="cpu, cuda, cuda:0 cuda:1 ...; one process per device")
    p.add_argument(
        "--devices", type=int, metavar="N", help="share the images among N processes, a GPU each if there are"
    )
    p.add_argument("--batch-size", type=count, default=1)
    p.add_argument(
        "--no-pictures",
        action="store_true",
        help="write no pictures: pages then show tables only",
    )
    p.add_argument("--overwrite", action="store_true", help="replace results of another method under the same label")
    p.add_argument("--baseline", help="label of the method for paired differences")
