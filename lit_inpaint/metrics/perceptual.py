"""LPIPS (Zhang et al. 2018), version 0.1: linear weights of the package ``lpips``, backbones as files."""

import hashlib
from collections import OrderedDict
from functools import cache
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.backbones import features_state
from lit_inpaint.metrics._definition import check_pair, defined
from masks.convention import check_image, in_three

# Ends of the slices of torchvision's `features` whose activations are compared: the ReLUs relu1 ... relu5.
_SLICES = {"alexnet": (2, 5, 8, 10, 12), "vgg16": (4, 9, 16, 23, 30)}
_LINEAR = {"alexnet": "alex", "vgg16": "vgg"}
_KEPT_BYTES = 256 * 2**20


class _PerceptualNetwork(nn.Module):
    """Unit-length activations of five layers, each weighted by the root of LPIPS' linear layer.

    The distance of two images is then the sum over layers of the mean over positions of squared differences, so that
    what is compared twice is computed once: features of the truth are kept (up to 256 MiB) and serve every method.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: str) -> None:
        super().__init__()
        with torch.device("meta"):
            features = getattr(torchvision.models, backbone)().features
        features.load_state_dict(features_state(backbone), assign=True)
        ends = _SLICES[backbone]
        self.slices = nn.ModuleList(features[start:end] for start, end in zip((0, *ends), ends, strict=False))
        package = find_spec("lpips")
        assert package is not None and package.origin is not None, "lpips is a core dependency"
        path = Path(package.origin).parent / "weights" / "v0.1" / f"{_LINEAR[backbone]}.pth"
        linear = torch.load(path, map_location="cpu", weights_only=True)
        for index in range(5):
            self.register_buffer(f"weight{index}", linear[f"lin{index}.model.1.weight"])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)
        self._kept: OrderedDict[tuple[torch.Size, bytes], list[Tensor]] = OrderedDict()

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] to five tensors (B, C, h, w)."""
        if min(image.shape[-2:]) < 32:
            raise ValueError(f"images are {image.shape[-1]}x{image.shape[-2]}; LPIPS needs at least 32x32.")
        with torch.autocast(image.device.type, enabled=False):
            x, out = (in_three(image).float() - self.shift) / self.scale, []
            if x.device.type == "cpu":  # 1.2 times as fast, differs by 4e-8
                x = x.contiguous(memory_format=torch.channels_last)
            for part in self.slices:
                x = part(x)
                out.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return out

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """LPIPS of two lists of features, (B,)."""
        total = torch.zeros(len(a[0]), device=a[0].device)
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            total = total + F.conv2d((x - y).square(), getattr(self, f"weight{index}")).mean((1, 2, 3))
        return total

    def remembered(self, image: Tensor) -> list[Tensor]:
        """:meth:`forward`, computed once for every batch (by its content) while there is room to keep it.

        A batch, not an image: the bits of a convolution may depend on what stands beside an image.
        """
        key = image.shape, hashlib.sha256(image.float().contiguous().cpu().numpy().data).digest()
        if (found := self._kept.get(key)) is None:
            found = self._kept[key] = self(image)
            size = sum(f.nbytes for one in self._kept.values() for f in one)
            while size > _KEPT_BYTES:
                size -= sum(f.nbytes for f in self._kept.popitem(last=False)[1])
        return found


@cache
def _network(backbone: str, device: torch.device) -> _PerceptualNetwork:
    network = _PerceptualNetwork(backbone).to(device)
    return network.to(memory_format=torch.channels_last) if device.type == "cpu" else network


@torch.no_grad()
def _lpips(backbone: str, prediction: Tensor, target: Tensor) -> Tensor:
    network = _network(backbone, prediction.device)
    return network.distance(network(prediction), network.remembered(target))


@defined("1: LPIPS v0.1, AlexNet, linear weights, images in [-1, 1] at their own size",
         title="LPIPS (AlexNet)", column="LPIPS (Alex)", higher_is_better=False, backbone="alexnet")  # fmt: skip
def lpips_alex(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """LPIPS on AlexNet (RePaint, MAT). Images (B, 3, H, W) in [-1, 1], at least 32x32 -> (B,).

    >>> lpips_alex.backbone, lpips_alex.higher_is_better
    ('alexnet', False)
    """
    check_pair(prediction, target, mask)
    return _lpips("alexnet", prediction, target)


@defined("1: LPIPS v0.1, VGG16, linear weights, images in [-1, 1] at their own size",
         title="LPIPS (VGG16)", column="LPIPS (VGG)", higher_is_better=False, backbone="vgg16")  # fmt: skip
def lpips_vgg(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """LPIPS on VGG16 (LaMa). Images (B, 3, H, W) in [-1, 1], at least 32x32 -> (B,).

    >>> lpips_vgg.backbone, lpips_vgg.higher_is_better
    ('vgg16', False)
    """
    check_pair(prediction, target, mask)
    return _lpips("vgg16", prediction, target)


@defined("1: LPIPS v0.1, AlexNet, linear weights, images in [-1, 1] resized to 256x256 first (bilinear, half-pixel "
         "centres)", title="LPIPS (AlexNet) at 256", column="LPIPS (Alex, 256)", higher_is_better=False,
         backbone="alexnet")  # fmt: skip
def lpips_alex_up256(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """``lpips_alex`` of small images, brought to the 256x256 at which most papers measure it.

    >>> lpips_alex_up256.backbone, lpips_alex_up256.higher_is_better
    ('alexnet', False)
    """
    check_pair(prediction, target, mask)
    a, b = (F.interpolate(x.float(), (256, 256), mode="bilinear") for x in (prediction, target))
    return _lpips("alexnet", a, b)


@defined("1: mean of lpips_alex over all pairs of the n completions of an image; n stands in the protocol",
         title="LPIPS diversity", higher_is_better=True, of_samples=True, backbone="alexnet")  # fmt: skip
@torch.no_grad()
def diversity_lpips(samples: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """How much the completions of one image differ. ``samples`` (n, B, 3, H, W) in [-1, 1], n >= 2 -> (B,).

    >>> diversity_lpips.of_samples, diversity_lpips.backbone
    (True, 'alexnet')
    """
    if not isinstance(samples, Tensor) or samples.ndim != 5 or len(samples) < 2:
        given = tuple(samples.shape) if isinstance(samples, Tensor) else type(samples).__name__
        raise ValueError(f"samples have shape {given}; expected (n, B, 3, H, W) with n >= 2 completions.")
    check_image(samples.flatten(0, 1), "samples")
    network = _network("alexnet", samples.device)
    features = [network(one) for one in samples]
    return torch.stack([network.distance(a, b) for a, b in combinations(features, 2)]).mean(0)
