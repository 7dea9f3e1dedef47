"""Published weights of DeepFill v1: daa233's PyTorch files."""

from typing import Any

from lit_inpaint.methods.deepfillv1.networks import Discriminator, Generator
from lit_inpaint.module import InpaintingModule

State = dict[str, Any]
# Our attribute, the port's attribute, and its prefix in files that hold the whole trainer (torch_model.p).
_CRITICS = {"localD": "discriminator_local", "globalD": "discriminator_global"}


def detect(state: State) -> str | None:
    """The format of a loaded file: "daa233" (gen_*.pt), "daa233_discriminator" (dis_*.pt), "daa233_converted"
    (torch_model.p: TensorFlow's weights under the port's names), or None."""
    if "netG.coarse_generator.conv1.conv.weight" in state:
        return "daa233_converted"
    if "coarse_generator.conv1.conv.weight" in state:
        return "daa233"
    if set(_CRITICS) <= set(state):
        return "daa233_discriminator"
    return None


def convert(state: State, format: str) -> dict[str, Any]:
    """Class arguments, state_dict and contract, so that DeepFillV1 computes what the source program computes.

    Args:
        state: The file as loaded.
        format: One that :func:`detect` returns. Weights that TensorFlow trained want its padding and attention
            ("official"), those that the port trained want the port's.

    Returns:
        ``method``, ``hyper_parameters``, ``state_dict`` and ``contract`` (plain values only).
    """
    converted = format == "daa233_converted"
    arguments: dict[str, Any] = {"variant": "official" if converted else "daa233"}
    out: dict[str, Any] = {}
    if format in ("daa233", "daa233_converted"):
        prefix = "netG." if converted else ""
        out = {ours: state[prefix + theirs] for ours, theirs in _names().items()}
        arguments["width"] = len(out["generator.conv1.weight"])
        if converted:
            _swap_red_and_blue(out)
    elif format == "daa233_discriminator":
        for theirs, ours in _CRITICS.items():
            source = state[theirs]
            for name, _ in Discriminator(16, 1).named_parameters():  # layers.0.weight, ..., linear.bias
                kind, *rest = name.split(".")
                their_name = f"dis_conv_module.conv{int(rest[0]) + 1}.conv.{rest[1]}" if kind == "layers" else name
                out[f"{ours}.{name}"] = source[their_name]
        arguments["critic_width"] = len(out["discriminator_local.layers.0.weight"])
    else:
        raise ValueError(
            f"format is {format!r}; DeepFillV1 reads 'daa233', 'daa233_discriminator', 'daa233_converted'."
        )
    return {
        "method": "DeepFillV1",
        "hyper_parameters": arguments,
        "state_dict": out,
        "contract": {
            "source": format,
            "input": f"[-1, 1], {'BGR' if converted else 'RGB'}, hole 0; then ones, then the mask, 1 = hole",
            "output": "clipped to [-1, 1]",
            "padding": "TensorFlow's SAME" if converted else "symmetric",
            "attention": "align_corners, norm >= 1e-4" if converted else "every second pixel, 1e-4 added",
        },
    }


def export(method: InpaintingModule) -> State:
    """The generator under daa233's names: of ``variant`` daa233 as gen_*.pt, of the official variant as the port's file
    of TensorFlow's weights (torch_model.p), which the official network computes and which reads images as BGR."""
    state = {ours: method.state_dict()[ours].detach().cpu().clone() for ours in _names()}
    converted = method.hparams["variant"] == "official"
    if converted:
        _swap_red_and_blue(state)
    return {("netG." if converted else "") + theirs: state[ours] for ours, theirs in _names().items()}


def _names() -> dict[str, str]:
    """The port's name of every tensor of the generator by ours."""
    names = {}
    for name, _ in Generator(2).named_parameters():
        layer, part = name.split(".")
        stage = "coarse" if layer.startswith("conv") else "fine"
        names[f"generator.{name}"] = (
            f"{stage}_generator.{layer.removeprefix('x').removesuffix('_upsample')}.conv.{part}"
        )
    return names


def _swap_red_and_blue(state: State) -> None:
    """The official program reads images as BGR. The swap is its own inverse."""
    for name in ("conv1", "xconv1", "pmconv1"):
        state[f"generator.{name}.weight"] = state[f"generator.{name}.weight"][:, [2, 1, 0, 3, 4]]
    for name in ("conv17.weight", "conv17.bias", "allconv17.weight", "allconv17.bias"):
        state[f"generator.{name}"] = state[f"generator.{name}"][[2, 1, 0]]
