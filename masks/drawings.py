"""Holes as they occur in old photographs and in retouching: words, scratches, whole objects.

No paper fixes a law for them; the ranges are this project's own and are stated in each class.
"""

import math
from dataclasses import dataclass

import numpy as np

from masks.shapes import Outline, Point, Shape, ShapeGenerator, Stroke, integer

# Strokes on a grid 4 wide and 6 high, y downwards: "002640" goes from (0, 0) over (2, 6) to (4, 0).
_LETTERS = {
    "A": "0602204246 0444",
    "B": "00063645443303 3342413000",
    "C": "4130100105163645",
    "D": "00063645413000",
    "E": "40000646 0333",
    "F": "400006 0333",
    "G": "41301001051636454323",
    "H": "0006 4046 0343",
    "I": "1030 2026 1636",
    "J": "4045361605",
    "K": "0006 400346",
    "L": "000646",
    "M": "0600234046",
    "N": "06004640",
    "O": "100105163645413010",
    "P": "06003041423303",
    "Q": "100105163645413010 2446",
    "R": "06003041423303 2346",
    "S": "413010010213334445361605",
    "T": "0040 2026",
    "U": "000516364540",
    "V": "002640",
    "W": "0016233640",
    "X": "0046 4006",
    "Y": "002340 2326",
    "Z": "00400646",
}
_WORDS = (
    "ALBUM ARCHIVE BRIDGE CAMERA CASTLE COPY EXHIBIT FAMILY FOREST GARDEN HARBOUR HOLIDAY HOUSE JULY KITCHEN LOVE "
    "MEMORY PAPER PHOTO PREVIEW PROOF QUIET SAMPLE SEA SUNDAY TEXT TOWN TRAVEL VIEW WINDOW WORLD ZOO"
)


@dataclass(frozen=True)
class Text(ShapeGenerator):
    """Words across the image, each with its own size, angle and place.

    >>> mask = Text()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '24% hole'

    Args:
        words: Fewest and most words.
        height: Smallest and largest height of the letters, shares of the shorter side, drawn evenly on a log scale.
        angle: Largest turn from the horizontal in degrees.
        brush: Width of the strokes, a share of the letters' height.
    """

    words: tuple[int, int] = (4, 10)
    height: tuple[float, float] = (0.06, 0.2)
    angle: float = 45.0
    brush: float = 0.15

    def __post_init__(self) -> None:
        if not (1 <= self.words[0] <= self.words[1] and 0 < self.height[0] <= self.height[1] and 0 < self.brush <= 1):
            raise ValueError(
                f"Text got words={self.words}, height={self.height}, brush={self.brush:g}; "
                "expected [fewest, most] from 1 on, [smallest, largest] above 0 and a brush above 0, at most 1."
            )

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        strokes: list[Shape] = []
        small, large = self.height
        words = _WORDS.split()
        for word, size, angle, u_x, u_y, anchor in rng.random((integer(rng.random(), *self.words), 6)).tolist():
            pixels = small * (large / small) ** size * min(height, width)
            turn = math.radians(self.angle * (2 * angle - 1))
            sine, cosine = pixels / 6 * math.sin(turn), pixels / 6 * math.cos(turn)
            lines = _word(words[int(word * len(words))])
            vertices = [vertex for line in lines for vertex in line]
            # One vertex of the word lands on a pixel of the image, so that no word misses it.
            at_x, at_y = vertices[int(anchor * len(vertices))]
            left, top = u_x * (width - 1), u_y * (height - 1)
            brush = max(1, round(self.brush * pixels))
            for line in lines:
                points = [
                    (
                        round(left + cosine * (x - at_x) - sine * (y - at_y)),
                        round(top + sine * (x - at_x) + cosine * (y - at_y)),
                    )
                    for x, y in line
                ]
                strokes.append(Stroke(points, [brush] * (len(points) - 1)))
        return strokes


def _word(word: str) -> list[list[Point]]:
    """Strokes of a word in grid units; letters are 6 units apart."""
    return [
        [(6 * place + int(stroke[i]), int(stroke[i + 1])) for i in range(0, len(stroke), 2)]
        for place, letter in enumerate(word)
        for stroke in _LETTERS[letter].split()
    ]


@dataclass(frozen=True)
class Scratches(ShapeGenerator):
    """Long, thin, slightly bent lines, as on a worn photograph.

    Each is a parabola through a uniform pixel in a uniform direction.

    >>> mask = Scratches()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '9% hole'

    Args:
        count: Fewest and most scratches.
        length: Shortest and longest chord, shares of the diagonal.
        bend: Largest distance of the middle from the chord, a share of the chord.
        brush: Thinnest and broadest line in pixels at 256; other sizes in proportion, at least one pixel.
    """

    count: tuple[int, int] = (5, 20)
    length: tuple[float, float] = (0.1, 0.8)
    bend: float = 0.15
    brush: tuple[int, int] = (1, 4)

    def __post_init__(self) -> None:
        if not (1 <= self.count[0] <= self.count[1] and 0 < self.length[0] <= self.length[1] and self.brush[0] > 0):
            raise ValueError(
                f"Scratches got count={self.count}, length={self.length}, brush={self.brush}; "
                "expected [fewest, most], [shortest, longest] above 0 and [thinnest, broadest] from 1 on."
            )

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        scratches: list[Shape] = []
        for u_x, u_y, direction, length, bend, place, brush in rng.random(
            (integer(rng.random(), *self.count), 7)
        ).tolist():
            chord = (self.length[0] + (self.length[1] - self.length[0]) * length) * math.hypot(height, width)
            sine, cosine = math.sin(2 * math.pi * direction), math.cos(2 * math.pi * direction)
            sag = self.bend * (2 * bend - 1) * chord
            points = []
            # A point of the curve lies on the pixel (u_x, u_y), so that no scratch misses the image.
            pivot = int(17 * place)
            for i in range(17):
                along = chord * (i - pivot) / 16
                across = 4 * sag * (i / 16 * (1 - i / 16) - pivot / 16 * (1 - pivot / 16))
                x = u_x * (width - 1) + along * cosine - across * sine
                y = u_y * (height - 1) + along * sine + across * cosine
                points.append((round(x), round(y)))
            pixels = max(1, round(integer(brush, *self.brush) * min(height, width) / 256))
            scratches.append(Stroke(points, [pixels] * 16))
        return scratches


# Outlines on a grid of 100x100, y downwards; each holds its centre (50, 50).
_OUTLINES = {
    "person": (
        "50,0 56,2 59,8 57,14 54,17 64,20 70,25 76,45 80,58 75,60 69,48 65,38 64,58 66,78 67,98 57,98 54,78 "
        "50,62 46,78 43,98 33,98 34,78 36,58 35,38 31,48 25,60 20,58 24,45 30,25 36,20 46,17 43,14 41,8 44,2"
    ),
    "car": (
        "2,70 4,58 14,54 24,50 34,36 62,35 76,50 92,54 98,62 97,72 90,73 88,79 82,82 76,79 74,73 30,73 28,79 "
        "22,82 16,79 14,73"
    ),
    "bottle": "44,0 56,0 56,20 58,26 68,38 68,98 65,100 35,100 32,98 32,38 42,26 44,20",
    "tree": (
        "46,100 47,66 34,68 22,60 14,48 18,34 28,28 30,14 44,4 58,4 70,14 74,26 86,36 86,50 76,62 64,68 53,66 54,100"
    ),
    "dog": (
        "2,30 8,38 14,46 30,44 56,44 66,36 68,24 72,16 76,24 84,24 94,30 98,34 95,40 84,42 80,50 76,60 74,72 "
        "75,96 68,97 66,76 60,66 36,66 30,76 29,96 22,97 20,78 16,64 12,54 6,44"
    ),
    "cat": (
        "30,100 26,80 30,60 36,46 34,34 33,16 42,24 54,24 63,16 62,34 60,46 68,62 72,80 72,94 84,92 90,80 "
        "88,66 93,66 97,80 92,95 80,100"
    ),
    "chair": "24,2 32,2 33,46 72,46 76,50 76,98 69,98 68,60 34,60 33,98 26,98",
    "bird": "2,46 12,40 20,32 32,32 40,40 60,42 98,62 76,66 60,72 54,90 50,90 50,74 34,72 22,62 16,50",
}
_SILHOUETTES = {
    name: [(int(x), int(y)) for x, y in (point.split(",") for point in outline.split())]
    for name, outline in _OUTLINES.items()
}


@dataclass(frozen=True)
class Silhouettes(ShapeGenerator):
    """Outlines of a person, car, bottle, tree, dog, cat, chair or bird, mirrored, turned and placed at random.

    The procedure of Pathak et al. 2016 (shapes pasted at arbitrary places) without their PASCAL VOC shapes; for those
    or any other take :class:`masks.MaskFolder`.

    >>> mask = Silhouettes()(256, 256, np.random.default_rng(0))
    >>> f"{mask.mean():.0%} hole"
    '6% hole'

    Args:
        objects: Fewest and most objects.
        height: Smallest and largest size, shares of the shorter side.
        angle: Largest turn from upright in degrees.
    """

    objects: tuple[int, int] = (1, 2)
    height: tuple[float, float] = (0.3, 0.8)
    angle: float = 20.0

    def __post_init__(self) -> None:
        if not (1 <= self.objects[0] <= self.objects[1] and 0 < self.height[0] <= self.height[1] <= 1):
            raise ValueError(
                f"Silhouettes got objects={self.objects}, height={self.height}; "
                "expected [fewest, most] from 1 on and [smallest, largest] shares with 0 < smallest <= largest <= 1."
            )

    def shapes(self, height: int, width: int, rng: np.random.Generator) -> list[Shape]:
        outlines = list(_SILHOUETTES.values())
        shapes: list[Shape] = []
        for kind, size, angle, mirror, u_x, u_y in rng.random((integer(rng.random(), *self.objects), 6)).tolist():
            scale = (self.height[0] + (self.height[1] - self.height[0]) * size) * min(height, width) / 100
            turn = math.radians(self.angle * (2 * angle - 1))
            sine, cosine = scale * math.sin(turn), scale * math.cos(turn)
            side = 1 if mirror < 0.5 else -1
            left, top = u_x * (width - 1), u_y * (height - 1)
            points = []
            for x, y in outlines[int(kind * len(outlines))]:
                a, b = side * (x - 50), y - 50
                points.append((round(left + cosine * a - sine * b), round(top + sine * a + cosine * b)))
            shapes.append(Outline(points))
        return shapes
