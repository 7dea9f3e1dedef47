"""Barnes et al. 2009, with the coarse-to-fine completion of Wexler et al. 2007 that the paper uses it for."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lit_inpaint.classical import ClassicalModule, harmonic_fill, refuse_without_known_pixels
from lit_inpaint.methods.patchmatch.field import improve, random_state, rows, start, vote
from lit_inpaint.methods.patchmatch.flood import Fields
from masks.convention import from_levels, to_levels


class Completion(NamedTuple):
    """A completed image and where every pixel of it comes from.

    image (H, W, 3) float64 in 0..255. match (H, W, 2) int32, distance (H, W) int32 and weight (H, W) float64 of the
    patch centred at each pixel: -1, -1 and 0 where no patch touches the hole. radius: of the patches, in pixels.
    """

    image: NDArray[np.float64]
    match: NDArray[np.int32]
    distance: NDArray[np.int32]
    weight: NDArray[np.float64]
    radius: int


class PatchMatch(ClassicalModule):
    """Copies patches. From coarse to fine, in turn: find for each patch over the hole its nearest neighbour among the
    patches without a hole pixel, and set each hole pixel to the weighted mean of what the patches over it match there.
    A batch on a GPU is completed at once, by other searches of the same energy: one seed gives another image there.

    >>> image, mask = torch.full((1, 3, 16, 16), 0.2), torch.zeros(1, 1, 16, 16)
    >>> mask[..., 4:8, 4:8] = 1
    >>> bool((PatchMatch()(image, mask) - image).abs().max() < 0.01)
    True

    Args:
        radius: Patch radius in pixels; 3 is the paper's 7x7. Smaller where no larger patch is fully known.
        rounds: Searches and votes at the finest level.
        rounds_per_level: So many more at each coarser level.
        iterations: Iterations of propagation and random search per round.
        border_weight: Votes of a patch weigh this to the power of minus the distance of its centre from the border of
            the hole in pixels (Wexler et al., equation 8).
        seed: Seed of the random search if no generators are given; the same for each image.
    """

    year: ClassVar[int] = 2009
    paper: ClassVar[str] = "Barnes et al., PatchMatch: a randomized correspondence algorithm, SIGGRAPH"
    diverse: ClassVar[bool] = True

    def __init__(
        self,
        radius: int = 3,
        rounds: int = 2,
        rounds_per_level: int = 3,
        iterations: int = 2,
        border_weight: float = 1.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(
            radius=radius, rounds=rounds, rounds_per_level=rounds_per_level, iterations=iterations,
            border_weight=border_weight, seed=seed,
        )  # fmt: skip
        if radius < 0 or rounds < 1 or iterations < 1:
            raise ValueError(
                f"radius is {radius}, rounds {rounds}, iterations {iterations}; expected at least 0, 1 and 1."
            )
        self.radius, self.rounds, self.rounds_per_level, self.iterations = radius, rounds, rounds_per_level, iterations
        self.border_weight, self.seed = border_weight, seed

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        refuse_without_known_pixels(mask)
        filled, holes = erased.clone(), mask[:, 0].cpu().numpy() == 1
        touched = [index for index, hole in enumerate(holes) if hole.any()]
        images = [to_levels(erased[i].double(), rounded=False).permute(1, 2, 0).cpu().numpy() for i in touched]
        seeds = [int(torch.randint(2**62, (), generator=generators[i])) if generators else self.seed for i in touched]
        if erased.is_cuda and touched:
            completed = self.complete_at_once(images, [holes[i] for i in touched], seeds, erased.device)
            filled[touched] = from_levels(completed).permute(0, 3, 1, 2).to(filled)
            return filled
        for index, image, seed in zip(touched, images, seeds, strict=True):
            completed = torch.from_numpy(from_levels(self.complete_array(image, holes[index], seed).image))
            filled[index] = completed.permute(2, 0, 1)
        return filled

    def complete_array(self, image: NDArray[np.float64], hole: NDArray[np.bool_], seed: int = 0) -> Completion:
        """Complete one image (H, W, 3), 0..255, whose hole (H, W) is neither empty nor everything."""
        state, levels = random_state(seed), pyramid(image, hole, self.radius)
        completion: Completion | None = None
        for level in reversed(range(len(levels))):
            image, hole = levels[level]
            radius, allowed = _known_patches(hole, self.radius)
            centres, sources = np.argwhere(grown(hole, radius)), np.argwhere(allowed)
            source, distance = rows(image), np.full(hole.shape, -1, np.int32)
            trust = self._trust(hole)
            if completion is None:
                match, filled = np.full((*hole.shape, 2), -1, np.int32), harmonic_fill(image, hole)
                if radius == 0:  # scattered known pixels, and patches of one: a random start would stay random
                    match = _nearest_to(allowed)
            else:  # the coarser level's field, at once with this level's pixels: the start is sharp
                match, filled = upsampled(completion.match, hole.shape), image.copy()
                start(source, source, centres, sources, allowed, match, distance, radius, state)
                vote(filled, image, hole, centres, match, trust, radius)
            for _ in range(self.rounds + level * self.rounds_per_level):
                target = rows(filled)
                start(target, source, centres, sources, allowed, match, distance, radius, state)
                for iteration in range(self.iterations):
                    improve(target, source, centres, allowed, match, distance, radius, iteration, state)
                weight = trust * similarity(distance)
                vote(filled, image, hole, centres, match, weight, radius)
            completion = Completion(filled, match, distance, weight, radius)
        assert completion is not None
        return completion

    def complete_at_once(
        self,
        images: Sequence[NDArray[np.float64]],
        holes: Sequence[NDArray[np.bool_]],
        seeds: Sequence[int],
        device: torch.device | str,
    ) -> Tensor:
        """The same for images of one size, all at a time on ``device``: (B, H, W, 3) float64, 0..255.

        An image takes part from its own coarsest level on.
        """
        pyramids = [pyramid(image, hole, self.radius) for image, hole in zip(images, holes, strict=True)]
        deepest = max(pyramids, key=len)
        match: list[Any] = [None] * len(pyramids)
        for level in reversed(range(len(deepest))):
            size = deepest[level][1].shape
            absent, nowhere = (np.zeros((*size, 3)), np.zeros(size, bool)), np.full((*size, 2), -1, np.int32)
            pairs = [levels[level] if level < len(levels) else absent for levels in pyramids]
            new = [level == len(levels) - 1 for levels in pyramids]
            image, hole = (_stacked(part, device) for part in zip(*pairs, strict=True))
            radii, patches = zip(*(_known_patches(h, self.radius) for _, h in pairs), strict=True)
            centres = _stacked([grown(h, radius) for (_, h), radius in zip(pairs, radii, strict=True)], device)
            fields = Fields(image, _stacked(patches, device), centres, torch.tensor(radii, device=device), seeds)
            before = [nowhere if m is None else upsampled(m, size) for m in match]
            for index in np.flatnonzero(new):
                before[index] = _nearest_to(patches[index]) if radii[index] == 0 else nowhere
            fields.start(image, _stacked(before, device))
            trust = _stacked([self._trust(h) for _, h in pairs], device)
            filled = fields.vote(image, hole, trust)
            for index in np.flatnonzero(new):
                filled[index] = torch.from_numpy(harmonic_fill(*pairs[index]))
            for _ in range(self.rounds + level * self.rounds_per_level):
                fields.start(filled)
                for _ in range(self.iterations):
                    fields.improve(filled)
                filled = fields.vote(image, hole, fields.weights(trust))
            match = list(fields.found()[0].cpu().numpy())
        return filled

    def _trust(self, hole: NDArray[np.bool_]) -> NDArray[np.float64]:
        return self.border_weight ** -cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5).astype(np.float64)


def _stacked(arrays: Sequence[NDArray[Any]], device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device)


def similarity(distance: NDArray[np.int32]) -> NDArray[np.float64]:
    """exp(-d / 2 sigma^2), sigma^2 the 75th percentile of all distances d (Wexler et al., section 3.2); 0 where -1."""
    found = distance >= 0
    variance = max(float(np.percentile(distance[found], 75)), 1.0)
    return np.where(found, np.exp(-np.minimum(distance / (2 * variance), 50)), 0)


def _nearest_to(allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The nearest True position for every pixel, (H, W, 2)."""
    from scipy.ndimage import distance_transform_edt  # slow, and seldom needed

    indices = distance_transform_edt(~allowed, return_distances=False, return_indices=True)
    return np.ascontiguousarray(indices.transpose(1, 2, 0), np.int32)


def upsampled(match: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """The field of the next finer level: positions doubled, and each of the four pixels keeps its corner."""
    fine = np.repeat(np.repeat(match, 2, 0), 2, 1)[: shape[0], : shape[1]]
    corner = np.indices(fine.shape[:2]).transpose(1, 2, 0) % 2
    return np.where(fine < 0, -1, 2 * fine + corner).astype(np.int32)


def grown(hole: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Centres of the patches that touch the hole."""
    return cv2.dilate(hole.astype(np.uint8), np.ones((2 * radius + 1,) * 2, np.uint8)) > 0


def _known_patches(hole: NDArray[np.bool_], radius: int) -> tuple[int, NDArray[np.bool_]]:
    """The largest radius up to ``radius`` for which a patch inside the image has no hole pixel, and their centres."""
    for smaller in range(radius, -1, -1):
        inside = np.pad(~grown(hole, smaller)[smaller:-smaller, smaller:-smaller], smaller) if smaller else ~hole
        if inside.any():
            return smaller, inside
    raise AssertionError("a hole without a known pixel comes this far")


def pyramid(
    image: NDArray[np.float64], hole: NDArray[np.bool_], radius: int
) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """(image, hole) from fine to coarse, halved until a patch spans the hole. A coarse pixel is the mean of its known
    pixels, and hole where there is none."""
    levels = [(np.where(hole[..., None], 0.0, image), hole)]
    while True:
        image, hole = levels[-1]
        depth = cv2.distanceTransform(np.pad(hole, 1, mode="edge").astype(np.uint8), cv2.DIST_C, 3).max()
        even = [(0, size % 2) for size in hole.shape]
        known = np.pad((~hole).astype(np.float64), even)
        total = np.pad(image * ~hole[..., None], [*even, (0, 0)])
        count = known.reshape(known.shape[0] // 2, 2, -1, 2).sum((1, 3))
        total = total.reshape(*count.shape[:1], 2, -1, 2, 3).sum((1, 3))
        if depth <= radius or count.all() or min(count.shape) <= 4 * radius:
            return levels
        levels.append((total / np.maximum(count, 1)[..., None], count == 0))
