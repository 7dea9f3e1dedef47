"""Each image's own mask through kills and ranks (JiahuiYu/generative_inpainting#413 and #508 ask for such training)."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import killing
from tests.support.killing import Kill
from tests.support.own_masks import shown, write_pairs
from tests.support.runs import model


def settings(workers: int, ranks: int) -> dict[str, Any]:
    """Two images per step, four steps per epoch, random crops and flips; saved after every third step."""
    config = killing.settings(model("DeepFillV2"), workers, ranks, steps=7)
    mask = {"class_path": "MaskFolder", "init_args": {"root": "masks", "pairing": "name"}}
    data = {"root": "images", "mask": mask, "image_size": 48, "shorter_side": [48, 64], "batch_size": 2 // ranks,
            "num_workers": workers, "val_share": 0, "test_share": 0, "samples_per_epoch": 8}  # fmt: skip
    config["trainer"] |= {"limit_val_batches": 0}
    config["trainer"]["callbacks"].append({"class_path": "tests.support.own_masks.Pairs"})
    return config | {"data": {"class_path": "ImageFolder", "init_args": data}}


def place(folder: Path) -> Path:
    write_pairs(folder)
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("ddp")
@pytest.mark.timeout(900)
def test_two_ranks_with_workers_killed_inside_an_epoch_show_the_pairs_of_one_process(tmp_path: Path):
    one, two, killed = (place(tmp_path / name) for name in ("one", "two", "killed"))
    assert killing.run(one, settings(0, 1)) == [0]
    assert killing.run(two, settings(2, 2), ranks=2) == [0, 0]
    assert killing.killed_and_resumed(killed, settings(2, 2), Kill("in a step", 6), ranks=2) == 3
    whole = shown(one)
    assert sorted(whole) == list(range(1, 8)) and len({row["name"] for rows in whole.values() for row in rows}) == 8
    assert min(row["own"] for rows in whole.values() for row in rows) > 0.97
    assert len({(row["image"], row["mask"]) for rows in whole.values() for row in rows}) == 14  # crops and flips differ
    assert shown(two) == whole
    again = shown(killed)
    assert [len(again[step]) for step in whole] == [2, 2, 2, 4, 4, 4, 2]  # 4 to 6 came twice
    for step, rows in whole.items():
        assert again[step] == sorted(rows * (len(again[step]) // 2), key=lambda row: row["name"])
