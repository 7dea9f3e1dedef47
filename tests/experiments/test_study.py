"""Studies: what a file may say, the graph that it becomes, and a workflow that is killed, resumed and partly fails."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.files.find import INSTALLED
from experiments.records.files import read_record, write_record
from experiments.records.record import MethodFacts, MetricResult, ProtocolFacts, Record, hash_of
from experiments.study import cost, first_steps, page, report, snakefile, step, trainings
from experiments.study.command import main
from experiments.study.plan import read_study
from experiments.study.units import forget_changed
from lit_inpaint import methods, zoo
from tests.support import contract, studies

CELLS = 14  # four methods, one of them with one seed, under two masks


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = studies.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return read_study(path, tmp_path / "out")


def test_a_study_is_a_graph_of_our_commands(small: Any):
    steps = small.steps
    assert [name for name in steps if "DSI-seed1" in name] == [
        "fit-DSI-seed1-vqvae", "fit-DSI-seed1-structure", "fit-DSI-seed1-texture", "assemble-DSI-seed1",
        "benchmark-DSI-seed1-center", "benchmark-DSI-seed1-small",
    ]  # fmt: skip
    assert sum(step.cell is not None for step in steps.values()) == CELLS
    runs = small.out / "runs/DSI-seed1"
    assert steps["fit-DSI-seed1-texture"].needs == ("fit-DSI-seed1-vqvae",)  # not the structure, which it does not name
    command = steps["fit-DSI-seed1-texture"].command
    assert f"--model.init_args.vqvae={runs}/vqvae/checkpoints/last.ckpt" in command
    assert {"--seed_everything=1", f"--trainer.default_root_dir={runs}/texture", "--ckpt_path=auto"} <= {*command}
    assert steps["assemble-DSI-seed1"].needs == tuple(f"fit-DSI-seed1-{s}" for s in ("vqvae", "structure", "texture"))
    assert steps["benchmark-DSI-seed1-small"].command[-2:] == ["--methods", f"DSI-seed1={runs}/assembled.ckpt"]
    assert all([*steps].index(need) < [*steps].index(name) for name, step in steps.items() for need in step.needs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sed": 1}, "no key 'sed'. Did you mean 'seeds'"),
        ({"methods": {"A": {"fitt": "x"}}}, "no key 'fitt' in methods.A. Did you mean 'fit'"),
        ({"methods": {"A": {"stages": {"a": {"fit": "x", "argument": []}}, "assemble": "B"}}}, "mean 'arguments'"),
        ({"methods": {"A": {"fit": "x", "method": "Telea"}}}, "A needs one of method .* fit .* stages .* and of"),
        ({"methods": {"A": {"stages": {"a": {"fit": "x"}}}}}, "A stages need `assemble: CLASS`"),
        ({"methods": {"A": {"fit": "x"}, "B": {"of": "C"}}}, "B: of: C is no method of its own"),
        ({"methods": {"A": {"fit": "x"}, "B": {"of": "A", "seeds": [1]}}}, "B is not trained here"),
        ({"methods": {"Telea": {"method": "Telea", "seeds": [1]}}}, "Telea is not trained here and has no seeds"),
        ({"methods": {"A": {"fit": "x", "seeds": [-1]}}}, "methods.A.seeds.0: .* greater than or equal to 0"),
        ({"methods": {"Telea": {"method": "Telea", "resources": {"gpu": 1}}}}, "Telea has resources, which only a fit"),
        (
            {"methods": {"A": {"stages": {"a": {"fit": "x"}}, "assemble": "B", "resources": {"gpu": 1}}}},
            "A has resources, which only a fit takes; those of stages stand in each",
        ),
        ({"methods": {}}, "methods needs names"),
        ({"methods": {"../A": {"fit": "x"}}}, "methods needs names"),
        ({"masks": ["centre"]}, "no mask 'centre'. Did you mean 'center'"),
        ({"protocol": "nowhere"}, "no configuration 'nowhere'"),
        ({"methods": {"A.b": {"fit": "x"}, "A-b": {"fit": "x"}}}, "two jobs are called fit_A_b_seed0"),
        (
            {"methods": {"A": {"stages": {"a": {"fit": "x", "arguments": ["--p=${b}"]}}, "assemble": "B"}}},
            r"\$\{b\} is no stage before it",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_study_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
):
    path = studies.write(tmp_path, studies.STUDY | change)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        read_study(path)


def test_masks_of_a_protocol_that_names_a_set_and_of_one_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for protocol, masks in (("nvidia_buckets_256", 12), ("center_hole", 1)):
        study = read_study(studies.write(tmp_path, studies.STUDY | {"protocol": protocol}))
        assert len(study.masks) == masks
        named = [word for one in study.steps.values() for word in one.command if word.startswith("--masks=")]
        assert bool(named) == (masks > 1)


def test_the_snakefile_has_a_rule_per_job_and_survives_braces(small: Any, tmp_path: Path):
    odd = {
        "Odd": {
            "fit": "context.yaml",
            "arguments": ["--data.init_args.mask={class_path: Half}"],
            "resources": {"gpu": 1},
        }
    }
    path = studies.write(tmp_path, studies.STUDY | {"methods": odd, "resources": {"fit": {"gpu": 0, "mem_mb": 900}}})
    study = read_study(path, tmp_path / "a {b}")
    text = snakefile.text(study)
    assert text.count("\nrule ") == len(study.steps) + 1
    assert "    resources: gpu=1, mem_mb=900\n" in text and "a {{b}}" in text
    assert "input: 'steps/fit-Odd-seed0.json'" in text and "onerror:" in text


@pytest.mark.parametrize(("more", "ends"), [([], ["--cores", "1"]), (["-j4"], ["-j4"]), (["--jobs=9"], ["--jobs=9"])])
def test_what_follows_two_dashes_goes_to_snakemake(more: list[str], ends: list[str]):
    words = snakefile.command("snakemake", Path("out"), more)
    assert words[-len(ends) :] == ends and words.count("--cores") == (not more)
    assert {"--keep-going", "--rerun-incomplete"} <= {*words}
    begin = words.index("--rerun-triggers") + 1
    assert words[begin : begin + 3] == ["mtime", "input", "--nolock"], "not the code, which names a folder"


def test_without_snakemake_the_message_says_how_to_get_it(small: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(snakefile.PROGRAM, "no-such-program")
    with pytest.raises(ValueError, match=r"no program no-such-program.*environment of its own"):
        main(["small.yaml", "--out", "out"])
    assert not small.out.exists()


# ---- one job -------------------------------------------------------------------------------------------------------


def stand_in(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Every command becomes this program."""
    monkeypatch.setattr(step, "argv", lambda command: [sys.executable, "-c", program, *command])


def read(small: Any, name: str) -> dict[str, Any]:
    return json.loads((small.out / "steps" / name).read_text())


def test_a_job_leaves_its_end_or_its_reason_and_a_success_takes_the_reason_away(
    small: Any, monkeypatch: pytest.MonkeyPatch
):
    fit = small.steps["fit-Partial-seed0"]
    stand_in(monkeypatch, "import sys; print('a line'); sys.exit('lit-inpaint: no memory left\\nand more')")
    assert step.run_step(small, fit) == 1
    assert read(small, "fit-Partial-seed0.failed.json")["reason"] == "no memory left"
    for name in ("benchmark-Partial-seed0-center", "benchmark-Partial-seed0-small"):
        assert page.reason_of(small, small.steps[name]) == "fit-Partial-seed0 failed: no memory left"
    assert page.reason_of(small, small.steps["benchmark-Partial-seed1-small"]) is None
    stand_in(monkeypatch, "")
    assert step.run_step(small, fit) == 0
    assert read(small, "fit-Partial-seed0.json")["command"] == small.portable(fit.command)
    assert page.reason_of(small, fit) is None and not list(small.out.glob("steps/*.failed.json"))


@pytest.mark.parametrize(("signal", "reason"), [(9, "killed by SIGKILL"), (15, None), (2, None)])
def test_a_job_that_was_stopped_has_not_failed_and_one_that_was_killed_has(
    small: Any, monkeypatch: pytest.MonkeyPatch, signal: int, reason: str | None
):
    fit = small.steps["fit-Partial-seed0"]
    stand_in(monkeypatch, f"import os, signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), {signal})")
    assert step.run_step(small, fit) == 128 + signal
    failed = step.facts_of(small, fit, "failed.json")
    assert (failed and failed["reason"]) == reason and step.facts_of(small, fit, "json") is None


def test_what_benchmark_says_of_its_method_is_the_reason(small: Any, monkeypatch: pytest.MonkeyPatch):
    said = "DSI-seed0 under tiny-small: failed: RuntimeError: it is broken"
    stand_in(monkeypatch, f"print({said!r}); print('Page: x'); raise SystemExit(1)")
    cell = small.steps["benchmark-DSI-seed0-small"]
    assert step.run_step(small, cell) == 1
    assert read(small, "benchmark-DSI-seed0-small.failed.json")["reason"] == "RuntimeError: it is broken"


def test_why_a_method_cannot_be_made_is_the_reason_and_not_that_it_cannot(small: Any, monkeypatch: pytest.MonkeyPatch):
    said = [
        "Traceback (most recent call last):", "ValueError: Does not validate against any of the Union subtypes",
        "Errors:", "  - Expected a <class 'NoneType'>", "  - negative dimension -1", "Given value: x",
    ]  # fmt: skip
    stand_in(monkeypatch, f"raise SystemExit({chr(10).join(said)!r})")
    fit = small.steps["fit-Partial-seed0"]
    assert step.run_step(small, fit) == 1
    assert read(small, "fit-Partial-seed0.failed.json")["reason"] == "negative dimension -1"


def test_a_changed_command_is_not_done(small: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    stand_in(monkeypatch, "")
    step.run_step(small, small.steps["fit-Partial-seed0"])
    longer = studies.STUDY | {"fit": ["--trainer.max_steps=99"]}
    changed = read_study(studies.write(tmp_path, longer), small.out)
    assert step.facts_of(small, small.steps["fit-Partial-seed0"], "json")
    assert step.facts_of(changed, changed.steps["fit-Partial-seed0"], "json") is None
    forget_changed(small)
    assert (small.out / "steps/fit-Partial-seed0.json").is_file()
    forget_changed(changed)
    assert not (small.out / "steps/fit-Partial-seed0.json").exists(), "which Snakemake waits for"


def test_a_job_waits_for_the_command_that_outlived_its_workflow(small: Any, monkeypatch: pytest.MonkeyPatch):
    """The job was killed and its command was not: the lock is the command's as well."""
    fit = small.steps["fit-Partial-seed0"]
    waits = f"import time, pathlib\nwhile not pathlib.Path({str(small.out / 'go')!r}).exists(): time.sleep(0.01)"
    child = os.fork()
    if not child:
        stand_in(monkeypatch, waits)
        step.run_step(small, fit)
        os._exit(0)
    while not list(small.out.glob("steps/*.running.json")) or not step.is_running(small, fit):
        time.sleep(0.01)
    time.sleep(0.2)  # the command has started
    os.kill(child, 9), os.waitpid(child, 0)
    assert step.is_running(small, fit)
    stand_in(monkeypatch, f"import pathlib; assert pathlib.Path({str(small.out / 'go')!r}).exists(), 'too early'")
    opener = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep(0.5); open({str(small.out / 'go')!r}, 'w')"]
    )
    assert step.run_step(small, fit) == 0, read(small, "fit-Partial-seed0.failed.json")
    assert opener.wait() == 0 and not step.is_running(small, fit)


def test_a_study_is_run_once_at_a_time(small: Any):
    small.out.mkdir()
    step.hold(small)
    with pytest.raises(ValueError, match="already being run"):
        step.hold(small)


# ---- page, cost, status --------------------------------------------------------------------------------------------


def a_record(label: str, mask: str, value: float = 20.0) -> Record:
    definition = {"masks": {"a": mask}, "metrics": {"psnr_hole": "psnr_hole/1"}}
    facts = ProtocolFacts(f"tiny-{mask}", hash_of(definition), definition)
    metric = MetricResult("psnr_hole/1", {"0": value}, value, n=1)
    return Record(facts, MethodFacts(name="X", label=label, weights="none", parameters={}), {"psnr_hole": metric})


def keep(small: Any, record: Record) -> None:
    folder = f"{record.protocol.name}-{record.hash[:8]}"
    write_record(record, small.out / "benchmark/records" / folder / f"{record.label}.json")


def test_a_failed_method_has_a_cell_with_its_reason_until_it_succeeds(small: Any, monkeypatch: pytest.MonkeyPatch):
    compared: list[list[str]] = []
    monkeypatch.setattr(
        page.subprocess, "run", lambda words: compared.append(words) or subprocess.CompletedProcess(words, 0)
    )
    stand_in(monkeypatch, "raise SystemExit('no GPU')")
    step.run_step(small, small.steps["fit-DSI-seed1-vqvae"])
    keep(small, a_record("Context-seed0", "small"))
    assert page.write_page(small) == 0
    [failed] = small.out.glob("failed/records/*/*.json")  # there is no table of the other mask yet: a note says it
    record = read_record(failed)
    assert record.not_applicable == "fit-DSI-seed1-vqvae failed: no GPU"
    assert (record.label, record.method.name, record.method.seed) == ("DSI-seed1", "DSI", 1)
    assert record.hash == a_record("", "small").hash
    notes = [word for before, word in zip(compared[-1], compared[-1][1:], strict=False) if before == "--note"]
    assert f"0 of {CELLS} cells of the study 'small' are complete" in notes
    assert "DSI-seed1: fit-DSI-seed1-vqvae failed: no GPU" in notes
    keep(small, a_record("Context-seed0", "center"))
    page.write_page(small)
    assert len(list(small.out.glob("failed/records/*/*.json"))) == 2
    stand_in(monkeypatch, "")
    step.run_step(small, small.steps["fit-DSI-seed1-vqvae"])
    page.write_page(small)
    assert not (small.out / "failed").exists() and str(small.out / "failed") not in compared[-1]


def measured(small: Any) -> None:
    """As if they had been measured."""
    for one in small.steps.values():
        facts: dict[str, Any] = {"command": one.command, "wall": 36.0}
        if one.kind == "fit":
            facts |= {"images": 8, "most_seconds": None}
            facts["phases"] = [
                {"steps": 400, "flops": 5e9, "seconds": 3.6},
                {"steps": 600, "flops": 5e9, "seconds": 3.6},
            ]
        elif one.cell:
            facts |= {"seconds": 12.0, "clock": True}
        path = small.out / "first_steps" / f"{one.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts))
    free = {"of": {"metrics": studies.PROTOCOL["metrics"], "size": 64}, "seconds": 0.0}
    (small.out / "first_steps/metrics.json").write_text(json.dumps(free))


def test_the_dry_run_prints_graph_cost_and_what_is_done(
    small: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    measured(small)
    stand_in(monkeypatch, "")
    step.run_step(small, small.steps["fit-DSI-seed0-vqvae"])
    assert main(["small.yaml", "--out", "out", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [dsi] = [line.split("  ") for line in lines if line.startswith("DSI ")]
    dsi = [cell.strip() for cell in dsi if cell.strip()]
    assert dsi[1] == "fit vqvae > fit structure > fit texture > assemble > benchmark x 2" and dsi[2] == "0 1"
    assert dsi[3:5] == ["12", "1"]  # jobs, done
    # six fits of 1000 steps x 8 images, two assembled, four cells of 3 images; each process starts in 36 s
    hours = 6 * (36 + 3600) / 3600 + 2 * 36 / 3600 + 4 * (36 + 3 * 12) / 3600
    assert dsi[5:] == ["48,000", "3.00e+13", "12", f"{hours:.2f}", f"{hours - 3636 / 3600:.2f}"]
    assert not (small.out / "Snakefile").exists()


def test_units_that_are_not_there_are_told_before_everything_is_trained(small: Any, capsys: pytest.CaptureFixture[str]):
    measured(small)
    small.path.write_text(small.path.read_text() + "adopts: kept\n")
    for line in ("nothing (there is no such folder here)", "nothing"):
        assert main(["small.yaml", "--out", "out", "--dry-run"]) == 0
        assert capsys.readouterr().out.startswith(f"Taken from kept: {line}.\n")
        Path("kept").mkdir(exist_ok=True)


@pytest.mark.parametrize(
    ("name", "arguments", "phases"),
    [
        ("GLCIC", {"completion_steps": 100, "discriminator_steps": 4}, {1: 100, 2: 4, 3: 896}),
        ("DeepFillV1", {"discriminator_updates": 3}, {None: 1000}),  # of which a quarter trains the generator
    ],
)
def test_every_phase_of_a_training_is_measured_in_whole_turns(
    name: str, arguments: dict[str, int], phases: dict[int | None, int], tmp_path: Path
):
    seen: list[Any] = []

    class Phases(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
            seen.append((getattr(pl_module, "phase", None), trainer.global_step, pl_module.generator_updates))

    method = getattr(methods, name)(**dict(contract.ROWS)[name] | arguments)
    measuring = first_steps.FirstSteps(str(tmp_path / "facts.json"))
    contract.trainer(tmp_path, max_steps=1000, callbacks=[measuring, Phases()]).fit(method, contract.batches(4))
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert [part["steps"] for part in facts["phases"]] == [*phases.values()] and facts["images"] == 2
    assert facts["processor"] and "\n" not in facts["processor"]
    assert list(dict.fromkeys(phase for phase, *_ in seen)) == [*phases]
    whole = sum(part["steps"] * part["seconds"] for part in facts["phases"])
    assert trainings._seconds(facts, 1000) == pytest.approx(whole)  # what the core-hours of the page are made of
    flops = [part["flops"] for part in facts["phases"]]
    if name == "GLCIC":
        assert [step for _, step, _ in seen] == [*range(1, 7), *range(101, 105), *range(105, 111)]
        assert flops[2] > max(flops[:2]) > min(flops[:2]) > 0
    else:
        assert len(seen) == 8 and seen[-1][2] == 2  # two whole turns


def test_a_training_with_a_time_limit_costs_no_more(small: Any):
    measured(small)
    fit = small.steps["fit-Partial-seed0"]
    path = small.out / "first_steps" / f"{fit.name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"most_seconds": 360.0}))
    costs, missing = cost.measure(small)
    assert not missing and costs[fit.name] == cost.Cost(800, 5e11, 396.0) == costs["fit-Partial-seed1"]
    facts = json.loads(path.read_text()) | {"most_seconds": None}
    facts["phases"][1] |= {"seconds": 7.2, "flops": 1e10}
    path.write_text(json.dumps(facts))
    costs, _ = cost.measure(small)
    assert costs[fit.name] == cost.Cost(8000, 400 * 5e9 + 600 * 1e10, 36 + 400 * 3.6 + 600 * 7.2)


def test_an_image_costs_seconds_of_the_core_where_they_say_something_and_of_the_clock_elsewhere(small: Any):
    measured(small)
    seconds = {"Context": (36.0, 12.0, False), "Partial": (44.0, 12.0, False), "DSI": (44.0, 5.0, False)}
    for name, (wall, clock, gpu) in seconds.items():
        path = small.out / "first_steps" / f"benchmark-{name}-seed0-center.json"
        facts = json.loads(path.read_text()) | {"wall": wall, "seconds": clock, "clock": gpu}
        path.write_text(json.dumps(facts))
    costs, _ = cost.measure(small)
    cells = {name: costs[f"benchmark-{name}-seed1-small"].seconds for name in seconds}
    assert cells == {"Context": 36.0, "Partial": 44.0 + 3 * 8.0, "DSI": 44.0 + 3 * 5.0}


def test_what_cannot_be_measured_is_said_and_the_rest_counted(small: Any, monkeypatch: pytest.MonkeyPatch):
    measured(small)
    (small.out / "first_steps/fit-Broken-seed0.json").unlink()
    monkeypatch.setattr(cost, "argv", lambda command: [sys.executable, "-c", "raise SystemExit('width is -1')"])
    text = report.dry_run(small)
    assert "Not measured: fit-Broken-seed0: width is -1" in text
    [total] = [line for line in text.splitlines() if line.startswith("total")]
    assert total.split()[-1].endswith("+")


def test_status_says_what_runs_since_when_with_time_left_and_what_failed(small: Any, monkeypatch: pytest.MonkeyPatch):
    fit, cell = small.steps["fit-Context-seed0"], small.steps["benchmark-Partial-seed0-small"]
    stand_in(monkeypatch, "raise SystemExit('no GPU')")
    step.run_step(small, small.steps["fit-DSI-seed1-vqvae"])
    fit.makes.mkdir(parents=True)
    (fit.makes / "status.json").write_text(json.dumps({"step": 250, "max_steps": 9000, "last_step": 1000}))
    journal = small.out / "benchmark/journal/tiny-small-01234567/Partial-seed0/journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"format": 1}\n{"index": 0, "seconds": 30}\n{"index": 1, "sec')
    other = small.out / "benchmark/journal/tiny-extra-small-01234567/Partial-seed0/journal.jsonl"  # of another mask
    other.parent.mkdir(parents=True)
    other.write_text('{"format": 1}\n{"index": 0, "seconds": 9}\n{"index": 1, "seconds": 9}\n')
    os.utime(other, (time.time() + 60,) * 2)
    speed = {"folder": str(fit.makes), "images_seen": 500, "images_per_second": 4.0}
    listed = f"import json, sys; print(json.dumps([{speed!r}]))"
    monkeypatch.setattr(report, "argv", lambda command: [sys.executable, "-c", listed])
    locks = [step.file_of(small, one, "lock").open("ab") for one in (fit, cell)]
    assert all(step._take(lock) for lock in locks)
    text = report.status(small)
    assert f"small: 0 of {len(small.steps)} jobs done, 2 running, 6 failed" in text
    assert "fit-Context-seed0 since" in text and "step 250 of 1000, 6 min left" in text  # 750 steps x 2 images at 4/s
    assert "benchmark-Partial-seed0-small since" in text and "image 1 of 3, 60 s left" in text
    assert "fit-DSI-seed1-vqvae failed: no GPU (5 jobs wait for it)" in text
    for lock in locks:
        lock.close()
    assert "0 running" in report.status(small)


@pytest.mark.parametrize("path", sorted((INSTALLED / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_built_in_studies_name_only_what_there_is(path: Path):
    from experiments.files.find import find_yaml

    study = read_study(path)
    for one in study.steps.values():
        if one.kind == "fit":
            find_yaml(one.command[1].partition("=")[2])
        elif one.kind == "benchmark" and (name := zoo.entry(one.command[-1].partition("=")[2])):
            zoo.card_of(name)
    some = {"table1_longer": 2, "table1_photos_longer": 2, "table1_authors": 2, "table1_diversity": 3}
    masks = some.get(path.stem, 6)
    assert len(study.masks) == masks and len(study.steps) >= 3 * masks


def test_flops_are_those_of_pytorch_also_where_a_step_calls_autograd_grad():
    layer, image = torch.nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8, requires_grad=True)
    with FlopCounterMode(display=False) as theirs, first_steps._Flops() as ours:
        layer(image).sum().backward()
    assert ours.total == theirs.get_total_flops() > 0
    with first_steps._Flops() as ours:
        [slope] = torch.autograd.grad(layer(image).square().sum(), image, create_graph=True)
        slope.square().sum().backward()
    assert ours.total > theirs.get_total_flops()


# ---- a real workflow -----------------------------------------------------------------------------------------------


def until(condition: Any, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 1200
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # 31 processes that import everything: 300 s of a core
def test_a_study_killed_twice_ends_in_the_table_of_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Three methods, one of three stages, two seeds, two masks; a fourth method fails and the rest is complete.

    Then the same study without the fourth, in another folder, trains one unit and adopts the others.
    """
    whole, killed = studies.write(tmp_path / "whole"), studies.write(tmp_path / "killed")
    out = killed.parent / "out"
    studies.snakemake()

    process = studies.start(killed, "log.txt", "--cores", "2")
    until(lambda: studies.interrupted(out), process)
    assert studies.kill_all(process.pid) >= 3  # snakemake, a job and its fit
    process.wait()
    resumed = studies.interrupted(out)
    assert resumed, "the training ended before it was killed"

    process = studies.start(killed, "log.txt", "--cores", "2")
    until(lambda: list(out.glob("steps/benchmark-*.running.json")), process)
    process.kill(), process.wait()  # snakemake alone: its jobs outlive it
    process = studies.start(killed, "log.txt", "--cores", "2")
    assert process.wait() == 1  # one method fails
    for run, step_saved in resumed.items():
        segment = run / "metrics-1.csv"
        assert segment.is_file() and studies.first_step(segment) >= step_saved > 0, f"{run} started over"

    monkeypatch.chdir(whole.parent)  # which its protocol lies in
    studies.uninterrupted(read_study(whole, whole.parent / "out"))
    rows = studies.rows(out)
    assert rows == studies.rows(whole.parent / "out")
    assert {row["label"] for row in rows} == {"Context", "Partial", "DSI", "Broken-seed0"}
    assert {row["protocol"] for row in rows} == {"tiny-center", "tiny-small"}
    broken = [row for row in rows if row["label"] == "Broken-seed0"]
    numbers = [row for row in rows if row not in broken]
    assert all(row["seeds"] == "0 1" and row["mean"] and row["deviation"] for row in numbers)
    reason = "fit-Broken-seed0 failed: Trying to create tensor with negative dimension -1"
    assert broken and all(row["reason"].startswith(reason) and not row["mean"] for row in broken)
    monkeypatch.chdir(killed.parent)
    jobs = read_study(killed, out).steps
    assert f"{len(jobs) - 3} of {len(jobs)} jobs done, 0 running, 3 failed" in report.status(read_study(killed, out))

    working = {name: method for name, method in studies.STUDY["methods"].items() if name != "Broken"}
    adopting = studies.write(tmp_path / "again", studies.STUDY | {"methods": working, "adopts": str(out / "units")})
    [left_out] = (out / "units").glob("Context-seed1-*.json")
    left_out.unlink()
    process = studies.start(adopting, "log.txt", "--cores", "2")
    assert process.wait() == 0
    assert [path.name for path in adopting.parent.glob("out/runs/*")] == ["Context-seed1"]
    assert studies.rows(adopting.parent / "out") == numbers

    (adopting.parent / "out").rename(adopting.parent / "moved")
    process = studies.start(adopting, "moved.txt", "--cores", "2", out="moved")
    assert process.wait() == 0
    said = (adopting.parent / "moved.txt").read_text()
    assert "localrule page" in said and "rule fit" not in said and "rule benchmark" not in said
    assert studies.rows(adopting.parent / "moved") == numbers
