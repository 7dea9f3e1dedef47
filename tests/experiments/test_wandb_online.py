"""Two methods train online against a stand-in for W&B's server; its workspace and the page show them side by side."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from PIL import Image

from experiments.compare.command import main as compare
from experiments.train.cli import main as fit
from tests.support.small_fits import METHODS, SMALL_FIT
from tests.support.wandb_server import Server, wandb_server

STARTED_BY: list[dict[str, str]] = [
    {"MODE": "online"},  # by hand
    {"SWEEP_ID": "s0", "RUN_ID": "trial1"},  # by an agent; its runs are online by default
]


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What the server holds after both fits; each has its own learning rate and seed, as the trials of a sweep have."""
    folder = tmp_path_factory.mktemp("online")
    with wandb_server([]) as server, pytest.MonkeyPatch.context() as patched:
        for name, value in {"BASE_URL": server.address, "API_KEY": "0" * 40, "ENTITY": "lab",
                            "CACHE_DIR": str(folder / "cache"), "PROJECT": "inpainting"}.items():  # fmt: skip
            patched.setenv(f"WANDB_{name}", value)
        patched.delenv("WANDB_MODE", raising=False)
        patched.chdir(folder)
        wandb.finish(), wandb.teardown()  # run and settings of an earlier test
        for seed, (method, small) in enumerate(METHODS.items(), 1):
            for name, value in STARTED_BY[seed - 1].items():
                patched.setenv(f"WANDB_{name}", value)
            length = ["--trainer.max_steps", "4", "--trainer.val_check_interval", "2", "--seed_everything", f"{seed}"]
            rate = ["--model.init_args.learning_rate", f"{seed}e-4"]
            fit(["fit", "--model", method, *small, *rate, *SMALL_FIT, *length, "--trainer.default_root_dir", method])
            wandb.finish()
            wandb.teardown()  # an agent starts a process for each trial
            for name in STARTED_BY[seed - 1]:
                patched.delenv(f"WANDB_{name}")
        assert not list(folder.glob("*/wandb/offline-run-*"))
        yield server
        wandb.teardown()


def common(keys: Iterator[str]) -> set[str]:
    """Without losses and networks, which are the paper's."""
    return {key for key in keys if not key.startswith(("train/", "health/"))}


def test_two_methods_arrive_under_the_same_keys_and_protocol(online: Server):
    first, second = online.runs
    assert [run["config"]["method"] for run in online.runs] == [run["name"] for run in online.runs] == list(METHODS)
    assert first["config"]["val_protocol_hash"] == second["config"]["val_protocol_hash"]
    validated = {"val/psnr", "val/psnr_hole", "val/ssim", "val/l1_hole", "val/panels", "images_seen"}
    for kept in ("summary", "history"):
        keys = [
            common(run[kept] if kept == "summary" else (k for row in run[kept] for k in row)) for run in online.runs
        ]
        assert keys[0] == keys[1] >= validated
    seen = [[row["val/psnr"] for row in run["history"] if "val/psnr" in row] for run in online.runs]
    assert [len(values) for values in seen] == [2, 2]
    assert [values[-1] for values in seen] == [run["summary"]["val/psnr"] for run in online.runs]


def test_the_trial_of_an_agent_arrives_as_its_run_of_its_sweep(online: Server):
    by_hand, trial = online.runs
    assert (by_hand["sweep"], trial["sweep"], trial["id"]) == (None, "s0", "trial1")


def test_panels_arrive_as_the_pictures_that_the_run_folder_holds(online: Server):
    for run in online.runs:
        shown = [row["val/panels"] for row in run["history"] if "val/panels" in row]
        assert len(shown) == 2 and all("dB in the hole" in caption for p in shown for caption in p["captions"])
        for name in (name for panel in shown for name in panel["filenames"]):
            assert Image.open(io.BytesIO(run["files"][name])).size == (5 * 64 + 4 * 2, 64)  # five pictures, four gaps


def test_compare_reads_them_back_and_saves_their_charts_as_a_workspace(
    online: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("wandb_workspaces")
    words = ["--wandb", "lab/inpainting", "--wandb-workspace", "--out", str(tmp_path / "page.html")]
    assert compare(words) == 0
    said = capsys.readouterr().out
    assert f"W&B workspace: {online.address}/lab/inpainting?nw=" in said
    page = (tmp_path / "page.html").read_text()
    assert all(f'"{run["name"]}"' in page for run in online.runs) and "val/psnr_hole" in page

    view = online.views[-1]
    assert (view["entityName"], view["projectName"]) == ("lab", "inpainting")
    section = json.loads(view["spec"])["section"]
    (runset,) = section["runSets"]
    assert [key["name"] for key in runset["grouping"]] == ["method.value", "val_protocol_hash.value"]
    bank = {part["name"]: part["panels"] for part in section["panelBankConfig"]["sections"]}
    lines = {panel["config"]["metrics"][0]: panel["config"]["xAxis"] for panel in bank["Validation"]}
    assert set(lines.values()) == {"images_seen"} and {"val/psnr", "val/ssim"} <= set(lines)
    assert [panel["config"]["mediaKeys"] for panel in bank["Panels"]] == [["val/panels"]]
    (parallel,) = bank["Settings"]
    assert parallel["viewType"] == "Parallel Coordinates Plot"
    axes = [column["accessor"] for column in parallel["config"]["columns"]]
    assert {"config:method.value", "config:seed.value", "config:learning_rate.value"} <= set(axes), axes
    assert axes[-1] == "summary:val/psnr_hole" and "config:mask.value" not in axes  # the same in both
