"""The graph of commands that a study's file asks for."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from experiments.files.read import said_by
from experiments.study.file import File, Kind, Method, Resources, Training, masks_of, read_file
from masks.nearest import nearest

_STAGE = re.compile(r"\$\{([A-Za-z]\w*)\}")


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

    def portable(self, command: Sequence[str]) -> list[str]:
        """A command without the place of the study's folder, which may be moved."""
        return [word.replace(str(self.out), "OUT") for word in command]

    def jobs(self) -> Iterator[Step]:
        for name, method in self.file.methods.items():
            for seed in self.seeds_of(method):
                yield from self.jobs_of(name, method, seed)

    def seeds_of(self, method: Method) -> list[int | None]:
        method = self.file.methods[method.of] if method.of else method
        return [*(self.file.seeds if method.seeds is None else method.seeds)] if method.trained else [None]

    def jobs_of(self, name: str, method: Method, seed: int | None) -> Iterator[Step]:
        """The jobs of one method and seed, from its training to its cells."""
        before, made = self._before(name, method, seed)
        if not method.of:
            yield from before
        needs = (before[-1].name,) if before else ()
        label = _label(name, seed)
        for mask in self.masks:
            command = ["benchmark", self.file.protocol, f"--out={self.out / 'benchmark'}"]
            command += [*self.file.benchmark, *method.benchmark, *([f"--masks={mask}"] if mask else [])]
            command += ["--methods", f"{label}={made}"]
            cell = "-".join(filter(None, [label, mask]))
            yield self._step("benchmark", name, cell, command, needs, None, (label, mask))

    def _before(self, name: str, method: Method, seed: int | None) -> tuple[list[Step], str]:
        """The jobs from training to what benchmark takes, and what that is; of another method, that method's."""
        if method.of:
            return self._before(method.of, self.file.methods[method.of], seed)
        label = _label(name, seed)
        if method.fit:
            step = self._fit(name, label, Training(method.fit, method.arguments, method.resources), seed, {}, ())
            return [step], checkpoint_of(step)
        if method.stages:
            trained: dict[str, Step] = {}
            for stage, training in method.stages.items():
                ready = {earlier: checkpoint_of(step) for earlier, step in trained.items()}
                trained[stage] = self._fit(name, f"{label}/{stage}", training, seed, ready, _asked(training, trained))
            whole = self.out / "runs" / label / "assembled.ckpt"
            stages = [f"--{stage}={checkpoint_of(step)}" for stage, step in trained.items()]
            command = ["assemble", str(method.assemble), *method.arguments, *stages, f"--out={whole}"]
            needs = tuple(step.name for step in trained.values())
            return [*trained.values(), self._step("assemble", name, label, command, needs, whole)], str(whole)
        if method.weights:
            whole = self.out / "runs" / label / "imported.ckpt"
            command = ["import-weights", str(method.method), method.weights, f"--out={whole}", *method.arguments]
            return [self._step("import", name, label, command, (), whole)], str(whole)
        return [], str(method.method)

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


def _label(name: str, seed: int | None) -> str:
    return name if seed is None else f"{name}-seed{seed}"


def checkpoint_of(fit: Step) -> str:
    assert fit.makes is not None
    return str(fit.makes / "checkpoints" / "last.ckpt")


def read_study(path: Path, out: Path | None = None) -> Study:
    """Read and check a study's file.

    Raises:
        ValueError: Naming the key that is wrong and what is allowed.
    """
    with said_by(path):
        file = read_file(path)
        masks = masks_of(file)
        study = Study(path, Path(os.path.abspath(out or Path("runs/studies") / path.stem)), file, masks)
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
