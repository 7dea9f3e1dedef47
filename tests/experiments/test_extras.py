"""Without the package of an extra, one line names the extra, before any work is done."""

import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import cli
from lit_inpaint import metrics
from lit_inpaint.backbones import BACKBONES
from tests.support.pictures import photo

SWEEP = ["sweep", "narrow_vs_wide", "--out", "out"]


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("plotly", SWEEP, "sweep"),
        ("optuna", SWEEP, "sweep"),
        ("submitit", [*SWEEP, "--submitit", "cluster=local"], "sweep"),
        ("gradio", ["app"], "app"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(
    package: str, words: list[str], extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    for name in [name for name in sys.modules if name.startswith(("experiments.sweep.", "experiments.app."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIT_INPAINT_DATA", str(tmp_path))
    photo(0, (16, 16)).save("photo.png")
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    said = capsys.readouterr().err.strip()
    assert end.value.code == 2 and len(said.splitlines()) == 1, said
    assert f"needs {package}" in said and f"pip install 'lit-inpaint[{extra}]'" in said, said
    assert not list(tmp_path.glob("out/trials/*"))


@pytest.mark.parametrize("name", ["fid", "kid", "p_ids", "u_ids", "fd_dinov2", "clip_score"])
def test_a_metric_names_its_extra_where_its_weights_are_missing_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    said = metrics.unavailable(name)
    if said is None:
        pytest.skip("its weights are in the cache of the Hub")
    backbone = BACKBONES[str(metrics.metric(name).backbone)]
    assert backbone.file in said and "pip install 'lit-inpaint[metrics]' && python -c" in said
