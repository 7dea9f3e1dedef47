"""The settings of the papers' YAMLs against those of the published programs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

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
    settings = load(f"ddpm/{name}.yaml")["data"]
    settings["init_args"] |= {"root": str(tmp_path), "val_share": 0, "test_share": 0, "batch_size": 1}
    data = instantiate(InpaintingDataModule, settings)
    crops = {data.training_set()[(epoch, 0)].image.numpy().tobytes() for epoch in range(12)}
    centre = wide[:, 32:288].transpose(2, 0, 1) / np.float32(127.5) - 1
    assert len(crops) == 2  # itself and its mirror image
    found = sorted((np.frombuffer(crop, np.float32).reshape(3, 256, 256) for crop in crops), key=lambda x: x[0, 0, 0])
    np.testing.assert_allclose(found[0], centre, atol=1e-6)
    np.testing.assert_allclose(found[1], centre[..., ::-1], atol=1e-6)
