"""Words and numbers that mean nothing are refused by name, before a file is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules import DrawnFaces, EvaluationSet, SamplePhotos
from datamodules.files import Files
from datamodules.training import TrainingSet
from datamodules.transforms import training_transform
from masks import CenterRectangle


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.arange(40 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 60, 3)).save(
            tmp_path / name
        )
    return Files(tmp_path, ["a.png", "b.png"])


@pytest.mark.parametrize("resize", ["shortr", "shortest", None, ["shorter"], "None"])
def test_an_evaluation_set_refuses_a_resize_that_it_does_not_know(files: Files, resize: Any):
    with pytest.raises(ValueError, match=r"^resize is .*; expected shorter, direct or none\.$"):
        EvaluationSet(files, CenterRectangle(), 16, resize)
    shapes = {how: EvaluationSet(files, CenterRectangle(), 16, how)[0].image for how in ("shorter", "direct", "none")}
    assert len({float(image.std()) for image in shapes.values()}) == 3


def test_words_are_refused_by_the_parts_as_by_the_data_module(files: Files):
    with pytest.raises(ValueError, match=r"crop is 'centre'; expected random or center\."):
        training_transform(16, "none", (16, 16), False, (), crop="centre")  # type: ignore[arg-type]
    keyed = training_transform(16, "none", (16, 16), False, ())
    with pytest.raises(ValueError, match=r"on_bad_image is 'Stop'; expected stop or skip\."):
        TrainingSet(files, CenterRectangle(), keyed, 16, 0, on_bad_image="Stop")  # type: ignore[arg-type]
    for word in ({"resize": "shortr"}, {"crop": None}, {"on_bad_image": "no"}):
        with pytest.raises(ValueError, match=f"{next(iter(word))} is .*; expected "):
            SamplePhotos(CenterRectangle(), **word)
    with pytest.raises(ValueError, match=r"split is 'tset'; expected train, val or test\."):
        SamplePhotos(CenterRectangle()).evaluation_set("tset")  # type: ignore[arg-type]


COUNTS = {
    **dict.fromkeys(("batch_size", "eval_batch_size", "eval_repeats", "limit_eval", "samples_per_epoch"), 1),
    "global_batch": 1,
    **dict.fromkeys(("seed", "eval_seed", "num_workers"), 0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_and_seeds_are_whole_numbers_from_their_least(name: str):
    least = COUNTS[name]
    for wrong in (least - 1, -2, 1.5, "4", True):
        with pytest.raises(ValueError, match=f"^{name} is {wrong!r}; expected a whole number of {least} or more"):
            SamplePhotos(CenterRectangle(), **{name: wrong})
    SamplePhotos(CenterRectangle(), **{name: least})
    SamplePhotos(CenterRectangle(), **{name: np.int64(3)})


def test_an_evaluation_set_and_drawn_faces_count_as_well(files: Files):
    for name, wrong in (("limit", 0), ("repeats", 0), ("seed", -1)):
        with pytest.raises(ValueError, match=f"^{name} is {wrong}; expected a whole number of"):
            EvaluationSet(files, CenterRectangle(), 16, **{name: wrong})
    with pytest.raises(ValueError, match=r"^faces_seed is -1; expected a whole number of 0"):
        DrawnFaces(CenterRectangle(), faces_seed=-1)
    assert len(EvaluationSet(files, CenterRectangle(), 16, limit=1, repeats=3)) == 3
