"""Pipelines of diffusers as a method: four families as tiny random ones, drawn by seed, pasted, described, refused."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lit_inpaint.calls import counted
from lit_inpaint.classical import UnfillableError
from lit_inpaint.load import load_method
from lit_inpaint.method import parameter_counts
from lit_inpaint.methods import DiffusersInpaint
from lit_inpaint.methods.diffusers_inpaint import loading
from lit_inpaint.prompts import Prompts, Words
from tests.support import tiny_pipelines

needs_extra = pytest.mark.skipif(
    not all(map(loading.find_spec, ("diffusers", "transformers"))), reason="needs diffusers and transformers"
)
pytestmark = pytest.mark.xdist_group("diffusers")  # imported once
NAMES = ["a.png", "b.png"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The folder of a family's pipeline."""
    folder, made = tmp_path_factory.mktemp("pipelines"), dict[str, str]()

    def write(family: str, **changes: Any) -> str:
        name = f"{family}{changes or ''}"
        if name not in made:
            made[name] = str(tiny_pipelines.write(family, folder / str(len(made)), **changes))
        return made[name]

    return write


def two(height: int = 40, width: int = 50) -> tuple[Tensor, Tensor]:
    """Two images of 8 bits, and holes off the centre."""
    rng = torch.Generator().manual_seed(5)
    image = torch.randint(0, 256, (2, 3, height, width), generator=rng) / 127.5 - 1
    mask = torch.zeros(2, 1, height, width)
    mask[0, :, 8:24, 10:30] = mask[1, :, 16:30, 20:44] = 1
    return image, mask


def small(source: str, **arguments: Any) -> DiffusersInpaint:
    return DiffusersInpaint(**({"source": source, "steps": 2, "strength": 1.0, "prompt": "a cat"} | arguments)).eval()


@torch.no_grad()
def completed(method: DiffusersInpaint, seed: int = 0, names: list[str] = NAMES) -> Tensor:
    return method(*two(), **method.draws(seed, names))


# ---- four families -------------------------------------------------------------------------------------------------


@needs_extra
@pytest.mark.parametrize(
    ("family", "changes", "multiple"),
    [
        ("stable_diffusion", {}, 8),
        ("flux_fill", {}, 16),
        pytest.param("stable_diffusion", {"channels": 4}, 8, marks=pytest.mark.slow),
        pytest.param("sdxl", {}, 8, marks=pytest.mark.slow),
        pytest.param("sd3", {}, 16, marks=pytest.mark.slow),
    ],
)
def test_a_family_fills_by_seed_whatever_the_batch_size_and_known_pixels_come_back(
    written: Callable[..., str], family: str, changes: dict[str, int], multiple: int
):
    method, (image, mask) = small(written(family, **changes)), two()
    method.moved = []
    with counted(method) as calls:
        both = completed(method)
    assert calls.count == 2 * 2  # two steps for each of two images
    known = (mask == 0).expand_as(image)
    assert torch.equal(both[known], image[known]) and (both[~known] - image[~known]).abs().mean() > 0.1
    (moved,) = method.moved
    assert moved.shape == (2,) and moved.min() > 1  # a random decoder moves every pixel
    with torch.no_grad():
        for i, name in enumerate(NAMES):
            alone = method(image[i : i + 1], mask[i : i + 1], **method.draws(0, [name]))
            assert torch.equal(alone[0], both[i])
    assert torch.equal(both, completed(method)) and not torch.equal(both, completed(method, seed=1))
    assert not torch.equal(both[0], completed(method, names=["c.png", "b.png"])[0])
    assert method.multiple == multiple and {"vae", "text_encoder", "denoiser"} <= parameter_counts(method).keys()


@needs_extra
def test_what_moved_is_the_difference_of_the_pipelines_own_picture(written: Callable[..., str]):
    method, (image, mask) = small(written("stable_diffusion")), two(40, 48)
    method.moved = []
    with torch.no_grad():
        method(image, mask, **method.draws(0, NAMES))
        raw = method.predict(image, mask, **method.draws(0, NAMES))
    for i in range(2):
        known = (mask[i] == 0).expand_as(image[i])
        expected = 127.5 * (raw[i] - image[i])[known].double().abs().mean()
        torch.testing.assert_close(method.moved[0][i].double(), expected, rtol=1e-5, atol=0)


# ---- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_extra
def test_every_argument_reaches_the_pipeline(written: Callable[..., str]):
    source = written("stable_diffusion")
    plain = completed(small(source))
    changed: dict[str, Any] = {
        "prompt": "a dog",
        "negative_prompt": "grass",
        "steps": 3,
        "strength": 0.6,
        "guidance_scale": 2.0,
        "size": 64,
        "dtype": "bfloat16",
        "arguments": {"eta": 1.0},
    }
    for argument, value in changed.items():
        method = small(source, **{argument: value})
        assert not torch.equal(completed(method), plain), argument
        stated = json.dumps(method.facts())
        assert json.dumps(value).strip("{}") in stated, (argument, stated)
    facts = small(source, steps=None, strength=None).facts()
    assert facts["call"] == {
        "prompt": "a cat", "negative_prompt": None, "num_inference_steps": 50, "strength": 1.0, "guidance_scale": 7.5,
        "eta": 0.0,
    }  # fmt: skip
    assert facts["scheduler"] == "DDIMScheduler" and facts["libraries"].keys() == {"diffusers", "transformers"}


@needs_extra
def test_a_prompt_per_image_is_that_of_the_table_by_name(written: Callable[..., str], tmp_path: Path):
    table = tmp_path / "prompts.csv"
    table.write_text('image,prompt\na.png,"a cat"\nsub/b.png,a dog\n')
    source = written("stable_diffusion")
    method = small(source, prompt="", prompts=str(table))
    both, cat, dog = completed(method), completed(small(source)), completed(small(source, prompt="a dog"))
    assert torch.equal(both[0], cat[0]) and torch.equal(both[1], dog[1]) and not torch.equal(cat[1], dog[1])
    method.asked = "a dog"  # of whoever uses it
    assert torch.equal(completed(method), dog)
    cropped = small(source, prompt="", prompts=str(table), size=32)  # by way of windows or resized images
    assert torch.equal(completed(cropped)[0], completed(small(source, size=32))[0])
    with pytest.raises(ValueError, match=r"prompts.csv: has no row for the image c.png"):
        completed(method.__class__(source=source, prompts=str(table)), names=["a.png", "c.png"])
    assert DiffusersInpaint.content(source=source, prompts=str(table)).keys() == {"source", "prompts"}


@needs_extra
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pipeline": "FluxFilPipeline"}, r"'FluxFilPipeline', which is no pipeline.*Did you mean 'FluxFillPipeline'"),
        ({"pipeline": "StableDiffusionPipeline"}, "takes no mask_image: it fills no holes"),
        ({"pipeline": "KandinskyV22InpaintCombinedPipeline"}, "downloads further pipelines"),
        ({"arguments": {"guidance": 2}}, "the argument guidance is not taken.*Did you mean 'guidance_scale'"),
        ({"arguments": {"generator": 0}}, "the argument generator is set for each image"),
        ({"size": 60}, "size is 60; StableDiffusionInpaintPipeline takes multiples of 8"),
        ({"source": "nowhere"}, "nowhere is not the folder of a pipeline: it holds no model_index.json"),
    ],
)
def test_what_cannot_be_is_refused(written: Callable[..., str], arguments: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        small(**({"source": written("stable_diffusion")} | arguments))


@needs_extra
def test_a_negative_prompt_is_refused_by_a_pipeline_that_would_not_see_it(written: Callable[..., str]):
    with pytest.raises(ValueError, match="negative_prompt is not taken by FluxFillPipeline"):
        small(written("flux_fill"), negative_prompt="grass")


# ---- a class of one's own, and what a folder may not do ------------------------------------------------------------


@needs_extra
def test_a_pipeline_of_ones_own_is_found_by_its_import_path(
    written: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own_pipeline.py").write_text(
        "from diffusers import StableDiffusionInpaintPipeline\n"
        "class Own(StableDiffusionInpaintPipeline):\n"
        "    multiple = 24\n"
        "    def __call__(self, prompt='', image=None, mask_image=None, generator=None, shade=0, **given):\n"
        "        made = super().__call__(prompt, image, mask_image, generator=generator, **given)\n"
        "        made.images = [made.images[0].point(lambda level: shade)]\n"
        "        made.nsfw_content_detected = [shade == 13]\n"
        "        return made\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own = {"pipeline": "own_pipeline.Own", "strength": None, "steps": None}
    method = small(written("stable_diffusion"), arguments={"shade": 51}, **own)
    image, mask = two()
    filled = completed(method)
    assert method.multiple == 24 and method.facts()["pipeline"] == "own_pipeline.Own"
    assert torch.equal(filled, torch.where(mask == 1, torch.tensor(51 / 127.5 - 1), image))
    with pytest.raises(UnfillableError, match="own safety checker has blackened it"):
        completed(small(written("stable_diffusion"), arguments={"shade": 13}, **own))


@needs_extra
def test_a_safety_checker_is_not_loaded(written: Callable[..., str], tmp_path: Path):
    folder = Path(shutil.copytree(written("stable_diffusion"), tmp_path / "x"))
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}
    (folder / "model_index.json").write_text(json.dumps(index))  # there are no weights of it, which nobody asks for
    assert small(str(folder)).pipeline.safety_checker is None


def test_no_library_is_imported_because_an_index_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("diffusers")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap.py").write_text("raise SystemExit('it ran')")
    for library in ("trap", "os", "diffusers.pipelines.trap", "../trap"):
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "X", "unet": [library, "system"]}))
        with pytest.raises(ValueError, match=r"its unet is of the library .* --import"):
            loading.read_index(tmp_path)
    assert "trap" not in sys.modules
    assert loading.read_index(tmp_path, own={"../trap"})["_class_name"] == "X"  # named by the user


@needs_extra
@pytest.mark.parametrize("content", ["", "[]", "{" * 9999])
def test_an_index_that_is_none_is_refused_in_one_line(content: str, tmp_path: Path):
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(ValueError, match="is not the index of a pipeline") as error:
        small(str(tmp_path))
    assert "\n" not in str(error.value)


@needs_extra
def test_code_beside_the_index_is_never_run(written: Callable[..., str], tmp_path: Path):
    folder = Path(shutil.copytree(written("stable_diffusion"), tmp_path / "x"))
    (folder / "pipeline.py").write_text("raise SystemExit('it ran')")
    assert small(str(folder)).multiple == 8
    index = json.loads((folder / "model_index.json").read_text()) | {"_class_name": ["pipeline", "Own"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    for pipeline in (None, "StableDiffusionInpaintPipeline"):
        with pytest.raises(
            ValueError, match=r"names code that lies beside it, \['pipeline', 'Own'\], and such code is"
        ):
            small(str(folder), pipeline=pipeline)


@needs_extra
def test_pickles_and_files_without_some_weights_are_refused(written: Callable[..., str], tmp_path: Path):
    folder = Path(shutil.copytree(written("stable_diffusion"), tmp_path / "x"))
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_in.bias"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights of StableDiffusionInpaintPipeline.*conv_in.bias"):
        small(str(folder))
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(ValueError, match=r"holds diffusion_pytorch_model.bin and no safetensors: pickles"):
        small(str(folder))


# ---- without the extra ---------------------------------------------------------------------------------------------


def test_without_the_extra_one_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for absent in ("diffusers", "transformers"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, absent, None)
            with pytest.raises(ValueError, match=r"^pipelines need .*pip install 'lit-inpaint\[diffusers\]'.$"):
                DiffusersInpaint(source=str(tmp_path))


def test_by_its_name_alone_it_says_what_it_needs():
    with pytest.raises(ValueError, match="DiffusersInpaint needs the argument source: give a YAML"):
        load_method("DiffusersInpaint")
    assert DiffusersInpaint().draws(3, ["a"])["words"] == [Words("", None)]


# ---- prompts in a table --------------------------------------------------------------------------------------------


def test_prompts_are_found_by_every_way_to_name_an_image(tmp_path: Path):
    table = tmp_path / "prompts.tsv"
    table.write_bytes(
        "﻿split\timage\tprompt\tnegative_prompt\r\ntest\tsub/a.jpg\ta cat, asleep\tgrass\r\n\r\n\tb-2\t\t\r\n".encode()
    )
    prompts = Prompts(table)
    cat = Words("a cat, asleep", "grass")
    assert [prompts.of(n) for n in ("sub/a.jpg", "sub/a", "a.jpg", "a", "sub/a-1.jpg", "a@512,0")] == [cat] * 6
    assert prompts.of("b-2.png") == prompts.of("b-2-1.png") == Words("", "")
    for name in ("c", "b", "a-b.jpg"):
        with pytest.raises(ValueError, match=f"has no row for the image {name}"):
            prompts.of(name)


def test_rows_of_one_name_that_differ_are_told_apart_by_their_folder(tmp_path: Path):
    table = tmp_path / "prompts.csv"
    table.write_text("image,prompt\nx/a.jpg,a cat\ny/a.jpg,a dog\nz/b.jpg,a cow\nw/b.jpg,a cow\n")
    prompts = Prompts(table)
    assert prompts.of("y/a.jpg").prompt == "a dog" and prompts.of("b").prompt == "a cow"
    with pytest.raises(ValueError, match="2 rows for a differ"):
        prompts.of("a")
