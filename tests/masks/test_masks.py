"""The laws of the mask generators, read from the geometry that they draw and from their hole shares."""

import dataclasses
import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import masks
from masks import (
    AlternatingLines,
    AreaBounded,
    Augmented,
    CenterRectangle,
    CoModGANMask,
    DeepFillV1Rectangle,
    DeepFillV2Mask,
    Expand,
    FreeFormStrokes,
    GLCICRectangle,
    Half,
    ICTStrokes,
    Inset,
    IrregularStrokes,
    LaMaBoxes,
    LaMaMedium,
    LaMaStrokes,
    LaMaThick,
    LaMaThin,
    LaMaTraining,
    Mixture,
    Narrow,
    NoiseBlobs,
    Outpainting,
    RandomRectangle,
    RePaintWide,
    Scratches,
    Silhouettes,
    SquareCrop,
    SuperResolve2x,
    Text,
    Wide,
)
from masks.fixed import FixedSet
from masks.generator import MaskGenerator, keyed_rng
from masks.noise import catmull_rom
from masks.shapes import Box, Outline, ShapeGenerator, Stroke, draw

# SHA-256 of the bits of four masks each. A change here changes what every seed means: published numbers no longer
# belong to the masks that the program draws.
BITS: dict[MaskGenerator, str] = {
    AlternatingLines(): "7b5786fb40034b9e",
    AreaBounded(LaMaTraining(), 0.0, 0.4): "70ae5d300d2f3e88",
    Augmented(Silhouettes()): "c2d0667abe6ca748",
    CenterRectangle(): "808f6f8688b66e13",
    CoModGANMask(): "382897865308e0c1",
    CoModGANMask(5, 3, 9): "aaf4c8fb465f183e",
    CoModGANMask(2, 2, 3, size=256): "bdb52c32e89b2058",
    DeepFillV1Rectangle(): "5cb391a0bfe5d45c",
    DeepFillV2Mask(): "a1155d482c28d981",
    Expand(): "a4a060b304f04991",
    FreeFormStrokes(): "7e835153819178be",
    GLCICRectangle(): "f0c98c450e688082",
    GLCICRectangle(48, 96, size=160): "896168c98d5b31ba",
    Half(): "7c69ea5ef7e05dc5",
    ICTStrokes(): "d120f80da2cd1319",
    Inset(DeepFillV2Mask()): "3b1d9fd83afc343d",
    IrregularStrokes(): "ea57540421e0284e",
    LaMaBoxes(): "d742e5a85ec7d392",
    LaMaMedium(): "0baa342cdc10e22a",
    LaMaMedium(512): "6d5b339b50271dfe",
    LaMaStrokes(): "638297b6f66ccf35",
    LaMaThick(): "025d35833ce1a69e",
    LaMaThick(512): "209536652b1e5215",
    LaMaThin(): "1c27e9376630bd37",
    LaMaThin(512): "6c56b0cc676053a5",
    LaMaTraining(): "75b6de872097cae7",
    Mixture((Half(), Text(), Scratches()), (1, 2, 3)): "e959392e39ff11e9",
    Narrow(): "1c27e9376630bd37",
    NoiseBlobs(): "99d1455c00aa5622",
    Outpainting(): "01b850a464f003d3",
    RandomRectangle(): "53234f23a612f28e",
    RePaintWide(): "14ae0b731c79741f",
    Scratches(): "084cb9a0958a0fe9",
    Silhouettes(): "952d870b3dab8411",
    SquareCrop(LaMaThick(cap=1)): "37a452dd68365c68",
    SquareCrop(LaMaThin(512, cap=1), aspect=0.75): "d474ab87478bd655",
    SuperResolve2x(): "e2c4f743797c8ac2",
    Text(): "3e814f7126ff306b",
    Wide(): "025d35833ce1a69e",
}
LISTED = {type(generator) for generator in BITS} | {masks.MaskFolder, masks.OwnMasks}  # these read files
# A law without a row yet is drawn with its defaults.
EVERY = [*BITS, *(cls() for name in masks.__all__ if (cls := getattr(masks, name)) not in LISTED)]


def name(generator: MaskGenerator) -> str:
    return repr(generator)[:40]


def shares(generator: MaskGenerator, size: int, count: int) -> np.ndarray:
    rng = keyed_rng(11, "shares")
    return np.array([cv2.countNonZero(generator(size, size, rng)) for _ in range(count)]) / size**2


def geometry(generator: ShapeGenerator, count: int = 500, size: int = 256) -> list[list]:
    return [generator.shapes(size, size, keyed_rng(3, "geometry", i)) for i in range(count)]


# Means of 500-1500 masks of the published programs (2000 of ours); squares of closed form where there is one.
@pytest.mark.parametrize(
    ("generator", "size", "published"),
    [
        (LaMaThin(), 256, 0.289),
        (LaMaMedium(), 256, 0.241),
        (LaMaThick(), 256, 0.266),
        (LaMaThin(512), 512, 0.289),
        (LaMaMedium(512), 512, 0.278),
        (LaMaThick(512), 512, 0.256),
        (LaMaThick(cap=1), 256, 0.41),
        (LaMaMedium(cap=1), 256, 0.25),
        (LaMaTraining(), 256, 0.354),
        (FreeFormStrokes(), 256, 0.15),
        (DeepFillV2Mask(), 256, 0.32),
        (IrregularStrokes(), 256, 0.34),
        (AreaBounded(IrregularStrokes(), 0.15, 0.5), 256, 0.33),
        (DeepFillV1Rectangle(), 256, (112 / 256) ** 2),
        (GLCICRectangle(), 256, (112 / 256) ** 2),
        (GLCICRectangle(48, 96, size=160), 160, (72 / 160) ** 2),
    ],
    ids=str,
)
def test_mean_hole_area_is_the_published_one(generator: MaskGenerator, size: int, published: float) -> None:
    found = shares(generator, size, 2000 if size <= 256 else 800)
    assert abs(found.mean() - published) < 0.02
    assert found.min() > 0 and found.max() < 1


@pytest.mark.parametrize("generator", [LaMaThin(), LaMaMedium(), LaMaThick(), Wide(), Narrow()], ids=name)
def test_evaluation_masks_of_lama_never_exceed_half_of_the_image(generator: MaskGenerator) -> None:
    found = shares(generator, 256, 500)
    assert found.max() <= 0.5 and found.max() > 0.45


@pytest.mark.parametrize("generator", EVERY, ids=name)
def test_no_mask_is_empty_or_full(generator: MaskGenerator) -> None:
    found = shares(generator, 64, 300)
    assert found.min() > 0 and found.max() < 1


def test_the_cap_of_lama_leaves_the_law_below_it_unchanged() -> None:
    uncapped = shares(LaMaThick(cap=1), 256, 2000)
    assert abs(shares(LaMaThick(), 256, 1500).mean() - uncapped[uncapped <= 0.5].mean()) < 0.015


def test_free_form_strokes_follow_algorithm_1() -> None:
    drawn = geometry(FreeFormStrokes(), 1500)
    assert {len(strokes) for strokes in drawn} == {1, 2, 3}
    strokes = [stroke for strokes in drawn for stroke in strokes]
    assert {len(stroke.points) - 1 for stroke in strokes} == set(range(4, 12))
    assert {width for stroke in strokes for width in stroke.widths} == set(range(12, 40))
    assert all(len(set(stroke.widths)) == 1 for stroke in strokes)
    starts = np.array([stroke.points[0] for stroke in strokes])
    assert starts.min() < 5 and starts.max() == 255 and np.abs(starts.mean(0) - 127.5).max() < 5
    points = np.array([point for stroke in strokes for point in stroke.points])
    assert points.min() == 0 and points.max() == 256


def test_free_form_strokes_turn_up_and_down_around_two_fifths_of_pi() -> None:
    angles: dict[int, list[float]] = {0: [], 1: []}
    lengths = []
    for stroke in (stroke for strokes in geometry(FreeFormStrokes(), 1500) for stroke in strokes):
        for i, ((x, y), (to_x, to_y)) in enumerate(zip(stroke.points, stroke.points[1:], strict=False)):
            length = math.hypot(to_x - x, to_y - y)
            if 0 < to_x < 256 and 0 < to_y < 256 and length > 30:  # not cut by the border, not dominated by rounding
                angles[i % 2].append(math.atan2(to_y - y, to_x - x))
                lengths.append(length)
    middle, spread = 2 * math.pi / 5, 2 * math.pi / 15
    even, odd = -np.array(angles[0]), np.array(angles[1])
    for found in (even, odd):
        assert abs(found.mean() - middle) < 0.03
        assert found.min() > middle - spread - 0.05 and found.max() < middle + spread + 0.05
    assert max(lengths) < math.hypot(256, 256) / 4 + 1.5


def test_strokes_agree_with_the_same_strokes_drawn_by_pillow() -> None:
    for strokes in geometry(FreeFormStrokes(), 30):
        picture = Image.new("L", (256, 256))
        pen = ImageDraw.Draw(picture)
        for points, widths in strokes:
            pen.line(points, fill=1, width=widths[0])
            for x, y in points:
                reach = widths[0] // 2
                pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=1)
        theirs, ours = np.asarray(picture), draw(strokes, 256, 256)
        # The two libraries round the edges of broad lines differently, by up to two pixels.
        assert not (ours & ~cv2.dilate(theirs, np.ones((5, 5), np.uint8)) & 1).any()
        assert not (theirs & ~cv2.dilate(ours, np.ones((5, 5), np.uint8)) & 1).any()


def test_strokes_reach_every_part_of_an_image_that_is_not_square() -> None:
    total = sum(FreeFormStrokes()(128, 512, keyed_rng(0, "wide", i)).astype(int) for i in range(200))
    assert total[:, :128].max() > 0 and total[:, 384:].max() > 0


def test_lama_strokes_follow_the_published_ranges_and_draw_one_more_than_the_file_says() -> None:
    drawn = geometry(LaMaStrokes((1, 5), length=200, width=100), 3000)
    assert {len(strokes) for strokes in drawn} == {1, 2, 3, 4, 5, 6}
    strokes = [stroke for strokes in drawn for stroke in strokes]
    assert {len(stroke.widths) for stroke in strokes} == {1, 2, 3, 4, 5}
    assert {width for stroke in strokes for width in stroke.widths} == set(range(5, 105))
    segments = [pair for stroke in strokes for pair in zip(stroke.points, stroke.points[1:], strict=False)]
    lengths = [math.hypot(to[0] - at[0], to[1] - at[1]) for at, to in segments]
    assert 195 < max(lengths) <= 210
    inside = [(at, to) for at, to in segments if min(*at, *to) > 0 and max(*at, *to) < 256]
    angles = np.array([math.atan2(to[0] - at[0], to[1] - at[1]) for at, to in inside if math.dist(at, to) > 60])
    allowed = np.array([side * (0.01 + k) for k in range(4) for side in (-1, 1)])
    assert np.abs(angles[:, None] - allowed).min(1).max() < 0.03


def test_lama_boxes_keep_their_sides_and_the_margin() -> None:
    drawn = geometry(LaMaBoxes((1, 4), side=(30, 150), margin=10), 1500)
    assert {len(boxes) for boxes in drawn} == {1, 2, 3, 4}
    boxes = np.array([box for boxes in drawn for box in boxes])
    sides = np.concatenate([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]])
    assert set(sides) == set(range(30, 151))
    assert boxes.min() == 10 and boxes.max() == 246


def test_lama_evaluation_laws_are_the_published_files() -> None:
    thick, medium = LaMaThick().law(), LaMaMedium(512).law()
    assert thick == Mixture((LaMaStrokes((1, 5), 200, 100), LaMaBoxes((1, 3), (30, 150), 10)), (1, 0.3))
    assert medium == Mixture((LaMaStrokes((4, 10), 200, 100, 512), LaMaBoxes((1, 5), (30, 150), 0, 512)), (1, 0.3))
    assert LaMaThin(512).law() == LaMaStrokes((4, 70), 100, 20, 512)


def test_deepfill_v1_shrinks_a_square_that_never_reaches_the_last_row() -> None:
    law = DeepFillV1Rectangle()
    squares = np.array([law.square(256, 256, keyed_rng(3, "geometry", i)) for i in range(4000)])
    boxes = np.array([law.shapes(256, 256, keyed_rng(3, "geometry", i))[0] for i in range(4000)])
    assert set(squares[:, 0]) == set(range(128)) and squares[:, 2].max() == 255
    assert (squares[:, 2:] - squares[:, :2] == 128).all()
    assert set((boxes[:, 2:] - boxes[:, :2]).ravel()) == set(range(96, 129, 2))
    assert (boxes[:, :2] - squares[:, :2] == squares[:, 2:] - boxes[:, 2:]).all()


def test_deepfill_v2_unites_its_rectangle_with_its_strokes() -> None:
    for shapes in geometry(DeepFillV2Mask(), 50):
        assert isinstance(shapes[0], Box) and all(isinstance(shape, Stroke) for shape in shapes[1:])
        whole = draw(shapes, 256, 256)
        np.testing.assert_array_equal(whole, draw(shapes[:1], 256, 256) | draw(shapes[1:], 256, 256))


def test_glcic_draws_each_side_between_96_and_128_and_reaches_every_border() -> None:
    boxes = np.array([shapes[0] for shapes in geometry(GLCICRectangle(), 3000)])
    assert set((boxes[:, 2:] - boxes[:, :2]).ravel()) == set(range(96, 129))
    assert boxes[:, :2].min(0).tolist() == [0, 0] and boxes[:, 2:].max(0).tolist() == [256, 256]


def test_comodgan_draws_one_rectangle_and_stroke_less_than_its_numbers() -> None:
    def parts(law: CoModGANMask) -> int:
        drawn = [law(256, 256, keyed_rng(3, "geometry", i)) for i in range(400)]
        return max(cv2.connectedComponents(mask)[0] - 1 for mask in drawn)

    assert parts(CoModGANMask(4, 1, 1)) == 3 and parts(CoModGANMask(1, 3, 1)) == 2
    assert parts(CoModGANMask(1, 1, 2)) == 1
    small = [CoModGANMask(2, 1, 1)(256, 256, keyed_rng(3, "geometry", i)) for i in range(400)]
    large = [CoModGANMask(1, 2, 1)(256, 256, keyed_rng(3, "geometry", i)) for i in range(400)]
    sides = [[max(mask.any(0).sum(), mask.any(1).sum()) for mask in masks] for masks in (small, large)]
    assert 120 < max(sides[0]) <= 127 and 235 < max(sides[1]) <= 255


def test_the_strokes_of_comodgan_are_flipped() -> None:
    law = CoModGANMask(1, 1, 2, size=256)
    drawn = np.stack([law(256, 256, keyed_rng(3, "flip", i)) for i in range(3000)]).mean(0)
    kept = np.stack([FreeFormStrokes()(256, 256, keyed_rng(3, "flip", i)) for i in range(3000)]).mean(0)

    def lopsided(mean: np.ndarray) -> float:
        return float(abs(mean[:128].mean() - mean[128:].mean()) + abs(mean[:, :128].mean() - mean[:, 128:].mean()))

    assert lopsided(drawn) < 0.02 and lopsided(kept) > 0.1


def test_ict_strokes_follow_the_program() -> None:
    drawn = geometry(ICTStrokes(), 400)
    assert {len(strokes) for strokes in drawn} == set(range(5, 14))
    strokes = [stroke for strokes in drawn for stroke in strokes]
    assert {len(stroke.widths) for stroke in strokes} == set(range(26))
    assert {width for stroke in strokes for width in stroke.widths} == set(range(10, 25, 2))
    points = np.array([point for stroke in strokes for point in stroke.points])
    assert points.min() == 0 and points.max() == 255
    lengths = [math.dist(*pair) for stroke in strokes for pair in itertools.pairwise(stroke.points)]
    assert min(lengths) == 0 and 99 < max(lengths) < 101.5


@dataclasses.dataclass(frozen=True)
class Column(MaskGenerator):
    """One column of hole, 20 wide."""

    at: int

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        mask = np.zeros((height, width), np.uint8)
        mask[:, self.at : self.at + 20] = 1
        return mask


@pytest.mark.parametrize(
    ("at", "starts"),
    [(0, range(19)), (100, range(19, 119)), (190, range(109, 200)), (280, range(199, 200))],
)
def test_a_square_crop_begins_between_one_crop_before_the_end_of_the_hole_and_that_end(at: int, starts: range) -> None:
    drawn = [SquareCrop(Column(at)).crop((100, 300), (100, 100), keyed_rng(0, "crop", i)) for i in range(1500)]
    assert {left for _, (_, left) in drawn} == set(starts) and {top for _, (top, _) in drawn} == {0}
    for mask, (_, left) in drawn[:50]:
        np.testing.assert_array_equal(mask, Column(at)(100, 300, keyed_rng(0, "unused"))[:, left : left + 100])


def test_a_square_crop_of_a_square_is_the_law_itself_and_the_cap_counts_in_the_crop() -> None:
    law, square = LaMaThick(cap=1), SquareCrop(LaMaThick(cap=1), aspect=1, cap=1)
    np.testing.assert_array_equal(square(64, 64, keyed_rng(0, "a")), law(64, 64, keyed_rng(0, "a")))
    assert 0.45 < shares(SquareCrop(law), 128, 400).max() <= 0.5
    with pytest.raises(ValueError, match="none of 1000 masks on 64x64 has a hole of at most cap in the crop"):
        SquareCrop(Half(), aspect=1, cap=0.4)(64, 64, keyed_rng(0, "a"))


def test_irregular_strokes_follow_the_arguments_of_mmagic() -> None:
    drawn = geometry(IrregularStrokes(), 1500)
    assert {len(strokes) for strokes in drawn} == set(range(4, 10))
    strokes = [stroke for strokes in drawn for stroke in strokes]
    assert {len(stroke.widths) for stroke in strokes} == set(range(1, 6))
    assert {width for stroke in strokes for width in stroke.widths} == set(range(10, 45))
    lengths = [math.dist(a, b) for stroke in strokes for a, b in zip(stroke.points, stroke.points[1:], strict=False)]
    assert 18 < min(lengths) < 21 and 126 < max(lengths) < 129
    assert max(x for stroke in strokes for x, _ in stroke.points) > 256  # chains continue outside


def test_repaint_masks_are_the_stated_pixels() -> None:
    rng = keyed_rng(0, "unused")
    expand, half = Expand()(256, 256, rng), Half()(256, 256, rng)
    assert (expand[96:160, 96:160] == 0).all() and expand.mean() == 1 - 64**2 / 256**2
    assert half[:, :128].sum() == 0 and half[:, 128:].all()
    lattice, lines = SuperResolve2x()(256, 256, rng), AlternatingLines()(256, 256, rng)
    assert (lattice[1::2, 1::2] == 0).all() and lattice.mean() == 0.75
    assert (lines[1::2] == 0).all() and lines[::2].all()
    assert (SuperResolve2x("even")(256, 256, rng)[::2, ::2] == 0).all()
    assert (AlternatingLines("even")(256, 256, rng)[::2] == 0).all()
    np.testing.assert_array_equal(Wide()(256, 256, keyed_rng(1, "a")), LaMaThick()(256, 256, keyed_rng(1, "a")))
    np.testing.assert_array_equal(Narrow()(256, 256, keyed_rng(1, "a")), LaMaThin()(256, 256, keyed_rng(1, "a")))


def test_narrow_is_as_large_as_wide_but_thinner() -> None:
    def depth(generator: MaskGenerator) -> float:
        drawn = [generator(256, 256, keyed_rng(2, "depth", i)) for i in range(100)]
        return float(np.mean([cv2.distanceTransform(mask, cv2.DIST_L2, 5).max() for mask in drawn]))

    assert depth(Wide()) > 3 * depth(Narrow())


def test_center_rectangle_takes_shares_of_the_sides() -> None:
    mask = CenterRectangle(0.25, 0.5)(64, 32, keyed_rng(0, "unused"))
    assert mask[24:40, 8:24].all() and mask.sum() == 16 * 16


def test_outpainting_cuts_bands_of_4_to_25_per_cent_and_one_at_least() -> None:
    drawn = geometry(Outpainting(), 3000)
    assert {len(bands) for bands in drawn} == {1, 2, 3, 4}
    assert abs(np.mean([len(bands) for bands in drawn]) - (4 * 0.5 + 0.5**4)) < 0.06
    depths = {min(box.bottom - box.top, box.right - box.left) for bands in drawn for box in bands}
    assert depths == set(range(10, 64))


def test_catmull_rom_equals_the_cubic_of_torch_image() -> None:
    knots = np.random.default_rng(0).random(9)
    found = catmull_rom(20, 0.3, 0.27) @ knots
    for i, value in enumerate(found):
        at = int(0.3 + 0.27 * i)
        x, (a, b, c, d) = 0.3 + 0.27 * i - at, knots[at : at + 4]
        expected = b + 0.5 * x * (c - a + x * (2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)))
        assert value == pytest.approx(expected, abs=1e-12)


def test_noise_blobs_keep_20_to_30_per_cent_and_their_grain() -> None:
    found = shares(NoiseBlobs(), 128, 500)
    assert found.min() > 0.2 and found.max() < 0.3
    # Half of the hole lies within about a quarter of a noise cell (128 / 7.7 pixels) of an edge.
    drawn = [NoiseBlobs()(128, 128, keyed_rng(0, "grain", i)) for i in range(50)]
    depths = np.concatenate([cv2.distanceTransform(mask, cv2.DIST_L2, 5)[mask == 1] for mask in drawn])
    assert 3 < np.median(depths) < 6


@pytest.mark.parametrize("generator", [Text(), Scratches(), Silhouettes()], ids=name)
def test_no_drawn_thing_misses_the_image(generator: ShapeGenerator) -> None:
    for i in range(100):
        shapes = generator.shapes(96, 160, keyed_rng(8, "place", i))
        if isinstance(generator, Text):
            assert draw(shapes, 96, 160).any()
        else:
            assert all(draw([shape], 96, 160).any() for shape in shapes)


def test_text_stands_in_several_sizes_and_angles() -> None:
    widths, turns = set(), []
    for strokes in geometry(Text(), 50):
        widths |= {stroke.widths[0] for stroke in strokes}
        turns += [
            math.atan2(b[1] - a[1], b[0] - a[0]) for a, b in (s.points[:2] for s in strokes) if math.dist(a, b) > 20
        ]
    assert len(widths) >= 5
    # Letters have level strokes; these turn with the word by up to 45 degrees.
    assert min(turns) < -0.6 and max(turns) > 0.6


def test_strokes_that_leave_the_image_are_cut_from_the_whole_stroke() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        # Every segment has an end outside.
        points = [(int(x) - 61 * (i % 2), int(y)) for i, (x, y) in enumerate(rng.integers(0, 60, (4, 2)))]
        widths = rng.integers(1, 40, 3).tolist()
        whole = draw([Stroke([(x + 100, y + 100) for x, y in points], widths)], 300, 300)
        np.testing.assert_array_equal(draw([Stroke(points, widths)], 48, 64), whole[100:148, 100:164])


def test_outlines_are_filled_where_a_ray_crosses_an_odd_number_of_edges() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        points = [(int(x), int(y)) for x, y in rng.integers(-10, 40, (7, 2))]
        drawn, edges = draw([Outline(points)], 24, 30), list(zip(points, points[1:] + points[:1], strict=True))
        border = np.zeros((24, 30), np.uint8)
        for a, b in edges:
            cv2.line(border, a, b, 1)
        for y in range(24):
            for x in range(30):
                left = [a + (y - b) * (c - a) / (d - b) <= x for (a, b), (c, d) in edges if min(b, d) <= y < max(b, d)]
                assert drawn[y, x] == (border[y, x] or sum(left) % 2)


@pytest.mark.parametrize("generator", [FreeFormStrokes(), LaMaThick(cap=1), LaMaThick()], ids=name)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 96), (60, 200)])
def test_a_block_follows_the_law_of_masks_drawn_one_by_one(
    generator: FreeFormStrokes | LaMaThick, height: int, width: int
) -> None:
    count, rng = 3000, keyed_rng(1, "one by one")
    single = np.stack([generator(height, width, rng) for _ in range(count)])
    block = generator.block(count, height, width, keyed_rng(1, "block"))
    assert block.shape == single.shape and block.dtype == np.uint8 and block.max() == 1
    one, other = np.sort(single.mean((1, 2))), np.sort(block.mean((1, 2)))
    assert other[0] > 0 and other[-1] <= (generator.cap if isinstance(generator, LaMaThick) else 1)
    assert abs(one.mean() - other.mean()) < 0.015 and abs(one.std() - other.std()) < 0.012
    # Two empirical distributions of one law differ by 1.95 sqrt(2 / n) in one case of a thousand.
    ends = np.concatenate([one, other])
    gap = np.searchsorted(one, ends, "right") - np.searchsorted(other, ends, "right")
    assert np.abs(gap).max() / count < 1.95 * math.sqrt(2 / count)
    # Every pixel is as often a hole: a frequency of n draws has a deviation of 0.5 / sqrt(n) at most.
    assert np.abs(single.mean(0) - block.mean(0)).max() < 5 * math.sqrt(2) * 0.5 / math.sqrt(count)
    np.testing.assert_array_equal(block[:9], generator.block(count, height, width, keyed_rng(1, "block"))[:9])


def test_blocks_draw_the_stroke_counts_widths_and_vertices_of_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(
        "masks.strokes.cv2.polylines",
        lambda mask, paths, closed, value, brush: calls.append((mask.ctypes.data, paths[0].copy(), brush)),
    )
    FreeFormStrokes().block(4000, 256, 256, keyed_rng(1, "block"))
    strokes = [stroke for strokes in geometry(FreeFormStrokes(), 4000) for stroke in strokes]
    counts = np.unique([at for at, _, _ in calls], return_counts=True)[1]
    assert len(counts) == 4000 and np.abs(np.bincount(counts)[1:] / 4000 - 1 / 3).max() < 0.04
    assert {len(path) - 1 for _, path, _ in calls} == set(range(4, 12))
    assert {brush for _, _, brush in calls} == set(range(12, 40))
    ours, theirs = np.concatenate([path for _, path, _ in calls]), np.concatenate([s.points for s in strokes])
    assert abs(len(ours) / 4000 - len(theirs) / 4000) < 0.6 and ours.min() == 0 and ours.max() == 256
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 5 and np.abs(ours.std(0) - theirs.std(0)).max() < 5


def test_blocks_draw_the_segments_of_lama_and_its_boxes_by_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple] = []
    monkeypatch.setattr(
        "masks.strokes.cv2.line", lambda mask, at, to, value, brush: lines.append((mask.ctypes.data, at, to, brush))
    )
    drawn = LaMaThick(cap=1).block(4000, 256, 256, keyed_rng(1, "block"))
    stroked = len({at for at, _, _, _ in lines})
    assert abs(stroked / 4000 - 1 / 1.3) < 0.02
    boxed = drawn[drawn.any((1, 2))].mean((1, 2))
    assert len(boxed) == 4000 - stroked
    expected = shares(LaMaBoxes((1, 3)), 256, 1500)
    assert abs(boxed.mean() - expected.mean()) < 0.02
    assert abs(len(lines) / stroked - 3.5 * 3) < 0.4
    assert {brush for _, _, _, brush in lines} == set(range(5, 105))
    inside = [(at, to) for _, at, to, _ in lines if min(*at, *to) > 0 and max(*at, *to) < 256]
    assert 195 < max(math.dist(at, to) for at, to in inside) <= 210
    angles = np.array([math.atan2(to[0] - at[0], to[1] - at[1]) for at, to in inside if math.dist(at, to) > 60])
    allowed = np.array([side * (0.01 + k) for k in range(4) for side in (-1, 1)])
    nearest = np.abs(angles[:, None] - allowed)
    assert nearest.min(1).max() < 0.03 and (np.bincount(nearest.argmin(1)) > 0.04 * len(angles)).all()


def test_a_stroke_of_one_width_has_the_pixels_of_its_lines() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        points, brush = [(int(x), int(y)) for x, y in rng.integers(0, 65, (6, 2))], int(rng.integers(1, 40))
        lines = np.zeros((64, 64), np.uint8)
        for start, end in itertools.pairwise(points):
            cv2.line(lines, start, end, 1, brush)
        np.testing.assert_array_equal(draw([Stroke(points, [brush] * 5)], 64, 64), lines)
        paths = np.zeros((64, 64), np.uint8)
        cv2.polylines(paths, [np.array(points, np.int32)], False, 1, brush)
        np.testing.assert_array_equal(paths, lines)


def test_mixture_draws_by_its_weights() -> None:
    mixture = Mixture((Half(), Expand(), CenterRectangle()), (1, 0, 3))
    found = shares(mixture, 32, 2000)
    assert set(found) == {0.5, 0.25} and abs((found == 0.25).mean() - 0.75) < 0.03


@pytest.mark.parametrize(
    ("low", "high", "size"),
    [(0.01, 0.1, 512), (0.1, 0.2, 384), (0.2, 0.3, 256), (0.3, 0.4, 256), (0.4, 0.5, 200), (0.5, 0.6, 170)],
)
def test_area_bounded_meets_every_bucket_of_pconv(low: float, high: float, size: int) -> None:
    found = shares(AreaBounded(IrregularStrokes(size), low, high, tries=100), 128, 40)
    assert found.min() > low and found.max() <= high


def test_area_bounded_excludes_the_low_end_and_includes_the_high_end() -> None:
    assert AreaBounded(Half(), 0.4, 0.5)(8, 8, keyed_rng(0, "a")).mean() == 0.5
    with pytest.raises(ValueError, match=r"none of 5 masks of Half\(\) at 8x8.*\(0.5, 0.6\]; they have 0.500 to 0.500"):
        AreaBounded(Half(), 0.5, 0.6, tries=5)(8, 8, keyed_rng(0, "a"))


def test_inset_keeps_the_border_known() -> None:
    mask = Inset(Half(), border=50, size=512)(256, 512, keyed_rng(0, "a"))
    assert mask[:25].sum() == mask[-25:].sum() == mask[:, :25].sum() == mask[:, -25:].sum() == 0
    assert mask[25:-25, 256:-25].all()


def test_augmentation_dilates_turns_and_moves() -> None:
    dot = CenterRectangle(1 / 512, 1 / 512)
    areas, places = [], []
    for i in range(200):
        mask = Augmented(dot)(512, 512, keyed_rng(0, "a", i))
        assert set(np.unique(mask)) <= {0, 1}
        areas.append(int(mask.sum()))
        places.append(np.argwhere(mask).mean(0))
    # Squares of side 9-49, magnified by 1.5.
    assert 0.95 * (9 * 1.5) ** 2 < min(areas) < 400 and 4500 < max(areas) < 1.05 * (49 * 1.5) ** 2
    assert np.abs(np.mean(places, 0) - 255.5).max() < 12 and np.ptp(places, 0).min() > 200


SIDES = st.integers(16, 300) | st.sampled_from([511, 512, 1023, 2048])


@pytest.mark.parametrize("generator", EVERY, ids=name)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(height=SIDES, width=SIDES, seed=st.integers(0, 2**63))
def test_every_generator_keeps_its_promise(generator: MaskGenerator, height: int, width: int, seed: int) -> None:
    height = min(height, 4 * width)  # slivers have no room for a hole of a stated area
    width = min(width, 4 * height)
    mask = generator(height, width, keyed_rng(seed, "mask", 1))
    assert mask.shape == (height, width) and mask.dtype == np.uint8 and mask.flags.c_contiguous
    assert 0 < cv2.countNonZero(mask) < mask.size and mask.max() == 1
    generator(height, width, keyed_rng(seed, "mask", 2))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    np.testing.assert_array_equal(mask, generator(height, width, keyed_rng(seed, "mask", 1)))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_every_generator_of_the_package_is_tested_here() -> None:
    assert {type(generator).__name__ for generator in EVERY} == set(masks.__all__) - {"MaskFolder", "OwnMasks"}
    assert all(dataclasses.is_dataclass(generator) and hash(generator) is not None for generator in EVERY)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CenterRectangle(height=0), "shares of the sides"),
        (lambda: CenterRectangle(height=128), "shares of the sides"),
        (lambda: RandomRectangle(0.5, 0.25), "0 < low <= high <= 1"),
        (lambda: GLCICRectangle(96, 300), "0 < low <= high <= size"),
        (lambda: LaMaThick(384), "published its distributions at 256 and 512"),
        (lambda: LaMaThick(cap=50), "share above 0, at most 1"),
        (lambda: LaMaBoxes(side=(250, 255)), "exceed 256 pixels"),
        (lambda: CoModGANMask(1, 1, 1), "at least one above 1"),
        (lambda: SquareCrop(Half(), cap=50), "a hole share above 0, at most 1"),
        (lambda: SuperResolve2x("first"), "expected 'odd' or 'even'"),  # type: ignore[arg-type]
        (lambda: Mixture(()), "one weight per generator"),
        (lambda: Mixture((Half(),), (1, 2)), "1 generators and the weights"),
        (lambda: AreaBounded(Half(), 20, 30), "hole shares with 0 <= low < high <= 1"),
        (lambda: NoiseBlobs(0.3, 0.2), "low < high"),
        (lambda: Outpainting(high=0.6), "a centre stays known"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_allowed(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(("generator", "digest"), BITS.items(), ids=str)
def test_fixed_sets_are_the_same_bit_for_bit(generator: MaskGenerator, digest: str) -> None:
    assert FixedSet(generator, seed=7, count=4, height=96, width=64).sha256()[:16] == digest
