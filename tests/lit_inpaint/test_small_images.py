"""The smallest images: gradients follow from the batch alone, not from what lay in memory; smaller ones are refused."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lit_inpaint import methods
from lit_inpaint.discriminators import SpectralPatchGAN
from lit_inpaint.layers.tf_same import Conv2dSame
from masks.convention import InpaintingBatch
from tests.support.contract import ROWS, SIZE, STAGES, make, trainer

# Height and width of the smallest images that a method or a stage trains on; where all sides are fixed, as many as in
# its contract row. A method or stage that is not named here trains on those of the contract.
SMALLEST = {
    "AOTGAN": (36, 36),
    "ContextEncoder": (64, 64),
    "DDPM": (8, 8),
    "DeepFillV1": (64, 64),
    "DeepFillV2": (8, 8),
    "GLCIC": (64, 64),
    "LaMa": (16, 16),
    "Palette": (8, 8),
    "PartialConv": (16, 16),
    "DSIVQVAE": (8, 8),
    "DSIStructure": (8, 8),
    "DSITexture": (8, 8),
    "ICTTransformer": (8, 8),
    "ICTUpsampler": (24, 24),
}
SMALL: dict[str, dict[str, Any]] = {
    "DDPM": {"image_size": 16, "attention_resolutions": [8]},
    "Palette": {"image_size": 16, "attention_resolutions": [8]},
    "GLCIC": {"completion_steps": 0, "discriminator_steps": 1},  # both networks train in two batches
    "ICTUpsampler": {"size": 24},
}
TRAINED = {
    name: arguments
    for name, arguments in ROWS + STAGES
    if getattr(getattr(methods, name, None), "trainable", name not in methods.__all__)
}
M_PERTURB = -6  # of glibc's mallopt


@contextmanager
def memory_full_of_nan() -> Iterator[None]:
    """Memory from malloc is NaN in every float type until it is written."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not mallopt(M_PERTURB, 256):  # memory is filled with the low byte of 256 ^ 255
        pytest.skip("the C library has no mallopt(M_PERTURB)")
    try:
        yield
    finally:
        mallopt(M_PERTURB, 0)


@pytest.mark.parametrize("name", TRAINED)
def test_weights_after_two_steps_in_bfloat16_hold_nothing_of_unwritten_memory(name: str, tmp_path: Path):
    arguments = TRAINED[name]
    wide = (
        {"discriminator_width": 16} if "discriminator_width" in arguments else {}
    )  # narrower ones take another kernel
    method = make(name, arguments | wide | SMALL.get(name, {}))
    if name in ("DSIStructure", "DSITexture"):
        method.vqvae.top.updates += 1  # counts as trained
    height, width = SMALLEST.get(name, (SIZE, SIZE))
    image = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.zeros(1, height, width)
    mask[:, 3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8] = 1
    items: Any = [InpaintingBatch(x, mask, str(i)) for i, x in enumerate(image)]
    run = trainer(tmp_path, max_steps=2, precision="bf16-mixed", limit_val_batches=0)
    with memory_full_of_nan():
        run.fit(method, DataLoader(items, 2))
    assert run.global_step == 2 and method.skipped == 0
    assert [k for k, v in method.state_dict().items() if v.is_floating_point() and not v.isfinite().all()] == []


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_a_map_narrower_than_the_stride_has_the_gradient_of_float32_in_bfloat16(width: int, padding: Any):
    torch.manual_seed(0)
    layer, x, gradients = Conv2dSame(16, 32, 5, stride=2, padding=padding), torch.randn(2, 16, 5, width), []
    for autocast in (False, True):
        with memory_full_of_nan(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            (gradient,) = torch.autograd.grad(layer(x).float().square().sum(), layer.weight)
        gradients.append(gradient)
    assert (gradients[0] - gradients[1]).norm() < 0.02 * gradients[0].norm()


def method(name: str) -> Any:
    return make(name, dict(ROWS)[name])


@pytest.mark.parametrize(
    ("network", "side", "said"),
    [
        (lambda image, mask: SpectralPatchGAN(width=4)(image), 23, "at least 24 pixels"),
        (lambda image, mask: method("LaMa")(image, mask), 8, "at least 16 pixels"),
        (lambda image, mask: method("AOTGAN")(image, mask), 32, "at least 36 pixels"),
        (lambda image, mask: method("PartialConv").predict(image, mask), 24, "multiples of 16"),
        (lambda image, mask: method("DeepFillV1").discriminator_global(image), 32, "built for 64x64"),
    ],
    ids=["PatchGAN", "LaMa", "AOTGAN", "PartialConv", "DeepFillV1"],
)
def test_images_that_a_network_shrinks_to_nothing_are_refused_by_their_own_sides(
    network: Callable[[Tensor, Tensor], Any], side: int, said: str
):
    with pytest.raises(ValueError, match=f"image is {side}x{side}; .*{said}"):
        network(torch.zeros(1, 3, side, side), torch.ones(1, 1, side, side))


def test_glcic_refuses_images_of_another_size_before_the_phase_in_which_its_discriminator_sees_them(tmp_path: Path):
    items: Any = [InpaintingBatch(torch.zeros(3, 32, 32), torch.ones(1, 32, 32), str(i)) for i in range(2)]
    with pytest.raises(ValueError, match=r"image is 32x32; the global discriminator is built for 64x64"):
        trainer(tmp_path, max_steps=1).fit(method("GLCIC"), DataLoader(items, 2))
