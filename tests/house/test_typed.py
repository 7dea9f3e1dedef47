"""Everything that a page or a message tells one to type is typed here: run if short, else taken by its parser.

What is run elsewhere is named; what is only parsed is counted, so that no new block passes unseen.
"""

import ast
import contextlib
import io
import os
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from experiments import cli
from experiments.evaluate.protocol import load_protocols
from experiments.study.plan import read_study
from experiments.sweep.space import read_sweep
from lit_inpaint.load import recipe
from lit_inpaint.methods import DiffusersInpaint
from masks.build import build
from tests.support.house import ROOT
from tests.support.pictures import hole, photo
from tests.support.typed import BLOCK, Block, Typed, blocks, mentions, messages, parse, shell

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "docs").rglob("*.md")
        if not {"_generated", "_build"} & set(path.parts)
    ),
]
FOLLOWED = {  # every block of the page is typed in order by this test
    "docs/add_a_mask_law.md": "tests/house/test_add_pages.py",
    "docs/add_a_method.md": "tests/house/test_add_pages.py",
    "docs/add_a_metric.md": "tests/house/test_add_pages.py",
    "docs/hub.md": "tests/experiments/test_push.py",
    "docs/outputs.md": "tests/experiments/test_outputs.py",
    "docs/own_method.md": "tests/experiments/test_own_method_page.py",
}
RUN = (  # begins of the lines that are run below: seconds each, no server, no network
    "lit-inpaint methods",
    "lit-inpaint inpaint --method PatchMatch",
    "lit-inpaint masks show",
    "lit-inpaint masks write",
    "lit-inpaint masks measure",
    "lit-inpaint runs",
    "lit-inpaint compare results",
)
OTHERS = {"cd", "git", "source", "wandb"}  # programs of others: counted, not parsed
SHELL = {"", "bash", "console"}
COUNTED = {
    "followed": 25,
    "run": 14,
    "parsed": 222,
    "programs of others": 4,
    "python": 2,
    "yaml": 11,
    "drawing": 1,
    "text": 18,
}


def kind(line: str, block: Block) -> str:
    if line.split()[0] in OTHERS:
        return "programs of others"
    short = line.startswith(RUN) and "--memory" not in line
    return "run" if short and not block.where.startswith("docs/results/") else "parsed"


def typed() -> list[tuple[str, Block, str]]:
    """(what is done with it, block, line or whole block) for every block of every page."""
    found = []
    for block in (block for page in PAGES for block in blocks(page)):
        if block.where.partition(":")[0] in FOLLOWED:
            found.append(("followed", block, block.body))
        elif block.body.startswith("┌"):
            found.append(("drawing", block, block.body))
        elif block.kind in SHELL:
            found += [(kind(line, block), block, line) for line in shell(block.body)]
        else:
            found.append((block.kind, block, block.body))
    return found


ALL = typed()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs and a mask under the names of the pages."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for seed in range(2):
        photo(seed, (256, 256)).save(f"photos/{seed}.png")
    photo(0, (64, 48)).save("photo.jpg")
    Image.fromarray(hole((64, 48)) * 255).save("mask.png")
    return tmp_path


def test_every_block_of_every_page_is_run_parsed_or_counted():
    assert dict(Counter(done for done, *_ in ALL)) == COUNTED
    for page, test in FOLLOWED.items():
        text = (ROOT / test).read_text(encoding="utf-8")
        assert Path(page).name in text or Path(page).stem.removeprefix("add_a_") in text, page


def test_lines_that_are_long_or_need_more_are_taken_by_their_parsers(folder: Path):
    lines = {line: Typed(block.where, line, True) for done, block, line in ALL if done == "parsed"}
    programs = Counter(map(parse, lines.values()))
    assert set(programs) == {"lit-inpaint", "make", "pip", "python", "torchrun"}, programs


def test_short_lines_run_in_the_order_of_their_page(folder: Path, monkeypatch: pytest.MonkeyPatch):
    Path("results").symlink_to(ROOT / "docs/results/photos256")
    monkeypatch.setenv("LIT_INPAINT_TRACEBACK", "1")
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/metrics.csv").write_text("step,val/psnr\n1,20.0\n")
    Path("DIR").mkdir()
    Path("DIR/0.png").symlink_to(Path("mask.png").absolute())
    ran = []
    for done, block, line in ALL:
        if done == "run" and line not in ran:
            ran.append(line)
            Path("filled.png").unlink(missing_ok=True)
            Path("sheet.png").unlink(missing_ok=True)
            _, *words = shlex.split(line)
            with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
                cli.main(words)
            assert end.value.code == 0, f"{block.where}: {line}"
    assert len(ran) >= 8 and Path("compare.html").is_file() and Path("again/set.yaml").is_file()


def test_python_of_the_readme_and_of_its_page_runs(folder: Path):
    code = {body for done, _, body in ALL if done == "python"}
    assert len(code) == 1, "the README's lines are those of docs/python.md"
    (body,) = code
    assert len([node for node in ast.walk(ast.parse(body)) if isinstance(node, ast.stmt)]) == 6
    names: dict[str, Any] = {}
    exec(compile(body, "README.md", "exec"), names)
    assert Path("filled.png").is_file() and Path("compare.html").is_file()
    assert names["record"].method.name == "PatchMatch"


def test_yaml_of_the_pages_is_read_by_what_takes_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REPAINT_MASKS", str(folder))
    Path("configs").mkdir()
    Path("masks").symlink_to(ROOT / "experiments/configs/masks")
    monkeypatch.chdir("configs")
    for done, block, body in ALL:
        if done == "yaml":
            Path("block.yaml").write_text(body)
            content = yaml.safe_load(body)
            if "parameters" in content:
                assert read_sweep(Path("block.yaml")).budget(None) == content["run_cap"]
            elif set(content) == {"model"} and "schedules" in content["model"]["init_args"]:
                parse(
                    Typed(block.where, "lit-inpaint fit --config block.yaml --data SamplePhotos --data.mask Half", True)
                )
            elif set(content) == {"model"}:
                assert recipe(Path("block.yaml"))[0] is DiffusersInpaint
            elif set(content) == {"trainer"}:
                words = "lit-inpaint fit --config deepfillv2/places2 --data.root photos --config block.yaml"
                parse(Typed(block.where, words, True))
            elif "metrics" in content:
                assert load_protocols("block.yaml", folder / "photos")
            elif "methods" in content:
                assert len(read_study(Path("block.yaml")).steps) == 23
            elif "data" in content:
                parse(
                    Typed(
                        block.where,
                        "lit-inpaint fit --config block.yaml --model PartialConv --data.init_args.root photos",
                        True,
                    )
                )
            else:
                (folder / "thick").mkdir(exist_ok=True)
                law = repr(build(yaml.safe_load(os.path.expandvars(body))["mask"]))
                assert "MaskFolder" in law or "OwnMasks" in law


def test_what_messages_comments_and_sentences_tell_one_to_type_is_taken_by_its_parser(folder: Path):
    texts = [(page, BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))) for page in [*PAGES, "CHANGELOG.md"]]
    found = {(t.line, t.whole): t for where, text in [*messages(), *texts] for t in mentions(where, text)}
    assert len(found) > 100
    with contextlib.redirect_stdout(io.StringIO()):
        faults = [fault for t in found.values() if (fault := _fault(t))]
    assert faults == []


def _fault(command: Typed) -> str | None:
    try:
        parse(command)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "line, said",
    [
        ("lit-inpaint inpaint --metod Telea", "no option --metod"),
        ("lit-inpaint inpaint --method Tela --image a.png --mask b.png --out c.png", "there is no Tela"),
        ("lit-inpaint fit --config quickstart --model.init_args.lr_ 1", "no setting 'lr_'"),
        ("lit-inpaint benchmark nowhere --methods Telea --out out", "no file and no configuration"),
        ("make quickstrt", "there is no quickstrt"),
        ("pip install 'lit-inpaint[ap]'", "there is no ap"),
    ],
)
def test_a_line_that_could_not_be_typed_is_named(folder: Path, line: str, said: str):
    with pytest.raises(ValueError, match=said):
        parse(Typed("page:1", line, True))


def test_a_command_inside_a_sentence_needs_backticks():
    with pytest.raises(ValueError, match="backticks"):
        list(mentions("a.py:1", "now run lit-inpaint fit --config x and wait"))
