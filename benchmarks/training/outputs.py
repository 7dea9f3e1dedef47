"""What is no training step: LaMa's refinement and DSI's sampling. Each gives the program's output and ours."""

import importlib
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.parity import randomise
from benchmarks.published import lama_generator, stand_in
from benchmarks.training import dsi
from benchmarks.training.steps import images, unequal
from lit_inpaint.methods import DSI, LaMa
from lit_inpaint.methods.lama import refinement
from lit_inpaint.methods.lama import weights as lama_weights


def lama_refinement(public: Path) -> tuple[Tensor, Tensor]:
    """advimman/lama, ``refine_predict`` of saicinpainting/evaluation/refinement.py: three scales of 60x75 pixels, which
    are no multiples of 8, with a hole at the border."""
    generator, _ = lama_generator(public, ngf=8, n_blocks=2)
    for name in [name for name in sys.modules if name.split(".")[0] == "kornia"]:
        del sys.modules[name]  # this part of the program needs the real one
    folder = "saicinpainting.evaluation"
    package = sys.modules[folder] = types.ModuleType(folder)
    package.__path__ = [str(Path(importlib.import_module("saicinpainting").__path__[0]) / "evaluation")]
    stand_in(f"{folder}.utils")
    vars(sys.modules[f"{folder}.utils"])["move_to_device"] = lambda x, device: x
    program, data = (importlib.import_module(f"{folder}.{name}") for name in ("refinement", "data"))
    randomise(generator, 0.7, 3)
    generator.eval()
    ours = LaMa(8, 2, 8, perceptual_weight=0, refinement_steps=4).eval()
    state = {f"generator.{name}": value for name, value in generator.state_dict().items()}
    ours.load_state_dict(lama_weights.convert({"state_dict": state}, "official")["state_dict"], strict=False)

    image, mask = images(96, 1)[..., :60, :75], torch.zeros(1, 1, 60, 75)
    mask[..., 10:50, :45] = mask[..., 30:, 60:] = 1
    sides = [torch.tensor([60]), torch.tensor([75])]
    batch = {"image": (image + 1) / 2, "mask": mask}
    batch = {name: data.pad_tensor_to_modulo(x, 8) for name, x in batch.items()} | {"unpad_to_size": sides}
    inpainter = types.SimpleNamespace(training=False, add_noise_kwargs=None, concat_mask=True, generator=generator)
    on_cpu = types.ModuleType("torch")
    vars(on_cpu).update(vars(torch), device=lambda name: torch.empty(0).device)
    with mock.patch.object(program, "torch", on_cpu):
        published = program.refine_predict(batch, inpainter, "0,", 8, 4, 0.002, 16, 3, 10**9)
    with mock.patch.object(refinement, "MIN_SIDE", 16), torch.no_grad():
        return published, (ours(image, mask) + 1) / 2


def dsi_sampling(public: Path) -> tuple[Tensor, Tensor]:
    """USTC-JialunPeng/Diverse-Structure-Inpainting, ``sample_from_model`` of test.py 146-156.

    tf.multinomial draws otherwise than we do, so both invert the distribution function at the same uniform numbers.
    """
    image, mask = images(dsi.SIZE, 1), unequal(dsi.SIZE)[:1]
    made = dsi.graph(public, image * (1 - mask), image, mask)
    tf, (height, width) = made.tf, (dsi.SIZE // 8, dsi.SIZE // 8)
    channels, codes = dsi.VQVAE["embedding_dim"], dsi.VQVAE["num_embeddings"]
    e_sample = tf.placeholder(tf.float32, (1, height, width, channels))
    h_sample = tf.placeholder(tf.float32, (1, height, width, 8 * dsi.CONDITION["nr_channel"]))
    logits = tf.reshape(made.pixelcnn(e_sample, h_sample, ema=None, dropout_p=0.0, **dsi.PIXELCNN), (-1, codes))
    probabilities = tf.exp(tf.nn.log_softmax(logits, axis=-1))
    condition, embedding = made.session.run([made.condition, made.encoding["embed_t"]])
    uniform = torch.rand(height * width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    e_gen: Any = np.zeros((1, height, width, channels))
    for yi in range(height):
        for xi in range(width):
            p = made.session.run(probabilities, {e_sample: e_gen, h_sample: condition})
            cumulative = p.reshape(height, width, codes)[yi, xi].cumsum()
            drawn = int(np.searchsorted(cumulative, float(uniform[yi * width + xi]) * cumulative[-1], "right"))
            e_gen[0, yi, xi] = embedding.T[drawn]
    ours = DSI(**dsi.OURS, texture_width=8).eval()
    scopes = "vq_encoder", "structure_condition", "structure_pixelcnn"
    state = dsi.state_of(ours, made.vqvae.state_dict() | made.structure.state_dict(), *scopes)
    ours.load_state_dict(state, strict=False)
    generator = torch.Generator().manual_seed(2)
    own = ours.structure.sample(image * (1 - mask), mask, ours.vqvae.top.embedding, [generator])
    return torch.from_numpy(e_gen).permute(0, 3, 1, 2), own
