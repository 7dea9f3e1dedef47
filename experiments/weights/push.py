"""``lit-inpaint push``: publish a checkpoint on the Hugging Face Hub as safetensors, with a card from its records."""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save_file

from experiments.records.files import read_record
from experiments.records.record import Record
from experiments.weights import options
from experiments.weights.card import card
from lit_inpaint import hub
from lit_inpaint.backbones import sha256
from lit_inpaint.classes import class_of
from lit_inpaint.load import built, hyper_parameters, read_checkpoint
from lit_inpaint.module import InpaintingModule

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def main(argv: list[str]) -> int:
    a = options.push().parse_args(argv)
    at = hub.address(a.repository)
    if at is None or at.revision:
        raise ValueError(f"{a.repository} is no target; expected hf://user/name, without a revision.")
    if not a.license or not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", a.license):
        given = f"--license is {a.license!r}" if a.license else "--license is missing"
        said = f"say under which licence others may use the weights, for example {options.LICENSES}."
        raise ValueError(f"{given}: {said}")
    with tempfile.TemporaryDirectory(prefix="lit-inpaint-push-") as name:
        folder = Path(name)
        config = _write_files(a.checkpoint, folder, a.drop)
        method = verified(a.checkpoint, config, folder)
        records = [_of_checkpoint(path, config) for path in a.record]
        text = card(at, config, method, records, a.license, a.data)
        (folder / hub.CARD).write_text(text, encoding="utf-8")
        config = replace(config, files=config.files | {hub.CARD: sha256(folder / hub.CARD)})
        (folder / hub.CONFIG).write_text(config.text(), encoding="utf-8")
        _refuse_private(text + config.text())
        print(upload(at, folder, a.private, a.overwrite))
    return 0


# ---- what is published ----------------------------------------------------------------------------------------------


def _write_files(path: Path, folder: Path, drop: Sequence[str] = ()) -> hub.Config:
    """The tensors of a checkpoint, and what config.json says of them.

    Raises:
        ValueError: It is no checkpoint of a method, or an argument is a path or nothing that JSON can hold.
    """
    content = read_checkpoint(path)
    arguments = hyper_parameters(content)
    if unknown := [name for name in drop if name not in arguments]:
        raise ValueError(f"--drop {unknown[0]}: {path} has the arguments {', '.join(arguments)}.")
    arguments = {name: value for name, value in arguments.items() if name not in drop}
    for name, value in arguments.items():
        for text in filter(is_path, texts(value)):
            raise ValueError(
                f"the argument {name} of {path} holds a path of this machine, {text!r}, which is not published. If the "
                f"weights do not need it, replace it by its default: --drop {name}."
            )
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the argument {name} of {path} cannot be written as JSON ({error}).") from error
    ema, state = content.get("ema") or {}, content["state_dict"]
    used = {f"{network}.{name}": value for network, part in ema.items() for name, value in part.items()}
    tensors = {hub.MODEL: {**state, **used}} | ({hub.RAW: {name: state[name] for name in used}} if used else {})
    for file, values in tensors.items():
        save_file({name: value.contiguous().clone() for name, value in values.items()}, folder / file)
    return hub.Config(
        method=content["method"],
        module=class_of(content, path).__module__,
        hyper_parameters=json.loads(json.dumps(arguments)),
        averaged=sorted(ema),
        images_seen=_images_seen(content),
        checkpoint_sha256=sha256(path),
        files={file: sha256(folder / file) for file in tensors},
        sampler=content.get("sampler"),
    )


def verified(path: Path, config: hub.Config, folder: Path) -> InpaintingModule:
    """The method as others will load it: its averaged and raw weights are those of the checkpoint, to the last bit.

    Raises:
        ValueError: They are not.
    """
    published: list[tuple[Literal["raw", "ema"], list[str]]] = [("raw", list(config.files)), ("ema", [hub.MODEL])]
    for weights, names in published:
        expected = built(read_checkpoint(path), path, weights).state_dict()
        method = built(hub.assembled(config, {name: folder / name for name in names}, path), path, weights)
        found = method.state_dict()
        if set(found) != set(expected) or not all(torch.equal(found[name], expected[name]) for name in expected):
            raise ValueError(f"{path}: what would be published loads as other {weights} weights; nothing was uploaded.")
    return method


def _of_checkpoint(path: Path, config: hub.Config) -> Record:
    """A record, if it is of the checkpoint that is published.

    Raises:
        ValueError: It is of another one, of other weights, or has no numbers.
    """
    record = read_record(path)
    if record.method.checkpoint_sha256 != config.checkpoint_sha256:
        found = (record.method.checkpoint_sha256 or "none")[:12]
        raise ValueError(
            f"{path} is not a record of this checkpoint: it states the sha256 {found}, the file has "
            f"{config.checkpoint_sha256[:12]}. Benchmark this checkpoint."
        )
    used = "ema" if config.averaged else "raw"
    if record.method.weights != used or record.not_applicable:
        said = record.not_applicable or f"it is of the {record.method.weights} weights, and {used} ones are published"
        raise ValueError(f"{path} cannot stand on the card: {said}.")
    return record


def _images_seen(content: dict[str, Any]) -> int | None:
    states = [state for key, state in content.get("callbacks", {}).items() if key.startswith("Throughput")]
    return int(states[0]["images_seen"]) if states else None


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, dict):
        yield from (text for part in (*value.keys(), *value.values()) for text in texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in texts(part))


def is_path(text: str) -> bool:
    """Whether a text names a place on a machine: absolute, from a home, of Windows, or a file or folder that is there.

    >>> [is_path(text) for text in ("/data/kmeans.npy", "~/x", "C:\\\\x", "../x.ckpt", "kmeans", "package.Class")]
    [True, True, True, True, False, False]
    """
    begins = re.match(r"[/\\~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\w+://", text)
    return bool(begins) or (("/" in text or "." in text) and Path(text).exists())


def _refuse_private(text: str) -> None:
    """
    Raises:
        ValueError: The text holds the user's home folder, or a secret of theirs.
    """
    private = {name: os.environ.get(name, "") for name in ("HF_TOKEN", "WANDB_API_KEY")}
    for name, value in {**private, "the path of your home folder": str(Path.home())}.items():
        if len(value) > 1 and value in text:
            raise ValueError(f"the card or config.json would publish {name}; nothing was uploaded.")


# ---- the repository -------------------------------------------------------------------------------------------------


def upload(at: hub.Address, folder: Path, private: bool, overwrite: bool) -> str:
    """One commit with all files of ``folder``; a line that says what was done.

    Raises:
        ValueError: There is no token, or the repository holds what lit-inpaint did not write.
    """
    api = hub.client()
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if not get_token():
        raise ValueError("there is no token for the Hub: set HF_TOKEN, or run `hf auth login`.")
    try:
        before = api.model_info(at.name)
    except RepositoryNotFoundError:
        before = None
    except Exception as error:
        raise ValueError(f"{at}: {hub.reason(error, at)}") from error
    if private and before and before.private is False:
        raise ValueError(
            f"{at} exists and is public, and --private only creates a repository. Choose another name, or make it "
            "private in its settings first."
        )
    paths = sorted(folder.iterdir())
    at_head = hub.Address(at.name, before.sha if before else None)
    foreign, stale = _of_others(api, at_head, {path.name for path in paths}) if before else ([], [])
    if foreign and not overwrite:
        raise ValueError(
            f"{at} holds {', '.join(foreign)}, which lit-inpaint did not write or which was changed since. Choose "
            "another name, or --overwrite to replace it (the repository's history keeps it)."
        )
    operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete]
    operations = [*(CommitOperationAdd(path.name, path) for path in paths), *map(CommitOperationDelete, stale)]
    try:
        if before is None:
            api.create_repo(at.name, private=private)
        done = api.create_commit(at.name, operations, commit_message="lit-inpaint push", parent_commit=at_head.revision)
    except Exception as error:
        raise ValueError(f"{at}: {hub.reason(error, at)} Nothing was published.") from error
    if before and done.oid == before.sha:
        return f"{at}@{done.oid}: nothing has changed since the last push"
    was = f"a new commit on {before.sha[:7]}" if before and before.sha else "a new repository"
    size = sum(path.stat().st_size for path in paths) / 1e6
    return f"{at}@{done.oid}: {was}, {len(paths)} files, {size:.1f} MB"


def _of_others(api: "HfApi", at: hub.Address, ours: set[str]) -> tuple[list[str], list[str]]:
    """Files that a push would replace and no push has written, or that were changed since; and what an earlier push
    has written and this one does not."""
    siblings = api.model_info(at.name, revision=at.revision, files_metadata=True).siblings or []
    there = {entry.rfilename: entry for entry in siblings}
    stated: dict[str, str] = {}
    if hub.CONFIG in there:
        with suppress(ValueError):
            stated = hub.config_of(at).files
            del there[hub.CONFIG]

    def same(name: str) -> bool:
        lfs = there[name].lfs
        return stated.get(name) == (
            lfs.sha256 if lfs else sha256(Path(api.hf_hub_download(at.name, name, revision=at.revision)))
        )

    foreign = [name for name in sorted(there.keys() & (ours | stated.keys())) if not same(name)]
    return foreign, sorted(there.keys() & (stated.keys() - ours))
