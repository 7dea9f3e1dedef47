"""`make bench-check` names what got slower, and nothing else."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from unittest import mock

import pytest
import torch

from benchmarks import check, masks, utilisation


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "ratios.json"
    path.write_text(json.dumps({torch.backends.cpu.get_cpu_capability(): {"masks": {"strokes": 0.5, "boxes": 0.8}}}))
    monkeypatch.setattr(check, "COMMITTED", path)
    yield path


def run(monkeypatch: pytest.MonkeyPatch, measured: list[dict[str, float]], *words: str) -> int:
    left = iter(measured)
    monkeypatch.setattr(check, "groups", lambda public, folder: {"masks": lambda: next(left)})
    monkeypatch.setattr(sys, "argv", ["check", *words])
    return check.main()


def test_what_is_slower_twice_is_named_with_both_ratios(committed, monkeypatch, capsys):
    assert run(monkeypatch, [{"strokes": 0.4, "boxes": 0.81}, {"strokes": 0.42, "boxes": 0.8}]) == 1
    assert "masks: strokes, 0.42, committed 0.50" in capsys.readouterr().out.split("slower by more than 15 %:")[1]


def test_what_recovers_or_loses_less_is_not(committed, monkeypatch, capsys):
    assert run(monkeypatch, [{"strokes": 0.4, "boxes": 0.75}, {"strokes": 0.49, "boxes": 0.7}]) == 0
    assert "nothing is slower" in capsys.readouterr().out


def test_what_was_not_measured_is_said_and_a_killed_process_is_slower(committed, monkeypatch, capsys):
    assert run(monkeypatch, [{"strokes": 0.5}]) == 0
    assert "committed and not measured now: boxes" in capsys.readouterr().out
    monkeypatch.setattr(utilisation, "in_a_fresh_process", mock.Mock(side_effect=BrokenProcessPool))
    assert utilisation.shares(["GLCIC"], 1) == {"GLCIC, forward": 0, "GLCIC, step": 0}


def test_a_missing_checkout_is_said_and_the_others_are_measured(tmp_path, capsys):
    assert masks.published(masks.published_thick, tmp_path) is None
    assert "not measured: " in capsys.readouterr().out


def test_write_keeps_the_ratios_of_the_run(committed, monkeypatch):
    assert run(monkeypatch, [{"strokes": 0.4}], "--write") == 0
    kept = json.loads(committed.read_text())[torch.backends.cpu.get_cpu_capability()]
    assert kept == {"masks": {"strokes": 0.4, "boxes": 0.8}}


def test_another_kind_of_processor_is_said(committed, monkeypatch, capsys):
    committed.write_text(json.dumps({"abacus": {}}))
    assert run(monkeypatch, []) == 2
    assert "it has abacus" in capsys.readouterr().out


def test_ratios_are_committed():
    kept = json.loads((Path(check.__file__).parent / "ratios.json").read_text())
    assert all(ratio > 0 for kinds in kept.values() for group in kinds.values() for ratio in group.values())
