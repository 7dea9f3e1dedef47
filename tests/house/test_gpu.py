"""`make gpu`: its small run on the CPU measures everything, and nothing that goes wrong is lost or stops the rest."""

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import backbones, compare, docs, patchmatch, runner, support
from benchmarks.gpu.__main__ import main
from benchmarks.utilisation import ROWS
from lit_inpaint.metrics import perceptual
from tests.support import processes
from tests.support.gradients import CASES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # the processes of the parts follow
    return tmp_path / "log"


def began(log: Path) -> list[str]:
    return [line.split()[0] for line in log.read_text().splitlines()]


def run(out: Path, *names: str, limit: float = 60) -> tuple[int, dict[str, Any]]:
    code = runner.run(out, "cpu", list(names), dict.fromkeys(names, "tests.support.gpu_parts"), limit)
    return code, json.loads(out.read_text())["parts"]


@pytest.fixture(autouse=True, scope="module")
def forkserver_finds_the_tests() -> None:
    """And has imported torch."""
    processes.serve()


def test_what_fails_dies_or_breaks_the_gpu_is_named_and_the_rest_runs(log: Path, tmp_path: Path, capsys: Any):
    code, parts = run(tmp_path / "gpu.json", "fails+dies+breaks+misses+works", "again")
    assert code == 1
    first = parts["fails+dies+breaks+misses+works"]
    assert first["failed"] == {
        "fails": "ValueError: images are 3x3",
        "dies": "its process ended with exit code -9",
        "breaks": "RuntimeError: CUDA error: device-side assert triggered",
    }
    assert first["skipped"] == {"misses": "photographs: no folder holes20"}
    assert first["ran"]["works"]["value"] == parts["again"]["ran"]["again"]["value"] == 1
    assert first["left"] == [] and began(log) == ["fails", "dies", "breaks", "misses", "works", "again"]
    pids = [line.split()[1] for line in log.read_text().splitlines()]
    assert pids[2] != pids[3] == pids[4]  # after a broken context a fresh process
    said = capsys.readouterr().out
    assert "FAILED: fails+dies+breaks+misses+works: dies: its process ended" in said
    assert "skipped: fails+dies+breaks+misses+works: misses: photographs: no folder holes20" in said

    log.unlink()
    code, parts = run(tmp_path / "gpu.json", "fails+dies+breaks+misses+works", "again")
    assert began(log) == ["misses", "fails", "dies", "breaks"]  # what ran is not run again; what failed comes last


def test_another_commit_torch_or_device_is_measured_again(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert run(tmp_path / "gpu.json", "works")[0] == 0
    assert run(tmp_path / "gpu.json", "works")[0] == 0
    assert began(log) == ["works"]
    monkeypatch.setattr(runner, "commit", lambda: "another")
    assert run(tmp_path / "gpu.json", "works")[1]["works"]["key"]["commit"] == "another"
    assert began(log) == ["works", "works"]


def test_a_part_that_hangs_is_stopped_and_the_next_one_runs(log: Path, tmp_path: Path):
    code, parts = run(tmp_path / "gpu.json", "hangs+works", "again", limit=8)
    assert code == 1 and "stopped: not done when the part's 8 s were over" in parts["hangs+works"]["failed"]["hangs"]
    assert parts["hangs+works"]["left"] == ["works"] and "again" in parts["again"]["ran"]
    code, parts = run(tmp_path / "gpu.json", "hangs+works", "again", limit=8)
    assert "works" in parts["hangs+works"]["ran"]  # not behind the one that hangs


def test_a_killed_run_resumes_and_leaves_no_process(log: Path, tmp_path: Path):
    script = (
        "from benchmarks.gpu import runner; from pathlib import Path;"
        "runner.run(Path('gpu.json'), 'cpu', ['works+hangs'], {'works+hangs': 'tests.support.gpu_parts'}, 300)"
    )
    started = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    wait_until(lambda: log.is_file() and began(log) == ["works", "hangs"], 120)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert "works" in json.loads((tmp_path / "gpu.json").read_text())["parts"]["works+hangs"]["ran"]
    child = int(log.read_text().split()[-1])
    wait_until(lambda: not alive(child), 20)
    (tmp_path / "quick").touch()
    code, parts = run(tmp_path / "gpu.json", "works+hangs")
    assert code == 0 and set(parts["works+hangs"]["ran"]) == {"works", "hangs"}
    assert began(log) == ["works", "hangs", "hangs"]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.is_file() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(true: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_missing_weights_and_photographs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    perceptual._network.cache_clear()  # an earlier test in this process may have found the weights
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("LIT_INPAINT_DATA", str(tmp_path))
    for name, file in (("vgg16", "vgg16_features.pth"), ("vgg19", "vgg19-dcbb9e9d.pth"), ("alexnet", "alexnet")):
        with pytest.raises(support.Skipped, match=f"{name} is not on this machine: put {file}"):
            backbones.run(name, "backbones", "cpu")
    with pytest.raises(support.Skipped, match="no folder holes20"):
        patchmatch.run(patchmatch.HOLES20, "patchmatch", "cuda")


@pytest.mark.slow
def test_without_a_gpu_the_command_says_so_and_writes_nothing(tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "finds no GPU. --device cpu runs everything small" in done.stderr
    assert not (tmp_path / "gpu.json").exists()


def test_draws_are_the_cpus_whatever_the_device():
    """Meta stands in for a GPU: it has no generator, so that only the CPU's can have advanced."""

    def draw(device: str) -> float:
        torch.manual_seed(0)
        like = torch.empty(3, 5, device=device)
        torch.rand(3, device=device), torch.randn(4, device=device), torch.randint(5, (4,), device=device)
        torch.randn_like(like), like.uniform_(), like.normal_(), like.random_(), like.bernoulli_(0.3)
        return float(torch.rand(1))

    with support.DrawnOnTheCPU():
        assert draw("meta") == draw("cpu")
    assert draw("meta") != draw("cpu")
    torch.manual_seed(0)
    dropped = torch.nn.functional.dropout(torch.ones(99), 0.1)
    torch.manual_seed(0)
    assert torch.equal(dropped, torch.native_dropout(torch.ones(99), 0.1, True)[0])  # what a GPU calls instead


@pytest.mark.parametrize("fault", ["another draw", "another weight"])
def test_a_step_that_differs_on_the_device_fails(fault: str, monkeypatch: pytest.MonkeyPatch):
    case = "WGAN-GP in one backward"  # draws the points of its penalty
    assert 0 < compare.run(f"{case}, step", "compare", "cpu")["difference"] < 1e-4
    count, gradients = iter(range(9)), compare.gradients

    def second_time_wrong(*arguments: Any) -> Any:
        if next(count) == 0:
            return gradients(*arguments)
        if fault == "another draw":
            monkeypatch.setattr(torch, "rand", lambda *s, **k: torch.full(s, 0.5))
        else:
            monkeypatch.setattr("tests.support.gradients.wasserstein_generator", lambda judged: -1.01 * judged.mean())
        return gradients(*arguments)

    monkeypatch.setattr(compare, "gradients", second_time_wrong)
    with pytest.raises(AssertionError, match=r"relative difference of the gradients is .*, allowed 0.001"):
        compare.run(f"{case}, step", "compare", "cpu")


def test_a_difference_is_relative_and_a_missing_step_or_gradient_is_none():
    a = [[torch.ones(4), None]]
    assert support.difference([[1.01 * torch.ones(4), None]], a) == pytest.approx(0.01, rel=1e-4)
    for wrong in ([], a + a, [[None, torch.ones(4)]]):
        with pytest.raises(AssertionError):
            support.difference(wrong, a)
    for value in (2.0, float("nan")):
        with pytest.raises(AssertionError, match="allowed 1"):
            support.bounded("x", value, 1)


def test_a_gpu_gets_every_method_every_loss_form_and_every_published_row():
    found = {name: importlib.import_module(module).items(name, "cuda") for name, module in runner.PARTS.items()}
    assert all(names and len(set(names)) == len(names) for names in found.values())
    assert len(found["compare"]) == len(support.ROWS) + len(support.STEPS)
    assert set(found["bf16"]) == set(support.STEPS) >= {name for name, _ in support.STAGES} | set(CASES)
    assert sum(len(found[name]) for name in found if name.startswith("speed/")) == 4 * len(ROWS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_small_run_measures_everything(tmp_path: Path):
    out = tmp_path / "gpu-cpu.json"
    assert main(["--device", "cpu", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["machine"]["device"] == "cpu" and set(found["parts"]) == set(runner.PARTS)
    for name, part in found["parts"].items():
        assert part["key"]["device"] == "cpu" and part["failed"] == {} and part["left"] == [], name
        assert part["ran"] or name == "backbones", name
    compared = found["parts"]["compare"]["ran"]
    for name in support.SMALL.keys() - {"DSI", "ICT"}:
        assert {f"{name}, completion", f"{name}, step"} & compared.keys(), name
    assert any(0 < item["difference"] < 1e-3 for item in compared.values())  # two implementations, not one twice
    assert found["parts"]["ddp"]["skipped"] == {"NCCL, one process": "NCCL needs a GPU"}
    assert found["parts"]["ddp"]["ran"]["gloo, two processes on one device"]["cases"] == 3


def test_the_docs_say_what_the_file_says_or_that_it_was_not_run():
    for name in docs.DOCS:
        path = ROOT / "docs" / name
        assert docs.filled(path.read_text(), docs.load()) == path.read_text(), "run python -m benchmarks.gpu.docs"
    if docs.load() is None:
        assert "not run" in (ROOT / "docs/speed.md").read_text()


def test_rows_come_from_a_gpu_alone():
    part = {"key": {"device": "H200", "torch": "2.14", "commit": "abc"}, "failed": {"b": "it broke"}, "skipped": {}}
    part["ran"] = {"a": {"ms": 1.5, "mib": 20.0, "seconds": 9}}
    text = docs.filled("x\n<!-- gpu: attention -->\nold\n<!-- end -->\ny", {"parts": {"attention": part}})
    assert "| a | 1.5 | 20.0 |" in text and "failed: it broke" in text and "H200, torch 2.14, abc" in text
    assert "old" not in text and text.startswith("x\n") and text.endswith("\ny")
    part["key"]["device"] = "cpu"
    text = docs.filled("<!-- gpu: attention -->\n<!-- end -->", {"parts": {"attention": part}})
    assert "not run" in text and "1.5" not in text
