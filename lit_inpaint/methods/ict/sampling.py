"""Drawing the unknown tokens: one raster pass of top-k sampling (sample_mask in Transformer/utils/util.py)."""

import logging
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from lit_inpaint.methods.ict.networks import Transformer

logger = logging.getLogger(__name__)
Sampling = Literal["raster", "sample_all"]
LONG = 100  # from this many network calls on, there is a progress bar


@torch.no_grad()
def sample_tokens(
    transformer: Transformer,
    tokens: Tensor,
    hole: Tensor,
    top_k: int | None = 40,
    sampling: Sampling = "raster",
    generators: Sequence[torch.Generator] | None = None,
) -> Tensor:
    """Tokens (B, T) with those of the hole drawn; known ones stay.

    "raster": from top left to bottom right, each position given all that is known or drawn so far, so that the hole's
    tokens take as many network calls as there are of the largest hole in the batch. Each image has its own hole; the
    official code draws all at the positions of the first. "sample_all": one call, all positions independently (the
    official code's ablation).

    Args:
        top_k: Draw among the so many likeliest colours; 1 takes the likeliest, None draws among all.
        generators: One per image. Position t takes the t-th uniform number of its image's generator and inverts the
            distribution with it, so that neither the batch nor the device changes what is drawn.
    """
    tokens, hole = torch.where(hole == 1, 0, tokens), hole.clone()
    length = tokens.shape[1]
    if generators is None:
        uniform = torch.rand(len(tokens), length, dtype=torch.float64)
    else:
        uniform = torch.stack([torch.rand(length, dtype=torch.float64, generator=g) for g in generators])
    uniform = uniform.to(tokens.device)
    count = hole.sum(1).long()
    if sampling == "sample_all":
        drawn = draw(transformer(tokens, hole), uniform, top_k)
        return torch.where(hole == 1, drawn, tokens)

    # Positions of the hole, in raster order, in front.
    order = torch.argsort(hole, dim=1, descending=True, stable=True)
    counts = count.tolist()
    fewest, calls = min(counts, default=0), max(counts, default=0)
    everyone = torch.arange(len(tokens), device=tokens.device)
    told = calls >= LONG and logger.isEnabledFor(logging.INFO)
    for n in tqdm(range(calls), disable=None if told else True, leave=False):
        active = everyone if n < fewest else (count > n).nonzero()[:, 0]  # for whose length the host of a GPU waits
        position = order[active, n]
        logits = transformer(tokens[active], hole[active], at=position)
        tokens[active, position] = draw(logits, uniform[active, position], top_k)
        hole[active, position] = 0
    return tokens


def draw(logits: Tensor, uniform: Tensor, top_k: int | None) -> Tensor:
    """Invert the distribution of softmax(logits), restricted to the ``top_k`` largest, at ``uniform`` in [0, 1).

    >>> draw(torch.tensor([0.0, 0.0, 9.0, 0.0]), torch.tensor(0.5).double(), top_k=1)
    tensor(2)
    """
    logits = logits.double()
    if top_k is not None and top_k < logits.shape[-1]:
        lowest = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < lowest, -torch.inf)
    cumulated = F.softmax(logits, -1).cumsum(-1)
    # The last sum is 1 but for rounding; times it, no number falls behind the last colour.
    return torch.searchsorted(cumulated, (uniform * cumulated[..., -1].detach())[..., None], right=True)[..., 0]
