"""How cost grows: names of a data set, records and images of a page, runs of a list, processes of a training.

    python -m benchmarks.scale

Each row runs in a process of its own. Seconds are process CPU time; MiB is what its resident peak adds to that of the
imports. A step's row is what 20 more steps add to a training of 10, so neither start nor end is in it.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from benchmarks.utilisation import in_a_fresh_process
from datamodules import ImageFolder
from datamodules.sampler import TrainingSampler
from experiments.compare.reader import read_folders
from experiments.compare.result import written
from experiments.evaluate.from_python import evaluate
from experiments.records.files import read_record, write_record
from experiments.run import listing
from lit_inpaint.memory import resident_peak
from masks import Wide

METHODS = ("Telea", "Harmonic", "NavierStokes")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        table(
            "names of a list", names, [(count, Path(scratch)) for count in (18_015, 180_146, 1_801_460)], "first batch"
        )
        folder = Path(scratch) / "records"
        for method in METHODS:
            evaluate(method, "quickstart", folder, limit=100)
        table(
            "records of 100 images", records, [(count, folder, Path(scratch)) for count in (10, 100, 1000)], "page, KB"
        )
        table("images x 3 methods", panels, [(count, Path(scratch)) for count in (10, 100, 1000)], "page and tiles, KB")
        table("runs of 2,000 rows", runs, [(count, Path(scratch)) for count in (1, 10, 100)], "lines")
        print("| processes | CPU seconds per step of 16 images |\n|---|---|")
        for count in (1, 2):
            print(f"| {count} | {step_seconds(count, Path(scratch)):.2f} |", flush=True)


def table(counted: str, measure: Callable[..., float], rows: list[tuple], beside: str) -> None:
    print(f"| {counted} | CPU seconds | MiB | {beside} |\n|---|---|---|---|")
    for row in rows:
        seconds, memory, number = in_a_fresh_process(measured, measure, row)
        print(f"| {row[0]:,} | {seconds:.2f} | {memory:.0f} | {number:,.0f} |", flush=True)
    print()


def measured(measure: Callable[..., float], row: tuple) -> tuple[float, float, float]:
    memory, start = resident_peak(), time.process_time()
    number = measure(*row)
    return time.process_time() - start, (resident_peak() - memory) / 2**20, number


def names(count: int, scratch: Path) -> float:
    """A list of Places2's form, until the first batch of an epoch is known."""
    lists = scratch / f"lists-{count}"
    lists.mkdir()
    place = scratch / "data_large" / "a" / "airfield"
    place.mkdir(parents=True, exist_ok=True)
    for name in ("00000000.jpg", f"{count - 1:08}.jpg", "val.jpg"):  # first and last are looked for
        (place / name).touch()
    with open(lists / "train.txt", "w", encoding="ascii") as file:
        file.writelines(f"data_large/a/airfield/{index:08}.jpg\n" for index in range(count))
    for split in ("val", "test"):
        (lists / f"{split}.txt").write_text("data_large/a/airfield/val.jpg\n")
    files = ImageFolder(scratch, mask=Wide(), lists=lists).files("train")
    next(iter(TrainingSampler(len(files), 16, 0, 0, 1, True)))
    return len(files)


def records(count: int, folder: Path, scratch: Path) -> float:
    """Copies of one record under other labels, in one table."""
    out = scratch / f"records-{count}"
    record = read_record(next(folder.rglob("Telea.json")))
    place = next(folder.rglob("Telea.json")).relative_to(folder).parent
    for number in range(count):
        record.method.label = f"Telea{number}"
        write_record(record, out / place / f"Telea{number}.json")
    return page_of(out)


def panels(count: int, scratch: Path) -> float:
    """Pictures of a page: measured by the classics first, which is not in the time."""
    out = scratch / f"panels-{count}"
    for method in METHODS:
        subprocess.run(
            [sys.executable, "-c", f"from benchmarks.scale import evaluate\n"
             f"evaluate({method!r}, {str(drawn_faces(scratch))!r}, {str(out)!r}, limit={count})"], check=True,
        )  # fmt: skip
    return page_of(out)


def drawn_faces(scratch: Path) -> Path:
    path = scratch / "faces.yaml"
    path.write_text(
        "name: faces\nabout: Drawn faces.\ndata: {class_path: datamodules.DrawnFaces}\nsplit: test\nsize: 64\n"
        "mask: {class_path: masks.CenterRectangle}\nmask_seed: 0\nmetrics: [psnr_hole]\n"
    )
    return path


def page_of(folder: Path) -> float:
    """The page of a folder; its size in KB with the pictures beside it."""
    target = folder / "page" / "page.html"
    found, histories = read_folders([folder])
    with redirect_stdout(open(os.devnull, "w")):
        written(found, histories, [], target, False)
    return sum(path.stat().st_size for path in target.parent.rglob("*") if path.is_file()) / 1024


def runs(count: int, scratch: Path) -> float:
    """`lit-inpaint runs` of run folders with curves."""
    root = scratch / f"runs-{count}"
    curve = "\n".join(f"{16 * step},{step},{20 + step / 2000},{1 / (step + 1)}" for step in range(2000))
    for number in range(count):
        folder = root / f"run-{number}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"method": "LaMa", "val_protocol_hash": "f" * 64}))
        (folder / "metrics.csv").write_text(f"images_seen,step,val/psnr,train/loss\n{curve}\n")
    return len([listing.describe(folder) for folder in listing.find_runs(root)])


def step_seconds(processes: int, scratch: Path) -> float:
    """CPU seconds of all processes for one more step of the same global batch."""
    spent = []
    for steps in (10, 30):
        folder = scratch / f"fit-{processes}-{steps}"
        words = [
            "fit", "--config", "quickstart", f"--trainer.max_steps={steps}", f"--trainer.default_root_dir={folder}",
            f"--trainer.devices={processes}", f"--data.init_args.batch_size={16 // processes}",
            "--data.init_args.num_workers=0", "--trainer.limit_val_batches=1", "--trainer.accelerator=cpu",
        ]  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "experiments", *words], check=True, capture_output=True, env=_one_thread()
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        shutil.rmtree(folder)
    return (spent[1] - spent[0]) / 20


def _one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    main()
