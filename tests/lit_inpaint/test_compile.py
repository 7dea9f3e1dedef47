"""The callback that compiles networks: same numbers, same names, with adversaries in turn and across a resume."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from lit_inpaint.callbacks import EMA, Compile
from lit_inpaint.callbacks.compile import compile_in_place
from lit_inpaint.load import load_method
from lit_inpaint.methods import DeepFillV1, DeepFillV2, LaMa
from lit_inpaint.methods.dsi.stages import DSIVQVAE
from lit_inpaint.module import InpaintingModule
from tests.support.fitting import fit, samples, small

NO_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")


def small_v2() -> DeepFillV2:
    torch.manual_seed(0)
    return DeepFillV2(width=8, discriminator_width=4)


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.timeout(900),  # what the C++ compiler takes on a busy machine
                NO_COMPILER,
            ],
        ),
    ],
)
def test_compiled_gan_takes_the_steps_of_the_eager_one_and_resumes_bit_for_bit(tmp_path: Path, backend: str):
    torch._dynamo.reset()
    counters.clear()

    def compiled(model: DeepFillV2, steps: int, **arguments: Any) -> Any:
        return fit(model, samples(size=32), steps, callbacks=[Compile(None, backend), EMA(0.5)], **arguments)

    eager, whole = small_v2(), small_v2()
    fit(eager, samples(size=32), 4, callbacks=[EMA(0.5)])
    compiled(whole, 4)
    assert torch.backends.cpu.get_cpu_capability() in torch.compiler.config.cache_key_tag.split()
    assert counters["stats"]["unique_graphs"] > 0 and not counters["graph_break"]
    for name, parameter in whole.named_parameters():
        torch.testing.assert_close(parameter, eager.get_parameter(name), rtol=0, atol=2e-5)

    compiled(small_v2(), 2).save_checkpoint(tmp_path / "half.ckpt")
    assert load_method(str(tmp_path / "half.ckpt")).state_dict().keys() == eager.state_dict().keys()
    resumed = small_v2()
    compiled(resumed, 4, ckpt_path=tmp_path / "half.ckpt")
    assert all(torch.equal(p, whole.get_parameter(name)) for name, p in resumed.named_parameters())


@pytest.mark.slow
@NO_COMPILER
def test_code_generated_for_other_vector_units_is_not_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """AVX-512's code, compiled for AVX2, leaves every second half vector unwritten: NaN by chance."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    image = torch.randn(4, 1024, generator=torch.Generator().manual_seed(0))
    for capability, hits in ("AVX512", 0), ("AVX2", 0), ("AVX2", 1):
        torch._dynamo.reset()
        counters.clear()
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability.lower())  # what Inductor generates code for
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        network = torch.nn.Sequential(torch.nn.ELU(), torch.nn.Sigmoid())
        eager = network(image)
        with torch.compiler.config.patch(cache_key_tag=""):
            compile_in_place(network)
            torch.testing.assert_close(network(image), eager)
        assert counters["aot_autograd"]["autograd_cache_hit"] == hits


@pytest.mark.slow
def test_a_discriminator_with_a_gradient_penalty_is_left_alone_and_refused_by_name():
    torch._dynamo.reset()
    eager, compiled = small(DeepFillV1, discriminator_updates=1), small(DeepFillV1, discriminator_updates=1)
    fit(eager, samples(), 2)
    fit(
        compiled, samples(), 2, callbacks=[Compile(backend="aot_eager")]
    )  # one batch of the discriminators, one of the generator
    assert compiled.generator._compiled_call_impl is not None
    assert compiled.discriminator_global._compiled_call_impl is None
    torch.testing.assert_close(compiled.generator.state_dict(), eager.generator.state_dict(), rtol=0, atol=2e-5)
    with pytest.raises(ValueError, match=r"may name \['generator'\].*discriminator_local: its penalty differentiates"):
        fit(compiled, samples(), 1, callbacks=[Compile(["discriminator_local"])])


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (
            lambda: LaMa(width=4, blocks=1, discriminator_width=4, perceptual_weight=0),
            "complex numbers for its Fourier units",
        ),
        (lambda: DSIVQVAE(vq_width=8, vq_hidden=4), "it is used through encode and decode"),
    ],
)
def test_a_method_without_a_network_to_compile_says_why(method: Any, reason: str):
    model: InpaintingModule = method()
    with pytest.raises(ValueError, match=f"has no network to compile.*{reason}"):
        fit(model, samples(), 1, callbacks=[Compile()])
