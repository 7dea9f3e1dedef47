"""Evaluation protocols: images, holes, metrics, and the hash that identifies them.

A YAML in ``experiments/configs/protocols/`` (or the user's own) holds:

    name: repaint                   # a protocol with ``masks`` becomes one protocol per mask: repaint-wide, ...
    about: One line.
    data: {class_path: SamplePhotos, init_args: {...}}   # or its name; without it ``--images FOLDER`` is needed
    split: test
    size: 256                       # or [height, width]
    resize: shorter                 # shorter | direct | none; a centre crop follows
    limit: 100                      # the first N images
    mask: {class_path: masks.Wide}  # or its name, Wide; or a YAML, lama_thick_512
                                    # or masks: {wide: {class_path: ..., folder: thick, sha256: ..., published: [...]}}
                                    # or a YAML of several, sets/nvidia_buckets, with published: {area_01_10: [...]}
    mask_seed: 0
    metrics: [psnr, lpips_alex]
    prompts: prompts.csv            # columns image and prompt: what clip_score compares completions with
    measured: composite             # or raw: the network's output, known pixels not pasted back
    round_to_8_bits: true
    samples: 1                      # completions per image; the first is measured, all are used for diversity_lpips
    seed: 0                         # seed of the method's random draws
    bands: rgb                      # drop a fourth band in TIFF files; alpha: it is transparency
    white_level: 4095               # value of white in 16-bit files
    channels: 1                     # grey: the luma of every image
    published: [{label: LaMa, metrics: {lpips_alex: 0.045}, source: "RePaint, Table 1"}]
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from datamodules import EvaluationSet, InpaintingDataModule
from datamodules.bands import reading_settings
from datamodules.files import Files, find_images
from experiments.evaluate.laws import data_arguments, data_of, masks_of, prompts_of, rows_of
from experiments.files.find import find_yaml
from experiments.files.read import read_yaml, said_by
from experiments.files.variables import expanded
from experiments.records.definition import define
from experiments.records.record import ProtocolFacts, PublishedRow, hash_of
from lit_inpaint.load import instantiate
from lit_inpaint.metrics import Features, metric
from masks import MaskFolder
from masks.folder import roots_of
from masks.generator import MaskGenerator
from masks.nearest import nearest
from masks.size import square_or_pair

_OTHER_DRAWS = "published, other mask draws"
_SAME_MASKS = "published, the authors' mask files"
_OTHER_FILES = "published, other mask files"


@dataclass(frozen=True)
class Protocol:
    """One protocol, ready to run. ``published`` are reference rows, not part of the hash."""

    name: str
    images: EvaluationSet
    metrics: tuple[str, ...]
    measured: Literal["composite", "raw"] = "composite"
    round_to_8_bits: bool = True
    samples: int = 1
    seed: int = 0
    about: str = ""
    published: list[PublishedRow] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)  # by the names of ``images``
    mask_name: str = ""  # among the masks of its YAML

    def __post_init__(self) -> None:
        kept: dict[str, tuple[str, Features]] = {}
        for name in self.metrics:
            if (features := metric(name).features) and kept.setdefault(features.folder, (name, features))[
                1
            ] != features:
                raise ValueError(
                    f"{kept[features.folder][0]} and {name} keep different features in one folder, "
                    f"'{features.folder}'. Give the Features of one of them another folder."
                )

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return self.images.fingerprint()

    @cached_property
    def definition(self) -> dict[str, Any]:
        """Everything that comparable numbers must share, in plain values."""
        given = self.metrics, self.measured, self.round_to_8_bits, self.samples, self.seed, self.prompts
        return define(self._fingerprint, *given)

    @cached_property
    def hash(self) -> str:
        return hash_of(self.definition)

    @property
    def folder(self) -> str:
        """Name of its folder below ``records`` and ``images``."""
        return f"{self.name}-{self.hash[:8]}"

    @cached_property
    def _mask_set(self) -> dict[str, int | str] | None:
        mask = self.images.mask
        if not isinstance(mask, MaskFolder) or mask.pairing not in ("order", "sequence"):
            return None
        return {"files": len(mask.files), "sha256": mask.sha256()}

    def described(self) -> ProtocolFacts:
        """The protocol as stored in a record."""
        mask = _without_path(self.images.mask)
        about = self.about, self.images.summary, mask, self.published, self._mask_set
        return ProtocolFacts(self.name, self.hash, self.definition, *about)


def _without_path(mask: MaskGenerator) -> str:
    """The mask distribution as text; of folders and lists of files only the last path component."""
    return re.sub(r"""\b(root|names)=(['"]).*?([^/\\]*?)\2""", r"\1=\2\3\2", repr(mask))


def protocol_hash(
    datamodule: InpaintingDataModule, split: Literal["val", "test"], metrics: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """Hash and definition of what ``fit`` validates under: composites rounded to 8 bits, one completion per image."""
    found = define(datamodule.evaluation_set(split).fingerprint(), metrics)
    return hash_of(found), found


_KEYS = {
    "name", "about", "data", "split", "size", "resize", "limit", "mask", "masks", "mask_seed", "metrics", "measured",
    "round_to_8_bits", "samples", "seed", "published", "bands", "white_level",
    "prompts", "channels",
}  # fmt: skip
_NAME = re.compile(r"[^\W_][\w.-]*")
_ALLOWED = "expected letters, digits, dot, dash and underscore, the first one a letter or a digit"
_RANGES = {"limit": (1, 2**31), "samples": (1, 2**16), "seed": (0, 2**63), "mask_seed": (0, 2**63)}
_CHOICES = {
    "measured": ("composite", "raw"),
    "resize": ("shorter", "direct", "none"),
    "round_to_8_bits": (True, False),
}
_MASK_KEYS = {"class_path", "init_args", "folder", "sha256", "published"}


def load_protocols(
    name: str | Path,
    images: Path | None = None,
    mask_folder: Path | None = None,
    limit: int | None = None,
    reading: dict[str, Any] | None = None,
    image_reading: dict[str, Any] | None = None,
) -> list[Protocol]:
    """The protocols of one YAML, one per mask.

    Args:
        name: A path, or the name of an installed protocol.
        images: Use all images below this folder instead of the protocol's data.
        mask_folder: Folder with the authors' mask files, in the subfolders that the protocol lists, whose masks are
            taken in sequence; published rows say whether they are the authors' (``sha256``).
        limit: Use only the first N images.
        reading: How the files of ``mask_folder`` are read, as :class:`masks.MaskFolder` takes it, where white is not
            "known".
        image_reading: How the images are read, bands and white_level of :func:`datamodules.reading.read_image`, instead
            of what the protocol says.

    Raises:
        ValueError: Unknown keys or metrics, missing data, nothing to measure on.
    """
    path = find_yaml(str(name), "protocols")
    with said_by(path, images, mask_folder):
        config = read_yaml(path)
        for key in set(config) - _KEYS:
            raise ValueError(f"{path} has the unknown key '{key}'. {nearest(key, _KEYS)}")
        if missing := [key for key in ("name", "size", "metrics") if key not in config]:
            raise ValueError(f"{path} lacks {', '.join(missing)}.")
        if ("mask" in config) == ("masks" in config):
            raise ValueError(f"{path} needs either mask or masks: one distribution of holes, or several by name.")
        masks = masks_of(config, path)
        for part in (config["name"], *(masks if "masks" in config else ())):
            if not isinstance(part, str) or not _NAME.fullmatch(part):
                raise ValueError(f"{path} has the name {part!r}; folders are called after it: {_ALLOWED}.")
        if not isinstance(config["metrics"], list) or not config["metrics"]:
            raise ValueError(f"{path}: metrics is {config['metrics']!r}; expected a list of names, [psnr, ssim].")
        for asked in config["metrics"]:
            if metric(asked).of_prompts and not config.get("prompts"):  # metric() refuses unknown names
                raise ValueError(f"{path}: {asked} compares with prompts: name their table, prompts: prompts.csv.")
        for key, (least, most) in _RANGES.items():
            if (value := config.get(key, least)) is not None and not (type(value) is int and least <= value <= most):
                raise ValueError(f"{path}: {key} is {value!r}; expected a whole number from {least} to {most}.")
        for key, allowed in _CHOICES.items():
            if key in config and config[key] not in allowed:
                words = " or ".join(str(word).lower() for word in allowed)
                raise ValueError(f"{path}: {key} is {config[key]!r}; expected {words}.")
        config["size"] = square_or_pair(config["size"], "size")
        if "data" in config:
            config["data"] = data_of(config["data"], path)
        if mask_folder and not all("folder" in mask for mask in masks.values()):
            raise ValueError(
                f"{path} names no masks of its authors: --mask-folder does not apply to it. For files of your own, "
                f"copy it under another name and say mask: {{class_path: MaskFolder, init_args: {{root: {mask_folder}, "
                f"white: {(reading or {}).get('white') or 'known'}, pairing: sequence}}}}."
            )
        how = {key: config.get(key) for key in ("bands", "white_level")} | (image_reading or {})
        given = images, mask_folder, limit, reading, reading_settings(**how)
        return [_protocol(path, config, mask_name, mask, *given) for mask_name, mask in masks.items()]


def _protocol(
    path: Path,
    config: dict[str, Any],
    mask_name: str,
    mask: dict[str, Any],
    images: Path | None,
    mask_folder: Path | None,
    limit: int | None,
    reading: dict[str, Any] | None,
    image_reading: dict[str, Any],
) -> Protocol:
    for key in set(mask) - _MASK_KEYS:
        raise ValueError(f"{path}: mask {mask_name or ''} has the unknown key '{key}'. {nearest(key, _MASK_KEYS)}")
    label = _OTHER_DRAWS
    if mask_folder:
        theirs = MaskFolder(str(mask_folder / mask["folder"]), pairing="sequence", **(reading or {"white": "known"}))
        label = _OTHER_FILES if mask.get("sha256") not in (None, theirs.sha256()) else _SAME_MASKS
        generator: MaskGenerator = theirs
    else:
        law = {key: mask[key] for key in ("class_path", "init_args") if key in mask}
        generator = instantiate(MaskGenerator, expanded(law, path))
    given = [number for number in (config.get("limit"), limit) if number is not None]
    size, resize, seed = config["size"], config.get("resize", "shorter"), config.get("mask_seed", 0)
    first = min(given, default=None)
    if images is not None:
        left_out = Counter[str]()
        names = find_images(images, *roots_of(generator), left_out=left_out)
        files = Files(images, names, left_out, image_reading)
        data = EvaluationSet(files, generator, size, resize, seed, first, channels=config.get("channels", 3))
    elif "data" in config:
        given_args = data_arguments(config, path)
        fixed = {"image_size": size, "resize": resize, "eval_seed": seed, "limit_eval": first, "num_workers": 0}
        fixed |= image_reading | {key: config[key] for key in ("channels",) if key in config}
        spec = {"class_path": config["data"]["class_path"], "init_args": {**given_args, **fixed, "mask": generator}}
        module: InpaintingDataModule = instantiate(InpaintingDataModule, spec)
        data = module.evaluation_set(config.get("split", "test"))
    else:
        raise ValueError(
            f"protocol {config['name']} comes without images: give --images FOLDER. {config.get('about', '')}"
        )
    about = config.get("about", "")
    if images is not None:
        label, about = f"{label}, on the paper's own images", f"{about} Measured on the folder given as --images."
    published = [replace(row, source=f"{row.source}; {label}") for row in rows_of(config, mask_name, mask)]
    return Protocol(
        name="-".join(filter(None, [config["name"], mask_name])),
        images=data,
        metrics=tuple(config["metrics"]),
        measured=config.get("measured", "composite"),
        round_to_8_bits=config.get("round_to_8_bits", True),
        samples=config.get("samples", 1),
        seed=config.get("seed", 0),
        about=about.strip(),
        published=published,
        prompts=prompts_of(config, path, data),
        mask_name=mask_name,
    )
