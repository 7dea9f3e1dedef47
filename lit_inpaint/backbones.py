"""Pretrained backbones that metrics and losses stand on: found on this machine, verified, never downloaded silently."""

import hashlib
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


class BackboneMissingError(ValueError):
    """The weights are not on this machine."""


class _Backbone(NamedTuple):
    """Where a backbone lies and how it is recognised."""

    file: str  # in the folder LIT_INPAINT_WEIGHTS
    sha256: str  # of that file, or its first digits where no more are published
    hub_file: str | None = None  # in the cache of torch hub; its name ends with the first digits of its sha256
    get: str = ""  # how a user gets it
    repository: str = ""  # of the Hub, whose library reads it: ``file`` is then a folder, which nothing verifies
    files: tuple[str, ...] = ("config.json", "model.safetensors")  # of that folder: an interrupted download lacks some


BACKBONES = {
    "alexnet": _Backbone(
        "alexnet_features.pth",
        "1454cf628f565bb39c929b4ab19c33d8c662292055b946c48daaeb6ccaf8811d",
        "alexnet-owt-7be5be79.pth",
        "python -c \"import torchvision; torchvision.models.alexnet(weights='IMAGENET1K_V1')\"",
    ),
    "vgg16": _Backbone(
        "vgg16_features.pth",
        "c6202c684b82fdf2f7007873bcf40b1238e1565f688e2e541c96d8090c79c130",
        "vgg16-397923af.pth",
        "python -c \"import torchvision; torchvision.models.vgg16(weights='IMAGENET1K_V1')\"",
    ),
    "vgg19": _Backbone(
        "vgg19-dcbb9e9d.pth",
        "dcbb9e9d",
        "vgg19-dcbb9e9d.pth",
        "python -c \"import torchvision; torchvision.models.vgg19(weights='IMAGENET1K_V1')\"",
    ),
    "inception_fid": _Backbone(
        "fid_inception_v3_features.pth",
        "7eb9f413fb0b43f8789cad7a3653ac4648068ec718e930e9c5efe9b835551504",
        "weights-inception-2015-12-05-6726825d.pth",
        "pip install 'lit-inpaint[metrics]' && "
        'python -c "from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as F; '
        "F('fid', ['2048'])\"",
    ),
    "dinov2_large": _Backbone(
        "dinov2-large",
        "",
        get="pip install 'lit-inpaint[metrics]' && "
        "python -c \"import transformers; transformers.Dinov2Model.from_pretrained('facebook/dinov2-large')\"",
        repository="facebook/dinov2-large",
    ),
    "clip_vit_large_patch14": _Backbone(
        "clip-vit-large-patch14",
        "",
        get="pip install 'lit-inpaint[metrics]' && "
        "python -c \"import transformers as t; n = 'openai/clip-vit-large-patch14'; "
        't.CLIPModel.from_pretrained(n); t.CLIPTokenizer.from_pretrained(n)"',
        repository="openai/clip-vit-large-patch14",
        files=("config.json", "model.safetensors", "tokenizer.json"),
    ),
    "migan_places2_512": _Backbone(
        "migan_places2_512.pth", "c83b5d0d7d7c4679c8d28953d12e68ca45aee0a7adeb0e859615f3a33fed5915"
    ),
}


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, cached while its size and modification time stay the same."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


def backbone(name: str) -> Path:
    """The verified file of a backbone: in the folder LIT_INPAINT_WEIGHTS, else in the cache of torch hub.

    A backbone that comes as a repository of the Hub is a folder, in LIT_INPAINT_WEIGHTS or in the cache of the Hub.

    Raises:
        BackboneMissingError: It is in neither; the message says how to get it.
        ValueError: The name is unknown, or the file is not the expected one.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; allowed: {', '.join(BACKBONES)}.")
    wanted, folder = BACKBONES[name], os.environ.get("LIT_INPAINT_WEIGHTS")
    if wanted.repository and (whole := _repository(wanted, folder)):
        return whole
    if folder and (path := Path(folder) / wanted.file).is_file():
        found = sha256(path)
        if not found.startswith(wanted.sha256):
            raise ValueError(f"{path} has sha256 {found[:12]}..., expected {wanted.sha256[:12]}...: replace the file.")
        return path
    if wanted.hub_file and (path := Path(torch.hub.get_dir()) / "checkpoints" / wanted.hub_file).is_file():
        found, digits = sha256(path), path.stem.rsplit("-", 1)[1]
        if not found.startswith(digits):
            raise ValueError(f"{path} has sha256 {found[:12]}..., expected {digits}...: delete it and fetch it again.")
        return path
    hub = f", or get it with: {wanted.get}" if wanted.get else ""
    raise BackboneMissingError(
        f"backbone {name} is not on this machine: put {wanted.file} into the folder that LIT_INPAINT_WEIGHTS names "
        f"({folder or 'not set'}){hub}"
    )


def _repository(wanted: _Backbone, folder: str | None) -> Path | None:
    """Where all files of a repository that are needed are together."""
    places = [Path(folder) / wanted.file] if folder else []
    with suppress(ModuleNotFoundError):
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(wanted.repository, "config.json")
        places += [Path(found).parent] if isinstance(found, str) else []
    return next((place for place in places if all((place / file).is_file() for file in wanted.files)), None)


def features_state(name: str) -> dict[str, Tensor]:
    """The convolutional part of AlexNet, VGG16 or VGG19, under torchvision's names without the prefix ``features.``."""
    state: dict[str, Tensor] = torch.load(backbone(name), map_location="cpu", weights_only=True)
    return {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
