"""JiahuiYu/generative_inpainting: the graph of inpaint_model.py, the steps of train.py and of neuralgym's trainers."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from torch.optim import Adam

from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, images, unequal
from benchmarks.training.tf1 import Variables, narrow, neuralgym, nhwc, settle
from lit_inpaint.methods import DeepFillV2
from lit_inpaint.methods.deepfillv2 import weights as deepfillv2_weights
from masks.convention import InpaintingBatch


def jiahuiyu(public: Path, guided: bool = False, shared: bool = False, fresh: bool = False) -> Pair:
    """One step of the discriminator and then one of the generator, on one batch where the program reads two.

    ``shared``: with the program's one AdamOptimizer for both (train.py 63-65). ``fresh``: from its random vectors u.
    The backward pass of its spectral norm reads u after the pass has assigned the next one: the same once settled.
    """
    checkout(public, "JiahuiYu/generative_inpainting", "inpaint_ops.py")
    tf = neuralgym(public)
    ops = importlib.import_module("inpaint_ops")
    ops.flow_to_image_tf = lambda flow: tf.cast(flow, tf.float32)  # a picture for the log
    model = importlib.import_module("inpaint_model")
    image, mask = images(64), unequal(64)[:1].repeat(2, 1, 1, 1)
    edge = (images(64, seed=5)[:, :1] > 0.3).double()
    options = SimpleNamespace(
        guided=guided, edge_threshold=0.6, padding="SAME", l1_loss_alpha=1.0, gan_loss_alpha=1.0, gan="sngan",
        gan_with_mask=True, batch_size=2, ae_loss=True, img_shapes=[64, 64, 3],
    )  # fmt: skip
    fed: Any = tf.constant(nhwc((image.flip(1) + 1) * 127.5))  # BGR
    if guided:
        fed = fed, tf.constant(nhwc(255 * edge.repeat(1, 3, 1, 1)))
    given = {
        "random_bbox": lambda *a: None,
        "bbox2mask": lambda *a, **k: tf.constant(nhwc(mask[:1])),
        "brush_stroke_mask": lambda *a, **k: tf.zeros([1, 64, 64, 1]),
    }
    with narrow(model, gen_conv=6, gen_deconv=6, dis_conv=8), mock.patch.multiple(model, **given):
        g_vars, d_vars, losses = model.InpaintCAModel().build_graph_with_losses(options, fed)
    gradients = tf.gradients(losses["g_loss"], g_vars), tf.gradients(losses["d_loss"], d_vars)
    adam = tf.train.AdamOptimizer(1e-4, beta1=0.5, beta2=0.999)
    pairs = zip(gradients, (g_vars, d_vars), strict=True)
    applied = [adam.apply_gradients(list(zip(tf.tuple(g), v, strict=True))) for g, v in pairs]
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    vectors = [v for v in tf.global_variables() if v.name.endswith("kernel_sn/u:0")]
    kernels = {v.name: v for v in d_vars}
    norms = [(v, kernels[v.name.replace("kernel_sn/u", "kernel")]) for v in vectors]
    if not fresh:
        settle(session, norms)
    generator, discriminator = Variables(session, g_vars), Variables(session, d_vars, vectors)
    optimizers = [Adam(x.parameters(), 1e-4, (0.5, 0.999)) for x in (generator, discriminator)]

    def step() -> dict[str, Any]:
        said = {}
        for index, network, name in ((1, discriminator, "d_loss"), (0, generator, "g_loss")):
            said[name] = session.run(losses[name])
            discriminator.write()  # a pass has moved the vectors of the spectral norms
            network.descend(gradients[index], optimizers[index], applied[index] if shared else None)
            discriminator.read()
        return {"discriminator_loss": said["d_loss"], "generator_loss": said["g_loss"]}

    ours = DeepFillV2(8, 8, sketch=guided)
    ours._lines = lambda image, mask: edge * mask  # type: ignore[method-assign]

    def convert(states: dict[str, State]) -> State:
        return deepfillv2_weights.convert(states["generator"] | states["discriminator"], "tensorflow")["state_dict"]

    networks = {"generator": generator, "discriminator": discriminator}
    batch = InpaintingBatch(image, mask, [""] * 2)

    def again() -> None:
        settle(session, norms)
        discriminator.read()

    return Pair(ours, batch, networks, convert, step, settle=again)  # type: ignore[arg-type]


def jiahuiyu_sketch(public: Path) -> Pair:
    """``guided: True``: edges in the hole as a sixth input, and shown to the discriminator."""
    return jiahuiyu(public, guided=True)


def jiahuiyu_shared(public: Path) -> Pair:
    """With the program's own Adam."""
    return jiahuiyu(public, shared=True)


def jiahuiyu_fresh(public: Path) -> Pair:
    """With its random vectors."""
    return jiahuiyu(public, fresh=True)
