"""Distances in features of VGG16 and VGG19: perceptual and style losses (Gatys et al. 2015, Johnson et al. 2016)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from lit_inpaint.backbones import BackboneMissingError, backbone, features_state
from masks.convention import in_three, per_channel

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGGFeatures:
    """Outputs of layers of a VGG, by their index in torchvision's ``features``.

    No ``nn.Module``, so that it is in no state_dict, and the file is read when it is first called, not before. Frozen:
    gradients flow through it into the image, never into its weights.

    Args:
        layers: Indices in torchvision's ``features``.
        normalise: Whether the image is brought to the mean and deviation of ImageNet, as the network was trained.
    """

    name: ClassVar[str]
    blocks: ClassVar[tuple[int, ...]]  # convolutions of each block; every block ends in a max pooling

    def __init__(self, layers: Sequence[int], normalise: bool = True) -> None:
        self.layers, self.normalise = tuple(layers), normalise
        self._network: nn.Sequential | None = None

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Image (B, 3, H, W), RGB in **[0, 1]**, to one feature map per layer; grey is repeated to three channels."""
        image = in_three(image)
        if self._network is None:
            self._network = self._load()
        if next(self._network.parameters()).device != image.device:
            self._network.to(image.device)
        mean, std = per_channel(_MEAN, image), per_channel(_STD, image)
        x, features = (image - mean) / std if self.normalise else image, []
        for index, layer in enumerate(self._network):
            x = layer(x)
            if index in self.layers:
                features.append(x)
        return features

    def require(self, otherwise: str) -> None:
        """Fail before the first batch where the weights are missing; ``otherwise`` says how to do without them."""
        try:
            backbone(self.name)
        except BackboneMissingError as error:
            raise BackboneMissingError(f"{error}. {otherwise}") from None

    def _load(self) -> nn.Sequential:
        layers: list[nn.Module] = []
        inputs = 3
        for outputs, convolutions in zip((64, 128, 256, 512, 512), self.blocks, strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        network = nn.Sequential(*layers[: max(self.layers) + 1])
        state = features_state(self.name)
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        return network.eval().requires_grad_(False)


class VGG16Features(VGGFeatures):
    """The layers 4, 9 and 16 are pool1, pool2 and pool3."""

    name, blocks = "vgg16", (2, 2, 3, 3, 3)

    def __init__(self, layers: Sequence[int] = (4, 9, 16), normalise: bool = True) -> None:
        super().__init__(layers, normalise)


class VGG19Features(VGGFeatures):
    """The layers 1, 6, 11, 20 and 29 are relu1_1 to relu5_1; 8, 17, 26 and 31 are relu2_2, 3_4, 4_4 and 5_2."""

    name, blocks = "vgg19", (2, 2, 4, 4, 4)


def perceptual(features: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean absolute difference of features.

    >>> float(perceptual([torch.zeros(1, 2, 3, 3)], [torch.ones(1, 2, 3, 3)]))
    1.0
    """
    return torch.stack([(a.float() - b.float()).abs().mean() for a, b in zip(features, target, strict=True)]).sum()


def gram(features: Tensor) -> Tensor:
    """F F^T / (C H W), (B, C, H, W) to (B, C, C), always in float32.

    >>> gram(torch.ones(1, 2, 3, 3))
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.mT / (flat.shape[1] * flat.shape[2])


def style(features: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the mean absolute difference of Gram matrices."""
    return torch.stack([(gram(a) - gram(b)).abs().mean() for a, b in zip(features, target, strict=True)]).sum()
