"""Sweeps: what a file may say, what a trial draws, a budget met exactly through kills, and the page in a browser."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from optuna.trial import FixedTrial, TrialState

from experiments.files.find import INSTALLED
from experiments.run.place import to_save
from experiments.sweep.check import check_trials, examples
from experiments.sweep.command import main
from experiments.sweep.laws import LAWS, draw
from experiments.sweep.ledger import Ledger, lost
from experiments.sweep.page import best_config
from experiments.sweep.space import read_sweep
from experiments.sweep.words import ARGUMENTS, FOLDER
from tests.support.browsing import watch
from tests.support.small_fits import TRIAL

ROOT = Path(__file__).parents[2]
STAND_IN = """\
import sys, time
from pathlib import Path
import beside  # a user's program may: a trial of it does not inherit our -P

given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder = Path(given["trainer.default_root_dir"])
(folder / "config.yaml").write_text(f"x: {given['x']}\\nfolder: {folder}\\n")
with (folder / "metrics.csv").open("w") as file:
    print("step,images_seen,val/loss", file=file, flush=True)
    for step in range(1, 4):
        time.sleep(float(given.get("seconds", 0)) / 3)
        print(f"{step},{8 * step},{(float(given['x']) - 3) ** 2 + 1 / step - 1 / 3}", file=file, flush=True)
        if given["x"] in ("2", "5") and given.get("crash") == "True":
            raise RuntimeError(f"made to crash at {given['x']}")
"""
GRID: dict[str, Any] = {
    "method": "grid",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {"x": {"values": [1, 2, 3, 4, 5, 6, 7, 8]}, "crash": {"value": True}, "seconds": {"value": 0.6}},
}


def write(folder: Path, sweep: dict[str, Any], name: str = "small") -> Path:
    (folder / "stand_in.py").write_text(STAND_IN)
    (folder / "beside.py").touch()
    command = ["${env}", "${interpreter}", str(folder / "stand_in.py"), "${args}"]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"command": command} | sweep, sort_keys=False))
    return path


STARTED: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    for process in STARTED:
        process.kill()
        process.wait()
    STARTED.clear()


def start(*arguments: str, cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    command = [sys.executable, "-m", "experiments", "sweep", *arguments]
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log.open("ab"), stderr=subprocess.STDOUT)
    STARTED.append(process)
    return process


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ledger_of(path: Path, out: Path) -> Ledger:
    sweep = read_sweep(path)
    return Ledger(sweep, str(out / "journal.log"), sweep.budget(None))


def wait_for(condition: Any, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


# ---- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": "grid"}, "there is no key 'methods' here. Did you mean 'method'"),
        ({"method": "hyperopt"}, "expected grid, random or bayes"),
        ({"metric": {"goal": "minimize"}}, "metric needs a name"),
        ({"command": ["lit-inpaint", "fit"]}, r'command must hold "\$\{args\}"'),
        ({"parameters": {"x": {"min": 0, "max": 1}}}, "a grid needs values"),
        ({"method": "random", "parameters": {"x": {"min": 2, "max": 1}}}, "min 2 must be below max 1"),
        ({"method": "random", "parameters": {"x": {"distribution": "log_unifrom", "min": 1, "max": 2}}}, "log_uniform"),
        ({"method": "random", "parameters": {"x": {"min": 1, "mx": 2}}}, "Did you mean 'max'"),
        ({"method": "random", "parameters": {"x": {"parameters": {"y": {"mim": 1, "max": 2}}}}}, "parameter x.y .*min"),
        ({"command": ["${interpreter}", "${program}", "${args}"]}, "program is missing"),
        ({"command": None}, "program is missing"),
        ({"command": "lit-inpaint fit ${args}"}, "a list of words"),
        ({"command": ["lit-inpaint", "fit", "${arg}"]}, r"there is no \$\{arg\}"),
        ({"command": ["${env}", "lit-inpaint", "fit", "${args_no_boolean_flags}"]}, r'put "\$\{args\}"'),
        ({"early_terminate": {"type": "hyperband"}}, "give min_iter, or max_iter and s"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "min_iter is 0"),
        ({"run_cap": 0}, "run_cap is 0; expected a whole number of 1 or more"),
        ({"run_cap": "5"}, "run_cap is '5'"),
        ({"metric": {"name": "x", "target": float("nan")}}, "target is nan"),
        ({"method": "random", "parameters": {"x": {"min": "1e-5", "max": 1}}}, "x, min is '1e-5'.* write 1.0e-5"),
        (
            {"method": "random", "parameters": {"x": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}}},
            "q must",
        ),
        ({"method": "random", "parameters": {"x": {"values": [1, 2], "probabilities": [1, -1]}}}, "0 or more and not"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, change: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        read_sweep(write(tmp_path, GRID | change))


def test_a_search_that_never_ends_is_refused_and_a_grid_ends_with_its_points(tmp_path: Path):
    assert read_sweep(write(tmp_path, GRID)).budget(None) == 8
    endless = GRID | {"method": "random"}
    with pytest.raises(ValueError, match="set run_cap or --trials"):
        read_sweep(write(tmp_path, endless)).budget(None)
    assert read_sweep(write(tmp_path, endless | {"run_cap": 5})).budget(7) == 7


@pytest.mark.parametrize(
    "words",
    [["--trials", "0"], ["--trials", "-3"], ["--workers", "-1"], ["--seed", "1"], ["--seed", "-1"]],
    ids="".join,
)
def test_a_number_that_means_nothing_is_refused_before_anything_is_written(tmp_path: Path, words: list[str]):
    with pytest.raises(ValueError, match=f"{words[0]} is {words[1]}"):
        main([str(write(tmp_path, GRID)), "--out", str(tmp_path / "out"), *words])
    assert not (tmp_path / "out").exists()


def test_a_value_given_twice_is_one_point_and_a_grid_of_a_billion_is_walked(tmp_path: Path):
    (tmp_path / "out").mkdir()
    given = {"x": {"values": [1, 1, "1", 2, None, "None", 1]}, "y": {"values": [True, 5]}}
    sweep = read_sweep(write(tmp_path, GRID | {"parameters": given}))
    points = [{"x": x, "y": y} for x in (1, 2, None) for y in (True, 5)]
    assert list(sweep.grid()) == points and sweep.budget(None) == 6
    ledger = Ledger(sweep, str(tmp_path / "out" / "journal.log"), 6)
    drawn = []
    while claimed := ledger.claim():
        drawn.append(claimed[1])
        ledger.finish(claimed[0].number, TrialState.COMPLETE, 1.0)
    assert drawn == points

    huge = read_sweep(write(tmp_path, GRID | {"parameters": {c: {"values": list(range(10))} for c in "abcdefghi"}}))
    assert huge.budget(None) == 10**9 and huge.budget(3) == 3
    (tmp_path / "huge").mkdir()
    ledger = Ledger(huge, str(tmp_path / "huge" / "journal.log"), huge.budget(None))
    assert [(ledger.claim() or ({}, {}))[1]["i"] for _ in range(3)] == [0, 1, 2]


def draws(path: Path, out: Path, seed: int | None = None, lose: int = -1, budget: int = 4) -> list[float]:
    """x of every trial that counts; the worker of trial ``lose`` dies."""
    out.mkdir(exist_ok=True)
    ledger = Ledger(read_sweep(path), str(out / "journal.log"), budget, seed)
    while claimed := ledger.claim():
        number = claimed[0].number
        ledger.lose(number, "died") if number == lose else ledger.finish(number, TrialState.COMPLETE, 1.0)
    return [trial.user_attrs["drawn"]["x"] for trial in ledger.held()]


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_sweep_draws_by_its_own_seed_and_two_sweeps_draw_differently(tmp_path: Path, method: str):
    content = GRID | {"method": method, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    path, other = write(tmp_path, content), write(tmp_path, content, "other")
    changed = write(tmp_path, content | {"metric": {"name": "val/psnr"}}, "changed")
    first = draws(path, tmp_path / "a")
    found = [
        first, draws(other, tmp_path / "b"), draws(changed, tmp_path / "c"), draws(path, tmp_path / "d", seed=0),
        draws(path, tmp_path / "e", seed=1),
    ]  # fmt: skip
    assert len({value for values in found for value in values}) == 5 * 4
    assert draws(path, tmp_path / "again") == first
    assert draws(other, tmp_path / "seeded", seed=0) == found[3]  # a stated seed is all that counts
    assert draws(path, tmp_path / "e", budget=6)[:4] == found[4]  # resumed, the seed is known
    with pytest.raises(ValueError, match="drawn with --seed 1, given 2"):
        draws(path, tmp_path / "e", seed=2)
    assert sorted(draws(path, tmp_path / "killed", lose=1)) == sorted(first)  # it draws what it would have drawn
    if method == "bayes":  # beyond the ten trials that TPE draws at random
        assert draws(path, tmp_path / "lost late", lose=12, budget=15) == draws(path, tmp_path / "whole", budget=15)


def test_a_trial_that_ends_with_nan_has_failed_and_the_best_is_another(tmp_path: Path):
    path, out = write(tmp_path, GRID | {"parameters": {"x": {"values": [8, "nan", "inf", 3]}}}), tmp_path / "out"
    stand_in = (tmp_path / "stand_in.py").read_text()
    stand_in = stand_in.replace("(float(given['x']) - 3)", "((float(given['x']) if step == 3 else 4) - 3)")
    (tmp_path / "stand_in.py").write_text(stand_in)
    assert main([str(path), "--out", str(out)]) == 0
    with (out / "trials.csv").open() as file:
        rows = {row["x"]: (row["state"], row["val/loss"], row["reason"]) for row in csv.DictReader(file)}
    assert rows["8"] == ("complete", "25.0", "") and rows["3"] == ("complete", "0.0", "")
    assert rows["nan"] == ("fail", "", "the last val/loss that it logged is nan")
    assert rows["inf"] == ("fail", "", "the last val/loss that it logged is inf")
    best = ledger_of(path, out).best()
    assert best is not None and best.user_attrs["drawn"]["x"] == 3


@pytest.mark.parametrize(
    ("spec", "raw", "value"),
    [  # by the definitions of W&B's documentation; raw is what Optuna draws
        ({"min": 1, "max": 9}, 4, 4),
        ({"min": 1.0, "max": 9}, 4.5, 4.5),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, 0.4, 0.5),
        ({"distribution": "log_uniform", "min": -2, "max": 3}, math.exp(2.5), math.exp(2.5)),
        ({"distribution": "inv_log_uniform", "min": 2, "max": 3}, math.exp(-2.5), math.exp(-2.5)),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-2}, 1e-3, 1e-3),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 100, "q": 10}, 37.0, 40),
        ({"distribution": "normal", "mu": 5, "sigma": 2}, 0.5, 5.0),
        ({"distribution": "normal", "mu": 5, "sigma": 2}, 0.8413447460685429, 7.0),  # one sigma above
        ({"distribution": "q_normal", "mu": 5, "sigma": 2, "q": 4}, 0.5, 4.0),
        ({"distribution": "log_normal", "mu": 1, "sigma": 2}, 0.5, math.e),
        ({"distribution": "beta", "a": 1, "b": 2}, 0.75, 0.5),  # of 1 - (1 - x)^2
        ({"values": ["a", "b", "c"], "probabilities": [1, 2, 1]}, 0.7, "b"),
        ({"values": [None, {"class_path": "Half"}]}, '{"class_path": "Half"}', {"class_path": "Half"}),
    ],
)
def test_every_law_of_wandb_has_its_meaning(tmp_path: Path, spec: dict[str, Any], raw: Any, value: Any):
    sweep = read_sweep(write(tmp_path, GRID | {"method": "random", "parameters": {"x": spec}}))
    drawn = draw(FixedTrial({"x": raw}), sweep.parameters)["x"]
    assert drawn == (pytest.approx(value) if isinstance(value, float) else value)


def agent_runs(folder: Path, content: dict[str, Any], point: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B's own agent, given what its server would send, starts one run in ``folder`` and waits for it."""
    agent_module = pytest.importorskip("wandb.wandb_agent")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in (
        ("WANDB_DIR", str(folder)),
        ("WANDB_SWEEP_ID", "s0"),
        ("WANDB_RUN_ID", ""),
        ("WANDB_SWEEP_PARAM_PATH", ""),
    ):
        monkeypatch.setenv(name, value)
    (folder / "wandb" / "sweep-s0").mkdir(parents=True)
    agent = agent_module.Agent(None, None)
    agent._sweep_command = list(content.get("command") or [])
    values = {name: {"value": value} for name, value in point.items()}
    agent._command_run({"args": values, "program": content.get("program"), "run_id": "r0"})
    assert agent._run_processes["r0"].wait(60) == 0


SAY = "import json, os, sys\njson.dump([sys.argv, os.environ.get('SAID')], open(os.environ['TO'], 'w'))\n"
POINT = {"a": None, "b": True, "c": False, "d": 1e-4, "e": "x y", "f": {"class_path": "Half", "init_args": {"g": None}}}


@pytest.mark.parametrize(
    "command",
    [
        None,  # W&B's own: env, interpreter, program, args
        ["${env}", "SAID=yes", "${interpreter}", "${program}", "first", "${args}", "last"],
        *(["${interpreter}", "${program}", f"${{{name}}}"] for name in sorted(ARGUMENTS - {"args"})),
    ],
    ids=lambda command: command[-1].strip("${}") if command else "default",
)
def test_a_trial_gets_the_words_that_an_agent_of_wandb_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str] | None
):
    (tmp_path / "say.py").write_text(SAY)
    content = GRID | {"program": "say.py", "parameters": {name: {"value": value} for name, value in POINT.items()}}
    content |= {"command": command} if command else {}
    monkeypatch.setenv("TO", str(tmp_path / "agent.json"))
    agent_runs(tmp_path, content, POINT, monkeypatch)
    theirs, said = json.loads((tmp_path / "agent.json").read_text())

    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    sweep = read_sweep(tmp_path / "sweep.yaml")
    monkeypatch.setenv("TO", str(tmp_path / "ours.json"))
    subprocess.run(sweep.arguments(next(sweep.grid()), tmp_path), check=True, timeout=60)
    ours, said_too = json.loads((tmp_path / "ours.json").read_text())
    assert said == said_too == ("yes" if command and "SAID=yes" in command else None)
    if "json" in (command or ["args"])[-1]:
        read = lambda word: json.loads(Path(word).read_text() if word.endswith(".json") else word)  # noqa: E731
        assert read(ours[1]) == read(theirs[1]) | {"trainer.default_root_dir": str(tmp_path)}
    else:  # the trial's folder comes after all arguments of the file
        assert ours[: len(theirs)] == theirs
        assert "".join(ours[len(theirs) :]).lstrip("-+").replace("dir/", "dir=/") == f"{FOLDER}={tmp_path}"


def test_nested_parameters_are_passed_as_the_mapping_that_wandb_makes_of_them(tmp_path: Path):
    inner = {"clip_norm": {"values": [None, 1.0]}, "width": {"value": 8}}
    nested = {"model": {"parameters": {"init_args": {"parameters": inner}}}, "x": {"value": 1}}
    sweep = read_sweep(write(tmp_path, GRID | {"parameters": nested}))
    points = list(sweep.grid())
    assert points[1] == {"model.init_args.clip_norm": 1.0, "model.init_args.width": 8, "x": 1}
    words = [sweep.arguments(point, tmp_path)[3:5] for point in points]
    assert words == [[f"--model={{'init_args': {{'clip_norm': {clip}, 'width': 8}}}}", "--x=1"] for clip in (None, 1.0)]
    with pytest.raises(ValueError, match="given twice, nested and dotted"):
        read_sweep(write(tmp_path, GRID | {"parameters": nested | {"model.init_args.width": {"value": 4}}}))


def test_this_installation_is_run_and_a_variable_of_the_environment_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PLACE", "/data")
    command = ["${env}", "A=1", "lit-inpaint", "fit", "--data.init_args.root=${envvar:PLACE}/faces", "${args}"]
    sweep = read_sweep(write(tmp_path, GRID | {"command": command}))
    assert sweep.arguments({"model": "DeepFillV2"}, Path("out/0003")) == [
        "/usr/bin/env", "A=1", sys.executable, "-P", "-m", "experiments", "fit", "--data.init_args.root=/data/faces",
        "--model=DeepFillV2", "--trainer.default_root_dir=out/0003",
    ]  # fmt: skip
    monkeypatch.delenv("PLACE")
    with pytest.raises(ValueError, match="variable PLACE, which is not set"):
        sweep.arguments({}, Path("out"))


@pytest.mark.parametrize("nested", [False, True])
def test_fit_reads_what_an_agent_of_wandb_passes(nested: bool, capsys: pytest.CaptureFixture[str]):
    """``None`` where YAML says null, mappings as Python writes them; equal signs or none."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    from experiments.train.cli import main as fit

    mask = {"class_path": "Mixture", "init_args": {"generators": [{"class_path": "LaMaThin"}], "weights": None}}
    drawn: dict[str, Any] = {"model.init_args.clip_norm": None, "data.init_args.flip": False}
    if nested:
        drawn = {"model": {"init_args": {"clip_norm": None}}, "data": {"init_args": {"flip": False}}}
    drawn |= {"data.init_args.mask": mask}
    passed = create_sweep_command_args({"args": {name: {"value": value} for name, value in drawn.items()}})
    given = ["--model=DeepFillV2", "--model.init_args.clip_norm=3", "--model.init_args.width=4", "--data=SamplePhotos"]
    for words in (passed["args"], passed["args_no_equals"]):
        with pytest.raises(SystemExit) as end:
            fit(["fit", *given, *words, "--print_config"])
        assert end.value.code == 0
        printed = yaml.safe_load(capsys.readouterr().out)
        model, data = printed["model"]["init_args"], printed["data"]["init_args"]
        assert (model["clip_norm"], model["width"], data["flip"]) == (None, 4, False)
        (inner,) = data["mask"]["init_args"]["generators"]
        assert inner["class_path"].endswith("LaMaThin") and data["mask"]["init_args"]["weights"] is None


# ---- the budget ----------------------------------------------------------------------------------------------------


def test_a_grid_is_run_once_each_through_a_killed_worker_and_a_killed_sweep(tmp_path: Path):
    path, out, log = (
        write(tmp_path, GRID | {"parameters": GRID["parameters"] | {"seconds": {"value": 2}}}),
        tmp_path / "out",
        tmp_path / "log",
    )
    first = start(str(path), "--out", str(out), "--workers", "2", cwd=tmp_path, log=log)
    wait_for(lambda: len(list(out.glob("trials/*/metrics.csv"))) >= 2)
    os.kill(children(first.pid)[0], signal.SIGKILL)
    wait_for(lambda: len(list(out.glob("trials/*/metrics.csv"))) >= 4)
    first.kill()
    first.wait()
    second = start(str(path), "--out", str(out), "--workers", "2", cwd=tmp_path, log=log)
    assert second.wait(250) == 0, log.read_text()

    ledger = ledger_of(path, out)
    trials, held = ledger.trials(), ledger.held()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert len(trials) > len(held) == 8  # some places were given back
    assert sorted(trial.user_attrs["drawn"]["x"] for trial in held) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert Counter(trial.state for trial in held) == {TrialState.COMPLETE: 6, TrialState.FAIL: 2}
    for trial in held:
        if trial.state == TrialState.FAIL:
            assert "made to crash" in trial.user_attrs["reason"]
            assert "RuntimeError" in (out / "trials" / f"{trial.number:04}" / "log.txt").read_text()
    best = ledger.best()
    assert best and best.value == pytest.approx(0) and best.user_attrs["drawn"]["x"] == 3
    assert yaml.safe_load((out / "best.yaml").read_text()) == {"x": 3, "folder": str(out / "best")}
    page = (out / "sweep.html").read_text()
    assert "8 of 8" in page and f"trial {best.number}" in page
    with (out / "trials.csv").open() as file:
        assert Counter(row["state"] for row in csv.DictReader(file))["lost"] == len(trials) - 8


def test_of_two_workers_that_saw_the_last_place_one_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path, GRID | {"method": "random", "run_cap": 1})
    (tmp_path / "out").mkdir()
    one, other = ledger_of(path, tmp_path / "out"), ledger_of(path, tmp_path / "out")
    claimed = other.claim()
    assert claimed
    seen = iter([False])  # what it saw before the other one signed
    enough = one._enough
    monkeypatch.setattr(one, "_enough", lambda held: next(seen, enough(held)))
    other.finish(claimed[0].number, TrialState.COMPLETE, 1.0)
    assert one.claim() is None
    assert [lost(trial) for trial in one.trials()] == [False, True]


def test_a_worker_of_another_machine_is_dead_when_it_is_silent(tmp_path: Path):
    path, out = write(tmp_path, GRID), tmp_path / "out"
    out.mkdir()
    ledger = ledger_of(path, out)
    trials = [ledger._sign(), ledger._sign()]
    for trial, beat in zip(trials, (time.time() - 30, time.time() - 3000), strict=True):
        trial.set_user_attr("machine", "elsewhere")
        trial.set_user_attr("beat", beat)
    ledger.reclaim_from_dead_workers()
    assert [lost(trial) for trial in ledger.trials()] == [False, True]
    assert not ledger.finish(1, TrialState.COMPLETE, 1.0)  # too late: its place is taken
    with pytest.raises(ValueError, match="another search space"):
        ledger_of(write(tmp_path, GRID | {"method": "random", "run_cap": 3}), out)


def test_the_worse_half_is_stopped_at_its_first_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    values = {"x": {"values": [3, 8, 7]}, "seconds": {"value": 4}}
    halving = {"type": "hyperband", "min_iter": 1, "eta": 2}
    path, out = write(tmp_path, GRID | {"parameters": values, "early_terminate": halving}), tmp_path / "out"
    database = f"sqlite:///{tmp_path}/trials.db"
    assert main([str(path), "--out", str(out), "--storage", database]) == 0
    held = Ledger(read_sweep(path), database, 3).held()
    states = {t.user_attrs["drawn"]["x"]: (t.state, list(t.intermediate_values)) for t in held}
    assert not (out / "journal.log").exists()
    assert states[3] == (TrialState.COMPLETE, [1, 2, 3])
    assert states[8] == states[7] == (TrialState.PRUNED, [1])
    assert "1 complete, 2 pruned" in capsys.readouterr().out


def pruned(path: Path, out: Path) -> dict[int, tuple[str, list[int], float | None, Any]]:
    """By x: state, validations, value and images seen of each trial that counts."""
    held = ledger_of(path, out).held()
    found = {
        t.user_attrs["drawn"]["x"]: (t.state.name, list(t.intermediate_values), t.value, t.user_attrs["images_seen"])
        for t in held
    }
    assert len(found) == len(held)
    return found


def test_a_sweep_whose_worker_was_killed_prunes_as_one_that_was_not(tmp_path: Path):
    """optuna#485 and #6283: the trial of a dead worker. Its values must not count beside its successor's."""
    values = {"x": {"values": [3, 6, 8, 4, 2]}, "seconds": {"value": 1.5}}
    halving = {"type": "hyperband", "min_iter": 1, "eta": 2}
    path, log = write(tmp_path, GRID | {"parameters": values, "early_terminate": halving}), tmp_path / "log"
    assert start(str(path), "--out", str(tmp_path / "whole"), cwd=tmp_path, log=log).wait(250) == 0, log.read_text()
    whole = pruned(path, tmp_path / "whole")
    # 4 and 2 are among the best half of the trials so far at their first validation; 6 and 8 are not.
    assert {x: (state, validations) for x, (state, validations, *_) in whole.items()} == {
        3: ("COMPLETE", [1, 2, 3]), 6: ("PRUNED", [1]), 8: ("PRUNED", [1]), 4: ("PRUNED", [1, 2]),
        2: ("PRUNED", [1, 2]),
    }  # fmt: skip

    out = tmp_path / "killed"
    first = start(str(path), "--out", str(out), cwd=tmp_path, log=log)
    wait_for(lambda: out.is_dir() and any(t.intermediate_values for t in ledger_of(path, out).trials()))
    os.kill(children(first.pid)[0], signal.SIGKILL)  # trial 0 has passed its first validation
    first.kill()
    first.wait()
    assert start(str(path), "--out", str(out), cwd=tmp_path, log=log).wait(250) == 0, log.read_text()
    lost_ones = [trial for trial in ledger_of(path, out).trials() if lost(trial)]
    assert [list(trial.intermediate_values)[:1] for trial in lost_ones] == [[1]]
    assert pruned(path, out) == whole


def test_a_trial_that_ends_before_it_is_looked_at_is_pruned_all_the_same(tmp_path: Path):
    """0.5 s pass between two looks at a trial: whether it is pruned must not depend on the machine."""
    values, halving = {"x": {"values": [3, 8]}}, {"type": "hyperband", "min_iter": 1, "eta": 2}
    path, out = write(tmp_path, GRID | {"parameters": values, "early_terminate": halving}), tmp_path / "out"
    assert main([str(path), "--out", str(out)]) == 0
    assert pruned(path, out) == {3: ("COMPLETE", [1, 2, 3], 0.0, 24), 8: ("PRUNED", [1], 25 + 2 / 3, 8)}


def test_a_folder_with_another_sweeps_trials_is_refused_and_stays_as_it_is(tmp_path: Path):
    space = GRID | {"parameters": {"x": {"values": [1]}}}
    path, out, database = write(tmp_path, space), tmp_path / "out", f"sqlite:///{tmp_path}/trials.db"
    other = write(tmp_path, space | {"parameters": {"x": {"values": [3]}}}, "other")
    assert main([str(path), "--out", str(out)]) == 0
    files = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    for words in ([other], [other, "--workers", "0"], [path, "--storage", database], [other, "--storage", database]):
        with pytest.raises(ValueError, match=f"{out}/trials holds trials that are not of .*another --out"):
            main([*map(str, words), "--out", str(out)])
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == files
    assert main([str(path), "--out", str(out)]) == 0  # its own sweep resumes
    out.rename(tmp_path / "moved")
    assert main([str(path), "--out", str(tmp_path / "moved")]) == 0
    (tmp_path / "moved" / "journal.log").unlink()
    with pytest.raises(ValueError, match="holds trials that are not of small"):
        main([str(path), "--out", str(tmp_path / "moved")])


def test_a_trial_whose_number_was_given_before_reads_its_own_values(tmp_path: Path):
    """The journal has lost its end: the number is given again, and ``fit`` leaves the run's folder as it is."""
    path, out = write(tmp_path, GRID | {"parameters": {"x": {"values": [1, 3]}}}), tmp_path / "out"
    assert main([str(path), "--out", str(out), "--trials", "1"]) == 0
    earlier = out / "trials" / "0001"
    earlier.mkdir()
    (earlier / "metrics.csv").write_text("step,images_seen,val/loss\n1,8,-77\n")
    assert main([str(path), "--out", str(out)]) == 0
    trial = ledger_of(path, out).trials()[1]
    assert (trial.value, trial.user_attrs["folder"]) == (0.0, str(out / "trials" / "0001-1"))
    assert (earlier / "metrics.csv").read_text().endswith("-77\n") and not (earlier / "log.txt").exists()


def test_a_program_that_logs_steps_alone_is_pruned_as_well(tmp_path: Path):
    values, halving = {"x": {"values": [3, 8]}}, {"type": "hyperband", "min_iter": 1, "eta": 2}
    path, out = write(tmp_path, GRID | {"parameters": values, "early_terminate": halving}), tmp_path / "out"
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(
        stand_in.read_text().replace("step,images_seen,", "epoch,step,").replace("{step},{8 * step}", "0,{step}")
    )
    assert main([str(path), "--out", str(out)]) == 0
    held = {trial.user_attrs["drawn"]["x"]: trial for trial in ledger_of(path, out).held()}
    found = {x: (trial.state.name, list(trial.intermediate_values), trial.value) for x, trial in held.items()}
    assert found == {3: ("COMPLETE", [1, 2, 3], 0.0), 8: ("PRUNED", [1], 25 + 2 / 3)}
    assert not any("images_seen" in trial.user_attrs for trial in held.values())


@pytest.mark.parametrize("program", ["fit", "own"])
def test_a_file_of_arguments_is_written_in_the_trials_folder_alone(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    users = tmp_path / "trial" / "arguments.json"
    users.parent.mkdir()
    users.write_text("mine")
    command = [*TRIAL, "--data.init_args.mask=CenterRectangle", "--config", "${args_json_file}"]
    parameters: dict[str, Any] = {"model.init_args.learning_rate": {"values": [1e-4, 1e-3]}}
    if program == "own":
        (tmp_path / "own.py").touch()
        command = ["${interpreter}", "own.py", "${args_json_file}"]
    metric = {"name": "val/psnr_hole", "goal": "maximize"}
    path = write(tmp_path, {"method": "grid", "metric": metric, "parameters": parameters, "command": command})
    before = sorted(tmp_path.rglob("*"))
    check_trials(read_sweep(path))
    assert users.read_text() == "mine" and sorted(tmp_path.rglob("*")) == before
    if program == "fit":
        parameters["model.init_args.learning_rate"]["values"].append("high")
        path = write(tmp_path, {"method": "grid", "metric": metric, "parameters": parameters, "command": command})
        with pytest.raises(ValueError, match=r"learning_rate=high: .*learning_rate"):
            check_trials(read_sweep(path))


def test_submitit_runs_the_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path, out = write(tmp_path, GRID | {"parameters": {"x": {"values": [1, 3]}}}), tmp_path / "out"
    assert main([str(path), "--out", str(out), "--submitit", "cluster=local", "timeout_min=2"]) == 0
    said = capsys.readouterr().out
    assert "1 workers submitted" in said and f"--out {out} --trials 2 --workers 0" in said
    wait_for(lambda: ledger_of(path, out).spent())
    assert main([str(path), "--out", str(out), "--workers", "0"]) == 0
    assert "2 of 2 trials: 2 complete" in capsys.readouterr().out


# ---- real training, and W&B --------------------------------------------------------------------------------------

TRAINING: dict[str, Any] = {
    "method": "random",
    "metric": {"name": "val/psnr_hole", "goal": "maximize"},
    "run_cap": 24,
    "parameters": {
        "model.init_args.learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "data.init_args.mask": {"values": ["CenterRectangle", "masks/lama_thick_256.yaml", {"class_path": "LaMaThin"}]},
        "data.init_args.batch_size": {"values": [2, 3, 1000000]},  # the last fills no batch: it crashes
        "seed_everything": {"min": 0, "max": 9},
    },
    "command": [*TRIAL, "${args}"],
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_24_trainings_survive_crashes_two_killed_workers_and_a_killed_sweep(tmp_path: Path):
    path, out, log = write(tmp_path, TRAINING, "training"), tmp_path / "out", tmp_path / "log"
    first = start(str(path), "--out", str(out), "--workers", "4", cwd=tmp_path, log=log)
    finished = lambda: list(out.glob("trials/*/metrics.csv"))  # noqa: E731
    wait_for(lambda: len(finished()) >= 2, 300)
    for worker in children(first.pid)[:2]:
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: len(finished()) >= 3, 300)
    first.kill()
    first.wait()
    second = start(str(path), "--out", str(out), "--workers", "4", cwd=tmp_path, log=log)
    assert second.wait(1200) == 0, log.read_text()

    ledger = ledger_of(path, out)
    trials, held = ledger.trials(), ledger.held()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert len(held) == 24 and all(trial.state.is_finished() for trial in trials)
    values = {}
    for trial in held:
        folder = out / "trials" / f"{trial.number:04}"
        if trial.user_attrs["drawn"]["data.init_args.batch_size"] == 1000000:
            assert trial.state == TrialState.FAIL and "do not fill a batch of 1000000" in trial.user_attrs["reason"]
            assert "do not fill a batch" in (folder / "log.txt").read_text()
        else:
            assert trial.state == TrialState.COMPLETE
            with (folder / "metrics.csv").open() as file:
                rows = [row["val/psnr_hole"] for row in csv.DictReader(file) if row["val/psnr_hole"]]
            values[trial.number] = float(rows[-1])
    assert 0 < len(values) < 24
    best = ledger.best()
    assert best and (best.number, best.value) == max(values.items(), key=lambda item: item[1])
    config = yaml.safe_load((out / "best.yaml").read_text())
    drawn = best.user_attrs["drawn"]
    assert config["model"]["init_args"]["learning_rate"] == drawn["model.init_args.learning_rate"]
    assert config["trainer"]["default_root_dir"] == str(out / "best")
    assert not processes_below(out)


def test_the_best_configuration_trains_into_a_folder_of_its_own(tmp_path: Path):
    trial = tmp_path / "trials" / "0003"
    trial.mkdir(parents=True)
    (trial / "config.yaml").write_text(to_save({"trainer": {"default_root_dir": str(trial), "max_steps": 2}}, None))
    config = yaml.safe_load(best_config(SimpleNamespace(user_attrs={"folder": str(trial)}), tmp_path) or "")
    assert config["trainer"] == {"max_steps": 2, "default_root_dir": str(tmp_path / "best")}


def processes_below(out: Path) -> list[str]:
    """Command lines that name the sweep's folder: nothing is left running."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [words] if str(out) in words else []
    return found


@pytest.mark.slow
def test_the_page_opens_without_a_word_on_the_console(tmp_path: Path, browser: Any):
    path, out = (
        write(tmp_path, GRID | {"parameters": GRID["parameters"] | {"seconds": {"values": [0, 0.1]}}}),
        tmp_path / "out",
    )
    assert main([str(path), "--out", str(out), "--workers", "2"]) == 0
    for width, scheme in ((1366, "light"), (390, "dark")):
        page = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
        ).new_page()
        problems = watch(page)
        page.goto((out / "sweep.html").as_uri())
        page.wait_for_selector("#history .point")
        assert page.locator("#history .point").count() == 12  # one a complete trial
        assert page.locator("#parallel .js-line").count() == 12
        assert page.locator("#parallel .xtick").all_text_contents() == ["x", "seconds", "val/loss"]
        assert "x" in (page.text_content("#importance .yaxislayer-above") or "")
        assert page.inner_text("#best").startswith("0, trial")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not problems, problems


@pytest.mark.slow
def test_an_agent_of_wandb_runs_two_trials_of_the_same_file(tmp_path: Path):
    """Stands for ``wandb agent``: W&B's own expansion of the command, a run id, and no server."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    content = yaml.safe_load(write(tmp_path, TRAINING, "training").read_text())
    points = [
        {"data.init_args.batch_size": 2, "data.init_args.mask": {"class_path": "LaMaThin"}, "seed_everything": 1},
        {"data.init_args.batch_size": 3, "data.init_args.mask": "masks/lama_thick_256.yaml", "seed_everything": 2},
    ]
    for run, point in zip(("aaaa1111", "bbbb2222"), points, strict=True):
        variables = create_sweep_command_args({"args": {name: {"value": value} for name, value in point.items()}})
        words = []
        for word in create_sweep_command(list(content["command"])):
            words += variables[word[2:-1]] if word == "${args}" else [word]
        agent = {"WANDB_SWEEP_ID": "s0", "WANDB_RUN_ID": run, "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "experiments", *words[1:]]  # lit-inpaint of this checkout
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **agent}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        folder = tmp_path / "runs/sweeps/s0" / run
        facts = yaml.safe_load((folder / "run.json").read_text())
        assert (facts["seed"], facts["global_batch"]) == (point["seed_everything"], point["data.init_args.batch_size"])
        assert list(folder.glob(f"wandb/offline-run-*-{run}"))


SWEEPS = sorted((INSTALLED / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_an_installed_sweep_trains_what_it_says(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    """Each point of the file's parameters is taken by the command line as it stands."""
    from experiments.train.cli import main as fit

    monkeypatch.setenv("LIT_INPAINT_DATA", "/data")
    sweep = read_sweep(path)
    points = list(sweep.grid() if sweep.method == "grid" else examples(sweep))
    for point in (points[0], points[-1]):
        words = sweep.arguments(point, Path("runs/trial"))
        with pytest.raises(SystemExit) as end:
            fit([*words[words.index("fit") :], "--print_config"])
        assert end.value.code == 0
        printed = yaml.safe_load(capsys.readouterr().out)
        assert printed["trainer"]["default_root_dir"] == "runs/trial"
        assert printed["seed_everything"] == point.get("seed_everything", 0)


@pytest.mark.slow
def test_the_files_are_valid_by_the_schema_that_wandb_publishes(tmp_path: Path):
    """The schema inside W&B's package ``sweeps``, which wants an old numpy: fetched, not installed."""
    import zipfile

    jsonschema = pytest.importorskip("jsonschema")
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), "sweeps==0.3.0"]
    if subprocess.run(fetch, capture_output=True, timeout=120).returncode:
        pytest.skip("the package sweeps cannot be fetched from here")
    (wheel,) = tmp_path.glob("*.whl")
    validator = jsonschema.Draft7Validator(json.loads(zipfile.ZipFile(wheel).read("sweeps/config/schema.json")))
    for path in (*SWEEPS, write(tmp_path, TRAINING, "training"), write(tmp_path, GRID)):
        validator.validate(yaml.safe_load(path.read_text()))
    assert list(validator.iter_errors(GRID | {"method": "gird"}))
    laws = {  # a parameter of each law that ours knows
        law: {"distribution": law, **{key: PLAIN[key] for key in must | may}} for law, (must, may) in LAWS.items()
    }
    validator.validate(GRID | {"parameters": laws})


PLAIN = {
    "value": 1, "values": [1, 2], "probabilities": [0.5, 0.5], "min": 1, "max": 2, "q": 0.5, "mu": 0, "sigma": 1,
    "a": 1, "b": 1,
}  # fmt: skip
