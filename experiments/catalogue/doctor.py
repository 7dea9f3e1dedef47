"""Look for what keeps this installation from working: versions, devices, weights, disk, and names that clash."""

import argparse
import os
import platform
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

OURS = ("experiments", "lit_inpaint", "datamodules", "masks")
HOME = Path(__file__).resolve().parents[2]
DISK = 2e9  # bytes that a run soon needs: a checkpoint is written beside the one it replaces
SHARED = 256e6  # bytes of /dev/shm below which workers of a loader fail ("bus error"); Docker gives 64 MB
_EXTRA = re.compile(r"extra == [\"']([\w-]+)")
_SCRIPT = " in a script started here"
_CORES = {"avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16", "bf16": "Arm bf16"}


class Finding(NamedTuple):
    """One line. ``do`` is what to do about it; without ``fault`` the rest works without it."""

    about: str
    found: str
    do: str = ""
    fault: bool = False

    def __str__(self) -> str:
        sign = "!!" if self.fault else "--" if self.do else "ok"
        return f"{sign} {self.about:<18} {self.found}" + (f"\n{'':22}-> {self.do}" if self.do else "")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="lit-inpaint doctor", description=__doc__)
    parser.add_argument(
        "--import", action="append", help=argparse.SUPPRESS
    )  # any command takes it; nothing is imported
    parser.parse_args(argv)
    faults = 0
    for finding in _findings():
        print(finding, flush=True)
        faults += finding.fault
    need = "needs" if faults == 1 else "need"
    print(f"{faults} of these {need} attention (!!)." if faults else "Nothing is wrong; -- is optional.")
    return 1 if faults else 0


def _findings() -> Iterator[Finding]:
    blocked = False
    for clash in _clashes():
        yield clash
        blocked |= clash.fault and _SCRIPT not in clash.found
    if blocked:  # our own packages cannot be imported
        return
    yield from packages()
    yield from disk(Path.cwd())
    yield from devices()
    yield from weights()
    yield data(Path.cwd())


def _clashes() -> Iterator[Finding]:
    """Files and distributions with the name of one of our four packages, which Python may import instead."""
    here, found = os.getcwd(), []
    path = [os.path.abspath(entry) for entry in sys.path if entry and os.path.abspath(entry) != here]
    before = path[: path.index(str(HOME))] if str(HOME) in path else path
    for folder in dict.fromkeys([here, *before]):
        for name in OURS:
            for file in (Path(folder, name, "__init__.py"), Path(folder, f"{name}.py")):
                if file.is_file() and file.resolve().parents[1] != HOME and file.resolve().parent != HOME:
                    found.append(_clash(file, name, folder == here))
    for name, owners in metadata.packages_distributions().items():
        others = sorted({owner for owner in owners if owner.replace("_", "-") != "lit-inpaint"})
        if name in OURS and others:
            fault = f"{', '.join(others)} installs a package '{name}' too"
            found.append(Finding("names", fault, "install lit-inpaint into an environment of its own", True))
    yield from found or [Finding("names", f"nothing else is called {', '.join(OURS)}")]


def _clash(file: Path, name: str, here: bool) -> Finding:
    do = "rename it; `lit-inpaint` and `python -P script.py` work" if here else "rename it, or take it off PYTHONPATH"
    return Finding("names", f"{file} shadows our package '{name}'{_SCRIPT if here else ''}", do, True)


def packages() -> Iterator[Finding]:
    """Our version, and every declared dependency that is missing or too old; extras are optional."""
    import lit_inpaint

    yield Finding("lit-inpaint", f"{lit_inpaint.__version__} in {HOME}, Python {platform.python_version()}")
    try:
        declared = metadata.requires("lit-inpaint") or []
    except metadata.PackageNotFoundError:
        yield Finding(
            "packages", "a checkout that is not installed", shlex.join(["pip", "install", "-e", str(HOME)]), True
        )
        return
    from packaging.requirements import Requirement

    missing: dict[str, list[str]] = {}  # by extra; "" is the core
    for requirement in map(Requirement, declared):
        extra = _EXTRA.search(str(requirement.marker or ""))
        name = extra[1] if extra else ""
        if name in {"dev", "docs"} or (requirement.marker and not requirement.marker.evaluate({"extra": name})):
            continue
        wrong = missing.setdefault(name, [])
        try:
            have = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(requirement.name)
        else:
            if not requirement.specifier.contains(have, prereleases=True):
                wrong.append(f"{requirement.name} {have} (needs {requirement.specifier})")
    if wrong := missing.pop("", []):
        yield Finding("packages", f"missing or too old: {', '.join(wrong)}", "pip install --upgrade lit-inpaint", True)
    else:
        versions = (
            f"{name} {metadata.version(name)}" for name in ("torch", "torchvision", "lightning", "torchmetrics")
        )
        yield Finding("packages", ", ".join(versions))
    for name, wrong in missing.items():
        do = f"pip install 'lit-inpaint[{name}]'" if wrong else ""
        yield Finding(f"extra {name}", f"not here: {', '.join(wrong)}" if wrong else "installed", do)


def disk(folder: Path) -> Iterator[Finding]:
    """Whether runs can be written here, and the shared memory of a loader's workers."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        yield Finding("disk", f"{folder} is not writable: {error.strerror}", "start in a folder of yours", True)
    else:
        yield room("disk", folder, DISK, "free some, or write elsewhere: --trainer.default_root_dir, --out")
    if (shared := Path("/dev/shm")).is_dir():
        yield room("shared memory", shared, SHARED, "docker run --ipc=host, or --data.num_workers 0")


def room(about: str, folder: Path, least: float, do: str) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding(about, f"{free / 1e9:.1f} GB free in {folder}", *((do, True) if free < least else ()))


def devices() -> Iterator[Finding]:
    import torch

    words = set(Path("/proc/cpuinfo").read_text(errors="replace").split()) if Path("/proc/cpuinfo").is_file() else set()
    units = [name for flag, name in _CORES.items() if flag in words]
    said = f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    yield Finding("cpu", f"{said}, bfloat16 units: {', '.join(units) or 'none found'}")
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        bf16 = "with" if facts.major >= 8 else "without"
        yield Finding("gpu", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, {bf16} bfloat16 units")
    if torch.backends.mps.is_available():
        yield Finding("gpu", "Apple's, as device mps")
    elif not torch.cuda.device_count():
        built = "this torch is built without CUDA" if torch.version.cuda is None else "CUDA finds none (nvidia-smi)"
        yield Finding("gpu", f"none: {built}", "published sizes train on a GPU; 64 px models train without one")


def weights() -> Iterator[Finding]:
    """Backbones of metrics and losses."""
    from lit_inpaint.backbones import BACKBONES, BackboneMissingError, backbone

    for name, known in BACKBONES.items():
        where = f"put {known.file} into the folder that LIT_INPAINT_WEIGHTS names"
        try:
            yield Finding(name, f"{backbone(name)}")
        except BackboneMissingError:
            yield Finding(name, "not found", f"{known.get or where}")
        except ValueError as error:
            yield Finding(name, str(error), "replace the file", True)


def data(folder: Path) -> Finding:
    """The folders of the published configurations, which begin at the current one."""
    from experiments.files.find import INSTALLED

    texts = (path.read_text(encoding="utf-8") for path in INSTALLED.rglob("*.yaml"))
    roots = sorted({root for text in texts for root in re.findall(r"^ +root: (data/\w+)", text, re.MULTILINE)})
    found = [root for root in roots if (folder / root).is_dir()]
    do = "one's own photographs: --data ImageFolder --data.root FOLDER; SamplePhotos and DrawnFaces need no download"
    return Finding("data", f"found {', '.join(found)}" if found else f"none of {', '.join(roots)}", "" if found else do)
