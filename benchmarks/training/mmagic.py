"""open-mmlab/mmagic: ``train_step`` of its inpaintors, built from its configurations with few channels."""

import contextlib
import importlib
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from benchmarks import programs
from benchmarks.published import stand_in
from benchmarks.training.steps import Pair, State, eighth, images, settle, unequal
from lit_inpaint.methods import AOTGAN, GLCIC, PartialConv
from lit_inpaint.methods.aotgan import weights as aotgan_weights
from lit_inpaint.methods.glcic import weights as glcic_weights
from lit_inpaint.methods.partial_conv import weights as partial_conv_weights
from masks.convention import InpaintingBatch


class _Wrapper:
    """``OptimWrapper`` of one optimiser without accumulation or mixed precision."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, later: list[Callable[[], Any]] | None = None, share: float = 1.0
    ) -> None:
        self.share = share
        self.zero_grad, self.step = optimizer.zero_grad, optimizer.step
        if later is not None:
            self.zero_grad, self.step = lambda: None, lambda: later.extend((optimizer.step, optimizer.zero_grad))

    def backward(self, loss: Tensor) -> None:
        (self.share * loss).backward()


def inpaintor(public: Path, config: str, folder: str, narrow: bool = True, **changed: Any) -> Any:
    """The inpaintor of a configuration, whose class is in a folder of ``mmagic.models.editors``, with its networks and
    losses, without data sets and runner."""
    root = programs.mmagic_packages(public)
    for package in ("base_models", "losses", "data_preprocessors", "utils", "editors.aotgan"):
        module = sys.modules[f"mmagic.models.{package}"] = type(sys)(f"mmagic.models.{package}")
        module.__path__ = [str(root / "mmagic/models" / package.replace(".", "/"))]
    stand_in("mmagic.utils", "mmagic.structures", "mmagic.utils.typing")
    for part in ("model_utils", "bbox_utils"):
        vars(sys.modules["mmagic.models.utils"]).update(vars(importlib.import_module(f"mmagic.models.utils.{part}")))
    for part in ("linear_module", "multi_layer_disc", "smpatch_disc"):
        vars(sys.modules["mmagic.models.archs"]).update(vars(importlib.import_module(f"mmagic.models.archs.{part}")))
    for loss in ("pixelwise_loss", "gan_loss", "composition_loss", "perceptual_loss", "loss_wrapper"):
        importlib.import_module(f"mmagic.models.losses.{loss}")
    for part, base in (("one_stage", "OneStageInpaintor"), ("two_stage", "TwoStageInpaintor")):
        made = getattr(importlib.import_module(f"mmagic.models.base_models.{part}"), base)
        vars(sys.modules["mmagic.models.base_models"])[base] = made
    gl = importlib.import_module("mmagic.models.editors.global_local.gl_encoder_decoder")
    vars(sys.modules["mmagic.models.editors.global_local"])["GLEncoderDecoder"] = gl.GLEncoderDecoder
    for path in sorted((root / "mmagic/models/editors" / folder).glob("*.py")):
        if not path.stem.endswith("__"):
            importlib.import_module(f"mmagic.models.editors.{folder}.{path.stem}")
    arguments = runpy.run_path(str(root / config))["model"] | changed
    cls = importlib.import_module("mmagic.registry").MODELS.get(arguments.pop("type"))
    settings = SimpleNamespace(**arguments.pop("train_cfg", {"disc_step": 1, "start_iter": 0}))
    with eighth() if narrow else contextlib.nullcontext():
        made = cls(**(programs.on_one_device(arguments) | {"data_preprocessor": None, "train_cfg": settings}))
    del made.data_preprocessor
    made.data_preprocessor = lambda data, training: data
    return made


def beside(
    made: Any,
    ours: Any,
    convert: Callable[[State], State],
    terms: dict[str, tuple[str, float]],
    boxes: Any = None,
    rate: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    size: int = 64,
    discriminator_last: bool = False,
    rgb: bool = False,
    mask: Tensor | None = None,
    share: float = 1.0,
    cycle: int = 1,
) -> Pair:
    """Its ``train_step`` on one batch; ``terms``: our name of each, its name (or several) and weight; ``share``: of the
    discriminator's loss that is taken."""
    image, mask = images(size), unequal(size) if mask is None else mask
    fed = image if rgb else image.flip(1)
    networks = {"generator": made.generator} | ({"disc": made.disc} if hasattr(made, "disc") else {})
    later: list[Callable[[], Any]] = []
    waits = {"disc": later} if discriminator_last else {}
    shares = {"disc": share}
    wrappers = {
        r: _Wrapper(Adam(net.parameters(), rate, betas), waits.get(r), shares.get(r, 1.0))
        for r, net in networks.items()
    }
    given = wrappers if "disc" in networks else wrappers["generator"]

    def step() -> dict[str, Any]:
        samples = SimpleNamespace(gt_img=fed, mask=mask, metainfo={"mask_bbox": boxes})
        said = made.train_step({"inputs": fed * (1 - mask), "data_samples": samples}, given)
        while later:
            later.pop(0)()
        return {k: sum(float(said[x]) for x in names.split()) / weight for k, (names, weight) in terms.items()}

    def converted(states: dict[str, State]) -> State:
        return convert({f"{role}.{name}": v for role, state in states.items() for name, v in state.items()})

    return Pair(
        ours, InpaintingBatch(image, mask, [""] * 2), networks, converted, step, cycle, settle=lambda: settle(made.disc)
    )


def mmagic_aot(public: Path, own: bool = False) -> Pair:
    """AOTInpaintor. Its discriminator steps first, ours second: unless ``own``, its step waits for the generator's."""
    small: Any = {
        "encdec": {
            "type": "AOTEncoderDecoder",
            "encoder": {"type": "AOTEncoder"},
            "decoder": {"type": "AOTDecoder"},
            "dilation_neck": {"type": "AOTBlockNeck", "num_aotblock": 1},
        }
    }
    made = inpaintor(public, "configs/aot_gan/aot-gan_smpgan_4xb4_places-512x512.py", "aotgan", **small)
    settle(made.disc)
    ours = AOTGAN(8, 1, discriminator_width=8, variant="mmagic")
    terms = {
        "l1": ("loss_l1_valid", 1.0), "perceptual": ("loss_out_percep", 0.1), "style": ("loss_out_style", 250.0),
        "adversarial": ("loss_g_fake", 0.01),
    }  # fmt: skip
    return beside(
        made, ours, lambda state: aotgan_weights.convert({"state_dict": state}, "mmagic")["state_dict"], terms,
        betas=(0.0, 0.9), size=48, discriminator_last=not own, rgb=True,
    )  # fmt: skip


def mmagic_aot_own(public: Path) -> Pair:
    """In its own order."""
    return mmagic_aot(public, own=True)


def mmagic_pconv(public: Path) -> Pair:
    """PConvInpaintor, fine-tuning: the encoder's batch norms frozen."""
    changed: Any = {
        "encdec": {
            "type": "PConvEncoderDecoder",
            "encoder": {"type": "PConvEncoder", "norm_cfg": {"type": "BN", "requires_grad": False}, "norm_eval": True,
                        "num_layers": 4},
            "decoder": {"type": "PConvDecoder", "norm_cfg": {"type": "BN"}, "num_layers": 4},
        }
    }  # fmt: skip
    made = inpaintor(public, "configs/_base_/models/base_pconv.py", "pconv", **changed)
    made.train()
    ours = PartialConv(4, 8, pixels="signed", stage=2, learning_rate=5e-5)
    return beside(
        made, ours, lambda state: partial_conv_weights.convert({"state_dict": state}, "mmagic")["state_dict"], {},
        rate=5e-5,
    )  # fmt: skip


def mmagic_gl(public: Path) -> Pair:
    """GLInpaintor in its third phase, with its 1024 features of either branch."""
    norm: Any = {"type": "BN"}
    changed: Any = {
        "disc": {
            "type": "GLDiscs",
            "global_disc_cfg": {
                "in_channels": 3, "max_channels": 512, "fc_in_channels": 8192, "fc_out_channels": 1024, "num_convs": 4,
                "norm_cfg": norm,
            },
            "local_disc_cfg": {
                "in_channels": 3, "max_channels": 512, "fc_in_channels": 4096, "fc_out_channels": 1024, "num_convs": 3,
                "norm_cfg": norm,
            },
        },
        "train_cfg": {"disc_step": 1, "start_iter": 0, "iter_tc": -1, "iter_td": -1, "local_size": (32, 32)},
    }  # fmt: skip
    made = inpaintor(public, "configs/_base_/models/base_gl.py", "global_local", **changed)
    ours = GLCIC(0, 0, 64, 32, 8, 128, variant="mmagic")
    terms = {"completion": ("loss_l1_hole", 1.0), "adversarial": ("loss_g_fake", 0.001)}
    boxes = [[8, 16, 24, 32], [32, 32, 16, 8]]  # top, left, height and width of the holes of unequal()
    return beside(made, ours, _glcic, terms, boxes, rate=4e-4)


def _glcic(state: State) -> State:
    out = dict(glcic_weights.convert({"state_dict": state}, "mmagic")["state_dict"])
    for ours, theirs in (("whole", "global_disc"), ("local", "local_disc")):
        for i in range(4 if ours == "whole" else 3):
            conv = f"disc.{theirs}.conv{i + 1}"
            weight = state[f"{conv}.conv.weight"]
            out[f"discriminator.{ours}.layers.{i}.conv.weight"] = weight[:, [2, 1, 0]] if i == 0 else weight
            for name, value in state.items():
                if name.startswith(f"{conv}.bn."):
                    out[f"discriminator.{ours}.layers.{i}.norm.{name.removeprefix(f'{conv}.bn.')}"] = value
            bias = f"{conv}.conv.bias"
            out[f"discriminator.{ours}.layers.{i}.conv.bias"] = state.get(bias, torch.zeros(len(weight)))
        for kind in ("weight", "bias"):
            out[f"discriminator.{ours}.linear.{kind}"] = state[f"disc.{theirs}.fc.linear.{kind}"]
    for kind in ("weight", "bias"):
        out[f"discriminator.linear.{kind}"] = state[f"disc.fc.{kind}"]
    return out
