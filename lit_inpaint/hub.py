"""Methods in repositories of the Hugging Face Hub, ``hf://user/name[@revision]``.

    config.json         class, arguments, and the SHA-256 of every other file and of itself
    model.safetensors   the tensors that evaluation uses: averaged ones if the checkpoint has them
    raw.safetensors     the averaged networks before averaging, if there are any
    README.md           the model card

``lit-inpaint push`` writes them. Only config.json and the safetensors are downloaded: nothing is unpickled, no code of
a repository runs, and no module is imported because a repository names it.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, TypeAdapter
from torch import Tensor

from lit_inpaint import renamed
from lit_inpaint.backbones import sha256
from lit_inpaint.checkpoints import FORMAT as CHECKPOINT_FORMAT
from lit_inpaint.checkpoints import first_line, refuse_newer

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PREFIX, FORMAT = "hf://", 1
CONFIG, MODEL, RAW, CARD = "config.json", "model.safetensors", "raw.safetensors", "README.md"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ADDRESS = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@([\w./-]+))?", re.ASCII)


class Address(NamedTuple):
    """A repository, at a branch, tag or commit; None: its main branch.

    >>> str(Address("user/name", "v1"))
    'hf://user/name@v1'
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What config.json holds.

    Args:
        averaged: Networks whose tensors in model.safetensors are EMA averages.
        images_seen: Images seen in training.
        checkpoint_sha256: SHA-256 of the checkpoint that was pushed.
        files: SHA-256 of every other file.
        sampler: Class and arguments, where the run was given one; not in the file otherwise.
        sha256: SHA-256 of all of the above.
    """

    library: Literal["lit-inpaint"] = "lit-inpaint"
    format: int = FORMAT
    method: str
    module: str
    hyper_parameters: dict[str, Any]
    averaged: list[str]
    images_seen: int | None
    checkpoint_sha256: str
    files: dict[str, str]
    sampler: dict[str, Any] | None = None
    sha256: str = ""
    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid")

    def text(self) -> str:
        """config.json, with its own hash."""
        return json.dumps(self._said | {"sha256": self.hash}, indent=1, allow_nan=False) + "\n"

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(self._said, sort_keys=True).encode()).hexdigest()

    @property
    def _said(self) -> dict[str, Any]:
        left_out = {"sha256"} | ({"sampler"} if self.sampler is None else set())
        return {key: value for key, value in asdict(self).items() if key not in left_out}


_CONFIG = TypeAdapter(Config)


def address(text: object) -> Address | None:
    """The repository that ``hf://user/name[@revision]`` names; None for anything else.

    >>> address("hf://user/name@v1"), address("Telea")
    (Address(name='user/name', revision='v1'), None)

    Raises:
        ValueError: It begins with hf:// and names no repository.
    """
    if not (isinstance(text, str) and text.startswith(PREFIX)):
        return None
    found = _ADDRESS.fullmatch(text.removeprefix(PREFIX))
    if not found or ".." in text or "--" in found[1]:
        raise ValueError(f"{text} names no repository; expected hf://user/name or hf://user/name@revision.")
    return Address(found[1], found[2])


def client() -> "HfApi":
    """
    Raises:
        ValueError: The extra is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ValueError("hf:// needs huggingface_hub: pip install 'lit-inpaint[hub]'.") from None
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return HfApi(endpoint=endpoint or None, library_name="lit-inpaint")


def pinned(at: Address, file: str = CONFIG) -> Address:
    """The commit that a branch or tag names now; what is loaded from there never changes.

    Without network, the commit of the last download serves, and a warning says so.

    Args:
        file: One that every such repository holds.

    Raises:
        ValueError: There is no such repository or revision, or it cannot be read.
    """
    if at.revision and _COMMIT.fullmatch(at.revision):
        return at
    api = client()
    try:
        api.model_info(at.name, revision=at.revision)  # hf_hub_download would take a cached commit without a word
        found = api.hf_hub_download(at.name, file, revision=at.revision)
    except Exception as error:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HfHubHTTPError

        answered = isinstance(error, HfHubHTTPError) and error.response.status_code < 500
        cached = try_to_load_from_cache(at.name, file, revision=at.revision)
        if answered or not isinstance(cached, str):
            raise ValueError(f"{at}: {reason(error, at, file)}") from error
        found = cached
        warnings.warn(f"{at} cannot be reached; using the commit of the last download, {Path(found).parent.name}.")
    return Address(at.name, Path(found).parent.name)


def config_of(at: Address) -> Config:
    """The verified config.json of a commit.

    Raises:
        ValueError: It is missing, damaged, or was not written by ``lit-inpaint push``.
    """
    return _read_config(_downloaded(at, CONFIG), at)


def checkpoint_of(at: Address, weights: Literal["ema", "raw"] = "ema") -> dict[str, Any]:
    """The verified content of a commit, as a checkpoint holds it; "ema" spares the download of raw.safetensors."""
    config = config_of(at)
    names = [MODEL] + [RAW] * (weights == "raw" and bool(config.averaged))
    return assembled(config, {name: _downloaded(at, name) for name in names}, at)


def _read_config(path: Path, at: object) -> Config:
    """
    Raises:
        ValueError: Naming ``at``: the file is damaged, or was not written by ``lit-inpaint push``.
    """
    try:
        text = path.read_bytes()
        content = json.loads(text)
        ours = isinstance(content, dict) and content.get("library") == "lit-inpaint"
        refuse_newer(content if ours else None, at, FORMAT)
        config = _CONFIG.validate_json(text)
    except (ValueError, RecursionError) as error:
        if str(error).startswith(str(at)):
            raise
        raise ValueError(
            f"{at} holds no method of lit-inpaint: its {CONFIG} was not written by `lit-inpaint push`. Nothing else of "
            "it was read: pickles and code never are."
        ) from error
    if config.hash != config.sha256:
        raise ValueError(f"{at}: {path} has been altered: its content does not have the sha256 that it states.")
    return config


def assembled(config: Config, files: Mapping[str, Path], at: object) -> dict[str, Any]:
    """What a checkpoint holds, from config.json and the files of tensors beside it.

    Raises:
        ValueError: Naming the file whose content is not what config.json states.
    """
    from safetensors.torch import load_file

    tensors: dict[str, dict[str, Tensor]] = {}
    for name, path in files.items():
        stated = config.files.get(name)
        if (found := sha256(path)) != stated:
            raise ValueError(
                f"{at}: {name} has sha256 {found[:12]}..., {CONFIG} states {str(stated)[:12]}...: it was cut off or "
                f"altered. Delete {path.resolve()} and try again."
            )
        try:
            tensors[name] = load_file(path)
        except Exception as error:  # SafetensorError, of a file that was never one
            raise ValueError(f"{at}: {name} cannot be read ({first_line(error)}).") from error
    model = tensors[MODEL]
    content = {
        "method": config.method,
        "module": config.module,
        "format": CHECKPOINT_FORMAT,
        "hyper_parameters": config.hyper_parameters,
        "state_dict": model | tensors.get(RAW, {}),
    }
    if config.sampler:
        content["sampler"] = config.sampler
    if config.averaged:
        content["ema"] = {network: below(model, network) for network in config.averaged}
    return renamed.checkpoint(content)


def below(tensors: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """The state dict of one network in that of a method."""
    prefix = f"{network}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _downloaded(at: Address, name: str) -> Path:
    """A file in the cache of huggingface_hub, which resumes a torn download and never keeps a part under its name."""
    try:
        return Path(client().hf_hub_download(at.name, name, revision=at.revision))
    except Exception as error:
        raise ValueError(f"{at}: {reason(error, at, name)}") from error


def snapshot(at: Address, file: str, wanted: list[str], unwanted: list[str]) -> Path:
    """The folder of a commit in the cache, with its files that match one of ``wanted`` and none of ``unwanted``.

    Without network, the files of the last download serve.

    Args:
        file: One that every such repository holds.
    """
    folder = _downloaded(at, file).parent
    try:
        entries = client().model_info(at.name, revision=at.revision).siblings or []
    except Exception as error:
        from huggingface_hub.errors import HfHubHTTPError

        if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
            raise ValueError(f"{at}: {reason(error, at, file)}") from error
        return folder
    for name in [entry.rfilename for entry in entries]:
        if any(fnmatch(name, pattern) for pattern in wanted) and not any(fnmatch(name, p) for p in unwanted):
            _downloaded(at, name)
    return folder


def reason(error: Exception, at: Address, file: str = CONFIG) -> str:
    """One line about what the Hub or the network refused, and what to do."""
    from huggingface_hub import errors

    url = f"{client().endpoint}/{at.name}"
    if isinstance(error, errors.GatedRepoError):
        return f"access is restricted; ask for it at {url}, then run `hf auth login` or set HF_TOKEN."
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private: run `hf auth login` or set HF_TOKEN."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the repository has no revision {at.revision or 'main'}."
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return _without(file, at)
    if isinstance(error, errors.HfHubHTTPError):
        status, said = error.response.status_code, error.server_message or first_line(error)
        hint = " Check HF_TOKEN, or run `hf auth login`." if status in (401, 403) else ""
        return f"the Hub answered {status}: {' '.join(said.split()).rstrip('.')}.{hint}"
    if isinstance(error, ValueError):  # the client's own checks, of a name or of the card's metadata
        return f"{' '.join(str(error).split()).rstrip('.')}."
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return f"it cannot be reached ({first_line(cause)}), and this revision of {file} is not in the cache."
    return f"{type(cause).__name__}: {first_line(cause)}. Try again."


def _without(file: str, at: Address) -> str:
    """What a repository without ``file`` holds instead."""
    names = [entry.rfilename for entry in client().model_info(at.name, revision=at.revision).siblings or []]
    pickles = [name for name in names if name.endswith((".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"))]
    if pickles:
        return (
            f"it holds no {file}, but {', '.join(pickles[:3])}: pickles can run code when they are read and are never "
            "read from the Hub. If you trust it, download the file and use `lit-inpaint import-weights`."
        )
    held = f"; it holds {', '.join(names[:5])}" if names else ""
    cause = ", so it was not written by `lit-inpaint push`" if file == CONFIG else ""
    return f"it holds no {file}{cause}{held}."
