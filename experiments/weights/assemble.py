"""``lit-inpaint assemble``: combine separately trained stages of a method into one checkpoint.

A method supports this through three things:

* ``stages: ClassVar[dict[str, type[Stage]]]``, e.g. ``{"transformer": Transformer, "upsampler": Upsampler}``: the
  names are the flags of the command, in the order in which the stages are trained;
* ``arguments_of(checkpoints)``, a classmethod: the constructor's arguments from the checkpoints by flag; it raises a
  ValueError if two stages do not belong together (another palette, another codebook);
* its networks have the names that they have in the stages: a tensor of the method is the tensor of the same name in the
  first stage that has it, the EMA if that checkpoint has one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from experiments.weights import options
from lit_inpaint.backbones import sha256
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.checkpoints import FORMAT
from lit_inpaint.classes import method_class, method_classes
from lit_inpaint.load import hyper_parameters, load_method, read_checkpoint
from lit_inpaint.memory import without_memory
from lit_inpaint.module import InpaintingModule
from lit_inpaint.options import key_values
from masks.nearest import nearest


def main(argv: list[str]) -> int:
    methods = _assembled()
    name = next((word for word in argv if not word.startswith("-")), "")
    if "." in name and issubclass(own := method_class(name), InpaintingModule) and own.stages:
        methods[name] = own
    if name not in methods:
        if not argv or argv[0] in ("-h", "--help"):
            options.assemble().parse_args(argv)
        raise ValueError(f"'{name}' is not a method with several stages. {nearest(name, methods)}")
    cls = methods[name]
    a = options.assemble({flag: stage.__name__ for flag, stage in cls.stages.items()}).parse_intermixed_args(argv)
    if a.out.exists():
        raise ValueError(f"{a.out} exists and is never overwritten; give another --out, or delete it.")
    given = key_values(a.arguments)
    checkpoint = assemble(cls, {stage: getattr(a, stage) for stage in cls.stages}, given, a.weights)
    AtomicCheckpointIO().save_checkpoint(checkpoint, a.out)
    load_method(a.out)
    for stage, source in checkpoint["stages"].items():
        print(f"{stage}: {source['method']}, step {source['step']}, {source['weights']} weights of {source['file']}")
    print(f"{name} -> {a.out}")
    return 0


def assemble(
    cls: type[InpaintingModule], paths: dict[str, Path], given: dict[str, object], weights: str = "ema"
) -> dict[str, Any]:
    """The content of the assembled checkpoint; its ``stages`` identifies the source files by content.

    Args:
        paths: Checkpoints by the names in ``cls.stages``.
        given: Further arguments of the constructor.
        weights: "ema" uses EMA weights if a stage has them, "raw" never does.

    Raises:
        ValueError: A file is of another class, or its arguments or shapes do not match the method.
    """
    checkpoints: dict[str, dict[str, Any]] = {}
    for name, stage in cls.stages.items():
        checkpoint = read_checkpoint(paths[name])
        if checkpoint["method"] != stage.__name__:
            raise ValueError(f"--{name} {paths[name]} holds a {checkpoint['method']}; expected a {stage.__name__}.")
        checkpoints[name] = checkpoint
    arguments = cls.arguments_of(checkpoints)
    for key in given:
        if key in arguments:
            raise ValueError(
                f"{key} is {arguments[key]!r} in the checkpoints and cannot be changed; retrain that stage."
            )
    try:
        own = without_memory(lambda: cls(**arguments, **given)).state_dict()
    except TypeError as error:
        raise ValueError(
            f"{cls.__name__}: {error}. `lit-inpaint methods {cls.__name__}` lists its arguments."
        ) from None
    state: dict[str, Tensor] = {}
    for name, checkpoint in checkpoints.items():
        tensors = dict(checkpoint["state_dict"])
        for network, average in (checkpoint.get("ema") or {}).items() if weights == "ema" else ():
            tensors |= {f"{network}.{key}": value for key, value in average.items()}
        for key, value in own.items():
            if key not in tensors or key in state:
                continue
            if tensors[key].shape != value.shape:
                raise ValueError(
                    f"--{name} {paths[name]}: {key} is {tuple(tensors[key].shape)}, but the arguments of the "
                    f"checkpoints make it {tuple(value.shape)}. The file is damaged, or of another version."
                )
            state[key] = tensors[key]
    missing = [key for key in own if key not in state]
    if missing:
        raise ValueError(f"none of the checkpoints has {missing[0]} ({len(missing)} tensors are missing).")
    return {
        "method": cls.__name__,
        "module": cls.__module__,
        "format": FORMAT,
        "pytorch-lightning_version": L.__version__,
        "hyper_parameters": {**arguments, **given},
        "state_dict": state,
        "seed": _seed(list(checkpoints.values())),
        "stages": {name: _source(paths[name], checkpoints[name], weights) for name in cls.stages},
    }


def _seed(stages: Sequence[dict[str, Any]]) -> int | None:
    """The seed that all stages were trained with; None if they differ, or one does not say."""
    identities = [(stage.get("run") or {}).get("identity") or {} for stage in stages]
    seeds = {identity.get("seed_everything") for identity in identities}
    return seeds.pop() if len(seeds) == 1 else None


def _source(path: Path, checkpoint: dict[str, Any], weights: str) -> dict[str, object]:
    return {
        "method": checkpoint["method"],
        "file": str(path),
        "sha256": sha256(path),
        "weights": "ema" if weights == "ema" and checkpoint.get("ema") else "raw",
        "step": checkpoint.get("global_step"),
        "hyper_parameters": hyper_parameters(checkpoint),
    }


def _assembled() -> dict[str, type[InpaintingModule]]:
    return {name: cls for name, cls in method_classes().items() if issubclass(cls, InpaintingModule) and cls.stages}
