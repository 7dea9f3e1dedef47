"""What the site generates: a page for each class, each command in the reference, each link followed."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import masks
from docs.extension import check, commands, formats, gallery, links, methods, python, settings
from experiments import cli
from experiments.catalogue.methods import classes, describe
from experiments.evaluate import protocol
from experiments.files.find import INSTALLED
from lit_inpaint import metrics
from masks.build import laws
from tests.support.house import OURS, ROOT

DOCS = ROOT / "docs"
METHODS = [row["name"] for row in describe()]
LAWS = masks.__all__  # not laws(): other tests define some


def test_every_public_class_and_function_has_a_page():
    pages = python.pages()
    for package in python.PACKAGES:
        entries = python.names(package)
        assert entries
        assert all(f"python/{path}.rst" in pages and path in pages["python/index.rst"] for path in entries)
    named = {path.rpartition(".")[2] for path in python.names("lit_inpaint.methods")}
    assert set(classes()) <= named


def test_every_command_and_every_command_below_it_is_in_the_reference():
    (text,) = commands.pages().values()
    for name in (name for group in cli.COMMANDS.values() for name in group):
        assert f"\n### lit-inpaint {name}\n" in text and f"usage: lit-inpaint {name} " in text, name
    for name in ("masks write", "masks show", "masks measure", "protocol list", "protocol export", "protocol score"):
        assert f"usage: lit-inpaint {name} " in text, name


def test_what_one_can_set_stands_on_a_page_that_somebody_wrote_as_well():
    pages = [ROOT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("tutorials/*.ipynb")]
    written = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    code = "".join(path.read_text(encoding="utf-8") for package in OURS for path in (ROOT / package).rglob("*.py"))
    options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*\w", commands.pages()["commands.md"]))
    named = options | set(re.findall(r"\bLIT_INPAINT_[A-Z]+", code)) | {f"configs {name}" for name in ("list", "show")}
    assert len(named) > 90
    assert not [name for name in sorted(named) if not re.search(rf"(?<![\w-]){name}(?![\w-])", written)]


def test_yaml_keys_are_those_that_fit_takes():
    pages = settings.pages()
    for name in classes():
        assert f"\n## {name}\n" in pages["settings/methods.md"]
    assert all(f"\n## {name}\n" in pages["settings/masks.md"] for name in laws() if name in LAWS)
    keys = {key: default for key, _, default, _ in settings.arguments(classes()["DeepFillV2"])}
    assert keys["width"] == "48" and keys["accumulate"] == "1" and keys["hed"] == "null"
    assert all(
        f"### {path.relative_to(INSTALLED).with_suffix('')}" in pages["settings/configurations.md"]
        for path in INSTALLED.rglob("*.yaml")
    )


def test_every_metric_protocol_and_field_of_a_record_is_in_the_reference():
    pages = formats.pages()
    assert all(f"| `{name}` |" in pages["metrics.md"] for name in metrics.NAMES)
    assert all(f"[`{path.stem}`]" in pages["protocols.md"] for path in (INSTALLED / "protocols").glob("*.yaml"))
    assert all(re.search(rf"\b{key}: ", pages["protocols.md"]) for key in protocol._KEYS)
    assert not [page for page, text in {**pages, **settings.pages()}.items() if re.search(r":\w+:`", text)]  # of rst
    assert "FieldInfo" not in pages["files.md"]  # as a type is written, without its checks
    assert "| `network_calls` |" in pages["files.md"] and "| `votes` |" in pages["files.md"]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_page_of_five_sentences_and_a_step(name: str):
    text = (DOCS / "methods" / f"{name}.md").read_text(encoding="utf-8")
    idea = text.partition("\n\n")[2].partition("\n\n## ")[0]
    assert len(re.findall(r"[.?!:](?:\s|$)", idea)) >= 5, idea
    whole = methods.completed(f"methods/{name}", text)
    assert methods.MARK not in whole and f"What `lit-inpaint methods {name}` prints" in whole
    row = next(row for row in describe() if row["name"] == name)
    assert row["paper"] in whole and ("training_step" in whole) == bool(row["trainable"] or row["stages"])
    assert name in (DOCS / "methods/index.md").read_text().split()


def test_the_rows_of_a_method_are_those_of_its_tables():
    assert any(line.startswith("| lama | LaMa official |") for line in methods.rows("parity.md", {"LaMa"}, 1))
    assert not methods.rows("parity.md", {"Lam"}, 1)
    assert "21.00 [" in "".join(methods.rows("results/gan_papers_faces64.md", {"ContextEncoder"}, 0))


def test_every_mask_law_is_drawn():
    text = gallery.pages.__globals__["_masks"]()
    for name in set(laws()) - set(gallery.FROM_FILES):
        if name in LAWS:
            assert f"images/masks/{name}.png" in text and (gallery.DRAWN / f"{name}.png").is_file(), name


def test_every_method_completes_a_photograph():
    made = gallery.pages()
    page = made["gallery/completions.md"]
    assert set(METHODS) <= {
        *gallery.OTHER_IMAGES,
        *(f.partition("/")[2].removesuffix(".png") for f in made),
        *gallery.FACE,
    }
    for name in METHODS:
        shown = f"({'face_' * (name in gallery.FACE)}{name}.png)"
        assert (f"methods/{name}.md" if name in gallery.OTHER_IMAGES else shown) in page, name
    faces = {name: made[f"gallery/face_{name}.png"] for name in gallery.FACE}
    crops = {name: np.asarray(Image.open(io.BytesIO(data))).astype(int) for name, data in faces.items()}
    assert all(crop.shape == (gallery.CELL, gallery.CELL, 3) for crop in crops.values())
    # The face is the same in every panel: outside the hole, JPEG apart, the pixels are those of the truth.
    for name, crop in crops.items():
        assert abs(crop - crops["Truth"])[:20].mean() < 4, name


def test_every_page_is_in_a_table_of_contents_and_every_page_outside_has_its_own():
    listed = set()
    for path in DOCS.rglob("*.md"):
        if "_generated" not in path.parts:
            for body in re.findall(r":::\{toctree\}\n(.*?):::", path.read_text(encoding="utf-8"), re.DOTALL):
                entries = [line for line in body.split() if not line.startswith(":")]
                listed |= {(path.parent / entry).resolve().relative_to(DOCS).as_posix() for entry in entries}
    pages = {p.relative_to(DOCS).with_suffix("").as_posix() for ext in ("md", "ipynb") for p in DOCS.rglob(f"*.{ext}")}
    pages = {page for page in pages if not page.startswith(("_", "results/", "reproduce/"))}
    assert pages - listed == {"index"}
    made = {name.rpartition(".")[0] for name in links.pages()}
    assert {f"_generated/{name}" for name in made} <= listed


def test_links_out_of_docs_lead_to_pages_of_the_site():
    for path in DOCS.rglob("*.md"):
        if "_generated" not in path.parts:
            name = path.relative_to(DOCS).with_suffix("").as_posix()
            for target in re.findall(r"\]\(([^)#\s]+)", links.inside(path.read_text(encoding="utf-8"), name)):
                if not re.match(r"[a-z]+:|<", target) and "_generated" not in target:
                    assert (path.parent / target).exists() and (path.parent / target).resolve().is_relative_to(DOCS), (
                        name,
                        target,
                    )


def test_a_built_site_with_faults_is_told(tmp_path: Path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x">b</a><a href="c.html">c</a><script src="https://cdn.example/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="y"><a href="https://example.org">elsewhere</a>')
    (tmp_path / "s.css").write_text("@import 'https://fonts.example/f.css'; p { background: url(local.png) }")
    assert check.faults(tmp_path) == [
        "a.html links to b.html#x, which has no such place",
        "a.html links to c.html, which is not there",
        "a.html loads https://cdn.example/x.js from elsewhere",
        "s.css loads @import 'https://fonts.example/f.css",
    ]


def test_a_page_offers_the_memory_of_a_training_step_only_where_there_is_one():
    offered = {row["name"] for row in describe() if "--memory" in methods.generated(row["name"])}
    assert not offered & {row["name"] for row in describe() if row["stages"] or not row["trainable"]}
