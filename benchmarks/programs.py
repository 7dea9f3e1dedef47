"""Networks of published programs with the calls that their own scripts make, run from checkouts; nothing is kept here.

Each function takes the folder with the checkouts and returns the :class:`Program` at its published size.
"""

import importlib
import runpy
import sys
import types
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.published import checkout, lama_generator
from lit_inpaint.module import InpaintingModule
from masks.convention import erase

Complete = Callable[[Tensor, Tensor], Tensor]  # image (1, 3, H, W) in [-1, 1] and mask (1, 1, H, W), 1 = hole


class Program(NamedTuple):
    """A published network, its call, and where its weights stand in its files."""

    network: nn.Module
    complete: Complete
    entry: str | None = None
    prefix: str = ""
    ours: Callable[[InpaintingModule], Complete] = lambda method: method.predict

    def file(self) -> dict[str, Any]:
        """What the program's own checkpoint holds."""
        state = {self.prefix + name: value for name, value in self.network.state_dict().items()}
        return {self.entry: state} if self.entry else state

    def load(self, file: dict[str, Any]) -> None:
        """As the program loads its generator, ``strict=True``."""
        state = file[self.entry] if self.entry else file
        own = {k.removeprefix(self.prefix): v for k, v in state.items() if k.startswith(self.prefix)}
        self.network.load_state_dict(own, strict=True)


def boyuanjiang(public: Path) -> Program:
    """BoyuanJiang/context_encoder_pytorch, test.py: all of the hole but a border of 4 pixels is filled."""
    checkout(public, "BoyuanJiang/context_encoder_pytorch", "old_way_p.py")
    options = SimpleNamespace(ngpu=0, nc=3, nef=64, ngf=64, nBottleneck=4000)
    network = importlib.import_module("model")._netG(options)

    def complete(image: Tensor, mask: Tensor) -> Tensor:
        filled = image.clone()
        filled[:, :, 36:92, 36:92] = 2 * torch.tensor([117.0, 104.0, 123.0]).view(3, 1, 1) / 255 - 1
        return network(filled)

    return Program(
        network, complete, "state_dict", ours=lambda method: lambda *given: method.predict(*given)[..., 32:96, 32:96]
    )


def otenim(public: Path) -> Program:
    """otenim/GLCIC-PyTorch, predict.py, before it blends. Its ``mpv`` is the mean that ours has."""
    checkout(public, "otenim/GLCIC-PyTorch", "datasets/make_dataset.py")
    network = importlib.import_module("models").CompletionNetwork()
    mpv = torch.tensor([0.4578, 0.4413, 0.4078]).view(3, 1, 1)

    def complete(image: Tensor, mask: Tensor) -> Tensor:
        x = (image + 1) / 2
        return 2 * network(torch.cat([x - x * mask + mpv * mask, mask], 1)) - 1

    return Program(network, complete)


def daa233(public: Path) -> Program:
    """daa233/generative-inpainting-pytorch, test_single.py."""
    checkout(public, "daa233/generative-inpainting-pytorch", "utils/tools.py")
    network = importlib.import_module("model.networks").Generator({"input_dim": 3, "ngf": 32}, False, None)
    return Program(network, lambda image, mask: network(erase(image, mask), mask)[1])


def nipponjo(public: Path, networks: str = "networks") -> Program:
    """nipponjo/deepfillv2-pytorch, test.py."""
    checkout(public, "nipponjo/deepfillv2-pytorch", "configs/train-places.yaml")
    network = importlib.import_module(f"model.{networks}").Generator(cnum_in=5, cnum=48, return_flow=False)
    return Program(network, lambda image, mask: network(_with_ones(erase(image, mask), mask), mask)[1], "G")


def nipponjo_tf(public: Path) -> Program:
    """The same with the networks for TensorFlow's weights."""
    return nipponjo(public, "networks_tf")


def naoto0804(public: Path) -> Program:
    """naoto0804/pytorch-inpainting-with-partial-conv, test.py."""
    checkout(public, "naoto0804/pytorch-inpainting-with-partial-conv", "places2.py")
    options, network = importlib.import_module("opt"), importlib.import_module("net").PConvUNet()
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (options.MEAN, options.STD))

    def complete(image: Tensor, mask: Tensor) -> Tensor:
        known = (1 - mask).expand(-1, 3, -1, -1)
        output, _ = network(((image + 1) / 2 - mean) / std * known, known)
        return 2 * (output * std + mean) - 1

    return Program(network, complete, "model")


def aotgan(public: Path) -> Program:
    """researchmm/AOT-GAN-for-Inpainting, src/test.py."""
    checkout(public, "researchmm/AOT-GAN-for-Inpainting", "trainer/trainer.py")
    options = SimpleNamespace(rates=[1, 2, 4, 8], block_num=8)
    network = importlib.import_module("model.aotgan").InpaintGenerator(options)
    return Program(network, lambda image, mask: network(erase(image, mask) + mask, mask))


def lama(public: Path) -> Program:
    """advimman/lama, Big LaMa: images in [0, 1]."""
    network, _ = lama_generator(public)

    def complete(image: Tensor, mask: Tensor) -> Tensor:
        return 2 * network(torch.cat([erase((image + 1) / 2, mask), mask], 1)) - 1

    return Program(network, complete, "state_dict", "generator.")


def guided_diffusion(public: Path) -> Program:
    """openai/guided-diffusion: the denoiser of ffhq_10m at t = 500, which completes nothing by itself."""
    checkout(public, "openai/guided-diffusion", "guided_diffusion/train_util.py")
    script, t = importlib.import_module("guided_diffusion.script_util"), torch.tensor([500])
    network = script.create_model(
        256, 128, 1, attention_resolutions="16", num_head_channels=64, learn_sigma=True, resblock_updown=True,
        use_scale_shift_norm=True,
    )  # fmt: skip
    return Program(
        network,
        lambda image, mask: network(image, t),
        ours=lambda method: lambda image, mask: method.get_submodule("denoiser")(image, t),
    )


def janspiry_network(public: Path, **smaller: Any) -> nn.Module:
    """Janspiry/Palette-Image-to-Image-Diffusion-Models, the network of config/inpainting_celebahq.json in training."""
    checkout(public, "Janspiry/Palette-Image-to-Image-Diffusion-Models", "models/guided_diffusion_modules/unet.py")
    unet = {
        "in_channel": 6, "out_channel": 3, "inner_channel": 64, "channel_mults": [1, 2, 4, 8], "attn_res": [16],
        "num_head_channels": 32, "res_blocks": 2, "dropout": 0.2, "image_size": 256,
    }  # fmt: skip
    schedules = {
        "train": {"schedule": "linear", "n_timestep": 2000, "linear_start": 1e-6, "linear_end": 0.01},
        "test": {"schedule": "linear", "n_timestep": 1000, "linear_start": 1e-4, "linear_end": 0.09},
    }
    made = importlib.import_module("models.network").Network(unet | smaller, schedules, "guided_diffusion")
    made.set_new_noise_schedule(torch.device("cpu"), "train")
    return made


def janspiry(public: Path) -> Program:
    """The same at gamma 0.5: the denoiser, which completes nothing in one call."""
    network, gamma = janspiry_network(public), torch.tensor([0.5])
    noise = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(2))

    def inputs(image: Tensor, mask: Tensor) -> Tensor:
        return torch.cat([image * (1 - mask) + mask * noise, image], 1)

    return Program(
        network,
        lambda image, mask: network.get_submodule("denoise_fn")(inputs(image, mask), gamma[:, None]),
        ours=lambda method: lambda image, mask: method.get_submodule("denoiser")(inputs(image, mask), gamma),
    )


def mmagic_gl(public: Path) -> Program:
    """open-mmlab/mmagic, GLInpaintor."""
    return _mmagic(public, "gl", lambda network, x, mask: network(torch.cat([x, mask], 1)))


def mmagic_deepfillv1(public: Path) -> Program:
    """open-mmlab/mmagic, DeepFillv1Inpaintor."""
    return _mmagic(public, "deepfillv1", lambda network, x, mask: network(_with_ones(x, mask))[1])


def mmagic_deepfillv2(public: Path) -> Program:
    """open-mmlab/mmagic, TwoStageInpaintor."""
    return _mmagic(public, "deepfillv2", lambda network, x, mask: network(_with_ones(x, mask))[1])


def mmagic_pconv(public: Path) -> Program:
    """open-mmlab/mmagic, PConvInpaintor."""
    return _mmagic(public, "pconv", lambda network, x, mask: network(x, (1 - mask).expand_as(x))[0])


def mmagic_packages(public: Path) -> Path:
    """Networks of mmagic importable without the rest of the package, which wants old libraries; its root."""
    root = checkout(public, "open-mmlab/mmagic", "configs/_base_/models/base_gl.py")
    folders = ["deepfillv1", "deepfillv2", "global_local", "pconv"]
    for package in ("", ".models", ".models.archs", ".models.editors", *(f".models.editors.{x}" for x in folders)):
        module = sys.modules[f"mmagic{package}"] = types.ModuleType(f"mmagic{package}")
        module.__path__ = [str(root / f"mmagic{package}".replace(".", "/"))]
    importlib.import_module("mmagic.models.archs.conv")
    gated = importlib.import_module("mmagic.models.archs.gated_conv_module")
    vars(sys.modules["mmagic.models.archs"])["SimpleGatedConvModule"] = gated.SimpleGatedConvModule
    for path in sorted(path for x in folders for path in (root / "mmagic/models/editors" / x).glob("*_*.py")):
        if not path.stem.endswith(("__", "_inpaintor", "_disc")):
            importlib.import_module(f"mmagic.models.editors.{path.parent.name}.{path.stem}")
    importlib.import_module("mmengine.registry").DefaultScope.get_instance("parity", scope_name="mmagic")
    return root


def _mmagic(public: Path, name: str, call: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Program:
    """The network of its own configuration, fed BGR."""
    root = mmagic_packages(public)
    config = runpy.run_path(str(root / f"configs/_base_/models/base_{name}.py"))["model"]["encdec"]
    network = importlib.import_module("mmagic.registry").MODELS.build(on_one_device(config))
    return Program(
        network, lambda image, mask: call(network, erase(image, mask).flip(1), mask).flip(1), "state_dict", "generator."
    )


def on_one_device(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration of mmagic with plain batch norm."""
    found = {k: on_one_device(v) if isinstance(v, dict) else v for k, v in config.items()}
    return found | {"type": "BN"} if found.get("type") == "SyncBN" else found


def _with_ones(erased: Tensor, mask: Tensor) -> Tensor:
    return torch.cat([erased, torch.ones_like(mask), mask], 1)
