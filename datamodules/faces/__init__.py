"""Faces drawn by arithmetic: every face is a function of (seed, split, index), the same bits on every processor.

What a learned method can know and a classic cannot: two eyes belong above a nose and a mouth below it, all turned with
the head and lit from one side.
"""

import math

import numpy as np
from numpy.typing import NDArray

from datamodules.faces.body import background, body, head
from datamodules.faces.features import eyes, mouth, nose
from datamodules.faces.hair import beard, behind, glasses, hair, headwear
from datamodules.faces.painting import develop, paint
from datamodules.faces.people import HAIR, SKIN, VERSION, Draws, Face, turned

__all__ = ["VERSION", "draw"]


def draw(seed: int, split: int, index: int, size: int = 64) -> NDArray[np.uint8]:
    """One face, (size, size, 3) uint8.

    >>> draw(0, 0, 0, 64).shape, bool((draw(0, 0, 7) == draw(0, 0, 7)).all())
    ((64, 64, 3), True)
    """
    grain = np.random.PCG64(np.random.SeedSequence((VERSION, seed, split, index, 1)))
    words = np.asarray(grain.random_raw((size * size + 15) // 16))
    return develop(painted(seed, split, index, size), words)


def painted(seed: int, split: int, index: int, size: int) -> NDArray[np.float64]:
    """The face before film grain and rounding, (3, size, size)."""
    r = Draws(seed, split, index)
    light_x, light_y = r.between(-0.75, 0.75), r.between(-0.75, -0.1)
    light = (light_x, light_y, math.sqrt(1 - min(0.95, light_x * light_x + light_y * light_y)))
    length = math.sqrt(light[0] * light[0] + light[1] * light[1] + light[2] * light[2])
    layers = background(r)
    cos, sin = turned(r.between(-0.07, 0.07))
    face = Face(x=r.between(-0.1, 0.1), y=r.between(-0.06, 0.1), w=r.between(0.45, 0.55), h=r.between(0.6, 0.69),
        yaw=turned(r.between(-0.1, 0.1)), pitch=turned(r.between(-0.06, 0.07)), skin=r.blend(SKIN),
        hair=r.blend(HAIR), key=float(r.below(1 << 20)))  # fmt: skip
    style, cover = r.below(8), r.below(14)
    layers += (behind(face, r, style) if cover > 1 else []) + body(face, r) + head(face, r)
    layers += eyes(face, r) + nose(face, r) + beard(face, r) + mouth(face, r)
    layers += headwear(face, r, cover) if cover < 2 else hair(face, r, style)
    layers += glasses(face, r) if r.chance(0.22) else []
    frame = face.x, face.y + 0.2, cos, sin
    return paint(size, np.array(layers, np.float64), frame, tuple(value / length for value in light))
