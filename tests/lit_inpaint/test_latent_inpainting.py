"""LatentInpainting against a reference in float64 and diffusers' pipeline; LoRA, guidance and widened inputs."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.catalogue.methods import describe
from experiments.train.from_checkpoint import load_weights
from experiments.weights.export import main as export
from experiments.weights.imports import main as import_weights
from experiments.weights.push import _write_files, is_path, verified
from lit_inpaint.callbacks import EMA
from lit_inpaint.diffusion.samplers import DDIM, Denoiser, Noise, RePaint
from lit_inpaint.load import load_method
from lit_inpaint.method import keyed_generators
from lit_inpaint.methods import LatentInpainting
from lit_inpaint.methods.latent_inpainting import networks
from lit_inpaint.methods.latent_inpainting.autoencoder import LatentAutoencoder
from masks.convention import composite, erase
from tests.support import latents
from tests.support.contract import STAGES, batches, make, trainer
from tests.support.published import float64

pytest.importorskip("diffusers", reason="the extra diffusers is not installed")
whole_extra = pytest.mark.skipif(
    not all(find_spec(name) for name in ("transformers", "peft")), reason="the extra diffusers is not installed whole"
)
STEPS = DDIM(4, rule="leading")


def saved(method: Any, path: Path) -> Path:
    """A checkpoint as a fit writes it, without a fit."""
    content = {"method": type(method).__name__, "hyper_parameters": dict(method.hparams), "format": 1}
    torch.save(content | {"state_dict": method.state_dict()}, path)
    return path


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "velocity"])
def test_the_loss_of_a_step_equals_the_papers_equations_in_float64(prediction: str):
    method = latents.method(prediction=prediction).double()
    image, mask = (x.double() for x in latents.known())
    t, shape = torch.tensor([30, 870]), (2, 4, 16, 16)
    noises = [torch.randn(shape, generator=torch.Generator().manual_seed(i)).double() for i in range(3)]
    drawn = iter(noises)
    with float64():
        loss = method._errors(image, mask, t, torch.zeros_like(t), lambda like: next(drawn))  # type: ignore[arg-type]
    loss.mean().backward()
    ours = {name: p.grad.clone() for name, p in method.denoiser.named_parameters() if p.grad is not None}
    method.zero_grad()
    expected = latents.reference_loss(method, image, mask, t, noises, prediction == "velocity")
    expected.mean().backward()
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=0)  # diffusers embeds t in float32
    for name, p in method.denoiser.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(ours[name], p.grad, rtol=0, atol=1e-5 * p.grad.abs().max().item())
    assert all(p.grad is None for p in method.vae.parameters())


def test_the_first_batch_sets_the_scale_and_what_has_one_keeps_it(tmp_path: Path):
    method = make("LatentInpainting", latents.SMALL)
    trainer(tmp_path, max_steps=2).fit(method, batches(2))
    batch = next(iter(batches(1)))
    with torch.no_grad():
        drawn = method.encode(batch.image, Noise(keyed_generators(0, batch.name, 0)))
    assert method.scale != 1 and drawn.std().item() == pytest.approx(1, abs=0.05)
    path = saved(method, tmp_path / "first.ckpt")
    second = make("LatentInpainting", latents.SMALL | {"denoiser_checkpoint": str(path)})
    trainer(tmp_path, max_steps=1).fit(second, batches(1))
    assert torch.equal(second.scale, method.scale)


@whole_extra
def test_nine_channels_begin_as_the_four_that_they_were_whatever_the_hole(tmp_path: Path):
    four = latents.method(conditional=False)
    path = saved(four, tmp_path / "four.ckpt")
    for rank in (0, 2):
        nine = make("LatentInpainting", latents.SMALL | {"denoiser_checkpoint": str(path), "lora_rank": rank})
        nine.trainer = trainer(tmp_path)
        nine.setup("fit")
        z, told = torch.randn(2, 9, 16, 16), torch.zeros(2, 1, 8)
        t = torch.tensor([3, 500])
        assert torch.equal(nine.denoiser(z, t, told).sample, four.denoiser(z[:, :4], t, told).sample)
        assert torch.equal(nine.scale, four.scale)
    other = latents.SMALL["unet"] | {"block_out_channels": [16, 16]}
    wrong = make("LatentInpainting", latents.SMALL | {"unet": other, "denoiser_checkpoint": str(path)})
    wrong.trainer = trainer(tmp_path)
    with pytest.raises(ValueError, match=r"four.ckpt is another one .* give unet as it was trained"):
        wrong.setup("fit")


@whole_extra
def test_init_from_brings_the_networks_arguments_and_lets_channels_and_lora_be_added(tmp_path: Path):
    words, four = latents.text_folder(tmp_path / "words"), latents.method(conditional=False)
    path = saved(four, tmp_path / "four.ckpt")
    z, told, t = torch.randn(2, 9, 16, 16), torch.zeros(2, 1, 8), torch.tensor([3, 500])
    for given in ({"lora_rank": 2}, {"text_folder": str(words)}, {"conditional": False}):
        begun = make("LatentInpainting", latents.SMALL | given)
        load_weights(begun, path)
        ours = begun.denoiser(z if begun.conditional else z[:, :4], t, told).sample
        assert torch.equal(ours, four.denoiser(z[:, :4], t, told).sample)
        assert torch.equal(begun.scale, four.scale)
        assert torch.equal(begun.vae.quant_conv.weight, four.vae.quant_conv.weight)
    said = saved(latents.method(conditional=False, text_folder=str(words)), tmp_path / "said.ckpt")
    with pytest.raises(ValueError, match=r"told prompts of 77 tokens: .* as model\.init_args\.text_folder"):
        load_weights(make("LatentInpainting", latents.SMALL), said)
    nine = saved(latents.method(), tmp_path / "nine.ckpt")
    with pytest.raises(ValueError, match="conv_in"):  # channels are added, never dropped
        load_weights(make("LatentInpainting", latents.SMALL | {"conditional": False}), nine)
    with pytest.raises(ValueError, match=r"model\.init_args\.prediction is 'velocity'"):
        load_weights(make("LatentInpainting", latents.SMALL | {"prediction": "velocity"}), path)


def test_averages_begin_from_the_checkpoint_and_a_resumed_run_needs_it_no_more(tmp_path: Path):
    path = saved(latents.method(conditional=False), tmp_path / "four.ckpt")
    arguments = latents.SMALL | {"denoiser_checkpoint": str(path)}
    average = EMA(0.9)
    run = trainer(tmp_path, max_steps=1, callbacks=[average])
    run.fit(make("LatentInpainting", arguments | {"learning_rate": 0.0}), batches(1))
    begun = networks.widened(latents.method(conditional=False).denoiser.state_dict(), 9)
    torch.testing.assert_close(dict(average.average["denoiser"].state_dict()), begun)
    run.save_checkpoint(tmp_path / "last.ckpt")
    path.unlink()
    with pytest.raises(ValueError, match=r"there is no .*four.ckpt, from which this fit begins"):
        trainer(tmp_path, max_steps=1).fit(make("LatentInpainting", arguments), batches(1))
    resumed = trainer(tmp_path, max_steps=2, callbacks=[EMA(0.9)])
    resumed.fit(make("LatentInpainting", arguments), batches(2), ckpt_path=tmp_path / "last.ckpt")
    assert resumed.global_step == 2


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, pytest.param(4, marks=whole_extra)])
def test_200_steps_in_bf16_mixed_stay_finite(rank: int, tmp_path: Path):
    method = make("LatentInpainting", latents.SMALL | {"learning_rate": 1e-3, "lora_rank": rank})
    run = trainer(tmp_path, max_steps=200, precision="bf16-mixed")
    run.fit(method, batches(200))
    assert run.global_step == 200 and method.skipped == 0
    assert all(p.isfinite().all() for p in method.parameters())


def test_the_autoencoder_learns_and_leaves_its_average_to_the_denoiser(tmp_path: Path):
    stage = make("LatentAutoencoder", dict(STAGES)["LatentAutoencoder"] | {"learning_rate": 0.01})
    run = trainer(tmp_path, max_steps=10, callbacks=[EMA(0.5)])
    run.validate(stage, batches(1), verbose=False)
    before = run.callback_metrics["val/loss"].item()
    run.fit(stage, batches(10), batches(1))
    assert run.callback_metrics["val/loss"] < 0.8 * before
    run.save_checkpoint(tmp_path / "vae.ckpt")
    average = torch.load(tmp_path / "vae.ckpt", weights_only=True)["ema"]["vae"]
    method = make("LatentInpainting", latents.SMALL | {"vae_checkpoint": str(tmp_path / "vae.ckpt")})
    method.trainer = trainer(tmp_path)
    method.setup("fit")
    torch.testing.assert_close(dict(method.vae.state_dict()), average, rtol=0, atol=0)


def test_the_kl_term_is_that_of_diffusers():
    stage = LatentAutoencoder(**dict(STAGES)["LatentAutoencoder"]).double()
    image, _ = latents.known()
    with torch.no_grad():
        expected = stage.vae.encode(image.double()).latent_dist.kl().sum() / image.numel()
        assert stage._losses(image.double())[1].item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize(("dropout", "told"), [(0.0, 1), (1.0, 0)])
def test_dropped_prompts_are_the_empty_one(dropout: float, told: int, tmp_path: Path):
    method = make("LatentInpainting", latents.SMALL | {"prompt_dropout": dropout})
    method.context.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1))
    seen: list[Tensor] = []
    method.denoiser.register_forward_hook(lambda network, given, out: seen.append(given[2]))
    trainer(tmp_path, max_steps=2).fit(method, batches(2))
    assert len(seen) == 2 and all((context == told).all() for context in seen)


# ---- LoRA ------------------------------------------------------------------------------------------------------------


@whole_extra
def test_lora_trains_its_matrices_and_the_input_and_merged_equals_unmerged(tmp_path: Path):
    method = latents.method(lora_rank=3)
    trained = {name for name, p in method.denoiser.named_parameters() if p.requires_grad}
    assert trained and all(".lora_" in name or name.startswith("conv_in.") for name in trained)
    plain = networks.unet(latents.SMALL["unet"], 9, 4).eval()
    base = {ours: method.denoiser.state_dict()[name] for ours, name in networks.plain_names(method.denoiser).items()}
    z, t, told = torch.randn(2, 9, 16, 16), torch.tensor([3, 500]), torch.randn(2, 3, 8)
    with torch.no_grad():
        adapted = method.denoiser(z, t, told).sample
        plain.load_state_dict(networks.merged(method.denoiser))
        torch.testing.assert_close(plain(z, t, told).sample, adapted, rtol=0, atol=1e-5)
        plain.load_state_dict(base)
        assert (plain(z, t, told).sample - adapted).abs().max() > 1e-3
        torch.testing.assert_close(method.denoiser(z, t, told).sample, adapted, rtol=0, atol=0)  # merged in a copy
    loaded = load_method(saved(method, tmp_path / "lora.ckpt"))
    assert torch.equal(loaded.denoiser(z, t, told).sample, adapted)


# ---- diffusers' folders ----------------------------------------------------------------------------------------------


def pipeline_of(folder: Path) -> Any:
    from diffusers import StableDiffusionInpaintPipeline

    pipeline = StableDiffusionInpaintPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def filled(pipeline: Any, image: Tensor, mask: Tensor, **how: Any) -> Tensor:
    generators = keyed_generators(0, ["0", "1"], 0)
    out = pipeline(
        image=image, mask_image=mask, height=image.shape[-2], width=image.shape[-1], num_inference_steps=4,
        generator=generators, output_type="pt", **how,
    )  # fmt: skip
    return composite(out.images * 2 - 1, image, mask)


@whole_extra
@pytest.mark.parametrize(
    "arguments", [{}, {"prediction": "velocity", "lora_rank": 2}], ids=["epsilon", "velocity, LoRA"]
)
def test_diffusers_pipeline_opens_the_exported_folder_and_completes_the_same_images(
    arguments: dict[str, Any], tmp_path: Path
):
    method = latents.method(**arguments)
    path = saved(method, tmp_path / "x.ckpt")
    assert export([str(path), "--format", "official", "--out", str(tmp_path / "folder")]) == 0
    image, mask = latents.known()
    ours = LatentInpainting(**dict(method.hparams), sampler=STEPS).eval()
    ours.load_state_dict(method.state_dict())
    with torch.no_grad():
        expected = ours(image, mask, generators=keyed_generators(0, ["0", "1"], 0))
    found = filled(pipeline_of(tmp_path / "folder"), image, mask, prompt=["of nothing", ""], guidance_scale=1.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (expected - image).abs().max() > 0.1
    with pytest.raises(ValueError, match="folder exists; give another --out"):
        export([str(path), "--format", "official", "--out", str(tmp_path / "folder")])


@whole_extra
def test_a_folder_comes_back_with_its_text_encoder_and_guides_as_the_pipeline_does(tmp_path: Path):
    given = latents.text_folder(tmp_path / "text")
    method = latents.method(text_folder=str(given), prompt="ab c", guidance=2.5)
    method.trainer = trainer(tmp_path)
    method.setup("fit")
    assert (method.context[0] - method.context[1]).abs().max() > 1e-3
    path = saved(method, tmp_path / "x.ckpt")
    export([str(path), "--format", "official", "--out", str(tmp_path / "folder")])
    assert import_weights(["LatentInpainting", str(tmp_path / "folder"), "--out", str(tmp_path / "y.ckpt")]) == 0
    back = load_method(tmp_path / "y.ckpt")
    assert back.hparams["conditional"] and back.hparams["prediction"] == "epsilon"
    torch.testing.assert_close(back.scale, method.scale)
    torch.testing.assert_close(dict(back.denoiser.state_dict()), dict(method.denoiser.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(back.context[0], method.context[0])
    guided = LatentInpainting(**dict(method.hparams), sampler=STEPS).eval()
    guided.load_state_dict(method.state_dict())
    image, mask = latents.known()
    with torch.no_grad():
        expected = guided(image, mask, generators=keyed_generators(0, ["0", "1"], 0))
    found = filled(pipeline_of(tmp_path / "folder"), image, mask, prompt=["ab c"] * 2, guidance_scale=2.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@whole_extra
def test_what_was_told_prompts_is_published_without_the_folder_of_its_text(tmp_path: Path):
    words = latents.text_folder(tmp_path / "words")
    method = latents.method(text_folder=str(words))
    torch.nn.init.normal_(method.context)
    path, folder = saved(method, tmp_path / "told.ckpt"), tmp_path / "published"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"text_folder .* holds a path of this machine.*--drop text_folder"):
        _write_files(path, folder)
    config = _write_files(path, folder, ["text_folder"])
    assert "text_folder" not in config.hyper_parameters
    assert torch.equal(verified(path, config, folder).context, method.context)


def test_a_folder_by_its_relative_path_is_a_path_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("models/text").mkdir(parents=True)
    assert [is_path(text) for text in ("models/text", "models/none", "models")] == [True, False, False]


def test_folders_that_are_damaged_or_of_another_kind_are_refused(tmp_path: Path):
    folder, out = tmp_path / "folder", tmp_path / "y.ckpt"
    export([str(saved(latents.method(), tmp_path / "x.ckpt")), "--format", "official", "--out", str(folder)])

    def refused(said: str) -> None:
        with pytest.raises(ValueError, match=said):
            import_weights(["LatentInpainting", str(folder), "--out", str(out)])
        assert not out.exists()

    def changed(file: str, **values: Any) -> str:
        before = (folder / file).read_text()
        (folder / file).write_text(json.dumps(json.loads(before) | values))
        return before

    before = changed("scheduler/scheduler_config.json", beta_schedule="linear")
    refused("its scheduler has beta_schedule linear")
    (folder / "scheduler/scheduler_config.json").write_text(before)
    before = changed("vae/config.json", shift_factor=0.1)
    refused("its autoencoder has shift_factor 0.1")
    (folder / "vae/config.json").write_text(before)
    before = changed("model_index.json", unet=["diffusers", "UNet2DModel"])
    refused("its unet is a UNet2DModel; expected a UNet2DConditionModel")
    (folder / "model_index.json").write_text(before)
    before = changed("unet/config.json", in_channels=7)
    refused("its denoiser takes 7 channels and returns 4")
    (folder / "unet/config.json").write_text(before)
    before = changed("unet/config.json", magic=1)
    refused("UNet2DConditionModel of diffusers has no argument 'magic'")
    (folder / "unet/config.json").write_text(before)
    (folder / "model_index.json").write_text("{")
    refused("model_index.json is not JSON")
    (folder / "model_index.json").write_text(json.dumps({"../vae": ["diffusers", "AutoencoderKL"]}))
    refused("names a part '../vae'")


@whole_extra
def test_only_safetensors_are_read_and_names_of_2022_are_known(tmp_path: Path):
    folder, out = tmp_path / "folder", tmp_path / "y.ckpt"
    method = latents.method()
    export([str(saved(method, tmp_path / "x.ckpt")), "--format", "official", "--out", str(folder)])
    tensors = folder / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(tensors)
    for new, name in old.items():
        state = {k.replace(f".{new}.", f".{name}."): v for k, v in state.items()}
    assert any(".proj_attn." in name for name in state)
    save_file({name: value.half() for name, value in state.items()}, tensors)
    import_weights(["LatentInpainting", str(folder), "--out", str(out)])
    back = load_method(out)
    torch.testing.assert_close(dict(back.vae.state_dict()), dict(method.vae.state_dict()), rtol=1e-3, atol=1e-3)
    assert back.text_folder is None and not back.context.any()
    assert back.vae.dtype == torch.float32
    tensors.rename(tensors.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(ValueError, match=r"holds diffusion_pytorch_model.bin. Only safetensors in one file are read"):
        import_weights(["LatentInpainting", str(folder), "--out", str(tmp_path / "z.ckpt")])


# ---- inpainting ------------------------------------------------------------------------------------------------------


def test_repaint_of_the_unconditional_model_keeps_latents_that_saw_no_hole():
    method = latents.method(conditional=False, sampler=RePaint(4, 1, 2))
    image, mask = latents.known()
    kept: list[Tensor] = []
    decode = method.vae.decode
    with torch.no_grad(), patch.object(method.vae, "decode", lambda z: kept.append(z) or decode(z)):
        method(image, mask, generators=keyed_generators(0, ["0", "1"], 0))
        known = method.encode(erase(image, mask), Noise(keyed_generators(0, ["0", "1"], 0)))
    hole = networks.latent_hole(mask, known.shape[-2:])
    assert hole.sum() > torch.nn.functional.interpolate(mask, known.shape[-2:]).sum()  # a border pixel is enough
    away = (hole == 0).expand_as(known)
    near, far = ((kept[0] * method.scale - known).abs()[where].mean() for where in (away, ~away))
    assert near < 0.3 * far  # the last step's noise is all that is left


def test_samplers_are_those_of_the_kind_and_never_clip_latents():
    method = latents.method(sampler=DDIM(3))
    made = Mock(wraps=Denoiser)
    with patch("lit_inpaint.diffusion.samplers.base.Denoiser", made), torch.no_grad():
        method(*latents.known())
        method.sampler = RePaint(3, 1, 1)  # as `benchmark --sampler` chooses one
        method(*latents.known())
    assert [call.args[3] for call in made.call_args_list] == [False, False]
    with pytest.raises(
        ValueError,
        match="not told the known part; give LatentInpainting another sampler",
    ):
        latents.method(sampler=RePaint(3))
    with pytest.raises(ValueError, match="DDIM is for denoisers that are told the known part"):
        latents.method(conditional=False, validation_sampler=DDIM(3))


@pytest.mark.parametrize(
    ("package", "arguments", "said"),
    [
        ("diffusers", {}, "AutoencoderKL needs diffusers"),
        ("peft", {"lora_rank": 2}, "lora_rank needs peft"),
    ],
)
def test_an_absent_package_is_one_line_that_names_the_extra(package: str, arguments: dict[str, Any], said: str):
    latents.method()  # diffusers is imported when it is used, and looks for peft then
    with (
        patch.dict(sys.modules, {package: None}),
        pytest.raises(ValueError, match=rf"^{said}: pip install 'lit-inpaint\[diffusers\]'\.$"),
    ):
        LatentInpainting(**latents.SMALL | arguments)


def test_an_absent_package_is_one_line_of_fit(tmp_path: Path):
    code = "import sys; sys.modules['diffusers'] = None; from experiments.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["fit", "--config", "latent_inpainting/drawn_faces64_autoencoder"]
    ended = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode and "Traceback" not in ended.stderr
    line = "lit-inpaint: AutoencoderKL needs diffusers: pip install 'lit-inpaint[diffusers]'."
    assert ended.stderr.splitlines()[-1] == line


def test_methods_lists_it_without_its_networks_where_diffusers_is_absent():
    with patch.dict(sys.modules, {"diffusers": None}):
        (row,) = (row for row in describe() if row["name"] == "LatentInpainting")
    assert row["networks"] == {} and row["exports"] == ["diffusers"]


def test_an_absent_transformers_is_one_line_that_names_the_extra(tmp_path: Path):
    method = latents.method(text_folder=str(tmp_path))
    method.trainer = trainer(tmp_path)
    with (
        patch.dict(sys.modules, {"transformers": None}),
        pytest.raises(ValueError, match="needs transformers: pip install"),
    ):
        method.setup("fit")
