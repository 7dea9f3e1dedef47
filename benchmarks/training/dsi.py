"""USTC-JialunPeng/Diverse-Structure-Inpainting: steps of train_vqvae.py and of the two generators' scripts."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.optim import Adam

from benchmarks.published import checkout
from benchmarks.training.steps import Pair, State, images, unequal
from benchmarks.training.tf1 import Variables, nhwc, settle, tensorflow
from lit_inpaint.methods.dsi import weights as dsi_weights
from lit_inpaint.methods.dsi.stages import DSIVQVAE, DSIStructure, DSITexture
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


def state_of(method: torch.nn.Module, state: State, *scopes: str) -> State:
    """Their variables of these scopes under our names."""
    out: State = {}
    for scope in scopes:
        parts = dsi_weights.SCOPES.get(scope, ("discriminator",))
        modules = torch.nn.ModuleDict({p.replace(".", "/"): method.get_submodule(p) for p in parts})
        out |= dsi_weights.part_state(modules, scope, state)
    return {name.replace("/", "."): value for name, value in out.items()}


def dsi_vqvae(public: Path) -> Pair:
    """train_vqvae.py 107-132, with the codebooks that a pass moves; without the averages of the weights, which our
    callback ``EMA`` keeps."""
    checkout(public, "USTC-JialunPeng/Diverse-Structure-Inpainting", "net/structure_generator.py")
    tf, image = tensorflow(), images(SIZE)
    vqvae = importlib.import_module("net.vqvae")
    tf.set_random_seed(1)
    found = tf.make_template("vq_encoder", vqvae.vq_encoder_spec)(
        tf.constant(nhwc(image)), ema=None, is_training=True, **VQVAE, commitment_cost=0.25, decay=0.99
    )
    sizes = {k: v for k, v in VQVAE.items() if k != "num_embeddings"}
    decoded = tf.make_template("vq_decoder", vqvae.vq_decoder_spec)(found["quant_t"], found["quant_b"], None, **sizes)
    reconstruction = tf.reduce_mean((tf.constant(nhwc(image)) - decoded["dec_b"]) ** 2)
    trained = [v for v in tf.trainable_variables() if "vector_quantize" not in v.name]
    gradients = tf.gradients(reconstruction + found["loss"], trained)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    network = Variables(session, trained, [v for v in tf.global_variables() if "vector_quantize" in v.name])
    optimizer = Adam(network.parameters(), 1e-4)

    def step() -> dict[str, Any]:
        said = network.descend(gradients, optimizer, said=[reconstruction, found["loss"]])
        return {"reconstruction": said[0], "commitment": said[1], "loss": said[0] + said[1]}

    ours = DSIVQVAE(**{k: OURS[k] for k in ("vq_width", "vq_hidden", "vq_blocks", "channels", "codes")})

    def convert(states: dict[str, State]) -> State:
        out = state_of(ours, states["vqvae"], "vq_encoder", "vq_decoder")
        return {k: v for k, v in out.items() if not k.endswith(("sizes", "sums", "updates"))}  # begin at 0, as ours

    batch, networks = InpaintingBatch(image, unequal(SIZE), [""] * 2), {"vqvae": network}
    buffers = "vqvae.top.embedding", "vqvae.bottom.embedding"
    return Pair(ours, batch, networks, convert, step, buffers=buffers)  # type: ignore[arg-type]


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
    scopes = "vq_encoder", "structure_condition", "structure_pixelcnn"

    def convert(states: dict[str, State]) -> State:
        return state_of(ours, states["vqvae"] | states["structure"], *scopes)

    return Pair(ours, batch, networks, convert, step)


def dsi_texture(public: Path) -> Pair:
    """train_texture_generator.py 160-207: the generator, then the discriminator, on one batch where the program reads
    two; torch's Adam for either where the program has one for both."""
    checkout(public, "USTC-JialunPeng/Diverse-Structure-Inpainting", "net/structure_generator.py")
    tf, image, mask = tensorflow(), images(2 * SIZE), unequal(2 * SIZE)[:1].repeat(2, 1, 1, 1)
    vqvae, texture, nn = (importlib.import_module(f"net.{name}") for name in ("vqvae", "texture_generator", "nn"))
    tf.set_random_seed(1)
    encode = tf.make_template("vq_encoder", vqvae.vq_encoder_spec)
    judge = tf.make_template("texture_discriminator", texture.texture_discriminator_spec)
    given, hole = tf.constant(nhwc(image)), tf.constant(nhwc(mask))
    true = encode(given, is_training=False, **VQVAE)
    filled = tf.make_template("texture_generator", texture.texture_generator_spec)(
        given * (1 - hole), hole, true["quant_t"], nr_channel=8
    )
    completed = filled * hole + given * (1 - hole)
    both = tf.concat([tf.concat([given, completed], 0), tf.concat([hole, hole], 0)], 3)
    real, fake = tf.split(judge(both, nr_channel=8), 2)
    encoding = encode(completed, is_training=False, **VQVAE)
    terms = {
        "l1": tf.reduce_mean(tf.abs(given - filled)),
        "structural": nn.feature_loss(encoding["enc_t"], true["idx_t"], true["embed_t"]),
        "textural": nn.feature_loss(encoding["enc_b"], true["idx_b"], true["embed_b"]),
        "adversarial": -tf.reduce_mean(fake),
    }
    judged = 0.5 * tf.reduce_mean(tf.nn.relu(1 - real)) + 0.5 * tf.reduce_mean(tf.nn.relu(1 + fake))
    loss = terms["adversarial"] + terms["l1"] + 0.1 * (terms["structural"] + terms["textural"])
    kinds = {
        kind: [v for v in tf.global_variables() if v.name.startswith(kind)] for kind in ("vq", "texture_g", "texture_d")
    }
    vectors = [v for v in kinds["texture_d"] if v.name.endswith("/u:0")]
    kernels = {v.name: v for v in kinds["texture_d"] if v not in vectors}
    gradients = tf.gradients(loss, kinds["texture_g"]), tf.gradients(judged, list(kernels.values()))
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    norms = [(v, kernels[v.name.replace("/u:", "/W:")]) for v in vectors]
    settle(session, norms)
    networks: Any = {
        "vqvae": Variables(session, [], kinds["vq"]),
        "generator": Variables(session, kinds["texture_g"]),
        "discriminator": Variables(session, list(kernels.values()), vectors),
    }
    optimizers = [Adam(networks[n].parameters(), 1e-4, (0.5, 0.999)) for n in ("generator", "discriminator")]

    def step() -> dict[str, Any]:
        said = networks["generator"].descend(gradients[0], optimizers[0], said=terms)
        networks["discriminator"].read()  # a pass moves the vectors of the spectral norms
        return said | {
            "discriminator_loss": networks["discriminator"].descend(gradients[1], optimizers[1], said=judged)
        }

    sizes = {k: OURS[k] for k in ("vq_width", "vq_hidden", "vq_blocks", "channels", "codes")}
    ours = DSITexture(**sizes, texture_width=8, discriminator_width=8)
    ours.vqvae.top.updates += 1  # counts as trained

    def convert(states: dict[str, State]) -> State:
        scopes = "vq_encoder", "texture_generator", "texture_discriminator"
        return state_of(ours, states["vqvae"] | states["generator"] | states["discriminator"], *scopes)

    def again() -> None:
        settle(session, norms)
        networks["discriminator"].read()

    return Pair(ours, InpaintingBatch(image, mask, [""] * 2), networks, convert, step, settle=again)
