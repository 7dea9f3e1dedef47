"""JiahuiYu/generative_inpainting, branch v1.0.0: the graph of inpaint_model.py, the steps of train.py."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import yaml
from torch.optim import Adam

from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, images, square
from benchmarks.training.tf1 import Variables, narrow, neuralgym, nhwc
from lit_inpaint.methods import DeepFillV1
from lit_inpaint.methods.deepfillv1 import weights as deepfillv1_weights
from masks.convention import InpaintingBatch

SIZE, LOCAL, CYCLE = 64, 32, 5


def jiahuiyu_v1(public: Path, shared: bool = False) -> Pair:
    """Five steps of the discriminators and then one of the generator (train.py 81-106), on one batch where the program
    reads six. The hole is smaller than its box, as MAX_DELTA_HEIGHT makes it.

    ``shared``: with the program's one AdamOptimizer for both (train.py 60-61).
    """
    root = checkout(public, "JiahuiYu/generative_inpainting@v1.0.0", "inpaint_ops.py")
    tf = neuralgym(public)
    ops = importlib.import_module("inpaint_ops")
    ops.flow_to_image_tf = lambda flow: tf.cast(flow, tf.float32)  # a picture for the log
    model = importlib.import_module("inpaint_model")
    config = SimpleNamespace(**yaml.safe_load((root / "inpaint.yml").read_text()))
    config.IMG_SHAPES, config.HEIGHT, config.WIDTH, config.BATCH_SIZE = [SIZE, SIZE, 3], LOCAL, LOCAL, 2
    image, mask = images(SIZE), square(SIZE, 20, 44)
    share, interpolates = tf.constant([[0.2], [0.7]], tf.float32), model.random_interpolates  # as wide() draws them
    given = {
        "random_bbox": lambda *a: (16, 16, LOCAL, LOCAL),
        "bbox2mask": lambda *a, **k: tf.constant(nhwc(mask[:1])),
        "random_interpolates": lambda x, y: interpolates(x, y, share),
    }
    fed = tf.constant(nhwc((image.flip(1) + 1) * 127.5))  # BGR
    with narrow(model, gen_conv=4, gen_deconv=4, dis_conv=8), mock.patch.multiple(model, **given):
        g_vars, d_vars, losses = model.InpaintCAModel().build_graph_with_losses(fed, config)
    gradients = tf.gradients(losses["g_loss"], g_vars), tf.gradients(losses["d_loss"], d_vars)
    adam = tf.train.AdamOptimizer(1e-4, beta1=0.5, beta2=0.9)
    pairs = zip(gradients, (g_vars, d_vars), strict=True)
    applied = [adam.apply_gradients(list(zip(tf.tuple(g), v, strict=True))) for g, v in pairs]
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    generator, discriminator = Variables(session, g_vars), Variables(session, d_vars)
    optimizers = [Adam(x.parameters(), 1e-4, (0.5, 0.9)) for x in (generator, discriminator)]

    def step() -> dict[str, Any]:
        judged = session.run(losses)
        for _ in range(CYCLE):
            discriminator.descend(gradients[1], optimizers[1], applied[1] if shared else None)
        said = generator.descend(gradients[0], optimizers[0], applied[0] if shared else None, losses)
        return {
            "discriminator_loss": judged["d_loss"],
            "penalty": judged["gp_loss"] / config.WGAN_GP_LAMBDA,
            "hole": said["l1_loss"],
            "known": said["ae_loss"],
            "generator_loss": said["g_loss"],
        }

    def convert(states: dict[str, State]) -> State:
        return deepfillv1_weights.convert(states["generator"] | states["discriminator"], "tensorflow")["state_dict"]

    networks: Any = {"generator": generator, "discriminator": discriminator}
    batch = InpaintingBatch(image, mask, [""] * 2)
    return Pair(DeepFillV1(8, 8, SIZE, LOCAL), batch, networks, convert, step, cycle=CYCLE + 1)


def jiahuiyu_v1_shared(public: Path) -> Pair:
    """With the program's own Adam."""
    return jiahuiyu_v1(public, shared=True)
