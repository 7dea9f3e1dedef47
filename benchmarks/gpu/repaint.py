"""RePaint with a DDPM of random weights: a batch equals its images one by one and the CPU; ms per call and image."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.support import SMALL, Skipped, bounded, exact, forget, memory
from benchmarks.sampling import FORMS
from benchmarks.utilisation import SMALL_DENOISER, now
from lit_inpaint.callbacks.compile import compile_in_place
from lit_inpaint.diffusion.samplers import RePaint
from lit_inpaint.method import keyed_generators
from lit_inpaint.methods import DDPM

EQUAL, TRAINED = "batch, one by one, CPU", "LPIPS of bfloat16"
BATCHES = (1, 8, 32)
TOLERANCE = 1e-3


def items(part: str, device: str) -> list[str]:
    timed = [f"{form}, batch {b}" for form in FORMS for b in BATCHES] if device == "cuda" else ["float32, batch 1"]
    return [EQUAL, *timed, TRAINED]


def method_of(device: str, sampler: RePaint) -> DDPM:
    torch.manual_seed(0)
    arguments: dict[str, Any] = SMALL_DENOISER if device == "cuda" else SMALL["DDPM"] | {"diffusion_steps": 20}
    return DDPM(**arguments, sampler=sampler).eval()


def images(count: int) -> tuple[Tensor, Tensor]:
    grid = torch.linspace(-1, 1, 64)
    image = torch.stack([torch.sin(9 * grid + i).expand(3, 64, 64) for i in range(count)])
    mask = torch.zeros(count, 1, 64, 64)
    mask[..., 20:40, 24:44] = 1
    return image, mask


def complete(method: DDPM, image: Tensor, mask: Tensor, first: int = 0) -> Tensor:
    names = [str(first + i) for i in range(len(image))]
    with torch.no_grad():
        return method(image, mask, generators=keyed_generators(0, names, 0))


def run(item: str, part: str, device: str) -> dict[str, Any]:
    if item == TRAINED:
        raise Skipped("needs a trained DDPM and images: python -m benchmarks.sampling CHECKPOINT FOLDER --device cuda")
    with exact(device):
        return equal(device) if item == EQUAL else timed(*item.rsplit(", batch ", 1), device)  # type: ignore[misc]


def equal(device: str) -> dict[str, Any]:
    """Draws are the CPU's in all three, one generator per image."""
    sampler = RePaint(10, 2, 2) if device == "cuda" else RePaint(4, 2, 2)
    method, (image, mask) = method_of(device, sampler), images(3)
    expected = complete(method, image, mask)
    method, image, mask = method.to(device), image.to(device), mask.to(device)
    batch = complete(method, image, mask)
    single = torch.cat([complete(method, image[i : i + 1], mask[i : i + 1], i) for i in range(3)])
    alone, cpu = (float((batch.cpu() - x.cpu()).abs().max()) for x in (single, expected))
    return {
        "one_by_one": bounded("difference between batch and single images", alone, TOLERANCE),
        "cpu": bounded("difference to the CPU", cpu, TOLERANCE),
    }


def timed(form: str, count: str, device: str) -> dict[str, Any]:
    dtype, layout, compiled = FORMS[form]
    sampler = RePaint(25, 5, 2) if device == "cuda" else RePaint(4, 2, 2)
    method, (image, mask) = method_of(device, sampler).to(device), images(int(count))
    method.denoiser.to(memory_format=layout)  # type: ignore[call-overload]
    if compiled:
        from benchmarks.gpu.compiled import require_compilers

        require_compilers(device)
        compile_in_place(method.denoiser)
    image, mask = image.to(device), mask.to(device)
    forget(device)
    for _ in range(2):  # the second is timed
        begun = now(device)
        with torch.autocast(device, dtype or torch.bfloat16, enabled=dtype is not None):
            complete(method, image, mask)
        seconds = now(device) - begun
    calls = sampler.network_calls
    return {"calls": calls, "ms_a_call_and_image": round(1000 * seconds / calls / int(count), 4), "mib": memory(device)}
