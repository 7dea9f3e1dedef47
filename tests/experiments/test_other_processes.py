"""A run killed and resumed by another number of processes trains on the same samples, with the same losses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.cli import main
from tests.support import killing
from tests.support.killing import Kill
from tests.support.pictures import photographs
from tests.support.runs import model

IMAGES, BATCH = 18, 4


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photos"), IMAGES, 2, (72, 70))


def settings(photos: Path, name: str, ranks: int, drop_last: bool, batch: int = BATCH) -> dict[str, Any]:
    config = killing.settings(model(name), ranks=ranks)
    config["trainer"]["callbacks"].append({"class_path": "tests.support.killing.Losses"})
    data = config["data"]["init_args"] | {"root": str(photos), "batch_size": batch // ranks, "drop_last": drop_last}
    del data["samples_per_epoch"]
    config["data"] = {"class_path": "ImageFolder", "init_args": data}
    return config


def trained(folder: Path, starts: list[int]) -> dict[int, tuple[int, list[str], dict[str, float]]]:
    """{step: (epoch, names as permuted, losses of the global batch)}, as trained last.
    ``starts``: processes of each.
    """
    steps = {}
    for attempt, ranks in enumerate(starts):
        files = [
            [json.loads(line) for line in (folder / f"{what}-{rank}-{attempt}.jsonl").read_text().splitlines()]
            for rank in range(ranks)
            for what in ("samples", "losses")
        ]
        for shown, losses in zip(zip(*files[::2], strict=False), zip(*files[1::2], strict=False), strict=False):
            assert len({row["step"] for row in (*shown, *losses)}) == 1
            names = [name for dealt in zip(*(row["names"] for row in shown), strict=True) for name in dealt]
            mean = {key: float(np.mean([row["losses"][key] for row in losses])) for key in losses[0]["losses"]}
            steps[shown[0]["step"]] = (shown[0]["epoch"], names, mean)
    return steps


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
@pytest.mark.parametrize(("name", "drop_last"), [("DeepFillV2", True), ("AOTGAN", False)])
def test_one_two_and_one_process_train_on_the_samples_of_one_and_with_its_losses(
    name: str, drop_last: bool, photos: Path, tmp_path: Path
):
    starts = [1, 2, 1]
    one, two = settings(photos, name, 1, drop_last), settings(photos, name, 2, drop_last)
    assert killing.run(tmp_path / "whole", one) == [0]
    auto = ["--ckpt_path", "auto"]
    folder = tmp_path / "changed"
    for attempt, (ranks, config, kill) in enumerate(
        zip(starts, (one, two, one), (Kill("between steps", 5), Kill("between steps", 8), None), strict=True)
    ):
        codes = killing.run(folder, config, kill, ranks, attempt, more=auto)
        assert codes == ([-9] * ranks if kill else [0]), (folder / f"log-0-{attempt}.txt").read_text()[-2000:]
    whole, changed = trained(tmp_path / "whole", [1]), trained(folder, starts)

    assert sorted(changed) == sorted(whole) == list(range(1, killing.STEPS + 1))
    assert [changed[step][:2] for step in whole] == [whole[step][:2] for step in whole]
    for epoch in range(2):  # whole ones
        names = [name for at, names, _ in changed.values() if at == epoch for name in names]
        assert len(set(names)) == len(names) == (IMAGES // BATCH * BATCH if drop_last else IMAGES)
    for step, (_, _, losses) in whole.items():
        assert len(losses) > 2 and changed[step][2] == pytest.approx(losses, rel=1e-5, abs=1e-5), f"step {step}"
    assert [changed[step][2] for step in (1, 2, 3)] == [whole[step][2] for step in (1, 2, 3)]
    assert [changed[step][2] for step in (4, 5, 6)] != [whole[step][2] for step in (4, 5, 6)]  # by two processes


def test_processes_among_which_an_epoch_does_not_divide_as_before_are_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """18 images: all of them in one, two or three processes, 16 in four."""
    assert killing.run(tmp_path, settings(photos, "PartialConv", 1, False, 12), Kill("between steps", 4)) == [-9]
    monkeypatch.chdir(tmp_path)
    for ranks in (4, 3):
        argv = ["fit", "--config", "fit.yaml", "--ckpt_path", "auto", "--trainer.precision", "64-true"]
        argv += ["--trainer.devices", str(ranks), "--data.init_args.batch_size", str(12 // ranks)]
        with pytest.raises(SystemExit) as end:
            main(argv)
        said = capsys.readouterr().err
        assert end.value.code == 2 and "images a step" not in said and "trainer.precision was '32-true'" in said
        assert ("images per epoch was 18 and is 16" in said) == (ranks == 4)
