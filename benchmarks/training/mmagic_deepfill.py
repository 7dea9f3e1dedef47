"""open-mmlab/mmagic, DeepFill v1 and v2: ``train_step`` of their inpaintors, a quarter and an eighth of the channels.

Their discriminators have no option for fewer channels and keep them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.training.mmagic import beside, inpaintor
from benchmarks.training.steps import Pair, State, settle, unequal
from lit_inpaint.discriminators import SNPatchGAN
from lit_inpaint.losses.wasserstein import gradient_penalty
from lit_inpaint.methods import DeepFillV1, DeepFillV2
from lit_inpaint.methods.deepfillv1 import weights as deepfillv1_weights
from lit_inpaint.methods.deepfillv1.networks import Discriminator
from lit_inpaint.methods.deepfillv2 import weights as deepfillv2_weights

SIZE, LOCAL = 80, 32  # its padding mirrors 64 px


def _generator(factor: float, **layer: Any) -> dict[str, Any]:
    """``encdec`` of base_deepfillv1.py or, with gated convolutions, base_deepfillv2.py."""
    width = int(128 * factor)
    last = {"out_act_cfg": {"type": "Tanh"}} if layer else {}

    def part(kind: str, **options: Any) -> dict[str, Any]:
        return {"type": kind, "padding_mode": "reflect"} | layer | options

    neck = part("GLDilationNeck", in_channels=width, act_cfg={"type": "ELU"})
    encoders = [
        part("DeepFillEncoder", channel_factor=factor, encoder_type=f"stage{x}") for x in ("1", "2_attention", "2_conv")
    ]
    factors = factor, factor / 0.75 if layer else factor  # the second decoder of base_deepfillv2.py has none
    decoders = [
        part("DeepFillDecoder", channel_factor=x, in_channels=i * width, **last) for i, x in enumerate(factors, 1)
    ]
    refiner = {
        "type": "DeepFillRefiner", "encoder_attention": encoders[1], "encoder_conv": encoders[2], "dilation_neck": neck,
        "contextual_attention": part("ContextualAttentionNeck", in_channels=width), "decoder": decoders[1],
    }  # fmt: skip
    coarse = {"type": "GLEncoderDecoder", "encoder": encoders[0], "decoder": decoders[0], "dilation_neck": neck}
    return {"type": "DeepFillEncoderDecoder", "stage1": coarse, "stage2": refiner}


def mmagic_deepfillv2(public: Path, own: bool = False) -> Pair:
    """TwoStageInpaintor. Unless ``own``, its weights of hole and known pixels are their shares, so that the two are the
    mean over all pixels, that of the adversarial loss is 1, and its hinge loss is halved; ours has its discriminator's
    padding, which is alike at both ends."""
    shares = unequal(SIZE).mean().item()
    weights: Any = {} if own else {
        "loss_gan": {"type": "GANLoss", "gan_type": "hinge", "loss_weight": 1.0},
        "loss_l1_hole": {"type": "L1Loss", "loss_weight": shares},
        "loss_l1_valid": {"type": "L1Loss", "loss_weight": 1 - shares},
    }  # fmt: skip
    made = inpaintor(
        public, "configs/_base_/models/base_deepfillv2.py", "deepfillv2", narrow=False,
        encdec=_generator(0.1875, conv_type="gated_conv"), **weights,
    )  # fmt: skip
    settle(made.disc)
    ours = DeepFillV2(12, 64, variant="mmagic", betas=(0.9, 0.999), adversarial_weight=0.1 if own else 1.0)
    if not own:
        ours.discriminator = SNPatchGAN(4, 64, "symmetric")
    l1 = {
        f"l1_{name}": (f"stage{i}_loss_l1_hole stage{i}_loss_l1_valid", 1.0)
        for i, name in ((1, "coarse"), (2, "refined"))
    }
    terms = l1 | {"adversarial": ("stage2_loss_g_fake", ours.adversarial_weight)}

    def convert(state: State) -> State:
        out = dict(deepfillv2_weights.convert({"state_dict": state}, "mmagic")["state_dict"])
        for i in range(1, 7):
            conv, name = f"disc.conv{i}.conv", f"discriminator.conv{i}"
            weight = state[f"{conv}.weight_orig"]
            out[f"{name}.weight"] = weight[:, [2, 1, 0, 3]] if i == 1 else weight
            out[f"{name}.bias"], out[f"{name}.u"] = state[f"{conv}.bias"], state[f"{conv}.weight_u"]
        return out

    return beside(made, ours, convert, terms, size=SIZE, share=1.0 if own else 0.5)


def mmagic_deepfillv2_own(public: Path) -> Pair:
    """With its own losses and our discriminator."""
    return mmagic_deepfillv2(public, own=True)


def mmagic_deepfillv1(public: Path, own: bool = False) -> Pair:
    """DeepFillv1Inpaintor, one step of its discriminators for one of its generator.

    Unless ``own``, its gradient penalty is the authors', it has no shift loss, and its discriminators are the authors'
    but for their padding, which ours has too: LeakyReLU and no activation at the end.
    """
    corners = ((16, 24), (40, 8))
    mask = torch.zeros(2, 1, SIZE, SIZE)
    for x, (top, left) in zip(mask, corners, strict=True):
        x[:, top : top + LOCAL, left : left + LOCAL] = 1
    judges = {
        f"{name}_disc_cfg": {
            "type": "MultiLayerDiscriminator", "in_channels": 3, "max_channels": channels, "num_convs": 4,
            "fc_in_channels": channels * (side // 16) ** 2, "fc_out_channels": 1, "norm_cfg": None,
            "act_cfg": {"type": "ELU"} if own else {"type": "LeakyReLU", "negative_slope": 0.2},
            "out_act_cfg": {"type": "LeakyReLU", "negative_slope": 0.2} if own else None,
        }
        for name, channels, side in (("global", 256, SIZE), ("local", 512, LOCAL))
    }  # fmt: skip
    changed: Any = {
        "encdec": _generator(0.25),
        "disc": {"type": "DeepFillv1Discriminators"} | judges,
        "train_cfg": {"disc_step": 1, "start_iter": 0, "local_size": (LOCAL, LOCAL)},
    } | ({} if own else {"loss_disc_shift": None})  # fmt: skip
    made = inpaintor(public, "configs/_base_/models/base_deepfillv1.py", "deepfillv1", narrow=False, **changed)
    ours = DeepFillV1(
        8, 64, SIZE, LOCAL, "mmagic", gamma=1.0, discriminator_updates=1, adversarial_weight=1e-4, hole_weight=1.0,
        known_weight=1.0, coarse_weight=1.0, betas=(0.9, 0.999),
    )  # fmt: skip
    if not own:
        del made.loss_gp
        made.loss_gp = _penalty
        ours.discriminator_global = Discriminator(SIZE, 64, 4, "daa233")
        ours.discriminator_local = Discriminator(LOCAL, 64, 8, "daa233")
    terms = {
        "hole": ("stage1_loss_l1_hole stage2_loss_l1_hole", 1.0),
        "known": ("stage1_loss_l1_valid stage2_loss_l1_valid", 1.0),
        "adversarial": ("stage2_loss_g_fake", 1e-4),
        "penalty": ("loss_gp_global loss_gp_local", 10.0),
    }

    def convert(state: State) -> State:
        out = dict(deepfillv1_weights.convert({"state_dict": state}, "mmagic")["state_dict"])
        for name in ("global", "local"):
            ours, theirs = f"discriminator_{name}", f"disc.{name}_disc"
            for kind in ("weight", "bias"):
                for i in range(4):
                    value = state[f"{theirs}.conv{i + 1}.conv.{kind}"]
                    out[f"{ours}.layers.{i}.{kind}"] = value[:, [2, 1, 0]] if (i, kind) == (0, "weight") else value
                out[f"{ours}.linear.{kind}"] = state[f"{theirs}.fc.linear.{kind}"]
        return out

    boxes = [[*corner, LOCAL, LOCAL] for corner in corners]
    return beside(made, ours, convert, terms, boxes, size=SIZE, mask=mask, cycle=2)


def _penalty(network: nn.Module, real: Tensor, fake: Tensor, mask: Tensor | None = None) -> Tensor:
    return 10 * gradient_penalty(network, real, fake, mask)


def mmagic_deepfillv1_own(public: Path) -> Pair:
    """With its own discriminators and penalty."""
    return mmagic_deepfillv1(public, own=True)
