"""What is behind a face and below it, and the head itself."""

from datamodules.faces.painting import shape
from datamodules.faces.people import HEAD, NECK, SHIRT, Draws, Face, Layers, mixed, scaled, turned

# fmt: off


def background(r: Draws) -> Layers:
    """A wall that gets lighter to one side, blurred things on it, sometimes the edge of a window or a door."""
    first, second = r.colour(30, 225), r.colour(40, 235)
    cos, sin = turned(r.between(-1, 1))
    layers = [shape(0, 0, 3, 3, first), shape(1.6 * cos, 1.6 * sin, 2, 2, second, soft=2.4)]
    for _ in range(r.below(3)):
        x, width = r.between(-1, 1), r.between(0.06, 0.35)
        layers.append(shape(x, 0, width, 2.5, r.colour(30, 235), square=1, soft=0.08, alpha=r.between(0.2, 0.6)))
    for _ in range(2 + r.below(3)):
        x, y, radius = r.between(-1, 1), r.between(-1, 0.6), r.between(0.12, 0.5)
        layers.append(shape(x, y, radius, radius, r.colour(60, 255), soft=radius * 0.8, alpha=r.between(0.15, 0.5)))
    return layers


def body(f: Face, r: Draws) -> Layers:
    shirt, accent = r.colour(20, 240), r.colour(20, 240)
    neck = f.x - f.w * f.yaw[1] * 0.35
    wide, shoulder = f.w * r.between(0.46, 0.62), r.between(0.66, 0.8)
    layers = [
        shape(neck, f.y + f.h * 0.95, wide, f.h * 0.62, scaled(f.skin, 0.9), taper=-0.1, square=1, keep=NECK,
            shade=0.35),
        shape(f.x, f.y + f.h * 0.72, f.w * 0.95, f.h * 0.5, f.shadow, soft=0.25, inside=NECK, alpha=0.75),
        shape(neck, 1.42, r.between(0.86, 1.1), 1.42 - shoulder, shirt, taper=-0.15, square=1, keep=SHIRT, grain=0.1,
            along=3, across=7, key=f.key, shade=0.25),
    ]
    cut = r.below(4)
    if cut == 0:  # a V that shows the neck
        layers.append(shape(neck, 0.82, wide * 1.1, 0.34, scaled(f.skin, 0.86), taper=0.85, inside=SHIRT))
    elif cut == 1:  # a round collar
        layers.append(shape(neck, shoulder + 0.02, wide * 1.25, 0.13, accent, bend=-0.03, inside=SHIRT))
        layers.append(shape(neck, shoulder - 0.02, wide * 1.1, 0.11, scaled(f.skin, 0.82), bend=-0.03, inside=SHIRT))
    elif cut == 2:  # a shirt's collar
        for side in (-1, 1):
            cos, sin = turned(side * 0.42)
            layers.append(shape(neck + side * wide * 0.75, shoulder + 0.09, wide * 0.62, 0.075, mixed(shirt, (255,
                255, 255), 0.5), cos=cos, sin=-sin, square=1))
    elif r.chance(0.5):  # stripes
        layers += [shape(neck, level, 2, 0.03, accent, inside=SHIRT, alpha=0.8) for level in (0.78, 0.9, 1.02)]
    return layers


def head(f: Face, r: Draws) -> Layers:
    layers = []
    for side in (-1, 1):
        x = f.x + f.w * (side * 0.97 * f.yaw[0] - 0.25 * f.yaw[1])
        if side * f.yaw[1] < 0.2:
            y = f.y + f.h * (0.06 + 0.5 * f.pitch[1])
            layers += [
                shape(x, y, 0.085, 0.14, scaled(f.skin, 0.92), head=1, shade=0.4),
                shape(x, y, 0.04, 0.08, f.shadow, head=1, soft=0.06, alpha=0.7),
            ]
    taper, jaw = r.between(0.1, 0.3), r.between(0.75, 0.95)
    chin = f.y + f.h * r.between(0.4, 0.46)
    blush = r.between(0, 0.35)
    layers += [
        shape(f.x, f.y, f.w, f.h, f.skin, taper=taper, head=1, keep=HEAD, shade=0.62),
        shape(f.x + f.w * f.yaw[1] * 0.15, chin, f.w * jaw * 0.78, f.h * 0.57, f.skin, taper=taper * 0.6, square=1,
            head=1, shade=0.35, soft=0.2, inside=HEAD, alpha=0.6),
    ]
    for side in (-1, 1):
        x, y = f.at(side * 0.5, 0.3)
        layers.append(shape(x, y, 0.13, 0.1, mixed(f.skin, (225, 90, 80), 0.5), soft=0.16, head=1, alpha=blush,
            inside=HEAD))
    x, y = f.at(0, -0.45)
    layers.append(shape(x, y, f.w * 0.45, f.h * 0.2, mixed(f.skin, (255, 250, 240), 0.6), soft=0.3, head=1,
        alpha=0.22, inside=HEAD))
    if r.chance(0.12):
        for _ in range(10):
            x, y = f.at(r.between(-0.55, 0.55), r.between(0.05, 0.38))
            layers.append(shape(x, y, 0.012, 0.012, f.shadow, head=1, alpha=0.5, inside=HEAD))
    return layers
