"""From a folder or a repository of the Hub to a pipeline of diffusers.

Only configurations, tokenizers and safetensors are read: nothing is unpickled, no code of a repository runs, and no
library is imported because model_index.json names it.
"""

import hashlib
import inspect
import json
import logging
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from lit_inpaint import hub, plugins
from lit_inpaint.backbones import sha256
from lit_inpaint.checkpoints import first_line
from lit_inpaint.quiet import without_bars
from masks.nearest import nearest
from masks.regular import read_text

logger = logging.getLogger(__name__)
INDEX = "model_index.json"
READ = ("*.json", "*.safetensors", "*.txt", "*.model")  # besides merges and vocabularies, sentencepiece's models
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5")
_LIBRARIES = ("diffusers", "transformers")
_UNUSED = "safety_checker"
_DENOISERS = ("unet", "transformer")
_ENCODERS = ("vae", "movq", "text_encoder", "image_encoder", _UNUSED, "feature_extractor")


class Folder(NamedTuple):
    """Where a pipeline lies on this machine, and the commit of the Hub that it is, if it is one."""

    path: Path
    repository: str | None = None
    revision: str | None = None


def libraries() -> dict[str, str]:
    """The versions of what a pipeline runs on.

    Raises:
        ValueError: The extra is not installed.
    """
    try:
        import diffusers
        import transformers
    except ImportError:
        raise ValueError("pipelines need diffusers and transformers: pip install 'lit-inpaint[diffusers]'.") from None
    return {"diffusers": diffusers.__version__, "transformers": transformers.__version__}


def located(source: str, variant: str | None = None) -> Folder:
    """A local folder, or a commit of the Hub, which is downloaded: its weights, or those of a ``variant`` too.

    Raises:
        ValueError: There is no pipeline.
    """
    if at := hub.address(source):
        at = hub.pinned(at, INDEX)
        unwanted = [f"{_UNUSED}/*", *([] if variant else ["*.*.safetensors"])]
        wanted = [INDEX, *(f"*/{pattern}" for pattern in READ)]
        return Folder(hub.snapshot(at, INDEX, wanted, unwanted), at.name, at.revision)
    path = Path(source)
    if not (path / INDEX).is_file():
        raise ValueError(
            f"{source} is not the folder of a pipeline: it holds no {INDEX}. Expected what save_pretrained of diffusers"
            " wrote, or hf://user/name."
        )
    return Folder(path)


def content(source: str, loaded: Folder | None = None) -> str:
    """The commit of the Hub, now or as ``loaded``, or one SHA-256 of all files that are read from a folder."""
    if at := hub.address(source):
        return str(hub.Address(at.name, loaded.revision) if loaded else hub.pinned(at, INDEX))
    folder = located(source).path
    files = sorted({path for pattern in READ for path in folder.rglob(pattern) if path.is_file()})
    states = [(str(file), (status := file.stat()).st_size, status.st_mtime_ns) for file in files]
    hashes = {Path(name).relative_to(folder).as_posix(): _sha256(name, size, time) for name, size, time in states}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


@cache
def _sha256(path: str, size: int, time: int) -> str:
    return sha256(Path(path))


def read_index(folder: Path, own: Collection[str] = ()) -> dict[str, Any]:
    """model_index.json, if it and the folder hold nothing that could run code.

    Args:
        own: Libraries that the user has named.

    Raises:
        ValueError: Naming what is refused.
    """
    path = folder / INDEX
    try:
        index = json.loads(read_text(path))
        parts = {name: value for name, value in index.items() if not name.startswith("_")}
        named = [(name, *value) for name, value in parts.items() if isinstance(value, list) and len(value) == 2]
        unknown = [(name, library) for name, library, _ in named if library and not _allowed(library, own)]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not the index of a pipeline ({first_line(error)}).") from error
    if not isinstance(index.get("_class_name", ""), str):
        raise ValueError(f"{path} names code that lies beside it, {index['_class_name']}, and such code is never run.")
    if unknown:
        part, library = unknown[0]
        raise ValueError(
            f"{path}: its {part} is of the library {library!r}, which is not imported because a file names it. If you "
            f"trust it, add --import {library}."
        )
    for name in [name for name, *_ in named if name != _UNUSED]:
        weights = [file for file in sorted((folder / name).glob("*")) if file.suffix in (".safetensors", *_PICKLES)]
        if weights and not any(file.suffix == ".safetensors" for file in weights):
            raise ValueError(
                f"{folder / name} holds {weights[0].name} and no safetensors: pickles can run code when they are read. "
                "If you trust it, load the pipeline with diffusers and write it with save_pretrained."
            )
    return dict(index)


def _allowed(library: object, own: Collection[str]) -> bool:
    if not isinstance(library, str):
        return False
    return library in (*_LIBRARIES, *own) or (
        library.isidentifier() and bool(find_spec(f"diffusers.pipelines.{library}"))
    )


def pipeline_class(name: str | None, index: Mapping[str, Any], folder: Path) -> type[Any]:
    """The class that the user names, by its name in diffusers or as ``package.module.Name``; else that of the index.

    Raises:
        ValueError: There is no such pipeline, or it fills no holes.
    """
    import diffusers

    stated = index.get("_class_name")
    wanted: Any = name or stated
    found: Any = plugins.find(name) if name and "." in name else getattr(diffusers, str(wanted), None)
    every = [n for n in dir(diffusers) if n.endswith("Pipeline") and ("Inpaint" in n or "Fill" in n)]
    hint = f"Give pipeline=. {nearest(str(wanted), every, cutoff=0.7)}"
    where = "" if name else f"{folder / INDEX} says "
    if not (inspect.isclass(found) and issubclass(found, diffusers.DiffusionPipeline)):
        raise ValueError(f"{where}'{wanted}', which is no pipeline of diffusers {diffusers.__version__}. {hint}")
    if missing := {"image", "mask_image"} - {*takes(found)}:
        raise ValueError(f"{where}{wanted}, which takes no {sorted(missing)[-1]}: it fills no holes. {hint}")
    pipeline: Any = found
    if pipeline._load_connected_pipes:
        raise ValueError(f"{wanted} downloads further pipelines that a README names. {hint}")
    return found


def takes(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a call."""
    return dict(inspect.signature(cls.__call__).parameters)


def accepts(cls: type[Any], name: str) -> bool:
    """Whether a call takes an argument. What diffusers' own ``**kwargs`` take is old names, and passes unread."""
    given = takes(cls)
    others = any(p.kind is p.VAR_KEYWORD for p in given.values()) and not cls.__module__.startswith("diffusers.")
    return name in given or others


def opened(cls: type[Any], folder: Path, dtype: str, variant: str | None) -> Any:
    """The pipeline, on the CPU, without a safety checker: it would replace completions by black images.

    Raises:
        ValueError: It cannot be loaded, or files lack some of its weights.
    """
    checked = {"safety_checker": None, "requires_safety_checker": False}
    given = {name: value for name, value in checked.items() if name in inspect.signature(cls.__init__).parameters}
    lean = {"low_cpu_mem_usage": find_spec("accelerate") is not None}
    said: set[str] = set()
    with heard(said):
        try:
            pipeline = cls.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, dtype=getattr(torch, dtype), variant=variant,
                **lean, **given,
            )  # fmt: skip
        except Exception as error:  # whatever does not suit: configurations, tensors, files
            raise ValueError(f"{folder} cannot be loaded as {cls.__name__} ({first_line(error)}).") from error
    if missing := next((line for line in said if "newly initialized" in line), None):
        raise ValueError(f"{folder} lacks weights of {cls.__name__}: {missing[:300]}")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class _Once(logging.Handler):
    """Repeats each warning once, whatever the number of images that it is about."""

    def __init__(self, said: set[str]) -> None:
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if text not in self.said:
            logger.warning("%s", text)
        self.said.add(text)


@contextmanager
def heard(said: set[str]) -> Iterator[None]:
    """Without the progress bars of both libraries, and without the warnings that are among ``said``; new ones go
    there."""
    once, owners = _Once(said), [logging.getLogger(name) for name in _LIBRARIES]
    before = [(owner.handlers, owner.propagate) for owner in owners]
    for owner in owners:
        owner.handlers, owner.propagate = [once], False
    try:
        with without_bars(*_LIBRARIES):
            yield
    finally:
        for owner, (handlers, propagate) in zip(owners, before, strict=True):
            owner.handlers, owner.propagate = handlers, propagate


def networks(pipeline: Any) -> dict[str, nn.Module]:
    """The networks of a pipeline by role: ``denoiser``, which each step calls, and the others by their own names."""
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    others = [name for name in parts if not name.startswith(_ENCODERS)]
    sizes = {name: sum(p.numel() for p in parts[name].parameters()) for name in others}
    denoiser = next(
        (name for name in _DENOISERS if name in parts), max(sizes, key=lambda name: sizes[name], default="")
    )
    return {"denoiser" if name == denoiser else name: part for name, part in parts.items()}


def multiple(pipeline: Any) -> int:
    """What the sides of an image must be a multiple of: a class of one's own says it as ``multiple``."""
    if own := getattr(pipeline, "multiple", None):
        return int(own)
    processors = [getattr(pipeline, name, None) for name in ("image_processor", "mask_processor")]
    scale = int(getattr(pipeline, "vae_scale_factor", 8))
    patch = getattr(pipeline, "patch_size", None)
    return math.lcm(
        scale * (patch if isinstance(patch, int) else 1), *(p.config.vae_scale_factor for p in processors if p)
    )
