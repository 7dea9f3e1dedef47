"""Eyes, nose and mouth, each turned with the head."""

from datamodules.faces.painting import shape
from datamodules.faces.people import EYE, HEAD, IRIS, MOUTH, Draws, Face, Layers, mixed, scaled, turned

# fmt: off


def eyes(f: Face, r: Draws) -> Layers:
    apart, level, half = r.between(0.37, 0.44), r.between(-0.1, 0.0), r.between(0.15, 0.195)
    opening, slant = r.between(0.36, 0.56), r.between(-0.06, 0.12)
    iris, gaze_x, gaze_y = IRIS[r.below(len(IRIS))], r.between(-0.3, 0.3), r.between(-0.12, 0.15)
    brow, raised, thick = scaled(f.hair, r.between(0.55, 0.9)), r.between(0.2, 0.27), r.between(0.02, 0.042)
    arch, tilt = r.between(0.005, 0.05), r.between(-0.12, 0.16)
    lashes = mixed(f.shadow, (12, 8, 8), r.between(0.5, 1.0))
    lid = mixed(f.shadow, r.colour(40, 200), 0.35) if r.chance(0.2) else f.shadow
    layers = []
    for side in (-1, 1):
        (x0, _), (x1, _) = f.at(side * apart - half, level), f.at(side * apart + half, level)
        x, y = f.at(side * apart, level)
        rx = (x1 - x0) / 2
        ry = rx * opening
        cos, sin = turned(-side * slant)
        turn = {"cos": cos, "sin": sin, "head": 1.0}
        px, py, radius = x + gaze_x * rx * 0.7, y + gaze_y * ry, ry * 0.98
        layers += [
            shape(x, y - ry * 0.35, rx * 1.35, ry * 1.9, lid, soft=0.1, alpha=0.42, inside=HEAD, **turn),
            shape(x, y - ry * 0.16, rx * 1.1, ry * 1.06, lashes, bend=0.0, **turn),
            shape(x, y + ry * 0.06, rx, ry * 0.94, (244, 241, 238), keep=EYE, **turn),
            shape(px, py, radius * 1.02, radius * 1.02, scaled(iris, 0.45), inside=EYE, head=1),
            shape(px, py, radius * 0.86, radius * 0.86, iris, inside=EYE, head=1, soft=0.03),
            shape(px, py, radius * 0.45, radius * 0.45, (10, 8, 8), inside=EYE, head=1),
            shape(x, y - ry * 0.9, rx * 1.1, ry * 0.55, (40, 30, 30), soft=0.05, alpha=0.45, inside=EYE, **turn),
            shape(px - 0.02, py - ry * 0.32, 0.017, 0.017, (255, 255, 255), head=1, alpha=0.95),
            shape(x, y - ry * 1.45, rx * 1.05, ry * 0.16, f.shadow, bend=-ry * 0.5, alpha=0.6, **turn),
            shape(x, y + ry * 1.3, rx * 0.9, ry * 0.22, f.shadow, bend=ry * 0.35, soft=0.04, alpha=0.35, **turn),
        ]
        bx, by = f.at(side * (apart + 0.02), level - raised)
        cos, sin = turned(side * tilt)
        layers.append(shape(bx, by, rx * 1.32, thick, brow, bend=-arch, cos=cos, sin=sin, grain=0.12, across=40,
            along=8, key=f.key, head=1, alpha=0.92))
    return layers


def nose(f: Face, r: Draws) -> Layers:
    level, width, length = r.between(0.27, 0.36), r.between(0.1, 0.16), r.between(0.16, 0.24)
    (bridge_x, bridge_y), (tip_x, tip_y) = f.at(0, level - length, 0.04), f.at(0, level, 0.2)
    w = f.w * width
    x, y = (bridge_x + tip_x) / 2, (bridge_y + tip_y) / 2
    side = -1 if f.yaw[1] > 0 else 1
    bright = mixed(f.skin, (255, 250, 240), 0.55)
    layers = [
        shape(x + side * w * 0.75, y, w * 0.45, (tip_y - bridge_y) * 0.62, f.shadow, soft=0.09, alpha=0.5, head=1),
        shape(x, y - 0.01, w * 0.32, (tip_y - bridge_y) * 0.55, bright, soft=0.07, alpha=0.5, head=1),
        shape(tip_x, tip_y, w * 1.0, w * 0.78, scaled(f.skin, 0.97), soft=0.05, head=1, shade=0.55, alpha=0.85),
    ]
    for wing in (-1, 1):
        layers += [
            shape(tip_x + wing * w * 0.95, tip_y + w * 0.18, w * 0.45, w * 0.48, scaled(f.skin, 0.9), soft=0.05,
                head=1, alpha=0.8, shade=0.3),
            shape(tip_x + wing * w * 0.52, tip_y + w * 0.62, w * 0.34, w * 0.19, scaled(f.shadow, 0.5), bend=w * 0.12,
                soft=0.022, head=1, alpha=0.85),
        ]
    layers.append(shape(tip_x, tip_y + w * 0.98, w * 1.1, w * 0.28, f.shadow, bend=-0.02, soft=0.05, head=1,
        alpha=0.45))
    layers.append(shape(tip_x - 0.01, tip_y - w * 0.25, w * 0.3, w * 0.24, bright, soft=0.05, head=1, alpha=0.6))
    return layers


def mouth(f: Face, r: Draws) -> Layers:
    level, half = r.between(0.56, 0.62), r.between(0.24, 0.34)
    (x0, _), (x1, _) = f.at(-half, level), f.at(half, level)
    x, y = f.at(0, level, 0.05)
    rx, smile = (x1 - x0) / 2, r.between(-0.015, 0.06)
    painted = r.chance(0.2)
    lips = mixed(
        scaled(f.skin, 0.9),
        (196, 40, 56) if painted else (176, 74, 74),
        r.between(0.5, 0.8) if painted else r.between(0.3, 0.5),
    )
    upper, lower = r.between(0.022, 0.034), r.between(0.03, 0.048)
    gap = r.between(0.025, 0.06) if r.chance(0.35) else 0.0
    curve = {"bend": smile, "head": 1.0}
    layers = [
        shape(x, y - upper * 0.7 - gap * 0.4, rx * 0.98, upper * 1.25, scaled(lips, 0.86), soft=0.02, **curve),
        shape(x, y + lower * 0.7 + gap, rx * 0.84, lower * 1.15, lips, soft=0.02, shade=0.35, **curve),
        shape(x, y + lower * 0.75 + gap, rx * 0.35, lower * 0.4, mixed(lips, (255, 240, 235), 0.5), soft=0.04,
            alpha=0.6, **curve),
    ]
    if gap:
        layers += [
            shape(x, y + gap * 0.35, rx * 0.86, gap * 0.8 + 0.008, (58, 20, 22), keep=MOUTH, **curve),
            shape(x, y - gap * 0.1, rx * 0.8, gap * 0.62, (246, 242, 234), inside=MOUTH, soft=0.015, **curve),
        ]
    else:
        layers.append(shape(x, y, rx * 1.0, 0.011, scaled(lips, 0.42), soft=0.016, **curve))
    layers += [
        shape(x, y + lower * 2.3 + gap, rx * 0.55, 0.03, f.shadow, soft=0.06, alpha=0.5, **curve),
        shape(x0 - 0.01, y - smile, 0.018, 0.024, f.shadow, soft=0.03, alpha=0.6, head=1),
        shape(x1 + 0.01, y - smile, 0.018, 0.024, f.shadow, soft=0.03, alpha=0.6, head=1),
    ]
    if r.chance(0.4):  # the fold from nose to mouth
        for side in (-1, 1):
            fold_x, fold_y = f.at(side * (half + 0.07), level - 0.14)
            cos, sin = turned(-side * 0.28)
            layers.append(shape(fold_x, fold_y, 0.016, 0.1, f.shadow, soft=0.035, alpha=0.5, cos=cos, sin=sin, head=1))
    return layers
