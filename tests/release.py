"""Build wheel and sdist, check them, install them into clean environments, try them there and uninstall them again.

    python tests/release.py --python python3.11 --python python3.13
    python tests/release.py --python python3.11 --lowest
    python tests/release.py --python python3.12 --extras sweep,figure

`make release-check` runs the first line for the Python of the checkout. Every environment is about 6 GB with the CUDA
build of torch; it is removed before the next one is made. Wheel and sdist take turns in it.
"""

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("experiments", "lit_inpaint", "datamodules", "masks")
LARGEST = 2_000_000  # bytes of the wheel; trained networks of lit_inpaint/zoo come on top


def run(*words: str | Path, **more: object) -> None:
    print(f"+ {' '.join(map(str, words))}", flush=True)
    subprocess.run(list(map(str, words)), check=True, **more)  # type: ignore[call-overload]


def lowest() -> list[str]:
    """Every lower bound of the core as an exact version, for pip's --constraint.

    >>> sorted(lowest())[0]
    'albumentations==2.0.8'
    """
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].splitlines()
    return [re.sub(r"\[\w+\]", "", line).replace(">=", "==") for line in lines if line and not line.startswith("#")]


def build(folder: Path) -> tuple[Path, Path]:
    """(wheel, sdist) in ``folder``, from a copy of what git tracks, so that nothing else gets in."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "copy" / name)
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "copy", stdout=subprocess.DEVNULL)
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    return wheel, sdist


def check(wheel: Path, sdist: Path) -> None:
    """Names, size and contents of both."""
    inside = zipfile.ZipFile(wheel)
    tops = {name.split("/")[0] for name in inside.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(OURS), tops
    zoo = sum(entry.compress_size for entry in inside.infolist() if entry.filename.startswith("lit_inpaint/zoo/"))
    size = wheel.stat().st_size
    assert size - zoo < LARGEST, f"the wheel has {size - zoo} bytes without the zoo"
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "tests").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert not (missing := tracked - names), f"the sdist lacks {sorted(missing)[:5]}"
    print(f"{wheel.name}: {size / 1e6:.2f} MB, {len(inside.namelist())} files")
    print(f"{sdist.name}: {sdist.stat().st_size / 1e6:.2f} MB, {len(names)} files")


def left(site: Path) -> list[Path]:
    """What remains of lit-inpaint in an environment."""
    return [path for path in site.iterdir() if path.name in OURS or re.match("lit[-_.]inpaint", path.name)]


def try_out(
    archives: tuple[Path, Path], python: str, version: str, extras: list[str], constraints: list[str], first: list[str]
) -> None:
    """Install, use and uninstall each archive in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        run(python, "-m", "venv", folder)
        own = Path(folder, "bin/python")
        pip = [own, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        purelib = [own, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        site = Path(subprocess.check_output(purelib, text=True).strip())
        Path(folder, "constraints.txt").write_text("\n".join(constraints))
        if first:
            run(*pip, "install", *first)
        for archive in archives:
            wanted = f"{archive}[{','.join(extras)}]" if extras else str(archive)
            run(*pip, "install", wanted, "--constraint", Path(folder, "constraints.txt"))
            run(own, "-m", "pip", "check")
            use(own, version, extras, Path(folder))
            run(*pip, "uninstall", "--yes", "lit-inpaint")
            remains = [str(path) for found in left(site) for path in [found, *found.rglob("*")]]
            assert not remains, f"uninstalling leaves {remains[:9]}"
            assert not Path(folder, "bin/lit-inpaint").exists()
            print(f"{archive.name} on {python}: installed, used, uninstalled; nothing is left", flush=True)


def use(python: Path, version: str, extras: list[str], home: Path) -> None:
    """The smoke test, as a user whose home is empty."""
    path = f"{python.parent}:{os.defpath}"
    environment = {"HOME": str(home), "PATH": path, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "2"}
    run(python, "-P", ROOT / "tests/smoke.py", version, *extras, cwd=home, env=environment)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", action="append", default=[], help="a Python to try; none: only build and check")
    p.add_argument("--lowest", action="store_true", help="with the lowest versions that setup.cfg allows")
    p.add_argument("--extras", default="", help="extras to install, by comma")
    p.add_argument("--first", nargs="*", default=[], help="what pip installs first, as torch==2.13.0+cpu")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archives = build(Path(folder))
        check(*archives)
        version = archives[0].name.split("-")[1]
        for python in a.python:
            extras = [extra for extra in a.extras.split(",") if extra]
            try_out(archives, python, version, extras, lowest() if a.lowest else [], a.first)


if __name__ == "__main__":
    main()
