"""Networks of ICT under the official names (Transformer/models/model.py, Guided_Upsample/src/networks.py)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Transformer(nn.Module):
    """Bidirectional transformer over a grid of palette indices, without an attention mask.

    Layer norm comes first; the activation is x sigmoid(1.702 x); nothing is dropped. An unknown position enters as its
    position embedding alone: the token embedding is multiplied by 0, there is no embedding of a mask. 96,276,480
    parameters.

    Args:
        grid: Side of the square of tokens.
        layers: Blocks.
        width: Channels; a multiple of ``heads``.
        heads: Attention heads.
        colours: Entries of the palette.
    """

    def __init__(self, grid: int = 48, layers: int = 30, width: int = 512, heads: int = 8, colours: int = 512) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width is {width}; it must be a multiple of heads ({heads}).")
        self.grid = grid
        self.tok_emb = nn.Embedding(colours, width)
        self.pos_emb = nn.Parameter(torch.zeros(1, grid * grid, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.head = nn.Linear(width, colours, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, hole: Tensor, at: Tensor | None = None) -> Tensor:
        """Logits of the palette's entries, (B, grid^2, colours), in float32.

        Args:
            tokens: Indices in the palette, (B, grid^2), rows from top to bottom; in the hole any.
            hole: (B, grid^2), 1 where the token is unknown.
            at: One position per image, (B,): logits there alone, (B, colours).
        """
        x = self.tok_emb(tokens) * (1 - hole[..., None].to(self.pos_emb.dtype)) + self.pos_emb
        for block in self.blocks:
            x = block(x)
        if at is not None:
            x = x[torch.arange(len(x), device=x.device), at]
        logits: Tensor = self.head(self.ln_f(x))
        return logits.float()


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), _QuickGELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class _QuickGELU(nn.Module):
    """x sigmoid(1.702 x): GELU2 of the official code, on for every released model."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Upsampler(nn.Module):
    """Guided upsampler: the erased image and the enlarged tokens to an image (InpaintGenerator_5).

    10,780,867 parameters. No normalisation, no skip connections, no mask channel.

    Args:
        width: Channels of the first convolution.
        blocks: Residual blocks at a quarter of the size.
    """

    def __init__(self, width: int = 64, blocks: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(6, width, 7),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        self.middle = nn.Sequential(*(_ResidualBlock(4 * width) for _ in range(blocks)))
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, erased: Tensor, prior: Tensor) -> Tensor:
        """Both (B, 3, H, W) in **[0, 1]**, H and W multiples of 4, the hole of ``erased`` **white**; [0, 1] out."""
        x = self.decoder[:-1](self.middle(self.encoder(torch.cat([erased, prior], dim=1))))
        with torch.autocast(x.device.type, enabled=False):  # steps of bfloat16 near 1 are half a grey level
            return (torch.tanh(self.decoder[-1](x.to(self.decoder[-1].weight.dtype))) + 1) / 2


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(2),
            nn.Conv2d(width, width, 3, dilation=2),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)
