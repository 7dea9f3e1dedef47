"""Outputs of another program: exported, completed outside, scored; what is wrong with a folder is counted and named."""

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from experiments import cli
from experiments.compare.command import main as compare
from experiments.evaluate import protocols
from experiments.evaluate.outputs import assign
from experiments.records.record import Record
from tests.support.house import ROOT
from tests.support.protocols import records, run, write_protocol

OUTSIDE = """
import sys, cv2, glob, os
kit, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
for path in glob.glob(f"{kit}/erased/*.png"):
    name = os.path.basename(path)
    mask = cv2.imread(f"{kit}/masks/{name}", cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(f"{out}/{name}", cv2.inpaint(cv2.imread(path), mask, 3, cv2.INPAINT_TELEA))
"""


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("madf_celeba", "madf_psv", "repaint_face_b")]


def protocol(*arguments: object) -> int:
    return protocols.main([str(a) for a in arguments])


def values(record: Record) -> dict[str, dict[str, float | None]]:
    return {name: metric.values for name, metric in record.metrics.items()}


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A protocol (try.yaml), its kit, and what a script with cv2 alone made of it."""
    folder = tmp_path_factory.mktemp("made")
    path = write_protocol(folder)
    assert protocol("export", path, "--images", photos, "--out", folder / "kit") == 0
    command = [sys.executable, "-I", "-c", OUTSIDE, str(folder / "kit"), str(folder / "telea")]
    subprocess.run(command, check=True, timeout=120)
    return folder


@pytest.fixture
def outputs(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made / "telea", tmp_path / "telea"))


def reason(made: Path, outputs: Path, tmp_path: Path, *flags: str) -> str:
    """Why the kit refuses a folder."""
    assert protocol("score", made / "kit", "--outputs", f"X={outputs}", "--out", tmp_path / "scored", *flags) == 1
    (record,) = records(tmp_path / "scored").values()
    assert record.not_applicable and not record.metrics
    return record.not_applicable


def test_telea_made_outside_has_the_values_of_telea_to_the_last_bit(made: Path, photos: Path, tmp_path: Path):
    folder = f"Outside=outputs:{made / 'telea'}"
    arguments = [made / "try.yaml", "--images", photos, "--out", tmp_path / "out", "--methods", "Telea", folder]
    assert run(*arguments) == 0
    assert protocol("score", made / "kit", "--outputs", f"Outside={made / 'telea'}", "--out", tmp_path / "kit") == 0
    found = {Path(key).name: record for key, record in records(tmp_path / "out").items()}
    (alone,) = records(tmp_path / "kit").values()
    assert values(found["Outside"]) == values(found["Telea"]) and len(found["Telea"].hole_share) == 8
    assert alone == found["Outside"], "the kit alone gives the same record"
    assert alone.seconds_per_image is None and alone.method.parameters is None and alone.peak_memory_bytes is None
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (made / "telea").iterdir()}
    assert alone.method.outputs == hashes
    table = next((tmp_path / "out").glob("*.md")).read_text()
    assert "| Outside (outputs, not run here) |" in table and "| Telea |" in table
    assert compare([str(tmp_path / "out"), "--out", str(tmp_path / "page.html")]) == 0
    assert "outputs, not run here" in (tmp_path / "page.html").read_text()


def test_masks_may_be_written_white_for_known(made: Path, photos: Path, tmp_path: Path):
    arguments = [made / "try.yaml", "--images", photos, "--out", tmp_path / "kit", "--mask-white", "known"]
    assert protocol("export", *arguments) == 0
    for path in (made / "kit" / "masks").iterdir():
        assert (cv2.imread(str(path), 0) == 255 - cv2.imread(str(tmp_path / "kit" / "masks" / path.name), 0)).all()
    assert protocol("score", tmp_path / "kit", "--outputs", f"X={made / 'telea'}") == 0
    assert len(records(tmp_path / "kit" / "scores")) == 1


def test_outputs_of_16_bits_are_refused_in_colour_as_in_grey(made: Path, outputs: Path, tmp_path: Path):
    deep = cv2.imread(str(outputs / "photo1.png")).astype(np.uint16) * 257
    assert cv2.imwrite(str(outputs / "photo1.png"), deep) and cv2.imwrite(str(outputs / "photo2.png"), deep[..., 0])
    said = reason(made, outputs, tmp_path)
    assert "2 no PNG of 8 bits in RGB or grey: photo1.png (PNG, RGB of 16 bits), photo2.png (PNG, I" in said


def test_each_thing_that_is_wrong_with_a_folder_is_counted_and_named(made: Path, outputs: Path, tmp_path: Path):
    hole = cv2.imread(str(made / "kit" / "masks" / "photo1.png"), 0) > 0
    pixels = np.array(Image.open(outputs / "photo1.png"))
    row, column = np.argwhere(~hole)[7]
    pixels[row, column, 1] ^= 3
    Image.fromarray(pixels).save(outputs / "photo1.png")
    (outputs / "photo0.png").unlink()
    Image.open(outputs / "photo2.png").save(outputs / "photo2.jpg")
    (outputs / "photo2.png").unlink()
    Image.open(outputs / "photo3.png").save(outputs / "photo3.png", format="JPEG")
    Image.open(outputs / "photo4.png").resize((128, 128)).save(outputs / "photo4.png")
    Image.open(outputs / "photo5.png").crop((0, 0, 64, 60)).save(outputs / "photo5.png")
    Image.open(outputs / "photo6.png").convert("RGBA").save(outputs / "photo6.png")
    (outputs / "photo7.png").write_bytes((outputs / "photo7.png").read_bytes()[:900])
    shutil.copy(outputs / "photo1.png", outputs / "another.png")
    said = reason(made, outputs, tmp_path)
    assert "8 outputs for 8 images" in said
    assert "1 missing: photo0.png" in said
    assert "1 extra, belonging to no image: another.png" in said
    assert "2 JPEG-compressed: photo2.jpg (save PNGs), photo3.png (save PNGs)" in said
    assert "photo4.png (128x128, not 64x64, resized), photo5.png (64x60, not 64x64)" in said
    assert "1 no PNG of 8 bits in RGB or grey: photo6.png (PNG, RGBA)" in said
    assert "1 unreadable: photo7.png" in said
    known = int((~hole).sum())
    assert f"1 with changed known pixels: photo1.png (1 of {known} known pixels, by up to" in said


def test_outputs_that_were_jpegs_on_the_way_are_told_by_their_known_pixels(made: Path, outputs: Path, tmp_path: Path):
    for path in outputs.iterdir():
        Image.open(path).save(tmp_path / "x.jpg", quality=80)
        Image.open(tmp_path / "x.jpg").save(path)
    said = reason(made, outputs, tmp_path)
    assert "8 with changed known pixels" in said and "JPEG-compressed on the way, or raw" in said


@pytest.mark.parametrize("made_as", ["composited", "raw"])
@pytest.mark.parametrize("white", ["hole", "known"])
def test_a_program_that_took_masks_the_other_way_round_is_told_by_its_untouched_holes(
    made: Path, photos: Path, tmp_path: Path, white: str, made_as: str
):
    kit, other = tmp_path / "kit", {"hole": "known", "known": "hole"}[white]
    assert protocol("export", made / "try.yaml", "--images", photos, "--out", kit, "--mask-white", white) == 0
    (tmp_path / "inverted").mkdir()
    for path in (kit / "images").iterdir():
        hole = (cv2.imread(str(kit / "masks" / path.name), 0) > 0) == (white == "hole")
        filled = cv2.inpaint(cv2.imread(str(path)), (~hole).astype(np.uint8), 3, cv2.INPAINT_TELEA)
        cv2.imwrite(str(tmp_path / "inverted" / path.name), filled)
    arguments = ["--outputs", f"X={tmp_path / 'inverted'}", "--outputs-are", made_as]
    assert protocol("score", kit, *arguments) == 1
    (record,) = records(kit / "scores").values()
    assert f"white may mean {other}: `white: {other}`" in (record.not_applicable or "")
    if made_as == "composited":  # on the way they were compressed, so that no pixel is that of the image
        for path in (tmp_path / "inverted").iterdir():
            Image.open(path).save(tmp_path / "x.jpg", quality=90)
            Image.open(tmp_path / "x.jpg").save(path)
        assert protocol("score", kit, *arguments, "--out", tmp_path / "compressed") == 1
        (record,) = records(tmp_path / "compressed").values()
        assert f"white may mean {other}" in (record.not_applicable or "")
    assert "--outputs-are raw" not in (record.not_applicable or "")


def test_raw_outputs_that_leave_a_hole_as_it_was_and_hardly_move_the_rest_are_measured(
    made: Path, photos: Path, tmp_path: Path
):
    kit = tmp_path / "kit"
    assert protocol("export", made / "try.yaml", "--images", photos, "--out", kit) == 0
    (tmp_path / "near").mkdir()
    for path in (kit / "images").iterdir():
        hole, image = cv2.imread(str(kit / "masks" / path.name), 0)[..., None] > 0, cv2.imread(str(path))
        cv2.imwrite(str(tmp_path / "near" / path.name), np.where(hole, image, image ^ 3))
    assert protocol("score", kit, "--outputs", f"X={tmp_path / 'near'}", "--outputs-are", "raw") == 0


def test_raw_outputs_are_composited_here_and_the_record_says_so(made: Path, outputs: Path, tmp_path: Path):
    for path in outputs.iterdir():
        hole = cv2.imread(str(made / "kit" / "masks" / path.name), 0)[..., None] > 0
        pixels = np.array(Image.open(path))
        Image.fromarray(np.where(hole, pixels, pixels // 2)).save(path)
    arguments = [made / "kit", "--out", tmp_path / "out", "--outputs-are", "raw"]
    assert protocol("score", *arguments, "--outputs", f"Raw={outputs}", made / "telea") == 0
    found = {Path(key).name: record for key, record in records(tmp_path / "out").items()}
    assert values(found["Raw"]) == values(found["telea"])
    assert found["Raw"].adaptation == "raw outputs, known pixels pasted back here (8 of 8 images)"


def test_a_file_that_holds_the_measured_pixels_and_no_more_is_copied(made: Path, outputs: Path, tmp_path: Path):
    grey = np.array(Image.open(made / "kit" / "images" / "photo0.png").convert("L"))
    others = Path(shutil.copytree(outputs, tmp_path / "others"))
    Image.fromarray(grey).save(others / "photo0.png")
    Image.open(outputs / "photo1.png").save(others / "photo1.png", dpi=(72, 72))
    known = cv2.imread(str(made / "kit" / "masks" / "photo2.png"), 0)[..., None] == 0
    pixels = np.array(Image.open(outputs / "photo2.png"))
    Image.fromarray(np.where(known, pixels // 2, pixels)).save(others / "photo2.png")
    arguments = [made / "kit", "--out", tmp_path / "out"]
    assert protocol("score", *arguments, "--outputs", f"Telea={outputs}") == 0
    assert protocol("score", *arguments, "--outputs", f"Raw={others}", "--outputs-are", "raw") == 0
    (images,) = (tmp_path / "out" / "images").iterdir()
    for path in sorted(outputs.iterdir()):
        assert (images / "Telea" / path.name).read_bytes() == path.read_bytes()
        if path.name != "photo0.png":
            assert np.array_equal(np.array(Image.open(images / "Raw" / path.name)), np.array(Image.open(path)))
    hole = cv2.imread(str(made / "kit" / "masks" / "photo0.png"), 0)[..., None] > 0
    truth = np.array(Image.open(made / "kit" / "images" / "photo0.png"))
    expected = np.where(hole, grey[..., None], truth)
    assert np.array_equal(np.array(Image.open(images / "Raw" / "photo0.png")), expected)
    Image.open(outputs / "photo2.png").save(outputs / "photo2.png", dpi=(72, 72))
    assert protocol("score", *arguments, "--outputs", f"Telea={outputs}") == 0
    written = Image.open(images / "Telea" / "photo2.png")
    assert not written.info and np.array_equal(np.array(written), np.array(Image.open(outputs / "photo2.png")))


def test_without_pictures_the_record_is_the_same_and_they_are_made_when_they_are_asked_for(
    made: Path, photos: Path, tmp_path: Path
):
    folder = f"Outside=outputs:{made / 'telea'}"
    arguments = [made / "try.yaml", "--images", photos, "--methods", "Telea", folder]
    assert run(*arguments, "--out", tmp_path / "with") == 0
    assert run(*arguments, "--out", tmp_path / "without", "--no-pictures") == 0
    assert not (tmp_path / "without" / "images").exists()
    own, theirs = ({key: values(r) for key, r in records(tmp_path / name).items()} for name in ("without", "with"))
    assert own == theirs and len(own) == 2
    assert compare([str(tmp_path / "without"), "--out", str(tmp_path / "page.html")]) == 0
    assert run(*arguments, "--out", tmp_path / "without") == 0
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name / "images").rglob("*.png")}
        for name in ("with", "without")
    )
    assert first == second and len(first) == 5 * 8


def test_a_protocol_that_measures_raw_outputs_takes_them_as_they_are(photos: Path, outputs: Path, tmp_path: Path):
    path = write_protocol(tmp_path, measured="raw", metrics=["psnr"])
    arguments = [path, "--images", photos, "--methods", f"X=outputs:{outputs}"]
    assert run(*arguments, "--out", tmp_path / "stated", "--outputs-are", "raw") == 0
    assert run(*arguments, "--out", tmp_path / "not") == 1
    (stated,), (refused,) = (records(tmp_path / name).values() for name in ("stated", "not"))
    assert stated.adaptation is None and stated.metrics["psnr"].n == 8
    assert refused.not_applicable and "--outputs-are raw" in refused.not_applicable


@pytest.mark.parametrize("layout", ["{name}_{sample}.png", "{sample}/{name}.png"])
def test_several_completions_per_image_give_diversity(
    photos: Path, made: Path, weights_dir: Path, tmp_path: Path, layout: str
):
    path = write_protocol(tmp_path, samples=2, metrics=["psnr", "diversity_lpips"])
    for image in sorted((made / "telea").iterdir()):
        hole = cv2.imread(str(made / "kit" / "masks" / image.name), 0)[..., None] > 0
        pixels = np.array(Image.open(image))
        for sample in range(2):
            target = tmp_path / "two" / layout.format(name=image.stem, sample=sample)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(hole, pixels // (sample + 1), pixels)).save(target)
    arguments = [path, "--images", photos, "--methods", f"Two=outputs:{tmp_path / 'two'}", f"One=outputs:{made}/telea"]
    assert run(*arguments, "--out", tmp_path / "out") == 0
    found = {Path(key).name: record for key, record in records(tmp_path / "out").items()}
    assert found["Two"].metrics["psnr"].values == found["One"].metrics["psnr"].values, "the first is measured"
    assert (found["Two"].metrics["diversity_lpips"].mean or 0) > 0
    assert found["One"].metrics["diversity_lpips"].mean is None
    (tmp_path / "two" / layout.format(name="photo3", sample=1)).unlink()
    assert run(*arguments, "--out", tmp_path / "out") == 1
    said = records(tmp_path / "out")[f"{next(iter(records(tmp_path / 'out'))).split('/')[0]}/Two"].not_applicable
    assert said and f"1 missing: {layout.format(name='photo3', sample=1)}" in said


def test_an_image_called_like_a_sample_is_not_mistaken_for_one():
    assert assign(["a.png", "a_0.png"], ["a", "a_0"]).files == {"a": ["a.png"], "a_0": ["a_0.png"]}
    two = assign(["a_0.png", "a_1.png", "a_0_0.png", "a_0_1.png"], ["a", "a_0"])
    assert two.files == {"a": ["a_0.png", "a_1.png"], "a_0": ["a_0_0.png", "a_0_1.png"]} and not two.extra
    assert assign(["b/a.png", "b/c.png"], ["b/a", "b/c"]).files == {"b/a": ["b/a.png"], "b/c": ["b/c.png"]}
    assert assign([f"a_{n}.png" for n in (0, 2, 10)], ["a"]).files == {"a": ["a_0.png", "a_2.png", "a_10.png"]}
    assert assign(["a.png", "a.jpg"], ["a"]).extra == ["a.jpg"]


def test_the_outputs_of_several_masks_lie_in_a_folder_per_mask(photos: Path, tmp_path: Path):
    masks = {"wide": {"class_path": "masks.Wide"}, "half": {"class_path": "masks.Half"}}
    path = write_protocol(tmp_path, masks=masks, metrics=["psnr"])
    assert protocol("export", path, "--images", photos, "--limit", 2, "--out", tmp_path / "kit") == 0
    for mask in masks:
        shutil.copytree(tmp_path / "kit" / f"try-{mask}" / "images", tmp_path / "mine" / f"try-{mask}")
    assert protocol("score", tmp_path / "kit", "--outputs", tmp_path / "mine", "--out", tmp_path / "out") == 0
    assert sorted(r.protocol.name for r in records(tmp_path / "out").values()) == ["try-half", "try-wide"]


def test_changed_outputs_are_scored_again(made: Path, outputs: Path, tmp_path: Path):
    arguments = [made / "kit", "--outputs", f"X={outputs}", "--out", tmp_path / "out"]
    assert protocol("score", *arguments) == 0
    (before,) = records(tmp_path / "out").values()
    shutil.copy(made / "kit" / "images" / "photo5.png", outputs / "photo5.png")
    assert protocol("score", *arguments) == 0
    (after,) = records(tmp_path / "out").values()
    old, new = before.metrics["l1_hole"].values, after.metrics["l1_hole"].values
    assert new["photo5"] == 0 and old["photo5"] and {**new, "photo5": 0.0} == {**old, "photo5": 0.0}


@pytest.mark.parametrize("victim", ["images/photo2.png", "masks/photo2.png", "hash", "definition", "name"])
def test_a_kit_that_was_changed_is_refused_by_name(made: Path, tmp_path: Path, victim: str):
    kit = shutil.copytree(made / "kit", tmp_path / "kit")
    index = json.loads((kit / "index.json").read_text())
    if victim == "hash":
        index["protocol"]["hash"] = "0" * 64
    elif victim == "definition":
        index["protocol"]["definition"]["size"] = 32
    elif victim == "name":
        index["images"]["../../photo2.png"] = index["images"].pop("photo2.png")
    else:
        Image.fromarray(255 - np.array(Image.open(kit / victim))).save(kit / victim)
        if victim.startswith("masks"):  # with an index that was changed to fit
            index["images"]["photo2.png"]["mask"] = hashlib.sha256((kit / victim).read_bytes()).hexdigest()
    (kit / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"photo2|index\.json|masks of"):
        protocol("score", kit, "--outputs", made / "telea")


def test_what_is_no_folder_or_kit_is_one_line(made: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="there is no folder"):
        run(made / "try.yaml", "--images", made, "--out", tmp_path, "--methods", f"X=outputs:{tmp_path / 'none'}")
    with pytest.raises(ValueError, match="is taken"):
        protocol("score", made / "kit", "--outputs", f"X={made / 'telea'}", f"X={made / 'kit' / 'images'}")
    with pytest.raises(ValueError, match=r"no kit: there is no index\.json"):
        protocol("score", made / "telea", "--outputs", made / "telea")
    with pytest.raises(ValueError, match="never overwritten"):
        protocol("export", made / "try.yaml", "--images", made, "--out", made / "kit")


def test_the_page_on_outputs_works_to_the_letter(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "of" / "a year").mkdir(parents=True)
    names = ("of/a year/photo1.png", "of/photo0.png", "photo0.png")
    for name in names:
        shutil.copy(photos / Path(name).name, tmp_path / "photos" / name)
    page = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(bash|python|yaml)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["bash", "python", "bash", "bash", "yaml", "bash"]
    for kind, block in blocks:
        if kind == "python":
            subprocess.run([sys.executable, "-I", "-c", block], check=True, timeout=120)
        if kind == "yaml":
            Path("sent.yaml").write_text(block)
            for theirs, ours in {"images": "kit/images", "masks": "kit/masks", "results": "telea"}.items():
                shutil.copytree(ours, f"sent/{theirs}")
        for line in block.splitlines() if kind == "bash" else []:
            with pytest.raises(SystemExit) as ended:
                cli.main(shlex.split(line)[1:])
            assert ended.value.code == 0, line
    listed = {f"kit/{part}/{name}" for part in ("images", "masks", "erased") for name in names} | {"kit/index.json"}
    assert all((tmp_path / file).is_file() for file in listed)
    found = {Path(key).name: record for key, record in (records(Path("scores")) | records(Path("results"))).items()}
    assert set(found) == {"Telea", "NavierStokes"} and found["Telea"].method.outputs
    sent = {record.method.label: record for record in records(Path("sent-scores")).values()}
    assert sent["Theirs"].metrics["psnr_hole"].mean == pytest.approx(found["Telea"].metrics["psnr_hole"].mean, abs=0.01)
    assert sent["Telea"].metrics["psnr_hole"].n == 3


# ---- what published programs made -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crfill_places", "repaint_face_a", *SLOW])
def test_published_outputs_have_the_numbers_of_their_manifest(
    data_dir: Path, weights_dir: Path, tmp_path: Path, name: str
):
    folder = data_dir / "published_outputs" / name
    manifest = json.loads((data_dir / "published_outputs" / "manifest.json").read_text())
    facts = next(part for part in manifest if part["name"] == name)
    mask = {"root": str(folder / "masks"), "white": facts["white"], "threshold": facts["threshold"] + 1}
    config = {
        "name": name,
        "size": facts["files"][0]["size"][0],
        "mask": {"class_path": "masks.MaskFolder", "init_args": {**mask, "pairing": "name"}},
        "metrics": ["lpips_alex", "psnr_hole"],
    }
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(config))
    raw = any(file["known_max"] for file in facts["files"])
    arguments = [tmp_path / "p.yaml", "--images", folder / "images", "--outputs-are", "raw" if raw else "composited"]
    assert run(*arguments, "--out", tmp_path / "out", "--methods", f"X=outputs:{folder / 'results'}") == 0
    (record,) = records(tmp_path / "out").values()
    assert record.metrics["lpips_alex"].mean == pytest.approx(facts["lpips_alex"], abs=1e-3)
    assert record.metrics["psnr_hole"].mean == pytest.approx(facts["psnr_hole"], abs=0.01)
    assert record.metrics["psnr_hole"].n == facts["n"]
    if raw:
        return
    spoilt = Path(shutil.copytree(folder / "results", tmp_path / "spoilt"))
    victim = sorted(spoilt.iterdir())[0]
    pixels = np.array(Image.open(victim))
    white = np.array(Image.open(folder / "masks" / victim.name).convert("L")) > facts["threshold"]
    row, column = np.argwhere(white == (facts["white"] == "known"))[0]
    pixels[row, column] ^= 1
    Image.fromarray(pixels).save(victim)
    assert run(*arguments, "--out", tmp_path / "again", "--methods", f"X=outputs:{spoilt}") == 1
    (refused,) = records(tmp_path / "again").values()
    assert f"1 with changed known pixels: {victim.name} (1 of " in (refused.not_applicable or "")
