"""Pictures: every mask law, every method without training on one photograph, and the years of the methods."""

import io
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import masks
from docs.extension.python import first_line
from experiments.catalogue.methods import Description, describe
from lit_inpaint import load_method

DRAWN = Path(__file__).resolve().parents[1] / "images" / "masks"
FROM_FILES = ("MaskFolder", "OwnMasks")  # draw nothing of their own
SIDE = 192


def pages() -> dict[str, str | bytes]:
    rows = describe()
    return {"gallery/masks.md": _masks(), "gallery/timeline.svg": timeline(rows), **_completions(rows)}


def _masks() -> str:
    text = [
        "# Every mask law",
        "",
        "White is the hole. `lit-inpaint masks show NAME --out sheet.png` draws more of one.",
        "[Masks](../../masks.md) says where each is from.",
        "",
    ]
    text += ["::::{grid} 1 2 3 3", ":gutter: 2", ""]
    for name in sorted(set(masks.__all__) - set(FROM_FILES)):
        text += [
            f":::{{grid-item-card}} {name}",
            f"![Masks of {name}](../../images/masks/{name}.png)",
            "",
            first_line(getattr(masks, name)),
            ":::",
            "",
        ]
    text += ["::::", "", f"{' and '.join(FROM_FILES)} read mask files: [each image's own mask](../../masks.md)."]
    return "\n".join([*text, ""])


def photograph() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A photograph of scikit-image, (192, 192, 3), and the hole that all methods fill, (192, 192), 1 = hole."""
    from skimage.data import astronaut

    image = np.asarray(Image.fromarray(astronaut()[:384, 40:424]).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return image, np.asarray(masks.LaMaThin()(SIDE, SIDE, np.random.default_rng(8)))


def _png(image: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG", optimize=True)
    return data.getvalue()


def _completions(rows: list[Description]) -> dict[str, str | bytes]:
    image, hole = photograph()
    files: dict[str, str | bytes] = {"gallery/input.png": _png(np.where(hole[..., None] == 1, np.uint8(255), image))}
    text = ["# One photograph, every method", ""]
    text += [
        "Methods without training, run when this site was built, on one photograph of 192 px and one hole. A",
        "network is shown with what it was trained on: [results](../../results.md).",
        "",
    ]
    text += [
        "::::{grid} 2 2 4 4",
        ":gutter: 2",
        "",
        ":::{grid-item-card} Input",
        "![The photograph with its hole in white](input.png)",
        ":::",
        "",
    ]
    rest = []
    for row in rows:
        name = row["name"]
        if row["trainable"] or row["stages"] or row["imports"] or row["sources"]:
            rest.append(row)
            continue
        files[f"gallery/{name}.png"] = _png(np.asarray(load_method(name).complete(image, hole, seed=0)))
        text += [
            f":::{{grid-item-card}} {name}, {row['year']}",
            f"![The hole filled by {name}](gallery_{name}.png)".replace("gallery_", ""),
            ":::",
            "",
        ]
    text += ["::::", "", "## Trained methods", "", "| method | year | completions |", "|---|---|---|"]
    text += [
        f"| [{row['name']}](../../methods/{row['name']}.md) | {row['year']} | its results, on its page |"
        for row in rest
    ]
    return files | {"gallery/completions.md": "\n".join([*text, ""])}


def timeline(rows: list[Description]) -> str:
    """The methods over their years, as an SVG; methods of one year stand above each other."""
    first, last = min(row["year"] for row in rows), max(row["year"] for row in rows)
    step, line, top = 1000 / (last - first + 1), 22, 24
    columns: dict[int, list[str]] = {}
    for row in rows:
        columns.setdefault(row["year"], []).append(row["name"])
    levels: list[float] = []  # where the row at this height ends
    labels = []
    for year, names in sorted(columns.items()):
        for name in sorted(names):
            x, width = 20 + (year - first) * step, 9.0 * len(name) + 14
            level = next((n for n, end in enumerate(levels) if end < x), len(levels))
            levels[level : level + 1] = [x + width]
            labels.append((x, level, name, year))
    height = top + line * len(levels) + 40
    base = height - 26
    drawn = [f'<line x1="20" y1="{base}" x2="1180" y2="{base}" stroke="#888"/>']
    for year in range(first, last + 1, 2):
        x = 20 + (year - first) * step
        drawn.append(f'<text x="{x:.0f}" y="{base + 18}" class="year">{year}</text>')
    for x, level, name, year in labels:
        y = base - 12 - line * level
        drawn.append(
            f'<line x1="{x:.0f}" y1="{y}" x2="{x:.0f}" y2="{base}" stroke="#bbb"/>'
            f'<circle cx="{x:.0f}" cy="{y - 4}" r="3" fill="#1f6fb2"/>'
        )
        drawn.append(f'<text x="{x + 6:.0f}" y="{y}">{escape(name)}<title>{year}</title></text>')
    style = "text{font:14px sans-serif;fill:#1b1b1b}.year{font-size:12px;fill:#444}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 {height}" role="img"><title>Methods by year</title>'
        f'<style>{style}</style><rect width="1200" height="{height}" fill="#fff"/>{"".join(drawn)}</svg>\n'
    )
