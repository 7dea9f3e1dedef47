"""Who is drawn: the draws of one face, its colours, and where a turned head shows its points."""

import math
from dataclasses import dataclass

import numpy as np

VERSION = 1  # changes with every pixel that changes

Colour = tuple[float, float, float]
Layers = list[list[float]]

SKIN = ((255, 226, 203), (246, 203, 169), (229, 178, 136), (204, 146, 102), (166, 108, 72), (122, 76, 50), (84, 54, 38))
HAIR = ((28, 23, 22), (54, 36, 28), (92, 58, 36), (140, 92, 52), (196, 152, 92), (226, 196, 140), (150, 66, 32),
        (168, 166, 164), (222, 220, 216))  # fmt: skip
IRIS = ((66, 40, 24), (98, 66, 34), (120, 98, 52), (74, 106, 78), (70, 104, 148), (108, 124, 138))
HEAD, OPENING, EYE, MOUTH, NECK, SHIRT, COVERED = 1, 2, 3, 4, 5, 6, 7  # kept coverages


class Draws:
    """Numbers in [0, 1) from the raw bits of PCG64, whose stream NumPy guarantees."""

    def __init__(self, *key: int) -> None:
        raw = np.random.PCG64(np.random.SeedSequence((VERSION, *key))).random_raw(160)
        self._left = iter((raw >> np.uint64(29)).tolist())

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * (next(self._left) / 2.0**35)

    def chance(self, share: float) -> bool:
        return self.between(0, 1) < share

    def below(self, n: int) -> int:
        return int(self.between(0, n))

    def colour(self, low: float, high: float, grey: float = 0.5) -> Colour:
        """Each channel in [low, high], then drawn towards its mean."""
        channels = [self.between(low, high) for _ in range(3)]
        mean = (channels[0] + channels[1] + channels[2]) / 3
        red, green, blue = (c + grey * (mean - c) for c in channels)
        return red, green, blue

    def blend(self, palette: tuple[Colour, ...]) -> Colour:
        """A colour between two neighbours of a palette."""
        place = self.below(len(palette) - 1)
        return mixed(palette[place], palette[place + 1], self.between(0, 1))


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (a + share * (b - a) for a, b in zip(one, other, strict=True))
    return red, green, blue


def scaled(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def turned(t: float) -> tuple[float, float]:
    """Cosine and sine of the angle whose half has the tangent ``t``: rational, so correctly rounded."""
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


@dataclass
class Face:
    """What the parts of one face share.

    Args:
        x, y: Centre of the head.
        w, h: Its half axes.
        yaw, pitch: Cosine and sine of the head's turn to the side and of its nod.
    """

    x: float
    y: float
    w: float
    h: float
    yaw: tuple[float, float]
    pitch: tuple[float, float]
    skin: Colour
    hair: Colour
    key: float

    @property
    def shadow(self) -> Colour:
        red, green, blue = self.skin
        return red * 0.66, green * 0.58, blue * 0.56

    def at(self, u: float, v: float, out: float = 0.0) -> tuple[float, float]:
        """Where a point of the front of the head is seen; ``out``: how far it stands out of the ball."""
        depth = math.sqrt(max(0.0, 1 - u * u - v * v)) + out
        side = u * self.yaw[0] + depth * self.yaw[1]
        depth = depth * self.yaw[0] - u * self.yaw[1]
        return self.x + self.w * side, self.y + self.h * (v * self.pitch[0] - depth * self.pitch[1])
