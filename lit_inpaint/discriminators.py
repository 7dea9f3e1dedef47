"""Discriminators that more than one paper uses."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.sides import check_sides
from lit_inpaint.layers.tf_same import Conv2dSame, Padding


class SpectralNormConv2d(Conv2dSame):
    """SAME convolution whose kernel is divided by an estimate of its largest singular value (Miyato et al. 2018).

    As in the code of DeepFill v2: the kernel as an (out, in * k * k) matrix W, one power iteration per forward pass,
    ``v = normalise(u W)``, ``u = normalise(v W^T)``, ``sigma = v W^T u^T``. Nothing is detached: the gradient of
    ``W / sigma`` goes through sigma and through both iterates (torch's own spectral norm detaches u and v; the two
    agree once the iteration has converged). ``u`` is stored at every forward pass in training mode, of the
    discriminator's step and of the generator's alike; the official code does so in evaluation too, where no
    discriminator runs here. ``u`` follows from the weights and the number of passes alone, so it is equal on all ranks
    of a distributed run.
    """

    u: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: Padding = "same"
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding=padding)
        self.register_buffer("u", nn.init.trunc_normal_(torch.empty(out_channels)))

    def normalised_weight(self) -> Tensor:
        # In float32 also under autocast: an error of sigma scales the whole layer.
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            v = F.normalize(self.u.clone() @ matrix, dim=0, eps=1e-12)  # a clone: u changes before backward
            u = F.normalize(matrix @ v, dim=0, eps=1e-12)
            sigma = u @ matrix @ v
            if self.training:
                self.u.copy_(u.detach())
            return self.weight * sigma.reciprocal()  # a division's gradient passes the kernel four times

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_same(x, self.normalised_weight())


class SNPatchGAN(nn.Module):
    """Discriminator of DeepFill v2: six spectrally normalised 5x5 convolutions of stride 2 (Yu et al. 2019, 3.2).

    LeakyReLU 0.2 follows all six, the last one too, as in the official code. Every element of the last feature map is
    one logit: (B, in_channels, 256, 256) gives (B, 4096). 5,946,816 parameters.

    Args:
        in_channels: 4 for image and mask, 5 with a sketch.
        width: Channels of the first layer; 2, 4, 4, 4, 4 times as many follow.
        padding: "same" is TensorFlow's, "symmetric" that of nipponjo's port.
    """

    def __init__(self, in_channels: int = 4, width: int = 64, padding: Padding = "same") -> None:
        super().__init__()
        channels = [in_channels, width, 2 * width, 4 * width, 4 * width, 4 * width, 4 * width]
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.conv6 = (
            SpectralNormConv2d(inputs, outputs, 5, stride=2, padding=padding) for inputs, outputs in pairwise(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.conv6):
            x = F.leaky_relu(conv(x), 0.2)
        return x.flatten(1).float()


class FixedVectorSpectralConv2d(nn.Conv2d):
    """Convolution whose kernel is divided by its largest singular value as ``torch.nn.utils.spectral_norm`` does it.

    One power iteration per forward pass in training mode, evaluation with the stored pair; u and v are constants in
    the gradient (in :class:`SpectralNormConv2d`, which follows TensorFlow code, they do not). Float32 under autocast.
    """

    u: Tensor
    v: Tensor

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name, size in zip("uv", self.weight.flatten(1).shape, strict=True):
            self.register_buffer(name, F.normalize(torch.randn(size), dim=0, eps=1e-12))

    def normalised_weight(self) -> Tensor:
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            if self.training:
                with torch.no_grad():
                    self.v.copy_(F.normalize(self.u @ matrix, dim=0, eps=1e-12))
                    self.u.copy_(F.normalize(matrix @ self.v, dim=0, eps=1e-12))
            # Clones: the buffers change before the backward pass of a step with several forward passes.
            return self.weight * (self.u.clone() @ matrix @ self.v.clone()).reciprocal()

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.normalised_weight(), self.bias)


class SpectralPatchGAN(nn.Module):
    """PatchGAN of 70x70 px (Isola et al. 2017) with spectral norm, as AOT-GAN has it (src/model/aotgan.py).

    Four normalised 4x4 convolutions without bias, strides 2, 2, 2, 1, LeakyReLU 0.2 after each, and a plain one to a
    map of logits: (B, in_channels, 256, 256) gives (B, 1, 30, 30). 2,763,777 parameters. EdgeConnect and ICT
    (Guided_Upsample/src/networks.py) normalise the last one too and give it no bias: 2,763,776.

    Args:
        in_channels: 3: the image alone.
        width: Channels of the first layer; 2, 4 and 8 times as many follow.
        plain_logits: Whether the last convolution is AOT-GAN's rather than ICT's.
    """

    def __init__(self, in_channels: int = 3, width: int = 64, plain_logits: bool = True) -> None:
        super().__init__()
        channels = [in_channels, width, 2 * width, 4 * width, 8 * width]
        self.convolutions = nn.ModuleList(
            FixedVectorSpectralConv2d(inputs, outputs, 4, stride, padding=1, bias=False)
            for (inputs, outputs), stride in zip(pairwise(channels), (2, 2, 2, 1), strict=True)
        )
        if not plain_logits:
            self.logits: nn.Conv2d = FixedVectorSpectralConv2d(8 * width, 1, 4, padding=1, bias=False)
            return
        self.logits = nn.Conv2d(8 * width, 1, 4, padding=1)
        # init_weights of the official code reaches no normalised kernel: those keep torch's default.
        nn.init.normal_(self.logits.weight, std=0.02)
        nn.init.zeros_(self.logits.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        check_sides(x, "the discriminator", least=24)  # 3x3 after three halvings, and two 4x4 kernels to come
        for conv in self.convolutions:
            x = F.leaky_relu(conv(x), 0.2)
        return self.logits(x).float()
