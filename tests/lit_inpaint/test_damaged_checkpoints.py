"""A damaged, foreign or newer checkpoint is named in one line on every way by which one is loaded."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import cli
from experiments.train.from_checkpoint import load_weights
from experiments.weights.imports import check, read_plain
from lit_inpaint import checkpoints as checkpoint_io
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.checkpoints import check_bits
from lit_inpaint.load import hyper_parameters, load_method, read_checkpoint
from lit_inpaint.methods import PartialConv
from lit_inpaint.methods.dsi.stages import load_vqvae
from lit_inpaint.methods.ict.palette import read_palette
from tests.support.runs import flipped

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden_partial_conv.ckpt"
WAYS: dict[str, Callable[[Path], Any]] = {
    "resume, test": lambda path: AtomicCheckpointIO().load_checkpoint(path),
    "command line": read_checkpoint,
    "benchmark, inpaint, app": load_method,
    "init_from": lambda path: load_weights(PartialConv(levels=2, width=2, perceptual_weight=0, style_weight=0), path),
    "import-weights": read_plain,
    "DSI's VQ-VAE": lambda path: load_vqvae(torch.nn.Identity(), path),
    "ICT's palette": read_palette,
}


def line(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main(list(argv))
    (said,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("lit-inpaint:")]
    assert end.value.code == 2
    return said


@pytest.mark.parametrize("way", WAYS)
def test_a_flipped_bit_in_a_tensor_is_noticed_and_the_file_named(way: str, tmp_path: Path):
    tensor = read_checkpoint(GOLDEN)["state_dict"]["generator.decoder.1.conv.weight"]
    content = GOLDEN.read_bytes()
    place = content.index(tensor.numpy().tobytes())
    path = tmp_path / "x.ckpt"
    path.write_bytes(flipped(content, 8 * place + 22))
    with pytest.raises(ValueError, match=rf"{path} is damaged \(the checksum of .*/data/\d+ does not match\)"):
        WAYS[way](path)


def test_wherever_a_bit_flips_it_is_noticed_or_changes_nothing(tmp_path: Path):
    content, whole = GOLDEN.read_bytes(), str(AtomicCheckpointIO().load_checkpoint(GOLDEN))
    rng, noticed = random.Random(20), 0
    for number in range(60):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(flipped(content, rng.randrange(8 * len(content))))
        try:
            assert str(AtomicCheckpointIO().load_checkpoint(path)) == whole
        except ValueError as error:
            assert str(path) in str(error)
            noticed += 1
    assert noticed >= 30  # the others lie between the members, or in dates and attributes that nobody reads


def test_resuming_from_a_damaged_checkpoint_names_it_and_the_whole_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    content, folder = GOLDEN.read_bytes(), tmp_path / "checkpoints"
    folder.mkdir()
    for name, step in (("step=9", 9), ("step=12", 12), ("step=100", 100)):
        torch.save(torch.load(GOLDEN, weights_only=True) | {"global_step": step}, folder / f"{name}.ckpt")
    (folder / "step=100.ckpt").write_bytes((folder / "step=100.ckpt").read_bytes()[:-500])  # cut off
    for damaged in (flipped(content, 8 * (len(content) // 2)), content[:5000], b""):
        (folder / "last.ckpt").write_bytes(damaged)
        for flag in ("--ckpt_path", "--init_from"):
            small = ["--model", "PartialConv", "--model.init_args.levels", "2", "--model.init_args.perceptual_weight=0"]
            data = ["--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle"]
            root = ["--trainer.default_root_dir", str(tmp_path / "run")]
            said = line(
                capsys, "fit", *(small if flag == "--init_from" else []), *data, *root, flag, f"{folder}/last.ckpt"
            )
            assert f"{folder / 'last.ckpt'} is damaged" in said, said
            assert said.endswith(f"Intact checkpoints in {folder}: step=12.ckpt (step 12), step=9.ckpt (step 9).")
    assert not (tmp_path / "run").exists()


def test_checksums_are_read_once_a_process_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, read = tmp_path / "x.ckpt", []
    torch.save({"value": 1}, path)
    testzip = checkpoint_io.zipfile.ZipFile.testzip
    monkeypatch.setattr(checkpoint_io.zipfile.ZipFile, "testzip", lambda file: (read.append(1), testzip(file))[1])
    for _ in range(3):
        assert AtomicCheckpointIO().load_checkpoint(path) == {"value": 1}
    assert len(read) == 1
    torch.save({"value": 1, "another": 2}, path)
    assert check_bits(path) and len(read) == 2


def test_a_format_without_checksums_is_said(tmp_path: Path):
    path = tmp_path / "released.pth"
    torch.save({"weight": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.warns(UserWarning, match=r"released\.pth has a format without checksums"):
        assert torch.equal(read_plain(path)["weight"], torch.ones(2))


def test_a_newer_checkpoint_is_named_as_newer(tmp_path: Path):
    path = tmp_path / "x.ckpt"
    torch.save(torch.load(GOLDEN, weights_only=True) | {"format": 2}, path)
    for load in (read_checkpoint, load_method, AtomicCheckpointIO().load_checkpoint):
        with pytest.raises(ValueError, match=r"x\.ckpt has format 2, of a newer lit-inpaint; this one reads 1"):
            load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"state_dict": {}, "ema": {}}, {"state_dict": {"generator.x": 1}}, {"state_dict": 3},
        {"hyper_parameters": {"levels": "x"}},
        {"hyper_parameters": {"levls": 2}}, {"hyper_parameters": {2: 2}}, {"hyper_parameters": None}, {"ema": 7},
        {"ema": {"generator": {"x": None}}}, {"method": ["PartialConv"]}, {"method": "Unknown"}, {"format": "newest"},
        {"accumulated": None, "state_dict": {"a": torch.ones(1)}}, {"hyper_parameters": {"width": -1}},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_one_line_with_its_name(
    change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "x.ckpt"
    torch.save(torch.load(GOLDEN, weights_only=True) | change, path)
    if change == {"format": "newest"}:
        load_method(path)  # a word is nothing that this version compares
        return
    assert str(path) in line(capsys, "export", str(path), "--format", "safetensors")


def test_a_network_that_completes_is_never_filled_with_random_weights(monkeypatch: pytest.MonkeyPatch):
    """Whatever is averaged: a file without half of an autoencoder made a checkpoint with the other half at random."""
    whole = torch.load(GOLDEN, weights_only=True)
    rest = {name: value for name, value in whole["state_dict"].items() if not name.startswith("generator.decoder")}
    given = {"state_dict": rest, "hyper_parameters": hyper_parameters(whole)}
    assert len(rest) < len(whole["state_dict"])
    monkeypatch.setattr(PartialConv, "averaged", ("generator.encoder",))
    with pytest.raises(ValueError, match=r"x.pth .*generator.decoder"):
        check(PartialConv, given, Path("x.pth"))


@pytest.mark.parametrize(
    "content",
    [{}, [1, 2], 7, {"a": 1}, {1: torch.ones(2)}, {"generator": torch.ones(2)}, {"state_dict": None},
     {"generator": {"a": {"b": 1}}}, {"stage1.conv1.conv.weight": torch.ones(1)}, "text", None],
    ids=str,
)  # fmt: skip
def test_what_import_weights_cannot_use_is_one_line_with_the_files_name(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "released.pth"
    torch.save(content, path)
    for method in ("DeepFillV2", "DeepFillV1", "LaMa", "AOTGAN", "MIGAN", "DDPM", "ICT", "GLCIC", "PartialConv"):
        assert str(path) in line(capsys, "import-weights", method, str(path), "--out", str(tmp_path / "x.ckpt"))
