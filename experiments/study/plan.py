"""A study's file, checked, and the graph of commands that it asks for.

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
  ICT:                           # ${transformer}: the checkpoint of that stage, of the same seed
    stages:
      transformer: {fit: ict/faces64_transformer}
      upsampler: {fit: ict/faces64_upsampler, arguments: ["--model.init_args.palette=${transformer}"]}
    assemble: ICT
    arguments: [top_k=5]
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from experiments.files.find import find_yaml
from experiments.files.read import read_yaml, said_by
from experiments.files.variables import expanded
from masks.nearest import nearest

Kind = Literal["fit", "assemble", "import", "benchmark"]
Resources = dict[str, int | str]
Seed = Annotated[int, Field(ge=0)]
_EXACT = ConfigDict(strict=True, extra="forbid")
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
_STAGE = re.compile(r"\$\{([A-Za-z]\w*)\}")


@dataclass(frozen=True)
class Training:
    """One stage of a method that is trained in several."""

    fit: str
    arguments: list[str] = field(default_factory=list)
    resources: Resources = field(default_factory=dict)
    __pydantic_config__: ClassVar = _EXACT


@dataclass(frozen=True)
class Method:
    """One method of the file: run as it is, imported, trained, or trained in stages and assembled."""

    method: str | None = None
    weights: str | None = None
    fit: str | None = None
    stages: dict[str, Training] = field(default_factory=dict)
    assemble: str | None = None
    arguments: list[str] = field(default_factory=list)
    benchmark: list[str] = field(default_factory=list)
    seeds: list[Seed] | None = None
    resources: Resources = field(default_factory=dict)
    __pydantic_config__: ClassVar = _EXACT

    @property
    def trained(self) -> bool:
        return bool(self.fit or self.stages)

    def check(self) -> None:
        if [bool(self.method), bool(self.fit), bool(self.stages)].count(True) != 1:
            raise ValueError("needs one of method (run as it is), fit (a configuration) and stages (a fit each)")
        if bool(self.stages) != bool(self.assemble) or (self.weights and not self.method):
            raise ValueError(
                "stages need `assemble: CLASS`, and weights need `method: CLASS`; neither stands elsewhere"
            )
        if self.arguments and self.method and not self.weights:
            raise ValueError(f"runs {self.method} as it is, which takes no arguments; benchmark: [...] takes some")
        if self.seeds is not None and not self.trained:
            raise ValueError("is not trained and has no seeds; samples are drawn by the protocol's seed")


@dataclass(frozen=True)
class File:
    """The whole file, before it is a graph."""

    protocol: str
    methods: dict[str, Method]
    about: str = ""
    masks: list[str] | None = None
    seeds: list[Seed] = field(default_factory=lambda: [0])
    fit: list[str] = field(default_factory=list)
    benchmark: list[str] = field(default_factory=list)
    resources: dict[Kind, Resources] = field(default_factory=dict)
    __pydantic_config__: ClassVar = _EXACT


_FILE = TypeAdapter(File)


@dataclass(frozen=True)
class Step:
    """One job: a command of ours, and the jobs whose results it needs.

    Args:
        command: The arguments of ``lit-inpaint``.
        makes: The checkpoint that it writes, or the folder of its run.
        cell: (label, mask) of a benchmark.
    """

    name: str
    kind: Kind
    method: str
    command: list[str]
    needs: tuple[str, ...] = ()
    resources: Resources = field(default_factory=dict)
    makes: Path | None = None
    cell: tuple[str, str] | None = None


@dataclass(frozen=True)
class Study:
    """A checked file with its output folder."""

    path: Path
    out: Path
    file: File
    masks: list[str]

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def steps(self) -> dict[str, Step]:
        """Every job by name, each after those that it needs."""
        return {step.name: step for step in self.jobs()}

    def jobs(self) -> Iterator[Step]:
        for name, method in self.file.methods.items():
            for seed in self.seeds_of(method):
                yield from self.jobs_of(name, method, seed)

    def seeds_of(self, method: Method) -> list[int | None]:
        return [*(self.file.seeds if method.seeds is None else method.seeds)] if method.trained else [None]

    def jobs_of(self, name: str, method: Method, seed: int | None) -> Iterator[Step]:
        """The jobs of one method and seed, from its training to its cells."""
        label = name if seed is None else f"{name}-seed{seed}"
        needs: tuple[str, ...] = ()
        made = method.method or ""
        if method.fit:
            step = self._fit(name, label, Training(method.fit, method.arguments, method.resources), seed, {}, ())
            yield step
            needs, made = (step.name,), checkpoint_of(step)
        elif method.stages:
            trained: dict[str, Step] = {}
            for stage, training in method.stages.items():
                ready = {earlier: checkpoint_of(step) for earlier, step in trained.items()}
                trained[stage] = self._fit(name, f"{label}/{stage}", training, seed, ready, _asked(training, trained))
                yield trained[stage]
            whole = self.out / "runs" / label / "assembled.ckpt"
            stages = [f"--{stage}={checkpoint_of(step)}" for stage, step in trained.items()]
            command = ["assemble", str(method.assemble), *method.arguments, *stages, f"--out={whole}"]
            needs = tuple(step.name for step in trained.values())
            yield self._step("assemble", name, label, command, needs, whole)
            needs, made = (f"assemble-{label}",), str(whole)
        elif method.weights:
            whole = self.out / "runs" / label / "imported.ckpt"
            command = ["import-weights", made, method.weights, f"--out={whole}", *method.arguments]
            yield self._step("import", name, label, command, (), whole)
            needs, made = (f"import-{label}",), str(whole)
        for mask in self.masks:
            command = ["benchmark", self.file.protocol, f"--out={self.out / 'benchmark'}"]
            command += [*self.file.benchmark, *method.benchmark, *([f"--masks={mask}"] if mask else [])]
            command += ["--methods", f"{label}={made}"]
            cell = "-".join(filter(None, [label, mask]))
            yield self._step("benchmark", name, cell, command, needs, None, (label, mask))

    def _fit(
        self,
        method: str,
        label: str,
        training: Training,
        seed: int | None,
        ready: Mapping[str, str],
        needs: tuple[str, ...],
    ) -> Step:
        folder = self.out / "runs" / label
        given = [_STAGE.sub(lambda stage: ready.get(stage[1], stage[0]), word) for word in training.arguments]
        command = ["fit", f"--config={training.fit}", *self.file.fit, *given, f"--seed_everything={seed}"]
        command += [f"--trainer.default_root_dir={folder}", "--ckpt_path=auto"]
        return self._step("fit", method, label, command, needs, folder, resources=training.resources)

    def _step(
        self, kind: Kind, method: str, about: str, command: list[str], needs: tuple[str, ...], makes: Path | None,
        cell: tuple[str, str] | None = None, resources: Resources | None = None,
    ) -> Step:  # fmt: skip
        wanted = {**self.file.resources.get(kind, {}), **(resources or {})}
        return Step(f"{kind}-{about}".replace("/", "-"), kind, method, command, needs, wanted, makes, cell)


def _asked(training: Training, trained: Mapping[str, Step]) -> tuple[str, ...]:
    """The stages that a stage names in its arguments.

    Raises:
        ValueError: There is no such stage before it.
    """
    stages = [stage for word in training.arguments for stage in _STAGE.findall(word)]
    for stage in stages:
        if stage not in trained:
            raise ValueError(f"{training.fit}: ${{{stage}}} is no stage before it. {nearest(stage, trained)}")
    return tuple(dict.fromkeys(trained[stage].name for stage in stages))


def checkpoint_of(fit: Step) -> str:
    assert fit.makes is not None
    return str(fit.makes / "checkpoints" / "last.ckpt")


def read_study(path: Path, out: Path | None = None) -> Study:
    """Read and check a study's file.

    Raises:
        ValueError: Naming the key that is wrong and what is allowed.
    """
    with said_by(path):
        try:
            file = _FILE.validate_json(json.dumps(expanded(read_yaml(path), path), default=str))
        except ValidationError as error:
            raise ValueError(_reason(error)) from None
        if not file.methods or not all(_NAME.fullmatch(name) for name in file.methods):
            raise ValueError("methods needs names of letters, digits, dots, dashes, plus signs and underscores.")
        for name, method in file.methods.items():
            try:
                method.check()
            except ValueError as error:
                raise ValueError(f"{name} {error}.") from None
        masks = _masks(file)
        study = Study(path, (out or Path("runs/studies") / path.stem).absolute(), file, masks)
        rules = [rule_of(step.name) for step in study.jobs()]
        for rule in dict.fromkeys(rules):
            if rules.count(rule) > 1:
                raise ValueError(f"two jobs are called {rule} up to punctuation; rename a method, stage or mask.")
        return study


def rule_of(step: str) -> str:
    """
    >>> rule_of("fit-ICT-upsampler-seed0")
    'fit_ICT_upsampler_seed0'
    """
    return re.sub(r"\W", "_", step)


def _masks(file: File) -> list[str]:
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
