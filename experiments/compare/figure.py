"""``lit-inpaint figure``: input, completions and truth of chosen images as PDF, PNG and TeX, for a paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.compare import options
from experiments.compare.grouping import make_tables
from experiments.compare.options import PICKED
from experiments.compare.pictures import Files, files_in, folder_of
from experiments.compare.reader import read_folders
from experiments.compare.table import Row, Table
from experiments.compare.text import LATEX
from lit_inpaint.metrics import higher_is_better
from masks.atomic import whole
from masks.nearest import nearest

DPI = 300
_EDGE = "#d62728"
Region = tuple[int, int, int]  # left, top and side, in pixels


def main(argv: list[str]) -> int:
    a = options.figure().parse_args(argv)
    files = [a.out.with_suffix(suffix) for suffix in (".pdf", ".png", ".tex")]
    if (existing := [str(file) for file in files if file.exists()]) and not a.overwrite:
        raise ValueError(f"{', '.join(existing)} exists; give another --out, or --overwrite.")
    table = one_table(make_tables(read_folders(a.folders)[0]), a.protocol)
    columns = chosen(table, a.methods)
    if a.metric and a.metric not in table.metrics:
        raise ValueError(f"{table.name} has no metric '{a.metric}'. {nearest(a.metric, table.metrics)}")
    metric = a.metric or next(iter(table.metrics))
    pictures = pictures_of(table, columns)
    names = [pick(word, columns[0], metric, pictures) for word in a.rows]
    labels = ["Input", *(row.label for row in columns), "Ground truth"]
    keys = ["input", *(row.label for row in columns), "truth"]
    grid = [[np.asarray(Image.open(pictures[key][name]).convert("RGB")) for key in keys] for name in names]
    masks = [pictures["mask"].get(name) for name in names]
    regions = [region(a.zoom, mask, picture.shape) for mask, (picture, *_) in zip(masks, grid, strict=True)]
    with whole(files[0], a.overwrite) as pdf, whole(files[1], a.overwrite) as png:
        draw(grid, labels, regions, a.width, pdf, png)
    with whole(files[2], a.overwrite) as tex:
        tex.write_text(caption(table, dict(zip(names, a.rows, strict=True)), columns[0], metric, a.out), "utf-8")
    print("\n".join(map(str, files)))
    return 0


def one_table(tables: Sequence[Table], name: str | None) -> Table:
    """Raises ValueError unless exactly one protocol is meant."""
    found = [table for table in tables if name in (None, table.name)]
    if len(found) != 1:
        names = [table.name for table in tables]
        given = f"there is no protocol '{name}'. {nearest(name, names)}" if name and not found else (
            f"the folders hold {len(found)} protocols{f' called {name}' if name else ''}: {', '.join(names)}. "
            "Name one with --protocol, or give the folder of one.")  # fmt: skip
        raise ValueError(given)
    return found[0]


def chosen(table: Table, labels: Sequence[str] | None) -> list[Row]:
    rows = {row.label: row for row in table.rows if folder_of(row)}
    of_records = {
        record.label: row for row in rows.values() for record in row.records
        if record.picture_folder() == folder_of(row)
    }  # fmt: skip
    for label in labels or ():
        if label not in rows and label not in of_records:
            raise ValueError(f"no pictures of '{label}' are kept under {table.name}. {nearest(label, rows)}")
    if not rows:
        raise ValueError(f"no pictures are kept under {table.name}; benchmark its methods again.")
    return [(of_records | rows)[label] for label in labels or rows]


def pictures_of(table: Table, columns: Sequence[Row]) -> dict[str, Files]:
    """Files of each column and of the masks, by the name of the image."""
    found = {row.label: files_in(folder) for row in columns if (folder := folder_of(row))}
    record = next(record for row in columns for record in row.records if record.picture_folder())
    for kind in ("input", "truth", "mask"):
        folder = record.picture_folder(f"_{kind}")
        found[kind] = files_in(folder) if folder else {}
    if not found["input"] or not found["truth"]:
        raise ValueError(f"input and ground truth of {table.name} are not kept beside the pictures.")
    return found


def pick(word: str, row: Row, metric: str, pictures: Mapping[str, Files]) -> str:
    """The image that ``word`` names: itself, or the best, median or worst of ``row``."""
    common = set.intersection(*(set(files) for kind, files in pictures.items() if kind != "mask"))
    if word not in PICKED:
        if word not in common:
            raise ValueError(f"there is no image '{word}' with all pictures. {nearest(word, [*PICKED, *common])}")
        return word
    sign = -1 if higher_is_better(metric) else 1
    values = {name: value for name, value in row.cells[metric].values.items() if name in common}
    if not values:
        raise ValueError(f"{metric} has no value per image for {row.label}; name the images in --rows.")
    order = sorted(values, key=lambda name: (sign * values[name], name))
    return order[{"best": 0, "median": (len(order) - 1) // 2, "worst": -1}[word]]


def region(given: str | None, mask: Path | None, shape: tuple[int, ...]) -> Region | None:
    """The square to enlarge, inside a picture of ``shape`` (H, W, ...)."""
    if not given:
        return None
    height, width = shape[:2]
    if given == "hole":
        if mask is None:
            raise ValueError("--zoom hole needs the masks beside the pictures; give X,Y,SIDE.")
        return _most(np.asarray(Image.open(mask).convert("L")) > 127)
    try:
        left, top, side = (int(number) for number in given.split(","))
    except ValueError:
        raise ValueError(f"--zoom is {given}; expected X,Y,SIDE in pixels, e.g. 96,64,48, or hole.") from None
    if not (0 <= left <= width - side and 0 <= top <= height - side and side > 0):
        raise ValueError(f"--zoom {given} leaves a picture of {width}x{height}.")
    return left, top, side


def _most(hole: np.ndarray) -> Region:
    """The square with most of the hole; of several, the one nearest to its centre."""
    side = min(max(8, min(hole.shape) // 4), *hole.shape)
    below = np.pad(hole.cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # pixels of the hole above and left of each place
    inside = below[side:, side:] - below[:-side, side:] - below[side:, :-side] + below[:-side, :-side]
    places = np.argwhere(inside == inside.max())  # top and left
    centre = np.argwhere(hole if hole.any() else ~hole).mean(0) - (side - 1) / 2
    top, left = places[((places - centre) ** 2).sum(1).argmin()].tolist()
    return left, top, side


def draw(
    grid: Sequence[Sequence[np.ndarray]], labels: Sequence[str], regions: Sequence[Region | None], width: float,
    pdf: Path, png: Path,
) -> None:  # fmt: skip
    """A row per image, (H, W, 3) uint8 each, a column per label; ``regions`` become insets."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise ValueError("figure needs matplotlib: pip install 'lit-inpaint[figure]'.") from None
    with matplotlib.rc_context({"pdf.fonttype": 42, "font.size": 8, "font.family": "DejaVu Sans"}):
        gap = 0.03  # inches
        cell = (width - gap * (len(labels) - 1)) / len(labels)
        size = min(8, 130 * cell / max(6, *map(len, labels)) / 1.6)  # of all titles, in points: that of the longest
        head = (1.3 * size + 4) / 72
        heights = [cell * row[0].shape[0] / row[0].shape[1] for row in grid]
        height = head + sum(heights) + gap * (len(grid) - 1)
        figure = Figure(figsize=(width, height), dpi=DPI)
        top = height - head
        for row, high, square in zip(grid, heights, regions, strict=True):
            for column, picture in enumerate(row):
                left = column * (cell + gap)
                axes = figure.add_axes((left / width, (top - high) / height, cell / width, high / height))
                axes.imshow(picture, interpolation="nearest")
                axes.set_axis_off()
                if top == height - head:
                    axes.set_title(labels[column], pad=3, fontsize=size)
                if square:
                    x, y, side = square
                    axes.add_patch(
                        Rectangle((x - 0.5, y - 0.5), side, side, fill=False, edgecolor=_EDGE, linewidth=0.8)
                    )
                    across = 0.02 if 2 * x + side > picture.shape[1] else 0.58  # the corner away from the square
                    tall = 0.4 * cell / high
                    up = 0.98 - tall if 2 * y + side > picture.shape[0] else 0.02
                    inset = axes.inset_axes((across, up, 0.4, tall))
                    inset.imshow(picture[y : y + side, x : x + side], interpolation="nearest")
                    inset.set(xticks=[], yticks=[])
                    for spine in inset.spines.values():
                        spine.set(edgecolor=_EDGE, linewidth=0.8)
            top -= high + gap
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
        figure.savefig(png, format="png")


def caption(table: Table, rows: Mapping[str, str], first: Row, metric: str, out: Path) -> str:
    r"""A ``figure*`` that includes the PDF and says which images it shows, chosen how, under which protocol."""
    said = [f"{name} ({word} {metric} of {first.label})" if word in PICKED else name for name, word in rows.items()]
    text = f"Rows: {', '.join(said)}. Protocol {table.name}, hash {table.hash[:16]}, {table.images} images."
    lines = [
        f"% {table.name}, protocol hash {table.hash}; needs \\usepackage{{graphicx}}",
        r"\begin{figure*}",
        r"\centering",
        rf"\includegraphics[width=\linewidth]{{{out.with_suffix('.pdf').name}}}",
        rf"\caption{{{LATEX.escape(text)}}}",
        r"\end{figure*}",
        "",
    ]
    return "\n".join(lines)
