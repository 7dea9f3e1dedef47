"""``make quickstart``: train a small network and measure it beside the classics, with the commands that users type."""

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from experiments.cli import current_folder_last
from experiments.files.find import find_yaml
from experiments.files.read import read_yaml
from experiments.files.write import write_text
from experiments.records.files import read_record
from experiments.records.intervals import paired_difference
from experiments.records.record import Record
from experiments.run import Run
from lit_inpaint import zoo
from lit_inpaint.denoising import DenoisingModule
from lit_inpaint.load import load_method
from masks.atomic import next_free

RUN = Path("runs/quickstart")
_LEARNED, _NOT_TRAINED = "ContextEncoder", "not trained here"
_CALLS = 8  # of a diffusion model per image: 100 images in at most 20 seconds
CLASSICS = ["Telea", "NavierStokes", "Biharmonic", "Harmonic", "PatchMatch", "Bertalmio"]


def run(*arguments: str) -> None:
    print(f"\n$ lit-inpaint {shlex.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, "-P", "-m", "experiments", *arguments]).returncode
    if code:
        sys.exit(code)


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="quickstart", description=__doc__)
    p.add_argument("--data", type=Path, help="folder of photographs; without it faces are drawn")
    folder = p.parse_args(argv).data
    if folder and not (folder := folder.expanduser()).is_dir():
        sys.exit(f"quickstart: there is no folder {folder}; give the one that holds the photographs.")
    if folder and folder.resolve().is_relative_to(RUN.resolve()):
        sys.exit(f"quickstart: {folder} lies in {RUN}, which is about to be moved; give another folder.")
    current_folder_last()
    start = time.perf_counter()
    if RUN.exists():
        earlier = next_free(RUN)
        RUN.rename(earlier)
        print(f"The previous run is now in {earlier}.")
    config, protocol = own_photographs(folder) if folder else ([], "quickstart")
    run("fit", "--config", "quickstart", *config)
    checkpoint = Run(RUN).checkpoint
    assert checkpoint is not None, "fit has ended without an error"
    learned = f"{_LEARNED}={checkpoint}"
    run("benchmark", protocol, "--methods", *CLASSICS, learned, "--out", str(RUN), "--baseline", _LEARNED)
    notes = from_zoo(protocol)
    run("compare", str(RUN), "--out", str(RUN / "compare.html"), *(word for note in notes for word in ("--note", note)))
    records = [read_record(path) for path in sorted(RUN.glob("records/*/*.json"))]
    print(f"\nDone in {(time.perf_counter() - start) / 60:.1f} minutes. {verdict(records)}")
    print(f"\nOpen {RUN / 'compare.html'} in a browser.\n\nNext:")
    for words in _next_commands(records[0], checkpoint):
        print(f"  {shlex.join([program(), *words])}")
    print("  make quickstart DATA=folder    # the same on your own photographs, best of one subject", flush=True)


def from_zoo(protocol: str) -> list[str]:
    """A row of the quickest diffusion model of the zoo, if there is one; what the page says about it."""
    found: dict[str, tuple[int, str]] = {}
    for name, card in zoo.cards():
        if isinstance(card, zoo.Card):
            method = load_method(f"{zoo.PREFIX}{name}")
            if isinstance(method, DenoisingModule):
                found[name] = method.sampler.network_calls, card.title
    if not found:
        return []
    name = min(found, key=lambda one: found[one][0])
    calls, title = found[name]
    label = f"{zoo.card_of(name).method} {_NOT_TRAINED}"
    fewer = ["--sampler", "DDNM", f"steps={_CALLS}"] if calls > _CALLS else []
    words = ["--methods", f"{label}={zoo.PREFIX}{name}", "--out", str(RUN), "--batch-size", "20", *fewer]
    run("benchmark", protocol, *words)
    return [f"{label}: {title}, from the package; {min(calls, _CALLS)} network calls per image."]


def own_photographs(folder: Path) -> tuple[list[str], str]:
    """Small copies of a folder, and the arguments of ``fit`` and the protocol that use them."""
    from experiments.train.photographs import copy_small

    settings = read_yaml(find_yaml("quickstart"))["data"]["init_args"]
    copies = RUN / "photographs"
    try:
        copy_small(folder, copies, settings["image_size"])
    except ValueError as error:
        sys.exit(f"quickstart: {'' if str(folder) in str(error) else f'{folder}: '}{error}")
    samples = {"root": str(copies), "samples_per_epoch": 8000}
    data = {"class_path": "datamodules.ImageFolder", "init_args": {**settings, **samples}}
    write_text(RUN / "data.yaml", yaml.safe_dump({"data": data}))
    protocol = read_yaml(find_yaml("quickstart", "protocols"))
    protocol["data"] = {"class_path": data["class_path"], "init_args": {"root": str(copies)}}
    protocol["about"] = f"Photographs of {folder.resolve().name} that training never saw, at 64x64, centre hole 28x28."
    write_text(RUN / "protocol.yaml", yaml.safe_dump(protocol, sort_keys=False))
    return ["--config", str(RUN / "data.yaml")], str(RUN / "protocol.yaml")


def verdict(records: list[Record]) -> str:
    """Whether the trained network beats every classic in hole PSNR, with the paired difference to the best of them."""
    values = {record.label: record.metrics["psnr_hole"] for record in records if "psnr_hole" in record.metrics}
    classics = {label: values[label] for label in CLASSICS if label in values and values[label].mean is not None}
    learned = values[_LEARNED]
    best = max(classics, key=lambda label: classics[label].mean or 0)
    photographs = records[0].protocol.photograph_of(records[0].hole_share)
    mean, interval, images = paired_difference(learned.values, classics[best].values, photographs) or (0.0, None, 0)
    said = f" [95 % interval {interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else ""
    difference = f"{mean:+.2f} dB{said} on {images} images"
    if interval and interval[0] > 0:
        return f"{_LEARNED} beats every classic: hole PSNR {difference} against {best}, the best of them."
    return (
        f"{_LEARNED} does not beat {best}, the best classic: hole PSNR {difference}. "
        "More photographs of one subject and a longer training (--trainer.max_steps) help."
    )


def _next_commands(record: Record, checkpoint: Path) -> list[list[str]]:
    """What to type next, with files that are there."""
    pictures = RUN / "images" / f"{record.protocol.name}-{record.hash[:8]}"
    hole = sorted((pictures / "_mask").rglob("*.png"))[0]
    image = pictures / "_truth" / hole.relative_to(pictures / "_mask")
    fill = ["inpaint", "--method", str(checkpoint), "--image", str(image), "--mask", str(hole), "--out", "filled.png"]
    longer = ["--trainer.max_steps", "5000", "--trainer.default_root_dir", "runs/longer"]
    return [fill, ["methods"], ["fit", "--config", "quickstart", *longer]]


def program() -> str:
    """The command as the current shell finds it: `.venv/bin/lit-inpaint` where the environment is not active."""
    beside = Path(sys.executable).parent / "lit-inpaint"
    if not beside.is_file() or shutil.which("lit-inpaint") == str(beside):
        return "lit-inpaint"
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)


if __name__ == "__main__":
    main()
