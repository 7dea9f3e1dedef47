"""PatchMatch of a whole batch at once, in torch: the propagation of Barnes et al. 2009 as a GPU can do it.

In :mod:`.field` a pixel reads what its neighbour found a moment ago. Here all pixels of all images read at once, from
neighbours 8, 4, 2 and 1 pixels away (jump flooding, Rong and Tan 2006, which section 3.2 of the paper names for GPUs):
a field differs from that of :mod:`.field`, its energy hardly. Squared distances are whole numbers, up to 9x9 below 2^24
and exact in float32 in any order, and random numbers are a hash of the image's seed, the pixel and a count: what an
image becomes does not depend on the others of its batch.

Inside, positions are numbers of pixels of the batch laid out flat, each image with a border as wide as the longest
jump: neighbours and patches are sums, and none leads into another row or image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_JUMPS = (8, 4, 2, 1)
_CHUNK = 1 << 18  # patches whose pixels are in memory at a time: 150 MB of 7x7


class Fields:
    """The nearest-neighbour fields of B images of one size, and the votes that go with them.

    Args:
        source: (B, H, W, 3), where patches come from: 0..255, rounded here.
        allowed: (B, H, W) bool, the centres of source patches.
        centres: (B, H, W) bool, the patches that are matched.
        radius: (B,), of the patches of each image.
        seeds: A number below 2^63 for each image.
    """

    def __init__(self, source: Tensor, allowed: Tensor, centres: Tensor, radius: Tensor, seeds: Sequence[int]) -> None:
        largest = int(radius.max())
        self.size, self.border = source.shape[1:3], max(*_JUMPS, largest)
        self.width = self.size[1] + 2 * self.border
        self.area = self.width * (self.size[0] + 2 * self.border)
        self.source, self.allowed = self.flat(source.round().float()), self.flat(allowed)
        self.at = self.flat(centres).nonzero()[:, 0]
        self.owner = self.at // self.area
        rows, columns = self._rows_and_columns(self.at)
        self.pixel, self.drawn = rows * self.size[1] + columns, 0
        self.seeds = torch.tensor(seeds, device=source.device)[self.owner]
        self.choices, self.counts = self.allowed.nonzero()[:, 0], allowed.flatten(1).sum(1)
        steps = torch.arange(-largest, largest + 1, device=source.device)
        down, right = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
        self.window = down * self.width + right
        self.within = torch.maximum(down.abs(), right.abs()) <= radius[:, None]  # (B, offsets)
        self.inside = self.flat(torch.ones_like(allowed))[self.at[:, None] + self.window] & self.within[self.owner]
        self.match = torch.full_like(self.allowed, -1, dtype=torch.long)
        self.distance = torch.full_like(self.match, -1)

    def flat(self, image: Tensor) -> Tensor:
        """(B, H, W, ...) with its border of zeros, the first three dimensions as one."""
        return F.pad(image, (0, 0) * (image.dim() - 3) + (self.border,) * 4).flatten(0, 2)

    def found(self) -> tuple[Tensor, Tensor]:
        """match (B, H, W, 2), row and column of the source patch, and distance (B, H, W); -1 where no centre is."""
        maps = []
        for values in (*self._rows_and_columns(self.match), self.distance):
            values = torch.where(self.match < 0, -1, values).view(len(self.counts), -1, self.width)
            maps.append(values[:, self.border : -self.border, self.border : -self.border])
        return torch.stack(maps[:2], -1), maps[2]

    def draw(self, n: Tensor) -> Tensor:
        """For every centre a number in 0 .. n-1 (splitmix64 of Steele, Lea and Flood 2014)."""
        self.drawn += 1
        x = self.seeds + (self.pixel + (self.drawn << 40)) * -0x61C8864680B583EB
        for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1)):
            x = (x ^ (x >> shift) & ((1 << 64 - shift) - 1)) * factor  # >> fills up with the sign, the mask clears it
        return (x & ((1 << 62) - 1)) % n

    def start(self, target: Tensor, match: Tensor | None = None) -> None:
        """Match every centre as in ``match`` (B, H, W, 2), or as before, where that is allowed, else at random."""
        known = self.match[self.at]
        if match is not None:
            given = self.flat(match)[self.at]
            row, column = (given.long() + self.border).unbind(1)
            known = torch.where(given[:, 0] < 0, -1, self.owner * self.area + row * self.width + column)
        first = (self.counts.cumsum(0) - self.counts)[self.owner]
        drawn = self.choices[first + self.draw(self.counts[self.owner])]
        known = torch.where((known >= 0) & self.allowed[known], known, drawn)
        self.match[self.at], self.distance[self.at] = known, self._distances(self._pixels(target), known)

    def improve(self, target: Tensor) -> None:
        """One iteration: propagation over every jump, then random search in windows that halve around the best."""
        pixels = self._pixels(target)
        for jump in _JUMPS:
            for offset in (jump * self.width, jump, -jump * self.width, -jump):
                found = self.match[self.at - offset]
                self._try(pixels, torch.where(found >= 0, found + offset, self.match[self.at]))
        reach = max(self.size)
        while reach >= 1:
            best = self.match[self.at]
            candidate = best - best % self.area + self.border * (self.width + 1)  # the image's first pixel
            for old, side, step in zip(self._rows_and_columns(best), self.size, (self.width, 1), strict=True):
                low, high = (old - reach).clamp(min=0), (old + reach).clamp(max=side - 1)
                candidate = candidate + step * (low + self.draw(high - low + 1))
            self._try(pixels, candidate)
            reach //= 2

    def weights(self, trust: Tensor) -> Tensor:
        """``trust`` (B, H, W) times exp(-d / 2 sigma^2), sigma^2 the 75th percentile of the image's distances d."""
        _, distance = self.found()
        variance = trust.new_ones(len(trust), 1, 1)
        for image in self.owner.unique():
            variance[image] = distance[image][distance[image] >= 0].to(trust).quantile(0.75).clamp(min=1)
        return torch.where(distance < 0, 0, trust * (-distance / (2 * variance)).clamp(min=-50).exp())

    def vote(self, image: Tensor, hole: Tensor, weight: Tensor) -> Tensor:
        """The images (B, H, W, 3) with every hole pixel the weighted mean of what the patches over it match there."""
        source, heavy, at = self.flat(image), self.flat(weight), self.flat(hole).nonzero()[:, 0]
        colour, total = torch.zeros_like(source[at]), torch.zeros_like(heavy[at])
        for number, offset in enumerate(self.window):
            match = self.match[at - offset]
            w = heavy[at - offset] * (self.within[at // self.area, number] & (match >= 0))
            colour += w[:, None] * source[(match + offset).clamp(min=0)]
            total += w
        voted = image.clone()
        voted[hole] = colour / total[:, None]
        return voted

    def _pixels(self, target: Tensor) -> Tensor:
        return self.flat(target.round().float())

    def _rows_and_columns(self, position: Tensor) -> tuple[Tensor, Tensor]:
        within = position % self.area
        return within // self.width - self.border, within % self.width - self.border

    def _try(self, pixels: Tensor, candidate: Tensor) -> None:
        best, distance = self.match[self.at], self.distance[self.at]
        candidate = torch.where(self.allowed[candidate], candidate, best)
        found = self._distances(pixels, candidate)
        self.match[self.at] = torch.where(found < distance, candidate, best)
        self.distance[self.at] = torch.minimum(found, distance)

    def _distances(self, pixels: Tensor, match: Tensor) -> Tensor:
        """Squared colour differences (N,) of the patches at all centres to those at ``match``; where the target patch
        leaves the image, of the pixels inside, scaled up."""
        found = []
        for part in range(0, len(match), _CHUNK):
            here = slice(part, part + _CHUNK)
            ours = pixels[self.at[here, None] + self.window]
            theirs = self.source[match[here, None] + self.window]
            found.append(((ours - theirs).square().sum(2) * self.inside[here]).sum(1))
        return torch.cat(found).long() * self.within.sum(1)[self.owner] // self.inside.sum(1)
