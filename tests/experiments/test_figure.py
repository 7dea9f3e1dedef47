"""`lit-inpaint figure`: the right pictures in the right cells, embedded fonts, and the protocol in the caption."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import cli
from experiments.compare import figure
from experiments.compare.grouping import make_tables
from experiments.compare.reader import read_folders

METHODS = ["Telea", "NavierStokes", "Harmonic", "Biharmonic"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four methods on three photographs, as `benchmark` leaves them."""
    out = tmp_path_factory.mktemp("figure")
    photos = out / "photos"
    photos.mkdir()
    for seed, size in enumerate([(96, 96), (96, 96), (128, 96)]):
        rng = np.random.default_rng(seed)
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(photos / f"photo{seed}.png")
    protocol = out / "hole.yaml"
    protocol.write_text("name: hole\nmask: {class_path: masks.CenterRectangle}\nsize: 96\nmetrics: [psnr_hole, ssim]\n")
    with pytest.raises(SystemExit) as end:
        cli.main(["benchmark", str(protocol), "--images", str(photos), "--methods", *METHODS, "--out", str(out / "b")])
    assert end.value.code == 0
    yield out / "b"
    shutil.rmtree(out)


def draw(measured: Path, out: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(["figure", str(measured), "--out", str(out), *words])
    return int(end.value.code or 0)


def test_pdf_png_and_tex_of_four_methods_and_three_photographs(measured: Path, tmp_path: Path):
    out = tmp_path / "figure.pdf"
    assert draw(measured, out, "--methods", *METHODS, "--zoom", "hole") == 0
    image = Image.open(out.with_suffix(".png"))
    assert image.width == round(6.9 * figure.DPI)
    tex = out.with_suffix(".tex").read_text()
    (record, *_) = read_folders([measured])[0]
    assert f"hash {record.protocol.hash[:16]}," in tex and r"psnr\_hole of Telea" in tex and "figure.pdf" in tex
    if shutil.which("pdffonts"):
        lines = subprocess.run(["pdffonts", out], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
        assert lines and all(line.split()[-5:-2] == ["yes", "yes", "yes"] for line in lines), lines  # emb, sub, uni


def test_every_cell_holds_the_picture_of_its_column_and_row(measured: Path, tmp_path: Path):
    """Drawn so wide that a pixel of the picture is several of the figure's."""
    out = tmp_path / "figure.pdf"
    names = ["photo2", "photo0"]
    assert draw(measured, out, "--methods", "Harmonic", "Telea", "--rows", *names, "--width", "8") == 0
    drawn = np.asarray(Image.open(out.with_suffix(".png")).convert("RGB")).astype(int)
    folder = next(measured.glob("images/*"))
    cell = (8 - 0.03 * 3) / 4 * figure.DPI
    top = 0.2 * figure.DPI
    for name in names:
        for column, kind in enumerate(["_input", "Harmonic", "Telea", "_truth"]):
            file = np.asarray(Image.open(folder / kind / f"{name}.png").convert("RGB")).astype(int)
            height, width = file.shape[:2]
            left, scale = column * (cell + 0.03 * figure.DPI), cell / width
            for y, x in ((10, 10), (height // 2, width // 2), (height - 10, width - 10)):
                found = drawn[round(top + (y + 0.5) * scale), round(left + (x + 0.5) * scale)]
                assert np.abs(found - file[y, x]).max() <= 1, (name, kind, y, x)
        top += cell * height / width + 0.03 * figure.DPI


@pytest.mark.parametrize("columns", [4, 13, 24])
def test_titles_are_whole_and_leave_no_band_above_them(columns: int, tmp_path: Path):
    """However small many columns make them."""
    black = np.zeros((64, 64, 3), np.uint8)
    figure.draw([[black] * columns], ["ContextEncoder"] * columns, [None], 6.9, tmp_path / "f.pdf", tmp_path / "f.png")
    ink = np.asarray(Image.open(tmp_path / "f.png").convert("L")) < 200
    first, picture = ink.any(1).argmax(), ink.mean(1).argmax()
    assert 1 <= first <= 0.7 * (picture - first), (first, picture)


def test_a_row_of_several_seeds_is_named_by_the_one_whose_picture_it_shows(measured: Path):
    (table,) = make_tables(read_folders([measured])[0])
    [row, *_] = table.rows
    [record] = row.records
    shown, other = (replace(record, method=replace(record.method, label=f"LaMa-seed{seed}")) for seed in (0, 1))
    shown.path = record.path
    table.rows[0] = replace(row, label="LaMa", records=[shown, other])
    assert [one.label for one in figure.chosen(table, ["LaMa-seed0"])] == ["LaMa"]
    with pytest.raises(ValueError, match="no pictures of 'LaMa-seed1'"):
        figure.chosen(table, ["LaMa-seed1"])


def test_best_median_and_worst_follow_the_metric_s_direction(measured: Path):
    table = figure.one_table(figure.make_tables(read_folders([measured])[0]), None)
    (row,) = figure.chosen(table, ["Telea"])
    values = row.cells["psnr_hole"].values
    pictures = figure.pictures_of(table, [row])
    order = sorted(values, key=lambda name: values[name])
    assert [figure.pick(word, row, "psnr_hole", pictures) for word in ("worst", "median", "best")] == order


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "Tela"], "Did you mean 'Telea'?"),
        (["--rows", "photo9"], "there is no image 'photo9'"),
        (["--metric", "psnr_hol"], "Did you mean 'psnr_hole'?"),
        (["--zoom", "90,90,20"], "--zoom 90,90,20 leaves a picture of 96x96."),
        (["--zoom", "x"], "expected X,Y,SIDE in pixels"),
        (["--protocol", "hol"], "there is no protocol 'hol'. Did you mean 'hole'?"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    words: list[str], said: str, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert draw(measured, tmp_path / "figure.pdf", *words) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("holes", "expected"),
    [
        ([(10, 10, 6, 6), (60, 70, 30, 30)], (70, 60, 24)),  # (top, left, height, width): not between the two parts
        ([(36, 36, 24, 24)], (36, 36, 24)),
        ([(24, 24, 48, 48)], (36, 36, 24)),  # larger than the square: its centre
        ([(0, 90, 4, 6)], (72, 0, 24)),
        ([], (36, 36, 24)),
    ],
)
def test_the_zoom_shows_most_of_the_hole(
    holes: list[tuple[int, int, int, int]], expected: tuple[int, int, int], tmp_path: Path
):
    mask = np.zeros((96, 96), np.uint8)
    for top, left, height, width in holes:
        mask[top : top + height, left : left + width] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    left, top, side = figure.region("hole", tmp_path / "mask.png", (96, 96, 3))
    inside = mask[top : top + side, left : left + side].sum()
    assert inside == max(mask[i : i + 24, j : j + 24].sum() for i in range(73) for j in range(73))
    assert (left, top, side) == expected


def test_nothing_is_overwritten_unasked(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "figure.tex").write_text("mine")
    assert draw(measured, tmp_path / "figure.pdf", "--rows", "photo0") == 2
    assert "figure.tex exists" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["figure.tex"]
    assert draw(measured, tmp_path / "figure.pdf", "--rows", "photo0", "--overwrite") == 0
    assert (tmp_path / "figure.tex").read_text() != "mine"
