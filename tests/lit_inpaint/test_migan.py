"""MI-GAN: the released program's numbers, its published results, and what cannot be asked of it."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.inpaint import command as inpaint
from experiments.weights import imports as import_weights
from lit_inpaint.load import load_method
from lit_inpaint.methods import MIGAN
from lit_inpaint.methods.migan.networks import Downsample, Generator, Upsample
from lit_inpaint.methods.migan.weights import FORMAT, convert, detect
from masks.convention import InpaintingBatch
from tests.support.published import assert_published, float64

# Every fifth row and column of what lib/model_zoo/migan_inference.py gives for released_file() and batch().
PUBLISHED = [
    0.656828, 0.628809, 0.738602, 0.575285, 0.986841, 1.049945, 1.257174, 1.050789, 1.074581, 1.047859,
    1.180564, 1.176764, 0.59945, 0.554675, 0.6956, 0.858867, -2.967248, -3.59863, -3.668717, -2.961415,
    -4.07559, -5.393625, -5.518061, -4.145481, -4.173591, -5.378925, -5.468631, -4.225647, -2.987889, -3.645929,
    -3.673334, -3.085655, 1.542011, 1.645972, 1.660921, 1.613171, 2.136831, 2.758205, 2.772443, 2.197271,
    2.223513, 2.734124, 2.761081, 2.213978, 1.636124, 1.804286, 1.712138, 1.55071,
]  # fmt: skip


def wave(name: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers that any program can repeat: a sine whose phase is the length of the tensor's name."""
    count = int(np.prod(shape))
    values = torch.sin(torch.arange(count, dtype=torch.float64) * 0.7311 + len(name)).reshape(shape)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 4
    return (values / fan_in**0.5 * 1.5).float()


def released_file(size: int = 16) -> dict[str, Tensor]:
    """A file in the authors' layout, their fixed filters included."""
    state = {name: wave(name, tuple(value.shape)) for name, value in Generator(size).state_dict().items()}
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps)[None, None] / 64
    for side in (2**i for i in range(3, size.bit_length())):
        state[f"encoder.b{side}.conv2.downsample.filter.weight"] = kernel.repeat(512, 1, 1, 1)
        for where, count in (("conv1.", 512), ("", 3)):
            state[f"synthesis.b{side}.{where}upsample.filter.weight"] = 4 * kernel.repeat(count, 1, 1, 1)
            zeros_between = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).repeat(1, 1, side // 2, side // 2)
            state[f"synthesis.b{side}.{where}upsample.filter_const"] = zeros_between
    return state


def batch(size: int = 16) -> tuple[Tensor, Tensor]:
    image = torch.sin(torch.arange(3 * size * size) * 0.37).reshape(1, 3, size, size)
    mask = torch.zeros(1, 1, size, size)
    mask[..., 3:11, 5:13] = 1
    return image, mask


def imported(size: int = 16) -> MIGAN:
    converted = convert(released_file(size), FORMAT)
    method = MIGAN(**converted["hyper_parameters"]).eval()
    method.load_state_dict(converted["state_dict"])
    return method


def test_the_generator_has_the_parameters_of_the_released_one():
    with torch.device("meta"):
        generator = Generator()
    assert sum(p.numel() for p in generator.parameters()) == 5_893_158
    assert sum("noise_const" in name for name in generator.state_dict()) == 14  # part of the released weights
    assert not any("kernel" in name for name in generator.state_dict())  # computed, never read from a file


def test_imported_weights_compute_what_the_released_program_computes():
    image, mask = batch()
    with torch.no_grad(), float64():
        out = imported().double().predict(image.double(), mask.double())[0]
    assert_published(out[:, ::5, ::5].flatten(), PUBLISHED, of=out)


def test_halving_averages_and_doubling_interpolates_a_ramp():
    ramp = torch.arange(8.0).expand(1, 2, 8, 8)
    torch.testing.assert_close(Downsample()(ramp)[0, 1, 1, 1:3], torch.tensor([2.5, 4.5]))  # centres of pixel pairs
    up = Upsample()(ramp)[0, 1, 8, 1:-1]
    torch.testing.assert_close(up, (torch.arange(1.0, 15.0) - 0.5) / 2)  # pixel i lies at (i - 1/2) / 2


def test_a_file_of_another_network_or_with_another_filter_is_refused():
    state = released_file()
    assert detect(state) == FORMAT
    assert detect({"stage1.conv1.conv.weight": torch.zeros(1)}) is None
    assert detect({name: value for name, value in state.items() if "fromrgb" not in name}) is None
    state["synthesis.b8.upsample.filter.weight"] = torch.full((3, 1, 4, 4), 0.25)
    with pytest.raises(ValueError, match=r"synthesis.b8.upsample.filter.weight is not the filter \[1, 3, 3, 1\]"):
        convert(state, FORMAT)
    with pytest.raises(ValueError, match="size is 48; MI-GAN takes a power of 2"):
        MIGAN(size=48)


def test_fit_and_the_bare_name_are_refused_in_one_line(tmp_path: Path):
    image, mask = batch()
    items: Any = [InpaintingBatch(image[0], mask[0], "a")]
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = L.Trainer(max_steps=1, accelerator="cpu", default_root_dir=tmp_path, enable_model_summary=False, **quiet)
    with pytest.raises(ValueError, match="MIGAN is for evaluation only"):
        trainer.fit(MIGAN(16), DataLoader(items), DataLoader(items))
    with pytest.raises(ValueError, match="give the path of one of its checkpoints"):
        load_method("MIGAN")


def test_a_larger_image_is_completed_in_a_crop_around_the_hole():
    method, (image, mask) = imported(), batch(32)
    with torch.no_grad():
        out = method(image, mask)
        crop = method(image[..., :16, 1:17], mask[..., :16, 1:17])  # the hole is rows 3-10, columns 5-12
    assert method.adaptation(mask[0]) == "cropped 16x16 around the hole"
    assert torch.equal(out[..., :16, 1:17], crop) and not torch.equal(crop, image[..., :16, 1:17])


@pytest.mark.slow
def test_the_released_weights_give_the_published_result(data_dir: Path, weights_dir: Path, tmp_path: Path):
    folder, name = data_dir / "migan_places2_512", "Places365_val_00013004"
    checkpoint, out = tmp_path / "migan.ckpt", tmp_path / "out.png"
    assert import_weights.main(["MIGAN", str(weights_dir / "migan_places2_512.pth"), "--out", str(checkpoint)]) == 0
    files = ["--image", str(folder / f"images/{name}.jpg"), "--mask", str(folder / f"masks/{name}.png")]
    assert inpaint.main(["--method", str(checkpoint), *files, "--out", str(out), "--mask-white", "known"]) == 0
    ours, theirs = (np.asarray(Image.open(p).convert("RGB")).astype(int) for p in (out, folder / f"results/{name}.png"))
    hole = np.asarray(Image.open(folder / f"masks/{name}.png").convert("L")) < 128
    assert np.abs(ours - theirs)[hole].max() <= 2  # the authors cut the fraction off, we round
    assert np.array_equal(ours[~hole], np.asarray(Image.open(folder / f"images/{name}.jpg").convert("RGB"))[~hole])
