"""Training iterations of published programs, run from checkouts of their repositories; nothing of them is kept here.

Each function takes the folder with the checkouts, images (B, 3, H, W) in [-1, 1] and masks (B, 1, H, W), and returns
what trains the program's networks on them by as many updates as :class:`benchmarks.steps.Row` says. Where the program's
own loop can be called it is; where it is bound to a GPU, a data set or an old library, its networks, losses and
optimisers are, in the order of its loop. Backbones have random weights: the time is the same.
"""

import importlib
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torchvision
import yaml
from torch import Tensor
from torch.optim import Adam, AdamW

Iteration = Callable[[], Any]


class MissingCheckoutError(FileNotFoundError):
    """The folder holds no copy of the repository."""


def checkout(public: Path, repository: str, file: str) -> Path:
    """Put the repository's folder on the import path; ``file`` is how it is recognised, at any depth.

    OWNER/NAME@BRANCH is in a folder whose name ends in @BRANCH, and nothing else is.
    """
    name, _, branch = repository.partition("@")
    ends = (path for path in sorted(public.rglob(Path(file).name)) if path.as_posix().endswith("/" + file))
    for root in (Path(str(path).removesuffix(file)) for path in ends):
        if root.name.partition("@")[2] == branch:
            sys.path.insert(0, str(root))
            return root
    there = f", branch {branch}, as a folder NAME@{branch}" if branch else ""
    raise MissingCheckoutError(f"{public} holds no {file}: check out github.com/{name} there{there}")


def stand_in(*names: str) -> None:
    """Modules that a program imports at its head and does not need here."""
    for name in names:
        module = sys.modules[name] = mock.MagicMock()
        module.__name__, module.__path__, module.__spec__ = name, [], None


def deepfillv2(public: Path, image: Tensor, mask: Tensor) -> Iteration:
    """nipponjo/deepfillv2-pytorch: ``training_loop`` of train.py, one iteration a call."""
    root = checkout(public, "nipponjo/deepfillv2-pytorch", "configs/train-places.yaml")
    stand_in("tensorboard")
    train, networks, losses = (importlib.import_module(name) for name in ("train", "model.networks", "model.losses"))
    config = SimpleNamespace(**yaml.safe_load((root / "configs/train.yaml").read_text()))
    config.batch_size, config.tb_logging, config.save_imgs_to_disc_iter = len(image), False, 0
    config.img_shapes = [*image.shape[2:], 3]
    config.print_iter = config.save_checkpoint_iter = config.save_cp_backup_iter = 10**9
    generator = networks.Generator(cnum_in=5, cnum_out=3, cnum=48, return_flow=False)
    discriminator = networks.Discriminator(cnum_in=4, cnum=64)
    optimizers = [
        Adam(generator.parameters(), config.g_lr, (config.g_beta1, config.g_beta2)),
        Adam(discriminator.parameters(), config.d_lr, (config.d_beta1, config.d_beta2)),
    ]
    count = itertools.count(1)

    def iterate() -> None:
        number = next(count)
        config.max_iters = number + 1
        hinge = losses.hinge_loss_g, losses.hinge_loss_d
        train.training_loop(generator, discriminator, *optimizers, *hinge, [image], number - 1, None, config)

    return iterate


def deepfillv1(public: Path, image: Tensor, mask: Tensor) -> Iteration:
    """daa233/generative-inpainting-pytorch: five iterations a call, the last one with the generator's update."""
    root = checkout(public, "daa233/generative-inpainting-pytorch", "utils/tools.py")
    config = yaml.safe_load((root / "configs/config.yaml").read_text())
    config |= {"cuda": False, "gpu_ids": [], "batch_size": len(image), "image_shape": [*image.shape[2:], 3]}
    tools, trainer = importlib.import_module("utils.tools"), importlib.import_module("trainer").Trainer(config)

    def iterate() -> None:
        for number in range(1, config["n_critic"] + 1):
            boxes = tools.random_bbox(config, len(image))
            erased, holes = tools.mask_image(image, boxes, config)
            daa233_update(trainer, config, erased, boxes, holes, image, generating=number == config["n_critic"])

    return iterate


def daa233_update(
    trainer: Any, config: dict[str, Any], erased: Tensor, boxes: Tensor, holes: Tensor, image: Tensor, generating: bool
) -> None:
    """One iteration of the loop in its train.py.

    It steps the discriminators and then differentiates the generator's loss through what they were: torch refuses that
    today, so the generator's gradients are taken first.
    """
    losses, _, _ = trainer(erased, boxes, holes, image, generating)
    if generating:
        trainer.optimizer_g.zero_grad()
        weighted = [losses[k] * config[f"{w}_alpha"] for k, w in
                    (("l1", "l1_loss"), ("ae", "ae_loss"), ("wgan_g", "gan_loss"))]  # fmt: skip
        sum(weighted).backward(retain_graph=True)
    trainer.optimizer_d.zero_grad()
    (losses["wgan_d"] + config["wgan_gp_lambda"] * losses["wgan_gp"]).backward()
    trainer.optimizer_d.step()
    if generating:
        trainer.optimizer_g.step()


def partial_conv(public: Path, image: Tensor, mask: Tensor, vgg: bool = True) -> Iteration:
    """naoto0804/pytorch-inpainting-with-partial-conv: net.py and loss.py in the order of train.py."""
    checkout(public, "naoto0804/pytorch-inpainting-with-partial-conv", "places2.py")
    options = importlib.import_module("opt")
    with mock.patch("torchvision.models.vgg16", _untrained("vgg16")):
        net, loss = importlib.import_module("net"), importlib.import_module("loss")
        nothing = mock.Mock(return_value=[torch.zeros(1, 1, 1, 1)] * 3)
        criterion = loss.InpaintingLoss(net.VGG16FeatureExtractor() if vgg else nothing)
    model = net.PConvUNet()
    model.train()  # returns nothing there
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], 2e-4)
    known = (1 - mask).expand(-1, 3, -1, -1).contiguous()

    def iterate() -> None:
        output, _ = model(image * known, known)
        found = criterion(image * known, known, output, image)
        optimizer.zero_grad()
        sum(weight * found[name] for name, weight in options.LAMBDA_DICT.items() if found[name] != 0.0).backward()
        optimizer.step()

    return iterate


def partial_conv_without_vgg(public: Path, image: Tensor, mask: Tensor) -> Iteration:
    """The same with its losses of pixels alone."""
    return partial_conv(public, image, mask, vgg=False)


def aotgan(public: Path, image: Tensor, mask: Tensor) -> Iteration:
    """researchmm/AOT-GAN-for-Inpainting: ``Trainer.train`` of src/trainer/trainer.py, one iteration a call."""
    checkout(public, "researchmm/AOT-GAN-for-Inpainting", "trainer/trainer.py")
    stand_in("tensorboard", "torch.utils.tensorboard", "data")
    with (
        mock.patch.object(sys, "argv", ["train.py"]),
        mock.patch.object(torch.nn.Module, "cuda", lambda self: self),
        mock.patch.object(Tensor, "cuda", lambda self: self),
        mock.patch("torchvision.models.vgg19", _untrained("vgg19")),
    ):
        options = importlib.import_module("utils.option").args
        options.global_rank, options.distributed, options.iterations = 1, False, 0  # another rank prints and saves
        trainer = importlib.import_module("trainer.trainer").Trainer(options)
    trainer.dataloader = itertools.repeat((image, mask, None))

    def iterate() -> None:
        options.iterations += 1
        with mock.patch.object(Tensor, "cuda", lambda self: self):
            trainer.train()

    return iterate


def lama_generator(public: Path, **changed: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Big LaMa's generator and the configuration of its training; ``changed``: a smaller one."""
    root = checkout(public, "advimman/lama", "saicinpainting/training/losses/feature_matching.py")
    # Its package imports the whole program; kornia and Lightning 1 serve parts that Big LaMa does not use.
    stand_in("pytorch_lightning", "kornia", "kornia.geometry", "kornia.geometry.transform")
    config = yaml.safe_load((root / "configs/training/big-lama.yaml").read_text())
    ratios = {"ratio_gin": 0, "ratio_gout": 0, "enable_lfu": False}
    inner = {"ratio_gin": 0.75, "ratio_gout": 0.75, "enable_lfu": False}
    plain = {k: v for k, v in config["generator"].items() if not k.endswith("_kwargs")} | changed
    make = importlib.import_module("saicinpainting.training.modules").make_generator
    generator = make(None, **plain, init_conv_kwargs=ratios, downsample_conv_kwargs=ratios, resnet_conv_kwargs=inner)
    return generator, config


def lama(public: Path, image: Tensor, mask: Tensor) -> Iteration:
    """advimman/lama, Big LaMa without its perceptual loss: networks and losses of saicinpainting/training.

    As in ``BaseInpaintingTrainingModule``, the generator's step and the discriminator's each run the generator.
    """
    generator, config = lama_generator(public)
    networks = importlib.import_module("saicinpainting.training.modules")
    losses = importlib.import_module("saicinpainting.training.losses.adversarial")
    matching = importlib.import_module("saicinpainting.training.losses.feature_matching")
    discriminator = networks.make_discriminator("pix2pixhd_nlayer", input_nc=3, ndf=64, n_layers=4)
    adversarial = losses.make_discrim_loss(**config["losses"]["adversarial"])
    weights = config["losses"]["l1"]
    optimizer_g, optimizer_d = Adam(generator.parameters(), 1e-3), Adam(discriminator.parameters(), 1e-4)
    truth = (image + 1) / 2
    erased = torch.cat([truth * (1 - mask), mask], 1)

    def iterate() -> None:
        generator.requires_grad_(True), discriminator.requires_grad_(False)
        fake = generator(erased)
        known = matching.masked_l1_loss(fake, truth, mask, weights["weight_known"], weights["weight_missing"])
        adversarial.pre_generator_step(truth, fake, generator, discriminator)
        (real_logits, real_features), (fake_logits, fake_features) = discriminator(truth), discriminator(fake)
        judged, _ = adversarial.generator_loss(truth, fake, real_logits, fake_logits, mask)
        matched = config["losses"]["feature_matching"]["weight"] * matching.feature_matching_loss(
            fake_features, real_features
        )
        optimizer_g.zero_grad()
        (known + judged + matched).backward()
        optimizer_g.step()

        generator.requires_grad_(False), discriminator.requires_grad_(True)
        fake = generator(erased).detach()
        adversarial.pre_discriminator_step(truth, fake, generator, discriminator)
        (real_logits, _), (fake_logits, _) = discriminator(truth), discriminator(fake)
        discriminator_loss, _ = adversarial.discriminator_loss(truth, fake, real_logits, fake_logits, mask)
        optimizer_d.zero_grad()
        discriminator_loss.backward()
        optimizer_d.step()

    return iterate


def ddpm(public: Path, image: Tensor, mask: Tensor) -> Iteration:
    """openai/guided-diffusion: ``training_losses`` of a network of 64 channels, as TrainLoop calls it, without EMA."""
    checkout(public, "openai/guided-diffusion", "guided_diffusion/train_util.py")
    script = importlib.import_module("guided_diffusion.script_util")
    arguments = script.model_and_diffusion_defaults() | {
        "image_size": image.shape[-1], "num_channels": 64, "num_res_blocks": 2, "num_head_channels": 32,
        "attention_resolutions": "16,8", "learn_sigma": True, "resblock_updown": True, "use_scale_shift_norm": True,
    }  # fmt: skip
    model, diffusion = script.create_model_and_diffusion(**arguments)
    optimizer = AdamW(model.parameters(), 1e-4, weight_decay=0)

    def iterate() -> None:
        t = torch.randint(diffusion.num_timesteps, (len(image),))
        optimizer.zero_grad()
        diffusion.training_losses(model, image, t)["loss"].mean().backward()
        optimizer.step()

    return iterate


def _untrained(name: str) -> Callable[..., torch.nn.Module]:
    made = getattr(torchvision.models, name)
    return lambda *arguments, **options: made(weights=None)
