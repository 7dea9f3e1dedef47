"""A study's file, checked.

about: Three methods under two masks.
protocol: table1_64              # as `benchmark` takes it
masks: [wide, half]              # of the protocol's masks (all)
seeds: [0, 1]
fit: [--trainer.max_steps=1000]  # arguments of every fit, before a method's own
benchmark: [--limit=100]         # arguments of every benchmark
resources: {fit: {mem_mb: 8000, runtime: 600}, benchmark: {mem_mb: 4000}}  # of a job, as Snakemake names them
methods:
  Telea: {method: Telea}         # what `benchmark --methods` takes
  MIGAN: {method: MIGAN, weights: $LIT_INPAINT_WEIGHTS/migan.pth}  # through import-weights
  AOTGAN: {fit: aotgan/faces64, arguments: [--data=DrawnFaces]}
  RePaint: {fit: ddpm/faces32, seeds: [0], benchmark: [--sampler, RePaint, steps=50]}
  DDNM: {of: RePaint, benchmark: [--sampler, DDNM, steps=50]}  # what RePaint has trained, of the same seeds
  ICT:                           # ${transformer}: the checkpoint of that stage, of the same seed
    stages:
      transformer: {fit: ict/faces64_transformer}
      upsampler: {fit: ict/faces64_upsampler, arguments: ["--model.init_args.palette=${transformer}"]}
    assemble: ICT
    arguments: [top_k=5]

``adopts: FOLDER`` takes finished units from there (experiments/study/units.py); ``like: table1`` takes everything from
another study that the file does not say itself; ``votes: RePaint`` lets people compare every other method with that
one; ``published: PROTOCOL`` shows what papers have printed under the masks of that protocol, apart from the table.
"""

import json
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from experiments.files.find import find_yaml
from experiments.files.read import read_yaml
from experiments.files.variables import expanded
from masks.nearest import nearest

Kind = Literal["fit", "assemble", "import", "benchmark"]
Resources = dict[str, int | str]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
_EXACT = ConfigDict(strict=True, extra="forbid")
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


@dataclass(frozen=True)
class Training:
    """One stage of a method that is trained in several.

    Args:
        fit: A configuration.
        arguments: Arguments of `fit`; `${STAGE}` is the checkpoint of another stage, of the same seed.
        resources: As Snakemake names them, `mem_mb`, `runtime`, ...: over those of every fit, key by key.
    """

    fit: str
    arguments: list[str] = field(default_factory=list)
    resources: Resources = field(default_factory=dict)
    __pydantic_config__: ClassVar = _EXACT


@dataclass(frozen=True)
class Method:
    """One method of the file: run as it is, imported, trained, trained in stages and assembled, or another's.

    Args:
        method: What is run as it is: a class, a checkpoint, `hf://user/name`, `zoo:NAME` or `outputs:FOLDER`.
        of: The method whose networks it uses, as another sampler does.
        weights: A file that `import-weights` reads; `method` is its class.
        fit: A configuration.
        stages: Trainings by name, each with a checkpoint that `assemble` takes.
        assemble: The class that the stages make.
        arguments: Arguments of `fit`, `assemble` (KEY=VALUE) or `import-weights`.
        benchmark: Arguments of its benchmarks.
        seeds: In place of the study's.
        resources: What its fit takes, over those of every fit, key by key.
    """

    method: str | None = None
    of: str | None = None
    weights: str | None = None
    fit: str | None = None
    stages: dict[str, Training] = field(default_factory=dict)
    assemble: str | None = None
    arguments: list[str] = field(default_factory=list)
    benchmark: list[str] = field(default_factory=list)
    seeds: Seeds | None = None
    resources: Resources = field(default_factory=dict)
    __pydantic_config__: ClassVar = _EXACT

    @property
    def trained(self) -> bool:
        return bool(self.fit or self.stages)

    def check(self) -> None:
        if [bool(self.method), bool(self.of), bool(self.fit), bool(self.stages)].count(True) != 1:
            raise ValueError(
                "needs one of method (run as it is), fit (a configuration), stages (a fit each) and of (what another "
                "method has trained)"
            )
        if bool(self.stages) != bool(self.assemble) or (self.weights and not self.method):
            raise ValueError(
                "stages need `assemble: CLASS`, and weights need `method: CLASS`; neither stands elsewhere"
            )
        if self.arguments and (self.of or (self.method and not self.weights)):
            raise ValueError(
                f"runs {self.of or self.method} as it is, which takes no arguments; benchmark: [...] takes some"
            )
        if self.resources and not self.fit:
            raise ValueError(
                "has resources, which only a fit takes; those of stages stand in each, those of a whole study by kind"
            )
        if self.seeds is not None and not self.trained:
            raise ValueError(
                "is not trained here and has no seeds of its own; samples are drawn by the protocol's seed"
            )


@dataclass(frozen=True)
class File:
    """The whole file, before it is a graph.

    Args:
        protocol: As `benchmark` takes it.
        methods: By label.
        about: One line for the page.
        masks: Names of masks of the protocol; default: all.
        seeds: Seeds of every training.
        fit: Arguments of every `fit`, before a method's own.
        benchmark: Arguments of every `benchmark`.
        resources: What a job takes, by its kind, as Snakemake names it.
        adopts: Folder of units that are taken instead of being trained.
        votes: The method that people compare all others with.
        published: A protocol whose published rows are shown apart from the table.
    """

    protocol: str
    methods: dict[str, Method]
    about: str = ""
    masks: Annotated[list[str], Field(min_length=1)] | None = None
    seeds: Seeds = field(default_factory=lambda: [0])
    fit: list[str] = field(default_factory=list)
    benchmark: list[str] = field(default_factory=list)
    resources: dict[Kind, Resources] = field(default_factory=dict)
    adopts: str | None = None
    votes: str | None = None
    published: str | None = None
    __pydantic_config__: ClassVar = _EXACT


_FILE = TypeAdapter(File)


def read_file(path: Path) -> File:
    """
    Raises:
        ValueError: Naming the key that is wrong and what is allowed.
    """
    try:
        file = _FILE.validate_json(json.dumps(expanded(_content(path), path), default=str))
    except ValidationError as error:
        raise ValueError(_reason(error)) from None
    if not file.methods or not all(_NAME.fullmatch(name) for name in file.methods):
        raise ValueError("methods needs names of letters, digits, dots, dashes, plus signs and underscores.")
    if file.votes is not None and file.votes not in file.methods:
        raise ValueError(f"votes: {file.votes} is no method of the study. {nearest(file.votes, file.methods)}")
    for name, method in file.methods.items():
        try:
            method.check()
        except ValueError as error:
            raise ValueError(f"{name} {error}.") from None
        if method.of and (method.of not in file.methods or file.methods[method.of].of):
            own = [other for other, one in file.methods.items() if not one.of]
            raise ValueError(f"{name}: of: {method.of} is no method of its own. {nearest(method.of, own)}")
    return file


def _content(path: Path) -> dict[str, Any]:
    """What the file says, and what the study that it is like says beside."""
    own = read_yaml(path)
    if (other := own.pop("like", None)) is None:
        return own
    return {**_content(find_yaml(str(other), "studies")), **own}


def protocol_name(file: File, mask: str) -> str:
    """What the protocol is called under a mask; a - and eight digits of its hash follow in the names of folders."""
    return "-".join(filter(None, [str(read_yaml(find_yaml(file.protocol, "protocols"))["name"]), mask]))


def masks_of(file: File) -> list[str]:
    """The study's masks, or all of its protocol's; "" where a protocol has one without a name."""
    path = find_yaml(file.protocol, "protocols")
    masks = read_yaml(path).get("masks", {"": None})
    if isinstance(masks, str):
        beside = path.parent / masks
        masks = read_yaml(beside if beside.is_file() else find_yaml(masks, "masks"))
    for mask in file.masks or ():
        if mask not in masks:
            raise ValueError(f"protocol {file.protocol} has no mask '{mask}'. {nearest(mask, masks)}")
    return [str(mask) for mask in (masks if file.masks is None else file.masks)]


def _reason(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    *above, key = first["loc"]
    if first["type"] != "unexpected_keyword_argument":
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}; docs/studies.md shows a file."
    kind = Training if "stages" in above else Method if "methods" in above else File
    where = f" in {'.'.join(map(str, above))}" if above else ""
    return f"there is no key '{key}'{where}. {nearest(str(key), [field.name for field in fields(kind)])}"
