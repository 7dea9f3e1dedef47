"""nipponjo/deepfillv2-pytorch: ``training_loop`` of train.py."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import yaml
from torch import Tensor
from torch.optim import Adam

from benchmarks.published import checkout, stand_in
from benchmarks.published_training.programs import SIZE, Training, settings
from datamodules import InpaintingDataModule
from masks.convention import InpaintingBatch, erase


def nipponjo(public: Path, data: InpaintingDataModule) -> Training:
    """At the widths, rate and adversarial weight of deepfillv2/faces64; one hole per batch, as in its loop."""
    root = checkout(public, "nipponjo/deepfillv2-pytorch", "configs/train-places.yaml")
    stand_in("tensorboard")
    train, networks, losses = (importlib.import_module(name) for name in ("train", "model.networks", "model.losses"))
    ours = settings("deepfillv2/faces64")
    config = SimpleNamespace(**yaml.safe_load((root / "configs/train.yaml").read_text()))
    config.batch_size, config.img_shapes, config.gan_loss_alpha = (
        ours["batch_size"],
        [SIZE, SIZE, 3],
        ours["adversarial_weight"],
    )
    config.tb_logging, config.save_imgs_to_disc_iter = False, 0
    config.print_iter = config.save_checkpoint_iter = config.save_cp_backup_iter = 10**9
    generator: Any = networks.Generator(cnum_in=5, cnum_out=3, cnum=ours["width"], return_flow=False)
    discriminator = networks.Discriminator(cnum_in=4, cnum=ours["discriminator_width"])
    rate = ours["learning_rate"]
    optimizers = [
        Adam(generator.parameters(), rate, (config.g_beta1, config.g_beta2)),
        Adam(discriminator.parameters(), rate, (config.d_beta1, config.d_beta2)),
    ]
    hinge, steps = (losses.hinge_loss_g, losses.hinge_loss_d), 0

    def update(batch: InpaintingBatch) -> None:
        nonlocal steps
        steps += 1
        config.max_iters = steps + 1
        drawn = {"random_bbox": lambda config: None, "bbox2mask": lambda config, box: batch.mask[:1]}
        drawn["brush_stroke_mask"] = lambda config: batch.mask[:1]
        with mock.patch.multiple(train.misc, **drawn):
            train.training_loop(generator, discriminator, *optimizers, *hinge, [batch.image], steps - 1, None, config)

    def complete(image: Tensor, mask: Tensor) -> Any:
        ones = torch.ones_like(mask)
        return generator(torch.cat([erase(image, mask), ones, ones * mask], 1), mask)[1]

    return Training([(ours["batch_size"], update)], [generator, discriminator], complete)
