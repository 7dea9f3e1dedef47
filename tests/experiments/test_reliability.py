"""`make reliability` works: its quick sections pass, and it ends with 1 when a trial fails."""

import sys
import tempfile
from pathlib import Path

import pytest

from lit_inpaint import checkpoints as checkpoint_io
from tests import reliability


@pytest.mark.slow
def test_the_quick_sections_pass_and_a_flipped_bit_that_loads_ends_it_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["reliability.py", "--sections", "journals", "bits", "--count", "3"])
    assert reliability.main() == 0, capsys.readouterr().out
    assert "18 of 18 in" in capsys.readouterr().out
    monkeypatch.setattr(checkpoint_io, "_damage", lambda *_: (True, None))
    monkeypatch.setattr(sys, "argv", ["reliability.py", "--sections", "bits", "--count", "1"])
    assert reliability.main() == 1
    said = capsys.readouterr().out
    assert "FAILED" in said and "== bits: 0 of 1" in said
