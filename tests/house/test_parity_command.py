"""`python -m benchmarks.parity` reports differences and missing programs."""

import sys
from pathlib import Path

from benchmarks import parity


def test_a_program_that_is_not_there_is_named_with_its_address(tmp_path: Path):
    assert "github.com/otenim/GLCIC-PyTorch" in str(parity.compare("otenim", tmp_path))


def test_a_difference_of_either_direction_is_named(monkeypatch, capsys, tmp_path: Path):
    found = {
        "daa233": parity.Parity(3e-4, 0, 0.3),
        "otenim": parity.Parity(0, float("nan"), 0.3),
        "aotgan": parity.Parity(0, 0, 0.001),
        "nipponjo": parity.Parity(9e-5, 9e-5, 0.3),
        "lama": "no lama",
    }
    monkeypatch.setattr(parity, "in_a_fresh_process", lambda function, name, public: found[name])
    monkeypatch.setattr(sys, "argv", ["parity", *found, "--public", str(tmp_path)])
    assert parity.main() == 1
    out = capsys.readouterr().out
    assert out.endswith("shows nothing: daa233, otenim, aotgan\n") and "| lama | LaMa | 256 | not run: no lama |" in out
    monkeypatch.setattr(sys, "argv", ["parity", "nipponjo", "lama", "--public", str(tmp_path)])
    assert parity.main() == 0
