"""Sweeps over several methods, of which some have parameters of their own.

wandb/wandb#1487, #3865, #1034 and #6567 ask for parameters that depend on another one; #982 and #2005 for nested ones.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState

from experiments.sweep.command import main
from experiments.sweep.ledger import Ledger
from experiments.sweep.page import render, table
from experiments.sweep.space import read_sweep

RATE = "model.init_args.learning_rate"
BLOCKS = "only.LaMa.model.init_args.blocks"
OWN = {
    "LaMa": {"parameters": {"model.init_args.blocks": {"values": [1, 2]}}},
    "AOTGAN": {"parameters": {"model.init_args.blocks": {"value": 2}, "model.init_args.width": {"values": [8, 16]}}},
}
FIT = ["lit-inpaint", "fit", "--data=SamplePhotos", "--data.init_args.mask=CenterRectangle", "--trainer.max_steps=1"]
SWEEP: dict[str, Any] = {
    "method": "grid",
    "metric": {"name": "val/psnr_hole", "goal": "maximize"},
    "parameters": {
        "model": {"values": ["DeepFillV2", "LaMa", "AOTGAN"]},
        "seed_everything": {"values": [0, 1]},
        "only": {"parameters": OWN},
    },
    "command": [*FIT, "${args}"],
}


def write(folder: Path, change: dict[str, Any], parameters: dict[str, Any] | None = None) -> Path:
    content = SWEEP | change
    content["parameters"] = SWEEP["parameters"] | (parameters or {})
    content["parameters"] = {name: law for name, law in content["parameters"].items() if law is not None}
    path = folder / "methods.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def ledger(path: Path, folder: Path, budget: int | None = None) -> Ledger:
    folder.mkdir(exist_ok=True)
    sweep = read_sweep(path)
    return Ledger(sweep, str(folder / "journal.log"), sweep.budget(budget))


def points(path: Path, folder: Path, budget: int | None = None) -> list[dict[str, Any]]:
    """What the trials draw, claimed one by one; their values stand for how well they trained."""
    own = ledger(path, folder, budget)
    while claimed := own.claim():
        own.finish(claimed[0].number, TrialState.COMPLETE, float(claimed[0].number))
    return [trial.user_attrs["drawn"] for trial in own.held()]


def test_a_grid_has_each_combination_of_a_method_with_its_own_parameters_once(tmp_path: Path):
    path = write(tmp_path, {})
    found = points(path, tmp_path / "out")
    assert read_sweep(path).budget(None) == len(found) == 2 * (1 + 2 + 2)
    assert Counter(point["model"] for point in found) == {"DeepFillV2": 2, "LaMa": 4, "AOTGAN": 4}
    assert {(p["model"], *(name for name in p if name.startswith("only."))) for p in found} == {
        ("DeepFillV2",), ("LaMa", BLOCKS), ("AOTGAN", "only.AOTGAN.model.init_args.blocks",
                                            "only.AOTGAN.model.init_args.width"),
    }  # fmt: skip
    assert [p[BLOCKS] for p in found if p["model"] == "LaMa"] == [1, 2, 1, 2]
    own = ledger(path, tmp_path / "out")
    rows = table(own).splitlines()
    assert f",{BLOCKS}," in rows[0] and len(rows) == 11
    assert "LaMa" in render(own, None)  # parallel coordinates and importance do with what not every trial has


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_draws_a_methods_parameter_in_its_trials_alone_and_again_after_a_kill(tmp_path: Path, method: str):
    only = {"parameters": {"LaMa": {"parameters": {"model.init_args.blocks": {"min": 1, "max": 9}}}}}
    path = write(tmp_path, {"method": method, "run_cap": 24}, {"only": only, RATE: {"min": 0.1, "max": 0.2}})
    found = points(path, tmp_path / "out")
    assert all((BLOCKS in point) == (point["model"] == "LaMa") for point in found)
    assert len({point[BLOCKS] for point in found if BLOCKS in point}) > 2
    assert len({point["model"] for point in found}) == 3


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"config": {"values": ["lama/places2", "deepfillv2/places2.yaml"]}, "model": None}, {"LaMa", "DeepFillV2"}),
        ({"model": {"parameters": {"class_path": {"values": ["lit_inpaint.methods.LaMa", "DDPM"]}}}}, {"LaMa", "DDPM"}),
        ({"model": {"values": [{"class_path": "LaMa", "init_args": {"width": 8}}, "DDPM"]}}, {"LaMa", "DDPM"}),
    ],
    ids=["config", "nested", "mapping"],
)
def test_a_method_is_known_however_it_is_chosen(tmp_path: Path, choice: dict[str, Any], names: set[str]):
    path = write(tmp_path, {}, choice | {"only": {"parameters": {"LaMa": OWN["LaMa"]}}})
    found = points(path, tmp_path / "out")
    sweep = read_sweep(path)
    assert Counter(BLOCKS in point for point in found) == {True: 4, False: 2}
    words = sweep.arguments(next(point for point in found if BLOCKS in point), tmp_path)
    assert "--only={'LaMa': {'model.init_args.blocks': 1}}" in words


@pytest.mark.parametrize("form", ["args", "args_no_equals"])
@pytest.mark.parametrize("named", ["model", "config", "nested"])
def test_fit_takes_what_an_agent_of_wandb_passes_of_its_own_method(
    form: str, named: str, capsys: pytest.CaptureFixture[str]
):
    """An agent passes every parameter to every run, those of all methods as one mapping."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    from experiments.train.cli import main as fit

    only = {"LaMa": {"model.init_args.blocks": 3}, "AOTGAN": {"model": {"init_args": {"width": 24, "clip_norm": None}}}}
    data = ["--data=SamplePhotos", "--data.init_args.mask=CenterRectangle"]
    found = {}
    for method, config in (
        ("LaMa", "lama/places2"),
        ("AOTGAN", "aotgan/places2_512"),
        ("DeepFillV2", "deepfillv2/places2"),
    ):
        choice: dict[str, Any] = {"model": {"class_path": method, "init_args": {"clip_norm": 5.0}}}
        choice = {"nested": choice, "model": {"model": method}, "config": {"config": config}}[named]
        drawn = {"only": only, **choice, "seed_everything": 4}
        words = create_sweep_command_args({"args": {name: {"value": value} for name, value in drawn.items()}})[form]
        with pytest.raises(SystemExit) as end:
            fit(["fit", *words, *data, "--print_config"])
        assert end.value.code == 0
        found[method] = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    assert found["LaMa"]["blocks"] == 3 and found["DeepFillV2"]["width"] == 48 and found["AOTGAN"]["width"] == 24
    assert found["AOTGAN"]["clip_norm"] is None


@pytest.mark.parametrize(
    ("change", "parameters", "said"),
    [
        ({}, {"only": {"parameters": {"Lama": OWN["LaMa"]}}}, "no trial trains Lama. Did you mean 'LaMa'"),
        ({}, {"model": None}, "which method a trial trains must be drawn"),
        ({}, {"model.init_args.width": {"value": 4}}, "width is given for all trials and for those of AOTGAN alone"),
        ({}, {"only": {"parameters": {"LaMa": {"value": 3}}}}, "expected only, the name of a method, and an option"),
        ({}, {"only": {"value": {}}}, "expected only, the name of a method, and an option"),
        ({"command": ["lit-inpaint", "fit", "--config", "${args_json}"]}, {}, r"put \"\$\{args\}\" into the command"),
        # what `fit` would say of a trial
        (
            {},
            {"model.init_args.discriminator_updates": {"value": 1}},
            "no trial can train with model=DeepFillV2.*'disc",
        ),
        (
            {},
            {"only": {"parameters": {"LaMa": {"parameters": {"model.init_args.depth": {"values": [1, 2]}}}}}},
            "no trial can train with model=LaMa.*no setting 'depth'",
        ),
        ({}, {"seed_everything": {"values": [0, 1, 2, "x"]}}, "seed_everything=x: .*seed_everything"),
        ({}, {"model": {"values": ["LaMa", "AOTGAM"]}, "only": None}, "no class 'AOTGAM'.*Did you mean 'AOTGAN'"),
        ({}, {"config": {"values": ["lama/places3"]}}, "no configuration 'lama/places3'"),
        ({"metric": {"name": "val/psnr_hole"}}, {}, "of which higher is better: set its goal to maximize"),
        ({"metric": {"name": "val/lpips_alex", "goal": "maximize"}}, {}, r"--val_metrics '\[lpips_alex\]'"),
        ({"metric": {"name": "val/psrn", "goal": "maximize"}}, {}, "never logs. Did you mean 'val/psnr'"),
        (
            {"metric": {"name": "val/lpips_alex", "goal": "maximize"}},
            {"val_metrics": {"value": ["lpips_alex"]}},
            "of which lower is better: set its goal to minimize",
        ),
    ],
)
def test_an_impossible_combination_is_one_line_before_anything_trains(
    tmp_path: Path, change: dict[str, Any], parameters: dict[str, Any], said: str
):
    with pytest.raises(ValueError, match=said) as told:
        main([str(write(tmp_path, change, parameters)), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists() and "\n" not in str(told.value)
