"""An evaluation by several processes: shares, kills, and the record of one process, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.compare.command import main as compare
from experiments.evaluate import measure
from experiments.evaluate.job import Job
from experiments.evaluate.place import Place, here
from experiments.evaluate.processes import devices_of
from experiments.evaluate.protocol import Protocol, load_protocols
from experiments.records.files import read_record
from experiments.records.record import Record
from experiments.run.journal import Journal
from tests.support.protocols import records, run, without_cost, write_protocol
from tests.support.sharing import colour_gap, kill_when, start_benchmark, torchrun

ROOT = Path(__file__).parents[2]
METRICS = ["psnr", "ssim", "lpips_alex", "diversity_lpips", "tests.support.sharing.colour_gap"]
METHODS = ["Telea", "Drawn=tests.support.sharing.Drawn", "Harmonic"]


def _arguments(folder: Path, photos: Path, out: str) -> list[str]:
    path = write_protocol(folder, size=64, samples=2, metrics=METRICS)
    return [str(path), "--images", str(photos), "--batch-size", "2", "--methods", *METHODS, "--out", out]


def _page(folder: Path, out: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page on records without seconds and memory."""
    for path in (folder / out).glob("records/*/*.json"):
        content = json.loads(path.read_text()) | {"seconds_per_image": 1.0, "peak_memory_bytes": 1}
        path.write_text(json.dumps(content))
    monkeypatch.chdir(folder / out)
    assert compare([".", "--out", "../page.html"]) == 0
    return (folder / "page.html").read_text()


def _pictures(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("images/**/*.png"))}


def _same(folder: Path, one: str, several: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, shared = (without_cost(records(folder / out)) for out in (one, several))
    assert len(whole) == len(METHODS) and shared == whole
    assert all(r.metrics["tests.support.sharing.colour_gap"].mean is not None for r in whole.values())
    assert _pictures(folder / several) == _pictures(folder / one)
    assert _page(folder, several, monkeypatch) == _page(folder, one, monkeypatch)


@pytest.mark.parametrize(
    "launcher",
    [
        torchrun,
        lambda number: {
            "SLURM_ARRAY_TASK_ID": str(number + 3), "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "2",
        },
    ],
    ids=["torchrun", "job array"],
)  # fmt: skip
def test_two_processes_of_which_one_is_killed_end_in_the_record_and_page_of_one(
    launcher: Any, photos: Path, tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    arguments = _arguments(tmp_path, photos, "shared")
    started = [start_benchmark(arguments, tmp_path, f"{n}.txt", launcher(n), pause=0.1) for n in range(2)]
    kill_when(started[1], tmp_path, "shared/journal/*/Drawn/journal-1.jsonl", 2)
    again = start_benchmark(arguments, tmp_path, "again.txt", launcher(1))
    for process in (started[0], again):
        process.join(120)
        assert process.exitcode == 0, (tmp_path / "again.txt").read_text()
    assert "Tables: " in (tmp_path / "0.txt").read_text() + (tmp_path / "again.txt").read_text()
    assert run(*_arguments(tmp_path, photos, str(tmp_path / "one"))) == 0
    _same(tmp_path, "one", "shared", monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.xdist_group("ddp")
def test_torchrun_restarts_a_benchmark_of_which_one_process_was_killed(
    photos: Path, tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts=1", "--nproc-per-node=2"]
    command = [*launch, "-m", "experiments", "benchmark", *_arguments(tmp_path, photos, "shared")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    with (tmp_path / "log.txt").open("w") as log:
        launcher = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    while not any(path.read_bytes().count(b"\n") > 1 for path in tmp_path.glob("shared/journal/*/*/journal-1.jsonl")):
        assert launcher.poll() is None, (tmp_path / "log.txt").read_text()
        time.sleep(0.005)
    ranks = {_environment(child)["RANK"]: child for child in _children(launcher.pid)}
    os.kill(ranks["1"], signal.SIGKILL)
    assert launcher.wait(200) == 0, (tmp_path / "log.txt").read_text()
    walls = [time.perf_counter() - began]
    said = (tmp_path / "log.txt").read_text()
    assert "exitcode: -9" in said and "Tables: " in said
    began = time.perf_counter()
    alone = [sys.executable, "-m", "experiments", "benchmark", *_arguments(tmp_path, photos, "one")]
    subprocess.run(alone, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    walls.append(time.perf_counter() - began)
    _same(tmp_path, "one", "shared", monkeypatch)
    with capsys.disabled():
        print(f"\ntwo processes of which one is killed {walls[0]:.1f} s, one process {walls[1]:.1f} s", end=" ")


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _environment(process: int) -> dict[str, str]:
    content = Path(f"/proc/{process}/environ").read_bytes().decode()
    return dict(line.split("=", 1) for line in content.split("\0") if "=" in line)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_devices_start_processes_and_one_that_is_killed_ends_nothing(
    photos: Path, tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    arguments = [*_arguments(tmp_path, photos, "shared"), "--devices", "2"]
    parent = start_benchmark(arguments, tmp_path, "parent.txt", {})
    while not list(tmp_path.glob("shared/journal/*/Drawn/journal-1.jsonl")):
        assert parent.is_alive(), (tmp_path / "parent.txt").read_text()
        time.sleep(0.01)
    lines = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in _children(parent.pid)}
    victim = max(child for child, line in lines.items() if b"spawn_main" in line)
    os.kill(victim, signal.SIGKILL)
    parent.join(200)
    said = (tmp_path / "parent.txt").read_text()
    assert "a process ended with code -9" in said
    if parent.exitcode:  # the other one had passed by when it died
        assert "Run the command again to resume" in said
        parent = start_benchmark(arguments, tmp_path, "again.txt", {})
        parent.join(200)
    assert parent.exitcode == 0
    assert run(*_arguments(tmp_path, photos, str(tmp_path / "one"))) == 0
    _same(tmp_path, "one", "shared", monkeypatch)


# ---- what several processes must not mix up --------------------------------------------------------------------------


@pytest.fixture
def one(photos: Path, tmp_path: Path) -> Protocol:
    (found,) = load_protocols(write_protocol(tmp_path, metrics=["psnr", METRICS[-1]]), photos, limit=6)
    return found


def _visit(job: Job, place: Place) -> Record | None:
    return measure.evaluate_together(job, "cpu", lambda share, done: None, place)


def test_a_process_does_what_nobody_holds_and_the_last_one_writes_the_record(one: Protocol, tmp_path: Path):
    job = Job("Telea", "Telea", one, tmp_path / "out", batch_size=2)
    with Journal(job, 1).writing():  # another process is at it
        assert _visit(job, Place(0, 3)) is None and not job.record_path.exists()
    assert sorted(Journal(job).rows) == [0, 1, 4, 5]
    shown: dict[int, int] = {}
    record = measure.evaluate_together(job, "cpu", shown.__setitem__, Place(2, 3))
    assert record is not None and read_record(job.record_path) == record
    assert sorted(path.name for path in job.journal_folder.glob("*.jsonl")) == [
        "journal-1.jsonl", "journal-2.jsonl", "journal.jsonl",
    ]  # fmt: skip
    assert shown == {0: 2, 1: 2, 2: 2}
    alone = measure.evaluate(replace(job, out=tmp_path / "alone"))
    assert without_cost({"": record}) == without_cost({"": alone})


def test_any_number_of_processes_resumes_what_another_number_left(one: Protocol, tmp_path: Path):
    job, seen = Job("Telea", "Telea", one, tmp_path / "out", batch_size=2), []
    with Journal(job, 1).writing():
        _visit(job, Place(0, 2))
    kept = measure._keep_pictures
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "_keep_pictures", lambda job, rows, *rest: (seen.extend(rows), kept(job, rows, *rest)))
        assert measure.evaluate(job).metrics["psnr"].n == 6
    assert [row["index"] for row in seen] == [2, 3]


def test_journals_of_earlier_weights_do_not_come_back_when_their_pictures_are_gone(one: Protocol, tmp_path: Path):
    first = Job("Telea", "M", one, tmp_path / "out", batch_size=2)
    with Journal(first).writing():
        _visit(first, Place(1, 2))  # its share stands in journal-1
    other = replace(first, method="Harmonic")
    measure.evaluate(other)
    again, alone = measure.evaluate(first), measure.evaluate(replace(first, out=tmp_path / "alone"))
    assert without_cost({"": again}) == without_cost({"": alone})


def test_a_kill_before_the_record_is_written_leaves_no_record_of_earlier_weights(
    one: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = Job("Telea", "M", one, tmp_path / "out")
    measure.evaluate(first)
    other = replace(first, method="Harmonic")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(measure, "write_record", _interrupt)
        measure.evaluate(other)
    assert not other.record_path.exists()
    assert measure.evaluate(other).method.name == "Harmonic"


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_truths_are_measured_alike_whether_or_not_their_features_are_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Features of a network whose result depends on what else is in its batch, as those of convolutions may."""
    features = replace(colour_gap.features, extract=lambda x: x.mean((2, 3)) + 1e-3 * x.mean())
    monkeypatch.setattr(colour_gap, "features", features)
    path = write_protocol(tmp_path, metrics=[METRICS[-1]])
    (one,) = load_protocols(path, photos, limit=4)
    fresh, second = (Job("Harmonic", "Harmonic", one, tmp_path / out, batch_size=2) for out in ("fresh", "second"))
    measure.evaluate(replace(second, method="Telea", label="Telea"))
    (second.truth_features_folder(features) / "1.npy").unlink()
    values = [measure.evaluate(job).metrics[METRICS[-1]].mean for job in (fresh, second)]
    assert values[0] == values[1] is not None


def test_a_launcher_and_devices_are_not_both_asked_for_processes(monkeypatch: pytest.MonkeyPatch):
    assert devices_of(["auto"], None) == devices_of(["cpu"], 1) == ["cpu"] and devices_of(["cpu"], 3) == ["cpu"] * 3
    assert devices_of(["cuda:1", "cuda:0"], None) == ["cuda:1", "cuda:0"]
    for given, count in ((["cpu", "cpu"], 2), (["cpu"], 0)):
        with pytest.raises(ValueError, match=rf"--devices {count}: give a number from 1, or name each device"):
            devices_of(given, count)
    monkeypatch.setenv("SLURM_PROCID", "1"), monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_LOCALID", "1"), monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert here() == Place(1, 4, 1) and devices_of(["cuda"], None) == ["cuda:1"]
    with pytest.raises(ValueError, match="this is process 1 of 4 that a launcher started"):
        devices_of(["cpu"], 2)
