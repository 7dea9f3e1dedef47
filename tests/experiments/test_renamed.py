"""Files of version 0.1.0 are read under current names: listed, compared, resumed and evaluated.

tests/fixtures/version_0_1_0.tar.xz: two run folders of ``fit`` and the records of a ``benchmark``, written by commit
c681131: a LaMa whose EarlyStopping monitors ``train/critic``, and a ContextEncoder with ``lr``. Pictures were left out,
and the folder in their .lock was replaced. Lightning 2.6.6, torch 2.15.0.
"""

import csv
import json
import tarfile
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from experiments.cli import main
from experiments.run import Run
from experiments.run.curves import join_segments, read_history, read_segments
from experiments.run.listing import describe
from experiments.run.place import read_saved
from lit_inpaint import renamed
from lit_inpaint.classes import stage_classes
from lit_inpaint.load import hyper_parameters, load_method, read_checkpoint
from lit_inpaint.methods import LaMa

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "version_0_1_0.tar.xz"
SHORT = ["--trainer.max_steps", "8", "--trainer.logger", "false"]


@pytest.fixture(autouse=True)
def runs_of_0_1_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "runs", filter="data")


@pytest.fixture
def told() -> Iterator[Callable[[], list[str]]]:
    """The old names a user was warned about, one entry per warning."""
    renamed._tell.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: sorted(
            str(w.message).split()[0]
            for w in caught
            if w.category is FutureWarning and "is now called" in str(w.message)
        )


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    return int(end.value.code or 0)


def test_a_run_is_listed_with_its_curves_under_the_names_of_today(told: Callable[[], list[str]]):
    lama, encoder = describe(Path("runs/lama"), "train/critic"), describe(Path("runs/context_encoder"), "train/loss")
    assert (lama.status, lama.metric, lama.best) == (
        "finished",
        "train/discriminator_loss",
        pytest.approx(1.3869, abs=0.02),
    )
    assert encoder.metric == "train/generator_loss" and encoder.best == pytest.approx(0.20286, abs=1e-4)
    curves = read_history(Path("runs/lama")).curves
    assert {"train/generator_loss", "train/discriminator_loss", "train/adversarial", "val/psnr"} <= set(curves)
    assert not {key for key in curves if "critic" in key or key == "train/generator"}
    assert "train/loss" not in read_history(Path("runs/context_encoder")).curves
    assert read_history(Path("runs/lama")).config["model"]["init_args"]["discriminator_width"] == 1
    names = told()
    assert len(names) == len(set(names)) and {"train/critic", "train/loss", "critic_width", "lr"} <= set(names)


def test_a_sweep_s_metric_of_before_is_found_in_a_run_of_today():
    segment = Path("new/metrics.csv")
    segment.parent.mkdir()
    segment.write_text("images_seen,step,train/discriminator_loss\n2,1,0.5\n4,2,0.25\n")
    assert Run(Path("new")).curve("train/critic") == [(2, 0.5), (4, 0.25)]
    assert Run(Path("new")).last_logged("train/critic") == 0.25


def test_a_resumed_run_continues_its_curves_across_the_rename(told: Callable[[], list[str]]):
    kept = [Path("runs/lama", name) for name in ("config.yaml", "metrics.csv", "run.json", "wandb_id.txt")]
    before = [path.read_bytes() for path in kept]
    content_before = torch.load("runs/lama/checkpoints/last.ckpt", weights_only=True)
    command = ["fit", "--config", "runs/lama/config.yaml", "--ckpt_path", "runs/lama/checkpoints/last.ckpt"]
    assert run(*command, "--trainer.max_steps", "8") == 0
    names = told()
    assert len(names) == len(set(names))
    assert set(names) == {
        "critic_width", "critic_learning_rate", "train/critic", "train/generator",
        "experiments.run_folder.SegmentedCSVLogger",
        "experiments.run_folder.RunWandbLogger", "experiments.run_folder.RunRecord", "experiments.status.Status",
        "experiments.predictions.WritePredictions",
    }  # fmt: skip
    assert [path.read_bytes() for path in kept] == before
    with Path("runs/lama/metrics-1.csv").open() as file:
        keys = set(next(csv.reader(file)))
    assert {"train/discriminator_loss", "train/generator_loss"} <= keys and not {
        "train/critic",
        "train/generator",
    } & keys
    seen = [x for x, _ in read_history(Path("runs/lama")).curves["train/discriminator_loss"]]
    assert seen == [2, 4, 6, 8, 10, 12, 14, 16]  # one curve: nothing lost, nothing twice

    written = yaml.safe_load(Path("runs/lama/config-1.yaml").read_text())
    assert "critic" not in Path("runs/lama/config-1.yaml").read_text() and written["model"]["init_args"][
        "discriminator_learning_rate"
    ] == pytest.approx(2e-4)
    content = torch.load("runs/lama/checkpoints/last.ckpt", weights_only=True)
    assert "critic" not in str(content["hyper_parameters"]) + str(content["run"]) + str(list(content["callbacks"]))
    (stopping,) = (state for name, state in content["callbacks"].items() if name.startswith("EarlyStopping"))
    (old,) = (state for name, state in content_before["callbacks"].items() if name.startswith("EarlyStopping"))
    assert stopping["best_score"] == old["best_score"] and old["best_score"].isfinite()  # kept across the rename


def test_what_did_change_is_still_refused_under_its_name_of_today(capsys: pytest.CaptureFixture[str]):
    command = ["fit", "--config", "runs/lama/config.yaml", "--ckpt_path", "runs/lama/checkpoints/last.ckpt"]
    assert run(*command, *SHORT, "--model.init_args.critic_width", "2") == 2
    assert "discriminator_width is 2" in capsys.readouterr().err
    assert run(*command, *SHORT, "--model.init_args.critic_wdth", "2") == 2
    assert "discriminator_width" in capsys.readouterr().err  # the nearest name is one of today


@pytest.mark.parametrize("name", ["lama", "context_encoder"])
def test_a_checkpoint_is_loaded_and_completes_an_image(name: str):
    method = load_method(f"runs/{name}/checkpoints/last.ckpt")
    side = method.fixed_size or 32
    image, mask = torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side)
    mask[..., side // 2 - 4 : side // 2 + 4, side // 2 - 4 : side // 2 + 4] = 1
    with torch.no_grad():
        assert method(image, mask).isfinite().all()
    arguments = hyper_parameters(read_checkpoint(Path(f"runs/{name}/checkpoints/last.ckpt")))
    assert arguments["discriminator_learning_rate"] == {"lama": 2e-4, "context_encoder": 1e-4}[name]


def test_the_records_are_compared_and_a_benchmark_of_today_gives_the_same_values(capsys: pytest.CaptureFixture[str]):
    old = json.loads(Path("runs/lama/records/golden-ca7bf605/LaMa.json").read_text())
    assert run("compare", "runs", "--out", "page.html") == 0
    page = Path("page.html").read_text()
    assert "train/discriminator_loss" in page and "train/critic" not in page and "ca7bf605" in page
    methods = ["--methods", "LaMa=runs/lama/checkpoints/last.ckpt"]
    assert run("benchmark", "runs/protocol.yaml", *methods, "--out", "new") == 0
    (path,) = Path("new/records").rglob("LaMa.json")
    new = json.loads(path.read_text())
    assert new["protocol"]["hash"] == old["protocol"]["hash"]
    for name, metric in old["metrics"].items():
        assert new["metrics"][name]["values"] == pytest.approx(metric["values"], rel=1e-3), name


def test_a_yaml_a_part_of_one_and_a_word_are_read_with_old_names(told: Callable[[], list[str]], tmp_path: Path):
    spec: dict[str, Any] = {
        "model": {"class_path": "LaMa", "init_args": {"critic_width": 4, "width": 4, "blocks": 1}},
        "trainer": {
            "callbacks": [
                {"class_path": "experiments.status.Status"},
                {
                    "class_path": "ModelCheckpoint",
                    "init_args": {"monitor": "train/generator", "filename": "{train/critic}"},
                },
            ],
        },
    }
    Path("whole.yaml").write_text(yaml.safe_dump(spec))
    Path("part.yaml").write_text("model: {init_args: {critic_learning_rate: 0.5}}\n")
    data = ["--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle", "--data.init_args.image_size", "32"]
    more = ["--data.init_args.num_workers", "0", "--model.perceptual_weight", "0", "--data.init_args.limit_eval", "1"]
    place = ["--trainer.default_root_dir", "fresh", "--trainer.max_steps", "1", "--trainer.accelerator", "cpu"]
    plugin = ["--trainer.plugins", "lit_inpaint.checkpoints.AtomicCheckpointIO", "--trainer.logger", "false"]
    words = ["--model.init_args.critic_width=2", "--model.critic_width", "3"]
    argv = ["fit", "--config", "whole.yaml", "--config", "part.yaml", *data, *more, *place, *plugin, *words]
    assert run(*argv) == 0
    assert told() == sorted(
        {
            "critic_width", "critic_learning_rate", "experiments.status.Status", "train/generator", "train/critic",
            "lit_inpaint.checkpoints.AtomicCheckpointIO",
        }
    )  # fmt: skip
    (checkpoint, *_) = Path("fresh").rglob("*.ckpt")
    arguments = hyper_parameters(read_checkpoint(checkpoint))
    assert (arguments["discriminator_width"], arguments["discriminator_learning_rate"]) == (3, 0.5)


def test_an_outsider_s_argument_of_an_old_name_is_their_own(told: Callable[[], list[str]]):
    class Mine(LaMa):
        """A subclass inherits the old names of its base."""

    assert renamed.arguments([c.__name__ for c in Mine.__mro__], {"critic_width": 4}) == {"discriminator_width": 4}
    config = {"model": {"class_path": "lab.Network", "init_args": {"lr": 0.1, "critic_width": 4}}}
    assert renamed.configuration(config) == config
    segments = [[{"images_seen": 2.0, "step": 1.0, "train/loss": 3.0}]]
    Path("theirs").mkdir()
    Path("theirs/metrics.csv").write_text("images_seen,step,train/loss\n2,1,3\n")
    assert read_segments(Path("theirs")) == segments
    assert join_segments(segments)[0] == {"train/loss": [(2, 3.0)]}
    assert told() == ["critic_width"]


def test_every_name_in_the_table_leads_to_one_that_exists():
    classes = stage_classes()
    for name, table in renamed.ARGUMENTS.items():
        assert name in classes
        taken = {key for cls in classes[name].__mro__ for key in getattr(cls.__init__, "__annotations__", {})}
        assert set(table.values()) <= taken and not set(table) & taken, name
    assert set(renamed.KEYS_OF_CLASS) <= set(classes)
    for path in renamed.CLASSES.values():
        module, _, name = path.rpartition(".")
        assert getattr(import_module(module), name).__name__ == name
    assert read_saved(Path("runs/lama/config.yaml"), Path("runs/lama"))["trainer"]["callbacks"][-1]["class_path"] in (
        renamed.CLASSES.values()
    )
