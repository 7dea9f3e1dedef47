"""Pictures: every mask law, one photograph completed by every method, and the years of the methods."""

import io
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import masks
from docs.extension.python import first_line
from docs.extension.settings import table
from experiments.catalogue.methods import Description, describe
from lit_inpaint import load_method

IMAGES = Path(__file__).resolve().parents[1] / "images"
DRAWN = IMAGES / "masks"
FROM_FILES = ("MaskFolder", "OwnMasks")  # draw nothing of their own
SIDE = 192
CELL = 96  # px of a face in the panels of docs/results, which have eight in a row, right of the labels
FACE = {  # where one held-out face is in the panel of each method that was trained on 300 faces: file, row, column
    "Input": ("gan_papers_faces64.jpg", 0, 1),
    "ContextEncoder": ("gan_papers_faces64.jpg", 2, 1),
    "GLCIC": ("gan_papers_faces64.jpg", 3, 1),
    "DeepFillV1": ("gan_papers_faces64.jpg", 4, 1),
    "PartialConv": ("gan_papers_faces64.jpg", 5, 1),
    "DeepFillV2": ("deepfillv2_faces64.png", 2, 1),
    "AOTGAN": ("aotgan_faces64.jpg", 2, 1),
    "DSI": ("dsi_faces64.jpg", 2, 1),
    "ICT": ("ict_faces64.jpg", 2, 1),
    "LaMa": ("lama_faces64.jpg", 2, 7),
    "Truth": ("gan_papers_faces64.jpg", 6, 1),
}
OTHER_IMAGES = {  # methods with pictures of other images: where they are
    "DDPM": "faces at 32 px, five samplers: [samplers](../../results/samplers_faces32.md)",
    "LatentInpainting": "drawn faces: [latent inpainting](../../results/latent_64.md)",
    "Palette": "drawn and synthetic faces: [Palette](../../results/palette_64.md)",
    "MIGAN": "photographs at 512 px: [released weights](../../results/migan512.md)",
    "DiffusersInpaint": "runs the pipelines of others; none is shown here",
}


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
    years = {row["name"]: row["year"] for row in rows}
    files: dict[str, str | bytes] = {"gallery/input.png": _png(np.where(hole[..., None] == 1, np.uint8(255), image))}
    cards = [_card("Input", "The photograph with its hole in white", "input")]
    for name in (name for name in years if name not in FACE and name not in OTHER_IMAGES):
        files[f"gallery/{name}.png"] = _png(np.asarray(load_method(name).complete(image, hole, seed=0)))
        cards.append(_card(f"{name}, {years[name]}", f"The hole filled by {name}", name))
    text = ["# One photograph, every method", "", "## Without training", ""]
    text += ["Run when this site was built, on one photograph of 192 px and one hole.", "", *_grid(cards)]
    cards = []
    for name, (file, row, column) in FACE.items():
        panel = Image.open(IMAGES / file).convert("RGB")
        x, y = panel.width - CELL * (8 - column), CELL * row
        files[f"gallery/face_{name}.png"] = _png(np.asarray(panel.crop((x, y, x + CELL, y + CELL))))
        title = f"{name}, {years[name]}" if name in years else name
        cards.append(_card(title, f"{title}: one face of 64 px", f"face_{name}"))
    text += ["## Trained on 300 faces", ""]
    text += ["Small networks of 64 px, each trained for 3 to 15 minutes of one core, on one face that none of them has"]
    text += ["seen: an early look at how each paper fails, not what it can do ([all panels](../../results.md)).", ""]
    text += [*_grid(cards), "## On other images", ""]
    links = [(f"[{name}](../../methods/{name}.md)", str(years[name]), where) for name, where in OTHER_IMAGES.items()]
    text += table(["method", "year", "pictures"], links)
    return files | {"gallery/completions.md": "\n".join(text)}


def _grid(cards: list[list[str]]) -> list[str]:
    return ["::::{grid} 2 2 3 3", ":gutter: 2", "", *(line for card in cards for line in card), "::::", ""]


def _card(title: str, alternative: str, file: str) -> list[str]:
    return [f":::{{grid-item-card}} {title}", f"![{alternative}]({file}.png)", ":::", ""]


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
    stems = []
    for x, level, name, year in labels:
        y = base - 12 - line * level
        stems.append(f'<line x1="{x:.0f}" y1="{y}" x2="{x:.0f}" y2="{base}" stroke="#bbb"/>')
        drawn.append(f'<circle cx="{x:.0f}" cy="{y - 4}" r="3" fill="#1f6fb2"/>')
        drawn.append(f'<text x="{x + 6:.0f}" y="{y}">{escape(name)}<title>{year}</title></text>')
    drawn = stems + drawn  # a name covers the stems that it crosses
    style = "text{font:14px sans-serif;fill:#1b1b1b;stroke:#fff;stroke-width:5px;paint-order:stroke}"
    style += ".year{font-size:12px;fill:#444}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 {height}" role="img"><title>Methods by year</title>'
        f'<style>{style}</style><rect width="1200" height="{height}" fill="#fff"/>{"".join(drawn)}</svg>\n'
    )
