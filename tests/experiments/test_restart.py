"""A command that is killed anywhere, started again as it was, ends with what it would have written without the kill."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from datamodules import celebahq
from masks.files import write_mask
from tests.support.pictures import hole, photo
from tests.support.protocols import records, without_cost, write_protocol
from tests.support.restarts import ended, trial

FOLDER = ["inpaint", "--method", "Telea", "--image", "in", "--mask", "m.png", "--out", "out"]
PREDICT = ["predict", "--model", "Telea", "--data", "SamplePhotos", "--data.init_args.mask", "CenterRectangle"]
QUICK = ["--trainer.limit_predict_batches", "2", "--data.init_args.num_workers", "0"]
COMMANDS = {
    "inpaint": [*FOLDER, "--samples", "2"],
    "benchmark": ["benchmark", "try.yaml", "--images", "in", "--methods", "Telea", "--out", "out"],
    "protocol export": ["protocol", "export", "try.yaml", "--images", "in", "--out", "out"],
    "protocol score": ["protocol", "score", "kit", "--outputs", "X=kit/erased", "--out", "out"],
    "predict": [*PREDICT, "--data.init_args.image_size", "64", *QUICK],
    "compare": ["compare", "runs", "--out", "out/page.html"],
    "masks write": ["masks", "write", "Wide", "--out", "out", "--count", "2", "--size", "32"],
    "masks measure": ["masks", "measure", "masks", "--lists", "out"],
    "prepare": ["prepare", "CelebAHQ", "--root", "faces", "--out", "out"],
}
KILLS = {
    "inpaint": 10,
    "benchmark": 10,
    "protocol export": 1,
    "protocol score": 10,
    "predict": 6,
    "compare": 4,
    "masks write": 1,
    "masks measure": 3,
    "prepare": 3,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for number in range(2):
        (folder / "in").mkdir(exist_ok=True)
        photo(number, (64, 64)).save(folder / f"in/{number}.png")
        (folder / "masks").mkdir(exist_ok=True)
        write_mask(hole((64, 64)) * np.uint8(number), folder / f"masks/{number}.png")
    write_mask(hole((64, 64)), folder / "m.png")
    write_protocol(folder, metrics=["psnr"])
    (folder / "faces").mkdir()
    for number in range(3):
        photo(number).save(folder / f"faces/{number}.jpg")
    (folder / "faces" / celebahq.MAPPING).write_text("0 0 000001.jpg\n1 1 182637.jpg\n2 2 202599.jpg\n")
    argv = ["benchmark", "try.yaml", "--images", "in", "--methods", "Telea", "--out", "runs"]
    export = ["protocol", "export", "try.yaml", "--images", "in", "--out", "kit"]
    for command in (argv, export):
        assert ended(folder, command) == 0, (folder / "log.txt").read_text()[-2000:]
    return folder


def written(folder: Path) -> dict[str, object]:
    """All that a command leaves, less journals and what it cost."""
    out = folder / ("predictions" if (folder / "predictions").exists() else "out")
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.glob("**/*")) if path.is_file()}
    own = ("records/", "journal/", ".lit-inpaint/", "try")  # a benchmark's table shows seconds per image
    return without_cost(records(out)) | {name: content for name, content in files.items() if not name.startswith(own)}


SLOW = ("benchmark", "protocol export", "protocol score", "predict", "prepare")


@pytest.mark.parametrize("command", [pytest.param(c, marks=[pytest.mark.slow] * (c in SLOW)) for c in COMMANDS])
def test_a_command_killed_before_any_write_and_started_again_writes_the_same(
    command: str, inputs: Path, tmp_path: Path
):
    argv, whole = COMMANDS[command], None
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        if not trial(inputs, folder, argv, at):
            whole = written(folder)
            break
        assert ended(folder, argv) == 0, f"killed at {at}: {(folder / 'log.txt').read_text()[-2000:]}"
    assert whole and at > KILLS[command], f"{at - 1} kills"
    for killed in range(1, at):
        found = written(tmp_path / str(killed))
        differ = [name for name in {*whole, *found} if whole.get(name) != found.get(name)]
        assert not [name for name in differ if not name.rpartition("/")[2].startswith(".")], (killed, differ)


def test_what_a_user_puts_into_the_folder_of_a_killed_inpaint_is_refused_and_left_alone(inputs: Path, tmp_path: Path):
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        killed = trial(inputs, folder, FOLDER, at)
        missing = [path for path in (folder / "out/0.png", folder / "out/1.png") if not path.exists()]
        if not killed:
            assert not missing and at > 7
            return
        if not missing:
            continue
        missing[0].parent.mkdir(exist_ok=True)
        photo(7, (64, 64)).save(missing[0])
        before = missing[0].read_bytes()
        assert ended(folder, FOLDER) == 2, f"killed at {at}"
        assert f"{missing[0].relative_to(folder)} exists" in (folder / "log.txt").read_text()
        assert missing[0].read_bytes() == before
