"""Protocols and configurations one can see, masks that a protocol names, and variables in the paths of YAMLs."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from experiments.catalogue import configs
from experiments.catalogue.masks import recipe_of
from experiments.evaluate import protocols
from experiments.evaluate.protocol import load_protocols
from experiments.files.find import INSTALLED
from experiments.sweep.space import read_sweep
from experiments.train.cli import main as fit
from tests.support.protocols import write_protocol

SPELLINGS = ["$LIT_TEST/x", "${LIT_TEST}/x", "${oc.env:LIT_TEST}/x", "${oc.env:LIT_UNSET,%s}/x", "~/x"]


@pytest.fixture
def home(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photographs and masks in x/, which every one of the spellings names."""
    shutil.copytree(photos, tmp_path / "home" / "x" / "photos")
    assert protocols.main(["export", "quickstart", "--limit", "2", "--out", str(tmp_path / "kit")]) == 0
    shutil.copytree(tmp_path / "kit" / "masks", tmp_path / "home" / "x" / "masks")
    monkeypatch.setenv("LIT_TEST", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def spelled(spelling: str, home: Path) -> str:
    return spelling % home if "%s" in spelling else spelling


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_yaml_takes_every_spelling_of_a_variable_in_its_paths(home: Path, tmp_path: Path, spelling: str):
    place = spelled(spelling, home)
    mask = {"class_path": "masks.MaskFolder", "init_args": {"root": f"{place}/masks", "white": "hole"}}
    images = {"class_path": "datamodules.ImageFolder", "init_args": {"root": f"{place}/photos"}}
    (found,) = load_protocols(write_protocol(tmp_path, mask=mask, data=images))
    assert Path(found.images.files.root) == home / "x" / "photos"
    assert getattr(found.images.mask, "root", "") == str(home / "x" / "masks")
    (tmp_path / "mask.yaml").write_text(yaml.safe_dump(mask))
    assert recipe_of("mask.yaml")["mask"]["init_args"]["root"] == str(home / "x" / "masks")
    (found,) = load_protocols(write_protocol(tmp_path, mask="mask.yaml"), home / "x" / "photos")
    assert getattr(found.images.mask, "root", "") == str(home / "x" / "masks")
    sweep = {
        "method": "grid",
        "program": "fit",
        "metric": {"name": "val/psnr", "goal": "maximize"},
        "parameters": {"data.init_args.root": {"values": [f"{place}/photos"]}},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    assert str(home / "x" / "photos") in repr(read_sweep(tmp_path / "sweep.yaml"))


@pytest.mark.parametrize("spelling", ["$LIT_TEST/x", "${oc.env:LIT_TEST}/x", "~/x"])
def test_fit_resolves_variables_of_a_data_yaml_and_the_run_keeps_them(home: Path, tmp_path: Path, spelling: str):
    mask = {"class_path": "masks.MaskFolder", "init_args": {"root": f"{spelling}/masks", "white": "hole"}}
    arguments = {"root": f"{spelling}/photos", "image_size": 64, "batch_size": 2, "num_workers": 0, "mask": mask}
    (tmp_path / "data.yaml").write_text(
        yaml.safe_dump({"class_path": "datamodules.ImageFolder", "init_args": arguments})
    )
    sizes = [
        "--model.width=8",
        "--model.discriminator_width=8",
        "--trainer.max_steps=1",
        "--trainer.limit_val_batches=1",
    ]
    run = tmp_path / "run"
    words = ["fit", "--model", "DeepFillV2", "--data", "data.yaml", *sizes, f"--trainer.default_root_dir={run}"]
    assert not fit([*words, "--trainer.accelerator=cpu", "--trainer.logger=false"])
    saved = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]
    variable = "HOME" if spelling.startswith("~") else "LIT_TEST"
    assert saved["root"] == f"${{oc.env:{variable}}}/x/photos"
    assert saved["mask"]["init_args"]["root"] == f"${{oc.env:{variable}}}/x/masks"


def test_a_variable_that_is_not_set_is_named_with_its_file(tmp_path: Path, photos: Path):
    mask = {"class_path": "masks.MaskFolder", "init_args": {"root": "$LIT_UNSET/masks", "white": "hole"}}
    images = {"class_path": "datamodules.ImageFolder", "init_args": {"root": "$LIT_UNSET/photos"}}
    with pytest.raises(ValueError, match=r"try\.yaml needs the environment variable LIT_UNSET .* give --images FOLDER"):
        load_protocols(write_protocol(tmp_path, data=images))
    assert load_protocols(write_protocol(tmp_path, data=images), photos), "not needed with --images"
    with pytest.raises(ValueError, match=r"try\.yaml needs the environment variable LIT_UNSET"):
        load_protocols(write_protocol(tmp_path, mask=mask), photos)
    (tmp_path / "mask.yaml").write_text(yaml.safe_dump(mask))
    with pytest.raises(ValueError, match=r"mask\.yaml needs the environment variable LIT_UNSET"):
        recipe_of(str(tmp_path / "mask.yaml"))


def test_masks_may_be_named_one_by_one_or_all_together(photos: Path, tmp_path: Path):
    (tmp_path / "own.yaml").write_text("class_path: masks.Half\n")
    named = write_protocol(
        tmp_path, masks={"own": "own.yaml", "thick": "lama_thick_256", "here": {"class_path": "Half"}}
    )
    laws = {protocol.name: repr(protocol.images.mask) for protocol in load_protocols(named, photos)}
    assert laws["try-own"] == laws["try-here"] == "Half()" and laws["try-thick"].startswith("LaMaThick")
    files = sorted((INSTALLED / "protocols").glob("nvidia_buckets_*.yaml"))
    drawn = [[repr(p.images.mask) for p in load_protocols(path, photos, limit=1)] for path in files]
    assert len(files) == 4 and all(laws == drawn[0] for laws in drawn) and len(set(drawn[0])) == 12
    for path in files:
        assert "AreaBounded" not in path.read_text()
    with pytest.raises(ValueError, match="published has no mask 'wode'"):
        load_protocols(write_protocol(tmp_path, masks={"wide": "repaint_wide"}, published={"wode": []}), photos)
    for one in ("Half", {"class_path": "Half"}):
        with pytest.raises(ValueError, match="masks is one mask, Half; say mask"):
            load_protocols(write_protocol(tmp_path, masks=one), photos)
    with pytest.raises(ValueError, match="no configuration 'lama_thik'"):
        load_protocols(write_protocol(tmp_path, mask="lama_thik"), photos)


def test_a_class_of_data_or_masks_may_be_named_without_its_path(tmp_path: Path):
    named = write_protocol(tmp_path, data="SamplePhotos", split="val", limit=2, mask="Half")
    spelled = {"data": {"class_path": "datamodules.SamplePhotos"}, "mask": {"class_path": "masks.Half"}}
    (one,), (other,) = load_protocols(named), load_protocols(write_protocol(tmp_path, split="val", limit=2, **spelled))
    assert one.hash == other.hash
    for wrong in (["SamplePhotos"], {"init_args": {}}, 3):
        with pytest.raises(ValueError, match=r"data is .*; expected class_path and init_args, or the name of a class"):
            load_protocols(write_protocol(tmp_path, data=wrong, mask="Half"))


def test_published_rows_under_the_name_of_a_mask_stay_with_it(photos: Path):
    found = {p.name: p.published for p in load_protocols("nvidia_buckets_places512", photos, limit=1)}
    own = [row.metrics.get("psnr") for row in found["nvidia_buckets_places512-area_01_10"]]
    assert own == [
        34.79,
        None,
        35.505,
        35.807,
    ]
    assert not found["nvidia_buckets_places512-area_01_10_inset"]


def test_every_protocol_is_listed_and_shown(photos: Path, capsys: pytest.CaptureFixture[str]):
    assert protocols.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(p.stem for p in (INSTALLED / "protocols").glob("*.yaml"))
    assert any(re.fullmatch(r"repaint +256 px +6 masks +RePaint's six .*", line) for line in lines)
    assert protocols.main(["show", "repaint_celebahq256"]) == 0
    shown = capsys.readouterr().out
    assert "mask_seed: 0" in shown and "mask expand: {class_path: masks.Expand" in shown
    assert "published: RePaint {lpips_alex: 0.435}" in shown
    assert "hash: depends on the images. " in shown
    assert protocols.main(["show", "center_hole", "--images", str(photos), "--limit", "2"]) == 0
    (found,) = load_protocols("center_hole", photos, limit=2)
    shown = capsys.readouterr().out
    assert f"  hash {found.hash} for 2 images of {photos}\n" in shown and "limit: 2\n" in shown
    assert protocols.main(["show", "quickstart", "--images", str(photos)]) == 0
    shown = capsys.readouterr().out
    assert "centre hole 28x28. Measured on the folder given as --images.\n" in shown
    assert "DrawnFaces" not in shown and "split:" not in shown, "they are not what is measured"
    assert protocols.main(["show", "quickstart", "--limit", "6"]) == 0
    shown = capsys.readouterr().out
    assert "limit: 6\n" in shown and " for 6 images\n" in shown and "DrawnFaces" in shown
    assert protocols.main(["show", "center_hole"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("center_hole.yaml") == shown.count("Centre hole of half the side") == 1


def test_a_limit_that_is_null_and_no_about_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = write_protocol(tmp_path, data="DrawnFaces", mask="Half", limit=None)
    assert protocols.main(["show", str(path), "--limit", "2"]) == 0
    shown = capsys.readouterr().out
    assert "limit: 2\n" in shown and " for 2 images\n" in shown and "about: ''" not in shown


def test_every_configuration_is_listed_and_shown(capsys: pytest.CaptureFixture[str]):
    assert configs.main(["list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert set(names) == {p.relative_to(INSTALLED).with_suffix("").as_posix() for p in INSTALLED.rglob("*.yaml")}
    assert configs.main(["list", "lama"]) == 0
    assert all(line.startswith("lama/") for line in capsys.readouterr().out.splitlines())
    assert configs.main(["show", "lama/places2"]) == 0
    assert (INSTALLED / "lama" / "places2.yaml").read_text() in capsys.readouterr().out
    with pytest.raises(ValueError, match="there are no built-in configurations in 'lamo'"):
        configs.main(["list", "lamo"])
