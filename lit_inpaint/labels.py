"""What a method is called in tables, pages and files."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from lit_inpaint import hub, plugins, recipes, zoo
from lit_inpaint.classes import class_of
from lit_inpaint.load import load_method, read_checkpoint, recipe

_OF_LIGHTNING = re.compile(r"[^=/]+=\d[\d.]*(-[^=/]+=\d[\d.]*)*\.ckpt")  # epoch=3-val_loss=0.12.ckpt
_ALLOWED = r"\w.,\-+=@() "  # in a label, which names files


def label_methods(methods: Sequence[str], weights: Literal["ema", "raw"]) -> dict[str, str]:
    """{what load_method takes: label}; all names and files are checked before anything runs.

    A class name is its own label; a checkpoint is called after its method, run folder and step (unless it is the last),
    a repository of the Hub or an entry of the zoo after its name, a YAML after its file, unless LABEL= is given. What a
    repository is loaded by is its commit.
    """
    labels: dict[str, str] = {}
    for given in methods:
        asked, method = split(given)
        label, method = asked, os.path.expanduser(method)
        path = Path(method)
        if at := hub.address(method):
            at = hub.pinned(at)
            class_of(hub.checkpoint_of(at, weights), at)
            repository = at.name.partition("/")[2]
            label, method = label or (f"{repository}-raw" if weights == "raw" else repository), str(at)
        elif (entry := zoo.entry(method)) is not None:
            class_of(zoo.checkpoint_of(entry, weights), path)
            label = label or entry
        elif recipes.is_recipe(path):
            recipe(path)
            label = label or path.stem
        elif not plugins.with_file(method) and (path.suffix in {".ckpt", ".pt", ".pth"} or path.is_file()):
            name = read_checkpoint(path)["method"]
            in_run = path.parent.name == "checkpoints"
            run = path.absolute().parents[1].name if in_run else path.stem
            step = path.stem if in_run and path.stem != "last" else ""
            label = label or "-".join(filter(None, [name, run, step, "raw" if weights == "raw" else ""]))
        else:
            load_method(method)  # says what is wrong with the name
            own = plugins.with_file(method)
            label = label or (f"{own[0].rpartition('.')[2]}-{own[1].stem}" if own else method)
        labels[method] = unique_label(label, method, labels, bool(asked))
    return labels


def split(given: str) -> tuple[str, str]:
    """The label, "" without one, and the method. A file's name may hold a =, a label no slash.

    >>> split("Ours (v2)=last.ckpt"), split("runs/x/epoch=3-step=99.ckpt"), split("Telea")
    (('Ours (v2)', 'last.ckpt'), ('', 'runs/x/epoch=3-step=99.ckpt'), ('', 'Telea'))

    What Lightning calls a checkpoint is a file's name, there or not:

    >>> split("net-epoch=3.ckpt"), split("Ours=epoch=3.ckpt")
    (('', 'net-epoch=3.ckpt'), ('Ours', 'epoch=3.ckpt'))
    """
    label, equals, method = given.partition("=")
    whole = not equals or "/" in label or Path(given).is_file() or plugins.with_file(given)
    missing = _OF_LIGHTNING.fullmatch(given) and not Path(method).is_file()
    return ("", given) if whole or missing else (label, method)


def unique_label(label: str, method: str, taken: Mapping[str, str], asked: bool = False) -> str:
    """``label`` as files can be called, for a method that ``taken`` {method: label} does not hold yet.

    Args:
        asked: Somebody has chosen it: it is kept as it is, or refused.

    Raises:
        ValueError: The label or the method is taken, or the label is no name.
    """
    if asked and (wrong := re.search(f"[^{_ALLOWED}]", label)):
        expected = "letters, digits, blanks and any of . , - + = @ ( )"
        raise ValueError(f"the label '{label}' has a '{wrong[0]}' in it; expected {expected}.")
    label = re.sub(f"[^{_ALLOWED}]", "_", label)
    if label in taken.values() or label.startswith("_") or not label.strip("."):
        raise ValueError(f"'{label}' is taken, starts with _ or is not a valid name; choose another: LABEL={method}.")
    if method in taken:
        raise ValueError(f"{method} is given twice.")
    return label
