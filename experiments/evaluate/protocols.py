"""``lit-inpaint protocol``: list and show protocols, export one for other programs, score what they made of it."""

import argparse
from pathlib import Path

import yaml

from datamodules.bands import reading_settings
from experiments.evaluate import options
from experiments.evaluate.benchmark import measure_and_show, only_masks
from experiments.evaluate.earlier import refuse_replacing
from experiments.evaluate.job import Job
from experiments.evaluate.kit import export, load_kits
from experiments.evaluate.laws import masks_of, rows_of
from experiments.evaluate.outputs import PREFIX, label_sources, refuse_inside
from experiments.evaluate.processes import devices_of
from experiments.evaluate.protocol import load_protocols
from experiments.files.find import INSTALLED, find_yaml
from experiments.files.read import read_yaml
from lit_inpaint import plugins
from masks.size import square_or_pair


def main(argv: list[str]) -> int:
    a = options.protocol().parse_args(argv)
    run = {"list": _list, "show": _show, "export": _export, "score": _score}[a.command]
    return run(a)


def _list(a: argparse.Namespace) -> int:
    """Every built-in protocol: size, number of masks, what it is about."""
    for path in sorted((INSTALLED / "protocols").glob("*.yaml")):
        config = read_yaml(path)
        count = len(masks_of(config, path))
        masks = f"{count} mask{'s' * (count > 1)}"
        size = square_or_pair(config["size"], "size")
        side = f"{size:>4}" if isinstance(size, int) else "{}x{}".format(*size)
        print(f"{path.stem:<28} {side} px  {masks:<9} {config.get('about', '')}")
    return 0


def _show(a: argparse.Namespace) -> int:
    """Keys, masks, hash and published rows of one protocol."""
    path = find_yaml(a.protocol, "protocols")
    config = read_yaml(path)
    masks, hashes, why = masks_of(config, path), dict[str, str](), ""
    about, of = config.get("about", ""), f" of {a.images}" if a.images else ""
    try:
        found = load_protocols(a.protocol, a.images, limit=a.limit)
        about = found[0].about
        hashes = {
            mask: f"hash {protocol.hash} for {len(protocol.images)} images{of}"
            for mask, protocol in zip(masks, found, strict=True)
        }
    except (ValueError, OSError) as error:  # its images are not here
        why = str(error).removeprefix(f"{path}: ").removesuffix(about).strip()
    changed = {"about": about} if about else {}
    changed |= {"limit": min(a.limit, config.get("limit") or a.limit)} if a.limit else {}
    replaced = ("data", "split") if a.images else ()
    print(path)
    for key, value in (config | changed).items():
        if key not in ("mask", "masks", "published", *replaced):
            print(f"{key}: {_flow(value)}")
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
    if not a.out.exists():  # one that exists is refused as such
        refuse_inside(a.out, a.images)
    image_reading = reading_settings(a.bands, a.white_level)
    protocols = load_protocols(a.protocol, a.images, a.mask_folder, a.limit, image_reading=image_reading)
    if a.masks:
        protocols = only_masks(protocols, a.masks, a.protocol)
    for protocol, folder in zip(protocols, export(protocols, a.out, a.mask_white), strict=True):
        print(f"{protocol.name} ({protocol.hash[:8]}): {len(protocol.images)} images in {folder}")
    print(f"Score: {plugins.command('protocol', 'score', str(a.out), '--outputs', 'LABEL=FOLDER')}")
    return 0


def _score(a: argparse.Namespace) -> int:
    """Measure the PNGs that another program made of a kit, with the kit alone."""
    given = [f"{label}{equals}{PREFIX}{folder}" for label, equals, folder in map(_split, a.outputs)]
    labels, out = label_sources(given, "raw"), a.out or a.kit / "scores"
    kits = load_kits(a.kit)
    refuse_inside(out, None, given)
    jobs = [
        Job(method, label, kit, out, batch_size=a.batch_size, made=a.outputs_are, pictures_kept=not a.no_pictures)
        for kit in kits
        for method, label in labels.items()
    ]
    if not a.overwrite:
        refuse_replacing(jobs)
    return measure_and_show(jobs, devices_of(a.device, a.devices), out, a.baseline)


def _split(word: str) -> tuple[str, str, str]:
    """MAT=FOLDER, or a folder alone, which may have = in its name."""
    label, equals, folder = word.partition("=")
    return (label, equals, folder) if equals and not Path(word).is_dir() else ("", "", word)
