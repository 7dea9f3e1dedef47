"""Distances in the features of VGG16: perceptual and style losses (Gatys et al. 2015, Johnson et al. 2016)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit_inpaint.weights import features_state

# torchvision's vgg16.features: (width, convolutions) of each block; every block ends in a max pooling.
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG16Features:
    """Outputs of layers of VGG16, by their index in torchvision's ``vgg16.features``.

    No ``nn.Module``, so that it is in no state_dict, and the file is read when it is first called, not before. Frozen:
    gradients flow through it into the image, never into its weights.

    Args:
        layers: 4, 9 and 16 are pool1, pool2 and pool3.
    """

    def __init__(self, layers: Sequence[int] = (4, 9, 16)) -> None:
        self.layers = tuple(layers)
        self._network: nn.Sequential | None = None

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Image (B, 3, H, W), RGB in **[0, 1]**, to one feature map a layer."""
        if self._network is None:
            self._network = _vgg16(max(self.layers) + 1)
        if next(self._network.parameters()).device != image.device:
            self._network.to(image.device)
        mean, std = image.new_tensor(_MEAN).view(3, 1, 1), image.new_tensor(_STD).view(3, 1, 1)
        x, features = (image - mean) / std, []
        for index, layer in enumerate(self._network):
            x = layer(x)
            if index in self.layers:
                features.append(x)
        return features


def _vgg16(depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for outputs, convolutions in _BLOCKS:
        for _ in range(convolutions):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    network = nn.Sequential(*layers[:depth])
    state = features_state("vgg16")
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network.eval().requires_grad_(False)


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
