"""raywzy/ICT: the transformer (Transformer/DDP_trainer.py 101-147) and the guided upsampler (``process``)."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.parity import randomise
from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, eighth, images, settle, unequal
from lit_inpaint.methods.ict import palette, stages
from masks.convention import InpaintingBatch

GRID, COLOURS = 16, 125


def _levels() -> Tensor:
    return ((images(64) + 1) * 127.5).round() / 127.5 - 1


def _palette() -> Tensor:
    return torch.randint(256, (COLOURS, 3), generator=torch.Generator().manual_seed(3)).double()


def _rows(image: Tensor) -> list[np.ndarray]:
    return [((x + 1) * 127.5).round().byte().permute(1, 2, 0).numpy() for x in image]


def ict_transformer(public: Path, tokens: bool = False) -> Pair:
    """On the program's tokens: Pillow's, known ones from the whole image. ``tokens``: on ours, which hide the hole."""
    checkout(public, "raywzy/ICT", "Transformer/models/model.py")
    model = importlib.import_module("Transformer.models.model")
    options: Any = dict.fromkeys(("embd_pdrop", "resid_pdrop", "attn_pdrop"), 0.0)  # main.py 52
    options |= {"BERT": True, "use_gelu2": True, "dynamic_weight": False, "n_layer": 2, "n_head": 2, "n_embd": 16}
    network = model.GPT(model.GPTConfig(COLOURS, GRID * GRID, **options))
    randomise(network, 1, 4)
    train = SimpleNamespace(learning_rate=3e-4, betas=(0.9, 0.95), weight_decay=0)  # main.py 66
    optimizer = network.configure_optimizers(train)
    image, mask, colours = _levels(), unequal(64), _palette()
    small = [Image.fromarray(x).resize((GRID, GRID), resample=Image.BILINEAR) for x in _rows(image)]
    pixels = torch.from_numpy(np.stack([np.array(x) for x in small])).view(2, -1, 1, 3).double()
    truth = (pixels - colours).square().sum(-1).argmin(-1)  # datas/dataset.py 117
    shrunk = [Image.fromarray((255 * x[0]).byte().numpy()).resize((GRID, GRID), Image.NEAREST) for x in mask]
    hole = torch.from_numpy(np.stack([np.array(x) for x in shrunk])).view(2, -1).double() / 255

    def step() -> dict[str, Any]:
        _, loss = network(truth, truth, hole)
        network.zero_grad()
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1)
        optimizer.step()
        return {"loss": loss}

    ours = stages.ICTTransformer(GRID, 2, 16, 2, COLOURS, warmup_steps=1, decay_steps=10**12)  # its rate is constant
    ours.palette.copy_(colours)
    if not tokens:
        stages.down_sample = lambda *arguments: pixels[:, :, 0]

    def convert(states: dict[str, State]) -> State:
        return {f"transformer.{k}": v for k, v in states["transformer"].items() if not k.endswith("attn.mask")}

    return Pair(ours, InpaintingBatch(image, mask, [""] * 2), {"transformer": network}, convert, step)


def ict_transformer_tokens(public: Path) -> Pair:
    """With our tokens."""
    return ict_transformer(public, tokens=True)


def ict_upsampler(public: Path) -> Pair:
    """``InpaintingModel.process`` of Guided_Upsample/src/models.py, generator 4 as released."""
    root = checkout(public, "raywzy/ICT", "Transformer/models/model.py")
    importlib.import_module("sys").path.insert(0, str(root / "Guided_Upsample"))
    model = importlib.import_module("src.models")
    config = SimpleNamespace(
        PATH="", Generator=4, Discriminator=0, GAN_LOSS="nsgan", GPU=[0], LR=1e-4, D2G_LR=0.1, BETA1=0.0, BETA2=0.9,
        L1_LOSS_WEIGHT=1, STYLE_LOSS_WEIGHT=250, CONTENT_LOSS_WEIGHT=0.1, INPAINT_ADV_LOSS_WEIGHT=0.1, score=False,
    )  # fmt: skip
    with eighth():
        trainer = model.InpaintingModel(config)
    settle(trainer.discriminator)  # it passes three times per step
    image, mask, colours = _levels(), unequal(64), _palette()
    tokens = palette.quantise(palette.down_sample(image, GRID), colours)
    prior = palette.enlarge(tokens, colours, GRID, 64)

    def step() -> dict[str, Any]:
        trainer.train()
        _, _, _, said = trainer.process((image + 1) / 2, prior, mask)
        said = dict(said)
        return {
            "discriminator_loss": said["l_d2"],
            "adversarial": said["l_g2"] / 0.1,
            "l1": said["l_l1"],
            "perceptual": said["l_per"] / 0.1,
            "style": said["l_sty"] / 250,
        }

    ours = stages.ICTUpsampler(64, 8, discriminator_width=8, grid=GRID, colours=COLOURS)
    ours.palette.copy_(colours)

    def convert(states: dict[str, State]) -> State:
        found = {f"upsampler.{k}": v for k, v in states["generator"].items()}
        theirs, kinds = states["discriminator"], {"weight_orig": "weight", "weight_u": "u", "weight_v": "v"}
        for i in range(5):
            name = "logits" if i == 4 else f"convolutions.{i}"
            found |= {f"discriminator.{name}.{o}": theirs[f"conv{i + 1}.0.{t}"] for t, o in kinds.items()}
        return found

    networks = {"generator": trainer.generator, "discriminator": trainer.discriminator}
    return Pair(ours, InpaintingBatch(image, mask, [""] * 2), networks, convert, step)
