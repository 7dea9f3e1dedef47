"""Losses of LaMa (Suvorov et al. 2022, section 2.3; saicinpainting/training/losses)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck

from lit_inpaint.checkpoints import read_tensors
from masks.convention import per_channel

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def r1_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """Squared norm of the discriminator's gradient at real images, their mean (Mescheder et al. 2018; no half).

    Add it to the discriminator's loss and call backward once: with a backward of its own, plain DDP computes wrong
    gradients.

    Args:
        logits: Logits of ``real``, computed outside autocast.
        real: (B, C, H, W), requires gradients.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def masked_bce_discriminator(real: Tensor, fake: Tensor, mask: Tensor) -> Tensor:
    """Non-saturating, and only the patches over the hole are fake: what was known counts as real.

    Args:
        real, fake: Logits (B, 1, h, w).
        mask: (B, 1, H, W), 1 = hole; taken to the size of the logits by its nearest pixels, so thin strokes can vanish.
    """
    hole = F.interpolate(mask, fake.shape[-2:], mode="nearest")
    return (F.softplus(-real) + hole * F.softplus(fake) + (1 - hole) * F.softplus(-fake)).mean()


def mean_over_hole(logits: Tensor, mask: Tensor) -> Tensor:
    """One number, of the same patches that :func:`masked_bce_discriminator` takes for fake; 0 if there are none."""
    hole = F.interpolate(mask, logits.shape[-2:], mode="nearest")
    return (logits * hole).sum() / hole.sum().clamp(min=1)


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the mean SQUARED difference (pix2pixHD takes the absolute one)."""
    return torch.stack([F.mse_loss(a.float(), b.float()) for a, b in zip(fake, real, strict=True)]).mean()


class DilatedResNet50(nn.Module):
    """ResNet50 of CSAIL's ADE20k program: a stem of three 3x3 convolutions, stages 3 and 4 dilated by 2 and 4.

    Names of the tensors are those of its encoder_epoch_20.pth. Gives the four stages' outputs.
    """

    def __init__(self) -> None:
        super().__init__()
        for index, (inputs, outputs, stride) in enumerate(((3, 64, 2), (64, 64, 1), (64, 128, 1)), start=1):
            setattr(self, f"conv{index}", nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False))
            setattr(self, f"bn{index}", nn.BatchNorm2d(outputs))
        inputs = 128
        for index, (blocks, stride, dilations) in enumerate(
            ((3, 1, (1, 1)), (4, 2, (1, 1)), (6, 1, (1, 2)), (3, 1, (2, 4))), start=1
        ):
            width = 64 * 2 ** (index - 1)
            shortcut = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
            layers = [Bottleneck(inputs, width, stride, shortcut, dilation=dilations[0])]
            layers += [Bottleneck(4 * width, width, dilation=dilations[1]) for _ in range(blocks - 1)]
            setattr(self, f"layer{index}", nn.Sequential(*layers))
            inputs = 4 * width

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (B, 3, H, W) in **[0, 1]**."""
        mean, std = per_channel(_MEAN, image), per_channel(_STD, image)
        x, features = (image - mean) / std, []
        for index in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(x)))
        x = F.max_pool2d(x, 3, 2, padding=1)
        for index in (1, 2, 3, 4):
            x = getattr(self, f"layer{index}")(x)
            features.append(x)
        return features


class HighReceptiveFieldFeatures:
    """:class:`DilatedResNet50` with the weights of a file, read when it is first called. In no state_dict.

    Batch norm uses its running statistics. In the released program Lightning switches this network to batch statistics
    during training, which nothing there seems to intend.

    Args:
        file: ``encoder_epoch_20.pth`` of ade20k-resnet50dilated-ppm_deepsup.
    """

    def __init__(self, file: str | None) -> None:
        self.file = file
        self._network: DilatedResNet50 | None = None

    def require(self) -> None:
        """Fail before the first batch where the file is missing."""
        if not self.file or not Path(self.file).is_file():
            raise ValueError(
                f"LaMa's perceptual loss needs the ResNet50 of ADE20k; segmentation_weights is {self.file!r}. Give "
                "the path of encoder_epoch_20.pth (ade20k-resnet50dilated-ppm_deepsup of CSAIL's semantic-segmentation "
                "program), or set perceptual_weight to 0 to train without it."
            )

    def __call__(self, image: Tensor) -> list[Tensor]:
        if self._network is None:
            self._network = self._load()
        return self._network.to(image.device)(image)

    def _load(self) -> DilatedResNet50:
        self.require()
        assert self.file is not None
        network = DilatedResNet50()
        try:
            state = read_tensors(Path(self.file))
            kept = {name: state[name] for name in network.state_dict() if not name.endswith("num_batches_tracked")}
            network.load_state_dict(kept, strict=False)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"{self.file} is not the ResNet50 of ADE20k ({reason}).") from error
        return network.eval().requires_grad_(False)
