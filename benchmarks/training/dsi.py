"""USTC-JialunPeng/Diverse-Structure-Inpainting, the structure generator: train_structure_generator.py 180-330."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.optim import Adam

from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, images, unequal
from benchmarks.training.tf1 import Variables, nhwc, tensorflow
from lit_inpaint.methods.dsi import weights as dsi_weights
from lit_inpaint.methods.dsi.stages import DSIStructure
from masks.convention import InpaintingBatch

SIZE = 32
VQVAE = {"nr_channel": 16, "nr_res_block": 1, "nr_res_channel": 8, "embedding_dim": 4, "num_embeddings": 16}
CONDITION = {"nr_channel": 4, "nr_res_channel": 4}
PIXELCNN = {
    "nr_channel": 16, "nr_res_channel": 16, "nr_resnet": 4, "nr_out_resnet": 2, "nr_attention": 2, "nr_head": 2,
    "num_embeddings": 16,
}  # fmt: skip
OURS: Any = {
    "vq_width": 16, "vq_hidden": 8, "vq_blocks": 1, "channels": 4, "codes": 16, "condition_width": 4,
    "structure_width": 16, "groups": 2, "blocks": 2, "out_blocks": 2, "heads": 2,
}  # fmt: skip


class Graph(NamedTuple):
    tf: Any
    session: Any
    encoding: dict[str, Any]
    condition: Any
    pixelcnn: Any  # template
    logits: Any
    vqvae: Variables
    structure: Variables


def graph(public: Path, masked: Any, image: Any, mask: Any) -> Graph:
    """Its three networks in small, without dropout."""
    checkout(public, "USTC-JialunPeng/Diverse-Structure-Inpainting", "net/structure_generator.py")
    tf = tensorflow()
    vqvae, structure = (importlib.import_module(f"net.{name}") for name in ("vqvae", "structure_generator"))
    tf.set_random_seed(1)
    encoder = tf.make_template("vq_encoder", vqvae.vq_encoder_spec)
    encoding = encoder(tf.constant(nhwc(image)), is_training=False, **VQVAE)
    condition = tf.make_template("structure_condition", structure.structure_condition_spec)(
        tf.constant(nhwc(masked)), tf.constant(nhwc(mask)), ema=None, **CONDITION
    )
    pixelcnn = tf.make_template("structure_pixelcnn", structure.structure_pixelcnn_spec)
    logits = pixelcnn(encoding["quant_t"], condition, ema=None, dropout_p=0.0, **PIXELCNN)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    trained = [v for v in tf.trainable_variables() if "structure" in v.name]
    others = [v for v in tf.global_variables() if "structure" not in v.name]
    found = Variables(session, [], others), Variables(session, trained)
    return Graph(tf, session, encoding, condition, pixelcnn, logits, *found)


def state_of(made: Graph, method: torch.nn.Module, states: dict[str, State]) -> State:
    """Their variables under our names."""
    both = states["vqvae"] | states["structure"]
    out: State = {}
    for scope, parts in dsi_weights.SCOPES.items():
        if scope in ("vq_encoder", "structure_condition", "structure_pixelcnn"):
            modules = torch.nn.ModuleDict({p.replace(".", "/"): method.get_submodule(p) for p in parts})
            out |= dsi_weights.part_state(modules, scope, both)
    return {name.replace("/", "."): value for name, value in out.items()}


def dsi_structure(public: Path) -> Pair:
    """The sum of the cross-entropies, on one GPU; its rate is that of the schedule."""
    image, mask = images(SIZE), unequal(SIZE)[:1].repeat(2, 1, 1, 1)
    made = graph(public, image * (1 - mask), image, mask)
    tf = made.tf
    labels = tf.one_hot(made.encoding["idx_t"], VQVAE["num_embeddings"])
    loss = tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(logits=made.logits, labels=labels))
    gradients = tf.gradients(loss, made.structure.trainable)
    ours = DSIStructure(dropout=0.0, warmup=4, **OURS)
    optimizer = Adam(made.structure.parameters())
    count = iter(range(1, 99))

    def step() -> dict[str, Any]:
        i, said = next(count), made.session.run(loss)
        rate = 0.18 * 16**-0.5  # of nr_channel_s
        optimizer.param_groups[0]["lr"] = rate * min(i**-0.35, i * 4**-1.5)
        made.structure.descend(gradients, optimizer)
        return {"loss": said}

    networks: Any = {"vqvae": made.vqvae, "structure": made.structure}
    ours.vqvae.top.updates += 1  # counts as trained
    batch = InpaintingBatch(image, mask, [""] * 2)
    return Pair(ours, batch, networks, lambda states: state_of(made, ours, states), step)
