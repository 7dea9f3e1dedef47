"""Hair, beards, and what people wear on their heads."""

from datamodules.faces.painting import shape
from datamodules.faces.people import HEAD, OPENING, Draws, Face, Layers, mixed, scaled, turned

# fmt: off


def _strands(face: Face, strength: float = 0.22, across: float = 26, along: float = 3) -> dict[str, float]:
    return {"grain": strength, "across": across, "along": along, "key": face.key, "head": 1.0}


def behind(f: Face, r: Draws, style: int) -> Layers:
    """Hair behind the head. Styles: 0 cropped, 1 side parting, 2 long, 3 bob, 4 curls, 5 bun, 6 bald, 7 pony tail."""
    dark, layers = scaled(f.hair, 0.72), []
    if style == 2:
        layers.append(shape(f.x, f.y + 0.3, f.w * r.between(1.22, 1.4), f.h * 1.5, dark, taper=-0.12, square=1,
            **_strands(f)))
    if style == 3:
        layers.append(shape(f.x, f.y + 0.05, f.w * r.between(1.2, 1.34), f.h * 1.0, dark, taper=-0.1, square=1,
            **_strands(f)))
    if style == 4:
        radius = r.between(1.18, 1.5)
        layers.append(shape(f.x, f.y - f.h * 0.28, f.w * radius, f.h * radius * 0.8, dark, soft=0.05, grain=0.4,
            along=16, across=16, key=f.key, head=1))
    if style == 5:
        layers.append(shape(f.x + f.w * r.between(-0.3, 0.3), f.y - f.h * 1.12, f.w * 0.42, f.h * 0.26, f.hair,
            shade=0.5, **_strands(f, across=14)))
    if style == 7:
        side = -1 if f.yaw[1] > 0 else 1
        layers.append(shape(f.x + side * f.w * 1.08, f.y + f.h * 0.45, f.w * 0.26, f.h * 0.85, dark, taper=0.25,
            **_strands(f)))
    return layers


def hair(f: Face, r: Draws, style: int) -> Layers:
    if style == 6:
        return []
    shift, line = f.yaw[1] * 0.5, r.between(0.42, 0.6)
    opening = f.y + f.h * (line - 0.3 - 0.6 * f.pitch[1])
    top = f.y - f.h * 0.4
    layers = []
    if style in (1, 2, 3) and r.chance(0.75):  # parted: the forehead is open to one side
        side = 1 if r.chance(0.5) else -1
        cos, sin = turned(side * r.between(0.1, 0.3))
        layers.append(shape(f.x + f.w * (shift + side * 0.1), opening, f.w * 0.84, f.h * 0.9, keep=OPENING, alpha=0,
            head=1, cos=cos, sin=sin, square=1))
    elif style == 3:  # a fringe
        layers.append(shape(f.x + f.w * shift, opening + f.h * 0.22, f.w * 0.8, f.h * 0.78, keep=OPENING, alpha=0,
            head=1, square=1, soft=0.05))
    else:
        layers.append(shape(f.x + f.w * shift, opening, f.w * r.between(0.8, 0.9), f.h * 0.9, keep=OPENING, alpha=0,
            head=1, square=1, soft=0.05))
    look = _strands(f, across=16, along=16, strength=0.4) if style == 4 else _strands(f)
    wide, high = (1.14, 0.66) if style == 4 else (1.07, 0.66)
    if style == 0:
        wide, high = 1.03, 0.62
    layers += [
        shape(f.x, top, f.w * wide, f.h * high * r.between(0.97, 1.06), f.hair, outside=OPENING, shade=0.5, soft=0.05
            if style == 4 else 0.0, **look),
        shape(f.x + f.w * (0.3 - 0.6 * r.between(0, 1)), top - f.h * 0.38, f.w * 0.5, f.h * 0.12, mixed(f.hair, (255,
            245, 225), 0.35), outside=OPENING, bend=-0.08, soft=0.14, alpha=0.4, head=1),
    ]
    if style in (2, 3):  # strands in front of the shoulders
        low = 0.95 if style == 2 else 0.42
        for side in (-1, 1):
            layers.append(shape(f.x + side * f.w * 1.0, f.y + f.h * (low - 0.45), f.w * 0.22, f.h * (low + 0.05),
                scaled(f.hair, 0.92), taper=-0.1, square=1, shade=0.3, **_strands(f)))
    return layers


def beard(f: Face, r: Draws) -> Layers:
    kind = r.below(9)  # 0 full, 1 goatee, 2 moustache, 3 stubble, else none
    if kind > 3:
        return []
    x, (mouth_x, mouth_y) = f.at(0, 0.5)[0], f.at(0, 0.58, 0.05)
    colour = scaled(mixed(f.hair, f.shadow, 0.15), 0.85)
    layers = []
    if kind in (0, 3):
        alpha, soft, inside = (0.93, 0.06, 0) if kind == 0 else (0.35, 0.14, HEAD)
        layers += [
            shape(x, f.y + f.h * 0.06, f.w * 0.86, f.h * 0.5, keep=OPENING, alpha=0, head=1, soft=0.12, square=1),
            shape(f.x, f.y + f.h * 0.5, f.w * 1.02, f.h * 0.62, colour, inside=inside, outside=OPENING, alpha=alpha,
                soft=soft, taper=0.15, grain=0.35, along=14, across=30, key=f.key, head=1, square=1),
        ]
    if kind == 1:
        layers.append(shape(mouth_x, f.y + f.h * 0.9, f.w * 0.3, f.h * 0.2, colour, soft=0.05, grain=0.35, along=14,
            across=30, key=f.key, head=1, alpha=0.9))
    if kind != 3:
        layers.append(shape(mouth_x, mouth_y - f.h * 0.12, f.w * 0.36, f.h * 0.055, colour, bend=-0.07, soft=0.03,
            grain=0.35, along=10, across=34, key=f.key, head=1, alpha=0.92))
    return layers


def headwear(f: Face, r: Draws, kind: int) -> Layers:
    """0: a knitted cap; 1: a scarf around the head."""
    cloth, brim = r.colour(30, 225, 0.3), f.y - f.h * (0.52 + 0.6 * f.pitch[1])
    knit = {"grain": 0.2, "across": 22.0, "along": 22.0, "key": f.key, "head": 1.0, "shade": 0.5}
    if kind == 1:
        return [
            shape(f.x + f.w * f.yaw[1] * 0.3, f.y + f.h * (0.14 - 0.4 * f.pitch[1]), f.w * 0.84, f.h * 0.86,
                keep=OPENING, alpha=0, head=1, taper=0.1),
            shape(f.x, f.y + f.h * 0.02, f.w * 1.22, f.h * 1.14, cloth, outside=OPENING, grain=0.16, across=5,
                along=9, key=f.key, head=1, shade=0.5),
            shape(f.x, f.y + f.h * 1.12, f.w * 1.15, f.h * 0.36, scaled(cloth, 0.85), grain=0.2, across=3, along=10,
                key=f.key, head=1, shade=0.3, outside=OPENING),
        ]
    return [
        shape(f.x, brim - f.h * 0.16, f.w * 1.08, f.h * 0.54, cloth, square=r.below(2), **knit),
        shape(f.x, brim, f.w * 1.1, f.h * 0.13, scaled(cloth, 0.82), bend=-0.03, square=1, **knit),
    ]


def glasses(f: Face, r: Draws) -> Layers:
    frame, round_ = r.colour(10, 110, 0.2), float(r.chance(0.5))
    half, tall, thick = r.between(0.25, 0.29), r.between(0.75, 1.0), r.between(0.84, 0.9)
    layers, inner = [], []
    for side in (-1, 1):
        (x0, _), (x1, _) = f.at(side * 0.41 - half, -0.03), f.at(side * 0.41 + half, -0.03)
        x, y = (x0 + x1) / 2, f.at(side * 0.41, -0.03)[1]
        rx = (x1 - x0) / 2
        layers += [
            shape(x, y, rx * 0.9, rx * tall * 0.9, (235, 245, 255), square=round_, alpha=0.12, head=1),
            shape(x - rx * 0.3, y - rx * 0.3, rx * 0.3, rx * 0.1, (255, 255, 255), soft=0.05, alpha=0.45, cos=0.8,
                sin=-0.6, head=1),
            shape(x, y, rx, rx * tall, frame, square=round_, ring=thick, head=1),
        ]
        inner.append((x - side * rx * 0.95, y))
    (left, y), (right, _) = inner
    layers.append(shape((left + right) / 2, y, max(0.02, (right - left) / 2), 0.018, frame, bend=-0.015, head=1))
    return layers
