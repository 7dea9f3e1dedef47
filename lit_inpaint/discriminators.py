"""Critics that more than one paper uses."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_inpaint.layers.tf_same import Conv2dSame


class SpectralNormConv2d(Conv2dSame):
    """SAME convolution whose kernel is divided by an estimate of its largest singular value (Miyato et al. 2018).

    As in the code of DeepFill v2: the kernel as an (out, in * k * k) matrix W, one power iteration a forward pass,
    ``v = normalise(u W)``, ``u = normalise(v W^T)``, ``sigma = v W^T u^T``. Nothing is detached: the gradient of
    ``W / sigma`` goes through sigma and through both iterates (torch's own spectral norm detaches u and v; the two
    agree once the iteration has converged). ``u`` is stored at every forward pass in training mode, of the critic's
    step and of the generator's alike; the official code does so in evaluation too, where no critic runs here.
    ``u`` follows from the weights and the number of passes alone, so it is equal on all ranks of a distributed run.
    """

    u: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, symmetric: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, symmetric=symmetric)
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
            return self.weight / sigma

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_same(x, self.normalised_weight())


class SNPatchGAN(nn.Module):
    """Critic of DeepFill v2: six spectrally normalised 5x5 convolutions of stride 2 (Yu et al. 2019, section 3.2).

    LeakyReLU 0.2 follows all six, the last one too, as in the official code. Every element of the last feature map is
    one logit: (B, in_channels, 256, 256) gives (B, 4096). 5,946,816 parameters.

    Args:
        in_channels: 4 for image and mask, 5 with a sketch.
        width: Channels of the first layer; 2, 4, 4, 4, 4 times as many follow.
        symmetric: Padding of nipponjo's port instead of TensorFlow's.
    """

    def __init__(self, in_channels: int = 4, width: int = 64, symmetric: bool = False) -> None:
        super().__init__()
        channels = [in_channels, width, 2 * width, 4 * width, 4 * width, 4 * width, 4 * width]
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.conv6 = (
            SpectralNormConv2d(inputs, outputs, 5, stride=2, symmetric=symmetric)
            for inputs, outputs in pairwise(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.conv6):
            x = F.leaky_relu(conv(x), 0.2)
        return x.flatten(1).float()
