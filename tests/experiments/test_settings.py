"""The settings of the papers' YAMLs against those of the published programs."""

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks import published_settings, settings
from benchmarks.published_settings import CONFIGS, Group, Source, is_setting, papers, problems, read_programs, stated
from datamodules import InpaintingDataModule
from experiments.files.find import INSTALLED
from lit_inpaint.load import instantiate


def load(path: str) -> dict[str, Any]:
    return yaml.safe_load((INSTALLED / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path, key, expected",
    [
        # configs/training/trainer/any_gpu_large_ssim_ddp_final_celeba.yaml of advimman/lama: 40 epochs, each validated
        # after 2,600 batches; `data.batch_size=10` in its README makes one epoch of 26,000 faces of them on one GPU.
        ("lama/celebahq.yaml", "max_steps", 40 * 2600),
        ("lama/celebahq.yaml", "val_check_interval", 26_000 // 10),
        # inpaint.yml of JiahuiYu/generative_inpainting, branch v1.0.0: TRAIN_SPE 10000; six batches are an iteration
        ("deepfillv1/places2.yaml", "val_check_interval", 6 * 10_000),
        ("deepfillv1/celebahq.yaml", "val_check_interval", 6 * 10_000),
        # train.lua of pathak22/context-encoder: for i = 1, data:size(), batchSize; niter=500
        ("context_encoder/paris_centre.yaml", "max_steps", 500 * len(range(1, 14_900 + 1, 64))),
        ("context_encoder/paris_random.yaml", "max_steps", 500 * len(range(1, 14_900 + 1, 64))),
    ],
)
def test_a_length_is_that_of_the_published_loop(path: str, key: str, expected: int):
    assert load(path)["trainer"][key] == expected


@pytest.mark.parametrize("name", ["celebahq256", "imagenet256", "places256"])
def test_a_denoiser_learns_from_centre_crops(tmp_path: Path, name: str):
    """image_train.py of openai/guided-diffusion leaves random_crop False; half of the crops are mirrored."""
    wide = np.broadcast_to(np.linspace(0, 255, 320).astype(np.uint8)[None, :, None], (256, 320, 3))
    Image.fromarray(np.ascontiguousarray(wide)).save(tmp_path / "wide.png")
    given = load(f"ddpm/{name}.yaml")["data"]
    given["init_args"] |= {"root": str(tmp_path), "val_share": 0, "test_share": 0, "batch_size": 1}
    data = instantiate(InpaintingDataModule, given)
    crops = {data.training_set()[(epoch, 0)].image.numpy().tobytes() for epoch in range(12)}
    centre = wide[:, 32:288].transpose(2, 0, 1) / np.float32(127.5) - 1
    assert len(crops) == 2  # itself and its mirror image
    found = sorted((np.frombuffer(crop, np.float32).reshape(3, 256, 256) for crop in crops), key=lambda x: x[0, 0, 0])
    np.testing.assert_allclose(found[0], centre, atol=1e-6)
    np.testing.assert_allclose(found[1], centre[..., ::-1], atol=1e-6)


# ---- every number of every paper's YAML ------------------------------------------------------------------------------

PROGRAMS = json.loads(settings.PUBLISHED.read_text(encoding="utf-8"))


def test_every_number_is_the_published_one_or_a_named_exception():
    assert len(papers()) >= 35 and len(PROGRAMS["values"]) >= 200
    assert problems(PROGRAMS) == []


def test_comments_and_page_say_what_was_read():
    stale = "python -m benchmarks.settings writes it again"
    for name in papers():
        assert settings.annotated(name, PROGRAMS) == (CONFIGS / name).read_text(encoding="utf-8"), stale
    assert settings.page(PROGRAMS) == settings.PAGE.read_text(encoding="utf-8"), stale


@pytest.mark.parametrize("name", papers())
def test_every_line_with_a_number_says_where_it_comes_from(name: str):
    lines = (CONFIGS / name).read_text(encoding="utf-8").splitlines()
    for key, (value, line) in stated(name).items():
        if is_setting(value):
            assert re.search(r"\[[CGNO] \S+:\d|\[P [^\]]+\]|\[ours\]", lines[line]), f"{name}, {key}: {lines[line]}"


@pytest.mark.parametrize(
    "where, value, said",
    [
        ("lama! configs/training/trainer/any_gpu_large_ssim_ddp_final_celeba.yaml | max_epochs:", 41,
         "lama/celebahq.yaml: trainer.max_steps is 104000; published: 106600"),
        (r"deepfillv1! train.py | beta2=([\d.]+)", 0.999, "model.betas is [0.5, 0.9]; published: [0.5, 0.999]"),
        ("deepfillv2! inpaint.yml | max_iters:", 1_000_000, "is as published, and named as differing"),
    ],
)  # fmt: skip
def test_a_published_value_that_is_not_ours_is_named(where: str, value: object, said: str):
    """A number of the YAML, a class default, and an exception that is none any more."""
    changed = copy.deepcopy(PROGRAMS)
    changed["values"][where]["value"] = value
    found = problems(changed)
    assert found and any(said in line for line in found)


def test_a_number_of_ours_that_changes_or_has_no_source_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    path = tmp_path / "configs" / "aotgan" / "places2_512.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("batch_size: 8 ", "batch_size: 4 ").replace("    flip:", "    seed: 3\n    flip:"))
    monkeypatch.setattr(published_settings, "CONFIGS", tmp_path / "configs")
    for cached in (stated, published_settings.sources):
        cached.cache_clear()
    try:
        found = problems(PROGRAMS)
    finally:
        for cached in (stated, published_settings.sources):
            cached.cache_clear()
    assert found == [
        "aotgan/places2_512.yaml: data.seed has no source in settings_sources.yaml",
        "aotgan/places2_512.yaml: data.batch_size is 4; published: 8",
    ]


def test_programs_are_read_by_file_and_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    where = ["aotgan! src/utils/option.py | --lrg", "aotgan! src/data/dataset.py | Jitter\\(([\\d.]+)"]
    group = Group([], {f"model.{n}": Source({"a": w}) for n, w in enumerate(where)})
    monkeypatch.setattr(
        published_settings, "sources", lambda: ({"aotgan": {"repository": "them/AOT", "mark": "C"}}, [group])
    )
    with pytest.raises(ValueError, match=r"holds no them\+AOT: check out github.com/them/AOT"):
        read_programs(tmp_path)
    for file, text in (("src/utils/option.py", 'import x\nparser.add_argument("--lrg", type=float, default=1e-4)\n'),
                       ("src/data/dataset.py", "\n\nJitter(0.05, 0.1)\n"), (".commit", "abc\n")):  # fmt: skip
        path = tmp_path / "AOT" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = read_programs(tmp_path)["values"]
    assert found[where[0]] == {
        "repository": "them/AOT", "commit": "abc", "file": "src/utils/option.py", "line": 2, "value": 1e-4,
    }  # fmt: skip
    assert (found[where[1]]["line"], found[where[1]]["value"]) == (3, 0.05)
    (tmp_path / "AOT" / "src" / "data" / "dataset.py").write_text("Jitter(0.05)\nJitter(0.1)\n")
    with pytest.raises(ValueError, match=r"found \['0.05', '0.1'\]; expected one value"):
        read_programs(tmp_path)
