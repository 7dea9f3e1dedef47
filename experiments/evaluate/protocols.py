"""``lit-inpaint protocol``: list and show protocols, export one for other programs, score what they made of it."""

import argparse
import shlex
from pathlib import Path

import yaml

from datamodules.bands import reading_settings
from experiments.evaluate.benchmark import add_running, measure_and_show, only_masks
from experiments.evaluate.job import Job
from experiments.evaluate.kit import export, load_kits
from experiments.evaluate.laws import masks_of, rows_of
from experiments.evaluate.outputs import PREFIX, label_sources
from experiments.evaluate.protocol import load_protocols
from experiments.files.find import INSTALLED, find_yaml
from experiments.files.read import read_yaml
from lit_inpaint.options import Parser


def main(argv: list[str]) -> int:
    a = parser().parse_args(argv)
    return int(a.command(a))


def parser() -> argparse.ArgumentParser:
    p = Parser(prog="lit-inpaint protocol", description=__doc__)
    commands = p.add_subparsers(required=True, metavar="list | show | export | score")
    commands.add_parser("list", help=_list.__doc__, description=_list.__doc__).set_defaults(command=_list)
    w = commands.add_parser("show", help=_show.__doc__, description=_show.__doc__)
    w.add_argument("protocol", help="name of a built-in protocol (repaint, center_hole, ...) or a YAML file")
    w.add_argument("--images", type=Path, help="the hash on all images below this folder")
    w.add_argument("--limit", type=int, help="the hash on the first N images")
    w.set_defaults(command=_show)
    e = commands.add_parser("export", help=_export.__doc__, description=_export.__doc__)
    e.add_argument("protocol", help="name of a built-in protocol (repaint, center_hole, ...) or a YAML file")
    e.add_argument("--out", type=Path, required=True, help="new folder; an existing one is never overwritten")
    e.add_argument("--images", type=Path, help="use all images below this folder instead of the protocol's data")
    e.add_argument(
        "--mask-folder", type=Path, help="the authors' mask files (white = known), if the protocol names any"
    )
    e.add_argument("--mask-white", choices=["hole", "known"], default="hole", help="meaning of white in written masks")
    e.add_argument("--masks", nargs="+", metavar="MASK", help="use only these masks of the protocol")
    e.add_argument("--limit", type=int, help="use only the first N images; changes the protocol hash")
    e.add_argument("--bands", choices=["rgb", "alpha"], help="meaning of a fourth band in TIFF images")
    e.add_argument("--white-level", type=int, help="value of white in 16-bit images, e.g. 4095 for 12-bit data")
    e.set_defaults(command=_export)
    s = commands.add_parser("score", help=_score.__doc__, description=_score.__doc__)
    s.add_argument("kit", type=Path, help="folder written by `protocol export`")
    s.add_argument(
        "--outputs", nargs="+", required=True, metavar="LABEL=FOLDER", help="PNGs that a program made of the kit"
    )
    s.add_argument("--out", type=Path, help="folder for records and pictures (KIT/scores)")
    add_running(s)
    s.set_defaults(command=_score)
    return p


def _list(a: argparse.Namespace) -> int:
    """Every built-in protocol: size, number of masks, what it is about."""
    for path in sorted((INSTALLED / "protocols").glob("*.yaml")):
        config = read_yaml(path)
        count = len(masks_of(config, path))
        masks = f"{count} mask{'s' * (count > 1)}"
        print(f"{path.stem:<28} {config['size']:>4} px  {masks:<9} {config.get('about', '')}")
    return 0


def _show(a: argparse.Namespace) -> int:
    """Keys, masks, hash and published rows of one protocol."""
    path = find_yaml(a.protocol, "protocols")
    config = read_yaml(path)
    print(path)
    for key, value in config.items():
        if key not in ("mask", "masks", "published"):
            print(f"{key}: {_flow(value)}")
    masks, hashes, why = masks_of(config, path), dict[str, str](), ""
    try:
        found = load_protocols(a.protocol, a.images, limit=a.limit)
        hashes = {mask: f"hash {protocol.hash}" for mask, protocol in zip(masks, found, strict=True)}
    except (ValueError, OSError) as error:  # its images are not here
        why = str(error)
    for name, mask in masks.items():
        law = {key: value for key, value in mask.items() if key != "published"}
        print(f"mask {name}: {_flow(law)}" if name else f"mask: {_flow(law)}")
        if name in hashes:
            print(f"  {hashes[name]}")
        for row in rows_of(config, name, mask):
            print(f"  published: {row.label} {_flow(row.metrics)}, {row.source}")
    if why:
        print(f"hash: depends on the images. {why}")
    return 0


def _flow(value: object) -> str:
    """On one line, as YAML."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _export(a: argparse.Namespace) -> int:
    """Write images, masks, erased images and an index with the protocol's hash."""
    image_reading = reading_settings(a.bands, a.white_level)
    protocols = load_protocols(a.protocol, a.images, a.mask_folder, a.limit, image_reading=image_reading)
    if a.masks:
        protocols = only_masks(protocols, a.masks, a.protocol)
    for protocol, folder in zip(protocols, export(protocols, a.out, a.mask_white), strict=True):
        print(f"{protocol.name} ({protocol.hash[:8]}): {len(protocol.images)} images in {folder}")
    print(f"Score: {shlex.join(['lit-inpaint', 'protocol', 'score', str(a.out), '--outputs', 'LABEL=FOLDER'])}")
    return 0


def _score(a: argparse.Namespace) -> int:
    """Measure the PNGs that another program made of a kit, with the kit alone."""
    given = [f"{label}{equals}{PREFIX}{folder}" for label, equals, folder in map(_split, a.outputs)]
    labels, out = label_sources(given, "raw"), a.out or a.kit / "scores"
    jobs = [
        Job(method, label, kit, out, batch_size=a.batch_size, made=a.outputs_are)
        for kit in load_kits(a.kit)
        for method, label in labels.items()
    ]
    return measure_and_show(jobs, a.device, out, a.baseline)


def _split(word: str) -> tuple[str, str, str]:
    """MAT=FOLDER, or a folder alone, which may have = in its name."""
    label, equals, folder = word.partition("=")
    return (label, equals, folder) if equals and not Path(word).is_dir() else ("", "", word)
