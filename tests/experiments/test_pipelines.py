"""Pipelines of diffusers, and other methods with arguments in a YAML, as rows: records, resumes, files, the app."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from experiments.app.command import offered
from experiments.app.worker import Task, completions
from experiments.catalogue.methods import describe, list_all
from experiments.files.find import INSTALLED, find_method
from experiments.inpaint.command import main as inpaint
from experiments.run.journal import content_of
from lit_inpaint.diffusion import samplers
from lit_inpaint.load import load_method, recipe
from lit_inpaint.methods import DiffusersInpaint
from tests.support import tiny_pipelines
from tests.support.house import ROOT
from tests.support.hub_server import Hub
from tests.support.protocols import records, run, write_protocol

pytestmark = pytest.mark.xdist_group("diffusers")  # imported once


def write_recipe(path: Path, name: str = "DiffusersInpaint", **arguments: Any) -> Path:
    path.write_text(yaml.safe_dump({"model": {"class_path": name, "init_args": arguments}}))
    return path


@pytest.fixture
def source() -> str:
    return str(tiny_pipelines.shared())


# ---- in a table ----------------------------------------------------------------------------------------------------


def test_a_record_says_calls_parameters_settings_files_and_how_far_known_pixels_moved(
    source: str, photos: Path, tmp_path: Path
):
    names = sorted(path.name for path in photos.iterdir())[:2]
    table = tmp_path / "prompts.csv"
    table.write_text("image,prompt\n" + "".join(f"{name},a cat\n" for name in names))
    given = {"source": source, "steps": 2, "guidance_scale": 3.0, "prompts": str(table), "arguments": {"eta": 0.5}}
    tiny = write_recipe(tmp_path / "tiny.yaml", **given)
    protocol = write_protocol(tmp_path, limit=2, samples=2)
    arguments = [protocol, "--images", photos, "--methods", tiny, "Telea", "--out"]
    assert run(*arguments, tmp_path / "one") == 0
    assert run(*arguments, tmp_path / "two", "--batch-size", 2) == 0
    one, two = ({Path(key).name: record for key, record in records(tmp_path / out).items()} for out in ("one", "two"))
    record = one["tiny"]
    assert {n: m.values for n, m in record.metrics.items()} == {n: m.values for n, m in two["tiny"].metrics.items()}
    assert record.network_calls == two["tiny"].network_calls == 2 * 2  # two completions of two steps
    assert record.known_change == two["tiny"].known_change and record.known_change > 1
    assert record.note == f"known pixels moved by {record.known_change:.2f} of 255 before they were pasted back"
    about = record.method
    assert about.name == "DiffusersInpaint" and about.label == "tiny" and about.checkpoint is None
    assert about.parameters is not None and about.parameters.keys() == {"denoiser", "vae", "text_encoder"}
    settings: Any = about.settings
    assert settings["source"] == source and settings["pipeline"].endswith(".StableDiffusionInpaintPipeline")
    assert settings["call"] == {
        "prompts": str(table), "negative_prompt": None, "num_inference_steps": 2, "strength": 1.0,
        "guidance_scale": 3.0, "eta": 0.5,
    }  # fmt: skip
    assert settings["content"] == DiffusersInpaint.content(source=source, prompts=str(table))
    assert one["Telea"].known_change is None and one["Telea"].method.settings is None
    text = next((tmp_path / "one").glob("records/*/Telea.json")).read_text()
    assert "known_change" not in text and "settings" not in text


def test_other_arguments_prompts_or_weights_are_another_row(source: str, tmp_path: Path):
    table = tmp_path / "prompts.csv"
    table.write_text("image,prompt\na,a cat\n")
    copied = tiny_pipelines.write("stable_diffusion", tmp_path / "pipeline")
    path = tmp_path / "x.yaml"

    def identity(**changes: Any) -> str:
        return content_of(str(write_recipe(path, **({"source": str(copied), "prompts": str(table)} | changes))))

    first = identity()
    path.write_text("# a comment\n" + path.read_text())
    assert content_of(str(path)) == first
    seen = {first, identity(steps=3), identity(source=source)}
    table.write_text("image,prompt\na,a dog\n")
    seen.add(identity())
    config = copied / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.02", "0.03"))
    seen.add(identity())
    assert len(seen) == 5
    assert content_of(str(write_recipe(path, "PatchMatch", radius=2))) != content_of(
        str(write_recipe(path, "PatchMatch", radius=3))
    )


def test_a_classic_with_arguments_is_a_row_and_is_measured_again_with_others(photos: Path, tmp_path: Path):
    path, found = tmp_path / "small patches.yaml", []
    for radius in (1, 1, 4):
        write_recipe(path, "PatchMatch", radius=radius)
        assert (
            run(write_protocol(tmp_path, limit=1), "--images", photos, "--methods", path, "--out", tmp_path / "o") == 0
        )
        (record,) = records(tmp_path / "o").values()
        assert record.method.name == "PatchMatch" and record.method.label == "small patches"
        assert record.method.settings is not None and record.method.settings["radius"] == radius
        found.append(record)
    assert found[0] == found[1] and found[1].metrics["psnr_hole"].mean != found[2].metrics["psnr_hole"].mean


def test_a_yaml_may_hold_a_class_alone_and_what_its_constructor_says_is_one_line(tmp_path: Path):
    (tmp_path / "x.yaml").write_text("model: {class_path: Telea}")
    assert type(load_method(tmp_path / "x.yaml")).__name__ == "Telea"
    write_recipe(tmp_path / "x.yaml", "PatchMatch", radius=-1)
    with pytest.raises(ValueError, match="radius") as error:
        load_method(tmp_path / "x.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("model: {class_path: LaMa}", "LaMa has trained parameters"),
        ("model: {class_path: DiffusersInpaint}", "DiffusersInpaint needs the argument source"),
        ("model: {class_path: PatchMatch, init_args: {radiu: 5}}", "radiu"),
        ("model: {class_path: PatchMatch}\ndata: {}", "is no method: expected model: .* alone. It holds model, data"),
        ("model: {class_path: PatchMatch, patch: 5}", "model holds class_path, patch; expected"),
        ("model: [", "is not YAML"),
    ],
)
def test_a_yaml_that_is_no_method_is_refused_before_anything_runs(content: str, said: str, tmp_path: Path):
    (tmp_path / "x.yaml").write_text(content)
    for call in (lambda: load_method(tmp_path / "x.yaml"), lambda: offered([str(tmp_path / "x.yaml")], "cpu")):
        with pytest.raises(ValueError, match=rf"x\.yaml:? .*{said}"):
            call()


@pytest.mark.parametrize("path", sorted(INSTALLED.glob("diffusers/*.yaml")), ids=lambda path: path.stem)
def test_an_installed_pipeline_is_found_by_name_and_takes_its_arguments(path: Path):
    assert find_method(f"A=diffusers/{path.name}") == f"A={path}" and find_method("A=Telea") == "A=Telea"
    cls, arguments = recipe(path)
    assert cls is DiffusersInpaint and arguments["source"].startswith("hf://")


FAMILY = {"sd15_inpainting": "stable_diffusion", "sd2_inpainting": "stable_diffusion", "sdxl_inpainting": "sdxl"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAMILY, "flux_fill"])
def test_the_yaml_of_a_published_pipeline_fills_an_image_with_a_tiny_one_of_its_class(
    name: str, hub: Hub, tmp_path: Path
):
    """From a stand-in for the Hub, at the published settings but for steps and size; nothing but safetensors loads."""
    content = recipe(INSTALLED / "diffusers" / f"{name}.yaml")[1]
    folder = tiny_pipelines.write(FAMILY.get(name, name), tmp_path / "pipeline")
    variant = content.get("variant")
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    stored = {k.replace(".safetensors", f".{variant}.safetensors") if variant else k: p for k, p in files.items()}
    trap = {"unet/diffusion_pytorch_model.bin": b"\x80", "pipeline.py": b"raise SystemExit", "big.safetensors": b""}
    repository = hub.create(
        content["source"].removeprefix("hf://"), {k: p.read_bytes() for k, p in stored.items()} | trap
    )
    small = {"steps": 1, **({"size": 64} if "size" in content else {})}
    path = write_recipe(tmp_path / "x.yaml", **(content | small))
    image, hole = write_photo(tmp_path)
    assert (
        inpaint(["--method", str(path), "--image", str(image), "--mask", str(hole), "--out", str(tmp_path / "o.png")])
        == 0
    )
    before, after = (np.asarray(Image.open(tmp_path / n).convert("RGB")) for n in ("photo.png", "o.png"))
    assert (before[:16] == after[:16]).all() and not (before == after).all()
    method: Any = load_method(path)
    assert method.origin == (content["source"].removeprefix("hf://"), repository.refs["main"])
    assert content_of(str(path)).count(repository.refs["main"]) == 1
    asked = {Path(path).name for _, path, _ in hub.asked if "/resolve/" in path}
    assert not asked & {"diffusion_pytorch_model.bin", "pipeline.py", "big.safetensors"}


# ---- for files and on the page -------------------------------------------------------------------------------------


def write_photo(folder: Path) -> tuple[Path, Path]:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)
    hole = np.zeros((60, 70), np.uint8)
    hole[20:40, 16:50] = 255
    Image.fromarray(pixels).save(folder / "photo.png")
    Image.fromarray(hole).save(folder / "hole.png")
    return folder / "photo.png", folder / "hole.png"


def test_inpaint_takes_a_prompt_and_says_how_far_known_pixels_moved(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write_recipe(tmp_path / "tiny.yaml", source=source, steps=1, prompt="a cat")
    image, hole = write_photo(tmp_path)
    given = ["--method", str(path), "--image", str(image), "--mask", str(hole), "--out"]
    for out, prompt in {"own": [], "cat": ["--prompt", "a cat"], "dog": ["--prompt", "a dog"]}.items():
        assert inpaint([*given, str(tmp_path / f"{out}.png"), *prompt]) == 0
        said = capsys.readouterr().out
        assert "by DiffusersInpaint, known pixels moved by " in said and "of 255 before they were pasted back" in said
    own, cat, dog = ((tmp_path / f"{out}.png").read_bytes() for out in ("own", "cat", "dog"))
    assert own == cat != dog
    method = load_method(path)
    assert np.array_equal(method.complete(Image.open(image), Image.open(hole)), Image.open(tmp_path / "own.png"))
    with pytest.raises(ValueError, match="Telea takes no words: leave out --prompt"):
        inpaint(["--method", "Telea", *given[2:], str(tmp_path / "telea.png"), "--prompt", "a cat"])


def test_the_page_asks_for_a_prompt_where_a_method_takes_one(source: str, tmp_path: Path):
    path = write_recipe(tmp_path / "tiny.yaml", source=source, steps=1)
    assert offered([f"Tiny={path}"], "cpu") == ({"Tiny": str(path)}, True)
    labels, prompted = offered(None, "cpu")
    assert "DiffusersInpaint" not in labels and not prompted

    class Pipe:
        def send(self, message: Any) -> None:
            pass

    image, hole = write_photo(tmp_path)
    method, found = load_method(path), []
    for prompt in ("", "a dog", ""):
        files = str(image), str(hole), None, str(tmp_path)
        task = Task(*files, {"Tiny": str(path)}, prompt=prompt)
        (message,) = completions(task, "Tiny", method, Pipe())  # type: ignore[arg-type]
        assert "known pixels moved by" in message["said"]
        found.append(Path(message["file"]).read_bytes())
    assert found[0] == found[2] != found[1]
    task = Task(str(image), str(hole), None, str(tmp_path), {"Telea": "Telea"}, prompt="a dog")
    (message,) = completions(task, "Telea", load_method("Telea"), Pipe())  # type: ignore[arg-type]
    assert message["said"].endswith("prompt ignored")


# ---- the page ------------------------------------------------------------------------------------------------------


def test_the_page_of_diffusion_says_what_methods_prints():
    page = (ROOT / "docs" / "diffusion.md").read_text()
    rows = {row["name"]: row for row in describe()}
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    named = [cells for cells in table if cells[0] in rows]
    assert {cells[0] for cells in named} >= {"DDPM", "Palette", "DiffusersInpaint"}
    for name, here, reads, writes in named:
        (head, *_), row = [*list_all([rows[name]], 200)], rows[name]
        assert head.split(maxsplit=2)[2] == here, name
        assert reads == ", ".join([*row["imports"], *row["sources"]]) and writes == ", ".join(row["exports"]), name
    takers = {name: cells[1] for cells in table if len(cells) == 2 for name in re.findall(r"\w+", cells[0])}
    for name in samplers.__all__:
        cls = getattr(samplers, name)
        if isinstance(cls, type) and issubclass(cls, samplers.Sampler) and cls is not samplers.Sampler:
            assert takers[name].startswith("Palette" if issubclass(cls, samplers.Refinement) else "DDPM"), name
    assert set(re.findall(r"`(diffusers/\w+\.yaml)`", page)) == {
        f"diffusers/{p.name}" for p in INSTALLED.glob("diffusers/*")
    }
    named_classes = [word for word in ("PowerPaint", "BrushNet") if f"| {word} | not loadable" in page]
    diffusers = pytest.importorskip("diffusers")
    assert named_classes and not [n for n in dir(diffusers) if any(word in n for word in named_classes)]
