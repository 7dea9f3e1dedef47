"""USTC-JialunPeng/Diverse-Structure-Inpainting: its three stages in one graph of TensorFlow."""

import importlib
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.published import checkout
from benchmarks.published_training.programs import SIZE, Training, settings
from benchmarks.training.tf1 import nhwc, tensorflow
from datamodules import InpaintingDataModule
from masks.convention import InpaintingBatch

GRID, AVERAGED = SIZE // 8, 0.99  # as dsi/faces64_*; 0.9997 as published


def ustc(public: Path, data: InpaintingDataModule) -> Training:
    """train_vqvae.py, train_structure_generator.py on one device and train_texture_generator.py, at the sizes and rates
    of dsi/faces64_*; test.py samples.

    One hole per batch, as there. The texture stage steps generator and discriminator on one batch where the program
    reads two, and its adversarial term weighs as in faces64_texture.
    """
    checkout(public, "USTC-JialunPeng/Diverse-Structure-Inpainting", "net/structure_generator.py")
    tf = tensorflow(double=False)
    session = tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1))
    graph = _Graph(tf, session)
    rate, batch = tf.placeholder(tf.float32, ()), settings("dsi/faces64_vqvae")["batch_size"]
    image, hole = (tf.placeholder(tf.float32, (batch, SIZE, SIZE, channels)) for channels in (3, 1))
    stages = [graph.vqvae(image, rate), graph.structure(image, hole, rate), graph.texture(image, hole, rate)]
    complete = graph.complete()
    session.run(tf.global_variables_initializer())

    def update_of(stage: int) -> Any:
        *before, operations, rate_of = stages[stage]
        number = count(1)

        def update(given: InpaintingBatch) -> None:
            i = next(number)
            if i == 1:
                session.run(before)
            mask = given.mask[:1].expand_as(given.mask)
            for operation in operations:
                session.run(operation, {image: nhwc(given.image), hole: nhwc(mask), rate: rate_of(i)})

        return update

    return Training([(batch, update_of(stage)) for stage in range(3)], [], complete)


class _Graph:
    """Networks are templates, whose variables every call shares."""

    def __init__(self, tf: Any, session: Any) -> None:
        self.tf, self.session = tf, session
        self.nn, vqvae, structure, texture = (
            importlib.import_module(f"net.{name}")
            for name in ("nn", "vqvae", "structure_generator", "texture_generator")
        )
        specs = {
            "vq_encoder": vqvae, "vq_decoder": vqvae, "structure_condition": structure, "structure_pixelcnn": structure,
            "texture_generator": texture, "texture_discriminator": texture,
        }  # fmt: skip
        made = {name: tf.make_template(name, getattr(module, f"{name}_spec")) for name, module in specs.items()}
        self.encode, self.decode, self.condition, self.pixelcnn, self.paint, self.judge = made.values()
        first, second, third = (settings(f"dsi/faces64_{stage}") for stage in ("vqvae", "structure", "texture"))
        self.first, self.second, self.third = first, second, third
        self.sizes = {
            "nr_channel": first["vq_width"], "nr_res_channel": first["vq_hidden"], "embedding_dim": first["channels"]
        }  # fmt: skip
        self.codebooks = {**self.sizes, "num_embeddings": first["codes"]}
        self.of_condition = {"nr_channel": second["condition_width"], "nr_res_channel": second["condition_width"]}
        self.of_pixelcnn = {
            "nr_channel": second["structure_width"], "nr_res_channel": second["structure_width"],
            "nr_resnet": second["groups"] * second["blocks"], "nr_out_resnet": second["out_blocks"],
            "nr_attention": second["groups"], "nr_head": second["heads"], "num_embeddings": second["codes"],
        }  # fmt: skip

    def vqvae(self, image: Any, rate: Any) -> tuple[Any, ...]:
        tf = self.tf
        found = self.encode(
            image, ema=None, is_training=True, commitment_cost=0.25, decay=self.first["decay"], **self.codebooks
        )
        decoded = self.decode(found["quant_t"], found["quant_b"], None, **self.sizes)
        loss = tf.reduce_mean((image - decoded["dec_b"]) ** 2) + found["loss"]
        self.autoencoder = [v for v in tf.trainable_variables() if "vector_quantize" not in v.name]
        step, self.settle_vqvae = self._averaged(loss, self.autoencoder, rate)
        return [step], lambda i: self.first["learning_rate"]

    def structure(self, image: Any, hole: Any, rate: Any) -> tuple[Any, ...]:
        tf = self.tf
        true = self.encode(image, is_training=False, **self.codebooks)
        condition = self.condition(image * (1 - hole), hole, ema=None, **self.of_condition)
        logits = self.pixelcnn(true["quant_t"], condition, ema=None, dropout_p=0.1, **self.of_pixelcnn)
        labels = tf.one_hot(true["idx_t"], self.second["codes"])
        loss = tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(logits=logits, labels=labels))
        trained = [v for v in tf.trainable_variables() if "structure" in v.name]
        step, self.settle_structure = self._averaged(loss, trained, rate)
        highest, warmup = (
            self.second["learning_rate"] * self.second["structure_width"] ** -0.5,
            self.second["warmup"],
        )
        return self.settle_vqvae, [step], lambda i: highest * min(i**-0.35, i * warmup**-1.5)

    def texture(self, image: Any, hole: Any, rate: Any) -> tuple[Any, ...]:
        tf = self.tf
        true = self.encode(image, is_training=False, **self.codebooks)
        masked = image * (1 - hole)
        filled = self.paint(masked, hole, true["quant_t"], nr_channel=self.third["texture_width"])
        completed = filled * hole + masked * (1 - hole)
        both = tf.concat([tf.concat([image, completed], 0), tf.concat([hole, hole], 0)], 3)
        real, fake = tf.split(self.judge(both, nr_channel=self.third["discriminator_width"]), 2)
        judged = 0.5 * tf.reduce_mean(tf.nn.relu(1 - real)) + 0.5 * tf.reduce_mean(tf.nn.relu(1 + fake))
        again = self.encode(completed, is_training=False, **self.codebooks)
        features = [self.nn.feature_loss(again[f"enc_{x}"], true[f"idx_{x}"], true[f"embed_{x}"]) for x in "tb"]
        loss = tf.reduce_mean(tf.abs(image - filled)) + 0.1 * (features[0] + features[1])
        loss -= self.third["adversarial_weight"] * tf.reduce_mean(fake)
        optimizer = tf.train.AdamOptimizer(rate, beta1=0.5, beta2=0.999)
        steps = [
            optimizer.minimize(value, var_list=[v for v in tf.trainable_variables() if name in v.name])
            for name, value in (("texture_generator", loss), ("texture_discriminator", judged))
        ]
        return self.settle_structure, steps, lambda i: self.third["learning_rate"]

    def _averaged(self, loss: Any, variables: list[Any], rate: Any) -> tuple[Any, Any]:
        """A step of Adam that keeps averages, and what puts these in the place of the variables."""
        averages = self.tf.train.ExponentialMovingAverage(AVERAGED)
        step = self.tf.train.AdamOptimizer(rate).minimize(loss, var_list=variables)
        with self.tf.control_dependencies([step]):
            kept = averages.apply(variables)
        return kept, self.tf.group(*(v.assign(averages.average(v)) for v in variables))

    def complete(self) -> Any:
        tf, codes = self.tf, self.second["codes"]
        image, hole = (tf.placeholder(tf.float32, (1, SIZE, SIZE, channels)) for channels in (3, 1))
        drawn = tf.placeholder(tf.float32, (1, GRID, GRID, self.first["channels"]))
        masked = image * (1 - hole)
        condition = self.condition(masked, hole, **self.of_condition)
        given = tf.placeholder(tf.float32, condition.shape)
        logits = tf.reshape(self.pixelcnn(drawn, given, dropout_p=0.0, **self.of_pixelcnn), (-1, codes))
        samples = tf.reshape(tf.multinomial(tf.nn.log_softmax(logits, axis=-1), 1), (1, GRID, GRID))
        codebook = self.encode(image, is_training=False, **self.codebooks)["embed_t"]
        sampled = tf.nn.embedding_lookup(tf.transpose(codebook, [1, 0]), samples)
        filled = self.paint(masked, hole, drawn, nr_channel=self.third["texture_width"])

        def run(truth: Tensor, mask: Tensor) -> Tensor:
            pixels = {image: nhwc(truth * (1 - mask)), hole: nhwc(mask)}
            known = pixels | {given: self.session.run(condition, pixels)}
            codes_drawn = np.zeros(drawn.shape.as_list(), np.float32)
            for y, x in np.ndindex(GRID, GRID):
                codes_drawn[:, y, x] = self.session.run(sampled, known | {drawn: codes_drawn})[:, y, x]
            output = self.session.run(filled, pixels | {drawn: codes_drawn})
            return torch.from_numpy(output).permute(0, 3, 1, 2)

        return run
