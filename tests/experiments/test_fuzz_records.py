"""Damaged YAMLs, records, run folders and checkpoints through the command line: no traceback, no unnamed file.

A seed of one's own: ``FUZZ_SEED=7 pytest -m slow tests/experiments/test_fuzz_records.py``.
"""

import contextlib
import io
import json
import os
import random
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments import cli
from tests.support.journals import GRID, ROWS
from tests.support.protocols import run as benchmark
from tests.support.protocols import write_protocol

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden_partial_conv.ckpt"
SEED = int(os.environ.get("FUZZ_SEED", "20"))
VALUES: list[Any] = [None, True, -1, 0, 10**30, 1.5, "", "x", "é\u202e", [], [1], {}, {"a": 1}, [[[]]], "${a}", "!!x"]


# ---- damage --------------------------------------------------------------------------------------------------------


def flip(content: bytes, rng: random.Random) -> bytes:
    out = bytearray(content)
    for _ in range(rng.choice([1, 1, 3, 20])):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def nuls(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + bytes(rng.choice([1, 40])) + content[start + 40 :]


def noise(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + rng.choice([rng.randbytes(9), b"[" * 5000, b": : {", b"\xff", b"&a *a"]) + content[start:]


def shuffled(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    rng.shuffle(lines)
    return b"".join(lines)


def other_value(content: bytes, rng: random.Random) -> bytes:
    """Still YAML or JSON: one value of another kind, one key gone, or another content altogether."""
    data = yaml.safe_load(content)
    if rng.random() < 0.1:
        return json.dumps(rng.choice(VALUES)).encode()
    inner = data
    while True:
        key = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        if isinstance(inner[key], dict | list) and inner[key] and rng.random() < 0.7:
            inner = inner[key]
            continue
        if rng.random() < 0.2:
            del inner[key]
        else:
            inner[key] = rng.choice(VALUES)
        return json.dumps(data).encode()


TEXT: list[Callable[[bytes, random.Random], bytes]] = [flip, cut, nuls, noise, shuffled, other_value, other_value]


# ---- what is called ------------------------------------------------------------------------------------------------


def call(argv: list[str]) -> tuple[int, str]:
    """Exit code and output; a traceback is code -1."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            cli.main(argv)
        except SystemExit as end:
            return int(end.code or 0), said.getvalue()
        except BaseException:
            return -1, traceback.format_exc()
    raise AssertionError("cli.main ends the process")


def problem(argv: list[str], file: Path) -> str | None:
    code, said = call(argv)
    lines = [line for line in said.splitlines() if line.startswith("lit-inpaint:")]
    if code == -1:
        return f"traceback: {' | '.join(said.splitlines()[-4:])}"
    if code == 2 and (len(lines) != 1 or file.name not in lines[0]):
        return f"the file is not named: {lines or said[-300:]}"
    return None if code in (0, 1, 2) else f"exit code {code}"


@pytest.fixture
def places(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Path, list[str]]]:
    """Files to damage: {kind: (the intact file, the command that reads it)}."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    protocol = write_protocol(tmp_path)
    assert benchmark(protocol, "--images", photos, "--limit", "2", "--methods", "Telea", "--out", "out") == 0
    (record,) = Path("out").absolute().glob("records/*/Telea.json")
    Path("runs/a").mkdir(parents=True)
    shutil.copytree("runs/a", "runs/b")
    for folder in (Path("runs/a"), Path("runs/b")):
        (folder / "metrics.csv").write_text(ROWS)
        (folder / "run.json").write_text(json.dumps({"method": "DDPM", "seed": 1, "parameters": {"denoiser": 7}}))
        (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": 1, "model": {"class_path": "a.DDPM"}}))
        facts = {"state": "running", "error": None, "step": 3, "machine": "x/y", "pid": 1, "born": "1", "beat": 5.0}
        (folder / "status.json").write_text(json.dumps(facts))
    config = {
        "model": {"class_path": "PartialConv", "init_args": {"levels": 2, "width": 2, "perceptual_weight": 0}},
        "data": {"class_path": "SamplePhotos", "init_args": {"mask": {"class_path": "masks.Wide"}, "image_size": 32}},
        "trainer": {"max_steps": 1, "accelerator": "cpu"},
    }
    Path("fit.yaml").write_text(yaml.safe_dump(config))
    Path("sweep.yaml").write_text(yaml.safe_dump(GRID))
    Path("mask.yaml").write_text(yaml.safe_dump({"class_path": "masks.Wide", "init_args": {}}))
    shutil.copy(GOLDEN, "golden.ckpt")
    runs = {
        f"{name} by {command[0]}": (Path("runs/b").absolute() / name, command)
        for name in ("metrics.csv", "run.json", "config.yaml", "status.json")
        for command in (["runs", "runs"], ["compare", "runs", "--out", "page.html"])
        if (name, command[0]) != ("status.json", "compare")
    }
    measure = ["benchmark", "protocol.yaml", "--images", str(photos), "--limit", "1", "--methods", "Telea"]
    shutil.copy(protocol, "protocol.yaml")
    export = ["export", "golden.ckpt", "--format", "safetensors", "--overwrite"]
    return {
        "protocol": (Path("protocol.yaml").absolute(), [*measure, "--out", "measured"]),
        "fit": (Path("fit.yaml").absolute(), ["fit", "--config", "fit.yaml", "--print_config"]),
        "sweep": (Path("sweep.yaml").absolute(), ["sweep", "sweep.yaml", "--workers", "0", "--out", "swept"]),
        "mask": (Path("mask.yaml").absolute(), ["masks", "show", "mask.yaml", "--size", "32", "--out", "shown.png"]),
        "record": (record, ["compare", "out", "--out", "page.html"]),
        "checkpoint": (Path("golden.ckpt").absolute(), export),
        **runs,
    }  # fmt: skip


@pytest.mark.slow
def test_nothing_damaged_is_a_traceback_or_unnamed(places: dict[str, tuple[Path, list[str]]]):
    print(f"seed {SEED}")
    problems, cases = [], 0
    for kind, (file, argv) in places.items():
        whole = file.read_bytes()
        code, said = call(argv)
        assert code == (1 if kind == "sweep" else 0), (kind, said[-500:])
        rng = random.Random(f"{SEED} {kind}")
        damages = [flip, cut, nuls, noise] if file.suffix in (".ckpt", ".csv") else TEXT
        for number in range(16):
            damage = damages[number % len(damages)]
            shutil.rmtree("swept", ignore_errors=True)  # another space under this name is refused
            Path("shown.png").unlink(missing_ok=True)  # as is an existing file
            file.write_bytes(content := damage(whole, rng))
            cases += 1
            if found := problem(argv, file):
                problems.append(f"{kind}, {damage.__name__}, case {number}: {found}\n    {content[:300]!r}")
        file.write_bytes(whole)
    assert cases >= 150
    assert not problems, f"{len(problems)} of {cases} with seed {SEED}:\n" + "\n".join(problems)
