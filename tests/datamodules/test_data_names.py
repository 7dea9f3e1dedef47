"""A list of files is read as it was meant, and nothing that is named after an image leaves its folder."""

import ast
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from datamodules import ImageFolder
from datamodules.files import Files
from experiments.cli import main
from experiments.evaluate.protocol import _without_path, load_protocols
from experiments.files.write import below, refuse_equal_keys, write_png, write_text
from lit_inpaint.labels import label_methods
from masks import CenterRectangle
from masks.atomic import whole
from masks.lists import read_list

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def call(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    return int(end.value.code or 0)


def picture(path: str, value: int = 128) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((32, 32, 3), value, np.uint8)
    pixels[::2, ::3] = 255 - value
    Image.fromarray(pixels).save(path)


def hashes(folder: str) -> dict[str, str]:
    files = (p for p in sorted(Path(folder).rglob("*")) if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def pictures(folder: str) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in Path(folder).rglob("*.png")}


def data_set(*names: str, root: str = "data") -> list[str]:
    """Arguments of the command line for an ImageFolder whose lists hold ``names``."""
    Path("lists").mkdir(exist_ok=True)
    for split in ("train", "val", "test"):
        Path(f"lists/{split}.txt").write_text("".join(f"{name}\n" for name in names))
    settings = {"root": root, "lists": "lists", "mask": "CenterRectangle", "image_size": "32", "batch_size": "2"}
    options = [(f"--data.init_args.{key}", value) for key, value in {**settings, "num_workers": "0"}.items()]
    return ["--data", "ImageFolder", *(word for option in options for word in option)]


def protocol(name: object = "own", root: str = "data", **more: object) -> str:
    config = {"name": name, "size": 32, "metrics": ["psnr"], "mask": {"class_path": "masks.CenterRectangle"}, **more}
    config.setdefault("data", {"class_path": "ImageFolder", "init_args": {"root": root, "lists": "lists"}})
    Path("own.yaml").write_text(yaml.safe_dump(config))
    return "own.yaml"


# ---- lists -----------------------------------------------------------------------------------------------------------

WRITTEN = {
    "Windows line ends": ("sub/p{i}.png\r\n", "utf-8"),
    "a byte-order mark": ("sub/p{i}.png\r\n", "utf-8-sig"),
    "PowerShell's >": ("sub\\p{i}.png\r\n", "utf-16"),
    "big-endian": ("sub/p{i}.png\n", "utf-16-be-bom"),
    "backslashes": ("sub\\p{i}.png\n", "utf-8"),
    "a class number": ("sub/p{i}.png {i}\n", "utf-8"),
    "a class number behind a tab and a backslash": ("sub\\p{i}.png\t{i}\r\n", "utf-16"),
    "a class number behind a comma": ("sub/p{i}.png,{i}\n", "utf-8"),
    "./ in front": ("./sub/p{i}.png\n", "utf-8"),
    "// and /./ within": ("sub//./p{i}.png\n", "utf-8"),
    ".. that stays inside": ("sub/../sub/p{i}.png\n", "utf-8"),
    "absolute": ("{here}/data/sub/p{i}.png\n", "utf-8"),
    "absolute, through a link to the root": ("{here}/link/sub/p{i}.png\n", "utf-8"),
    "absolute, with a class number": ("{here}/data/sub/p{i}.png {i}\r\n", "utf-8"),
    "Places2's / in front": ("/sub/p{i}.png {i}\n", "utf-8"),
    "comments": ("# of image {i}\n\nsub/p{i}.png\n", "utf-8"),
}


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("root", ["data", "link"])
def test_a_list_is_read_as_it_was_meant(how: str, root: str):
    Path("link").symlink_to("data")
    for i in range(3):
        picture(f"data/sub/p{i}.png")
    line, encoding = WRITTEN[how]
    text = "".join(line.format(i=i, here=os.getcwd()) for i in range(3))
    bom = encoding.endswith("-bom")
    Path("list.txt").write_bytes(("\ufeff" * bom + text).encode(encoding.removesuffix("-bom")))
    assert read_list("list.txt", root) == ["sub/p0.png", "sub/p1.png", "sub/p2.png"]


def test_names_of_a_windows_code_page_and_names_that_only_look_odd_are_found():
    for name in ("größe.png", "#1.png", "a\\b.png", "c.png 7"):
        picture("data/t.png")
        os.rename("data/t.png", f"data/{name}")
        encoding = "cp1252" if name[0] == "g" else "utf-8"
        Path("list.txt").write_bytes(f"{name}\r\n".encode(encoding))
        assert read_list("list.txt", "data") == [name]
    odd = os.fsdecode(b"gr\xf6.png")  # a file name of these bytes, as an old disk may hold it
    picture("data/t.png")
    os.rename("data/t.png", f"data/{odd}")
    Path("list.txt").write_bytes(b"gr\xf6.png\n")
    assert read_list("list.txt", "data") == [odd]


@pytest.mark.parametrize(
    "name", ["../out.png", "{here}/out.png", "sub/../../out.png", "/etc/passwd", "leads/../out.png"]
)
def test_what_lies_outside_the_root_is_refused_by_name(name: str):
    picture("out.png"), picture("data/sub/p0.png"), picture("elsewhere/inside/a.png")
    Path("data/leads").symlink_to("../elsewhere/inside")
    Path("list.txt").write_text(f"sub/p0.png\n{name.format(here=os.getcwd())}\n")
    with pytest.raises(ValueError, match=r"^list\.txt names .*(out\.png|passwd), which lies outside data\."):
        read_list("list.txt", "data")


def test_a_data_set_may_still_hold_links_to_files_elsewhere():
    picture("elsewhere/a.png")
    Path("data").mkdir()
    Path("data/leads").symlink_to("../elsewhere")
    for line in ("leads/a.png", f"{os.getcwd()}/data/leads/a.png"):
        data_set(line)
        data = ImageFolder("data", CenterRectangle(), lists="lists", image_size=32, num_workers=0)
        assert data.training_set()[0].name == "leads/a.png"


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_benchmark_and_predict_leave_the_originals_of_absolute_lists_alone():
    for i in range(2):
        picture(f"data/p{i}.png", 50 * i)
    before = hashes("data")
    data = data_set(*(f"{os.getcwd()}/data/p{i}.png" for i in range(2)))
    assert call("benchmark", protocol(), "--methods", "Telea", "--out", "out") == 0
    kinds = ("_truth", "_input", "_mask", "Telea")
    (folder,) = Path("out/images").iterdir()
    assert pictures(str(folder)) == {f"{kind}/p{i}.png" for kind in kinds for i in range(2)}
    assert call("predict", "--model", "Telea", *data) == 0
    assert pictures("predictions") == {"p0.png", "p1.png"} and hashes("data") == before


def test_a_list_that_leads_outside_ends_both_commands_before_anything_is_written(capsys: pytest.CaptureFixture[str]):
    picture("img/p0.png"), Path("data").mkdir()
    data = data_set("../img/p0.png")
    before = hashes(".")
    assert call("predict", "--model", "Telea", *data) == 2
    assert "p0.png, which lies outside data" in capsys.readouterr().err
    own = protocol()
    before = hashes(".")
    assert call("benchmark", own, "--methods", "Telea", "--out", "out") == 2
    assert "p0.png, which lies outside data" in capsys.readouterr().err and hashes(".") == before


def test_two_images_of_one_output_name_are_refused_before_anything_is_written(capsys: pytest.CaptureFixture[str]):
    picture("data/b.png"), picture("data/a.png"), picture("data/a.jpg", 90)
    data, own = data_set("b.png", "a.png", "a.jpg"), protocol()
    before = hashes(".")
    for command in (("predict", "--model", "Telea", *data), ("benchmark", own, "--methods", "Telea", "--out", "out")):
        assert call(*command) == 2
        assert "a.png and a.jpg would have the same name" in capsys.readouterr().err
        assert hashes(".") == before
    picture("data/a-1.png")  # as the second hole of a.png is called
    data = data_set("a.png", "a-1.png")
    assert call("predict", "--model", "Telea", *data, "--data.init_args.eval_repeats", "2") == 2
    assert "a-1.png and a-1.png would have the same name" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", ".x", "", "a\nb", "a b", 5, None, ["a"]])
def test_a_name_in_a_protocol_is_no_path(name: object):
    picture("data/a.png")
    data_set("a.png")
    with pytest.raises(ValueError, match=r"own\.yaml has the name"):
        load_protocols(protocol(name))
    if isinstance(name, str):
        masks = {"thin": {"class_path": "masks.Wide"}, name: {"class_path": "masks.Wide"}}
        Path("own.yaml").write_text(yaml.safe_dump({"name": "own", "size": 32, "metrics": ["psnr"], "masks": masks}))
        with pytest.raises(ValueError, match=r"own\.yaml has the name"):
            load_protocols("own.yaml")
    assert load_protocols(protocol("Größe-1.5_b"))[0].folder.startswith("Größe-1.5_b-")


def test_a_label_is_no_path():
    for label in ("..", "."):
        with pytest.raises(ValueError, match="is not a valid name"):
            label_methods([f"{label}=Telea"], "ema")
    with pytest.raises(ValueError, match="is neither a file nor a method"):
        label_methods(["../x/y=Telea"], "ema")


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "b/../../a.png", "..", ".", "", "leads/a.png", "b/leads/a.png"])
def test_no_picture_can_leave_its_folder(name: str):
    Path("out/b").mkdir(parents=True)
    Path("out/leads").symlink_to("..")
    Path("out/b/leads").symlink_to("../..")
    before = hashes(".")
    with pytest.raises(ValueError, match=r"is not a path below out|would lie outside out"):
        write_png(np.zeros((2, 2, 3), np.uint8), Path("out"), name)
    assert hashes(".") == before


def test_a_picture_replaces_a_link_and_not_what_the_link_leads_to():
    picture("original.png")
    Path("out").mkdir()
    Path("out/a.png").symlink_to("../original.png")
    before = hashes("original.png")
    write_png(np.zeros((2, 2), np.uint8), Path("out"), "a.png")
    assert hashes("original.png") == before and Image.open("out/a.png").size == (2, 2)
    assert below(Path("out"), "x/y.png") == Path("out/x/y.png")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it():
    write_text(Path("a.txt"), "old")
    with pytest.raises(OSError, match="full"), whole(Path("a.txt")) as part:
        part.write_text("half")
        raise OSError("the disk is full")
    with pytest.raises(ValueError, match="created meanwhile"), whole(Path("a.txt"), overwrite=False) as part:
        part.write_text("new")
    assert Path("a.txt").read_text() == "old" and os.listdir() == ["a.txt"]


def test_names_differ_for_files_that_differ():
    refuse_equal_keys(Files("", ["a.png", "b/a.png", "A.png"]).names())
    with pytest.raises(ValueError, match=r"a\.png and a\.png would"):
        refuse_equal_keys(Files("", ["a.png", "a.png"]).names())


def test_the_commands_write_pictures_in_one_place():
    """A new writer asks experiments/files/write.py, so that a name out of a data set has one way to the disk."""
    writers = set()
    for path in (ROOT / "experiments").rglob("*.py"):
        if "PIL" in (text := path.read_text()) or "cv2" in text:
            called = {node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)}
            if any(isinstance(function, ast.Attribute) and function.attr in ("save", "imwrite") for function in called):
                writers.add(path.relative_to(ROOT / "experiments").as_posix())
    into_memory = {"app/session.py", "files/markup.py"}
    assert (
        writers == {"files/write.py", "catalogue/masks.py"} | into_memory
    )  # masks show: a sheet at --out, within `whole`


def test_the_label_of_weights_in_a_file_holds_no_path_and_its_name_may_hold_an_equals_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("plainnet.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.Conv2d(3, 3, 1)\n    def forward(self, image, mask):\n        return self.a(image)\n"
    )
    file = tmp_path / "epoch=3-step=100.pth"
    torch.save(torch.nn.Module.state_dict(torch.nn.ModuleDict({"a": torch.nn.Conv2d(3, 3, 1)})), file)
    given = f"plainnet.Net:{file}"
    assert label_methods([given], "ema") == {given: "Net-epoch=3-step=100"}
    assert label_methods([f"mine={given}"], "ema") == {given: "mine"}
    file.with_suffix(".safetensors").write_bytes(b"not one")
    with pytest.raises(ValueError, match=r"epoch=3-step=100.safetensors cannot be read"):
        label_methods([f"plainnet.Net:{file.with_suffix('.safetensors')}"], "ema")


def test_no_folder_of_a_mask_set_or_its_list_stands_in_a_record():
    text = "MaskFolder(root='/srv/bob/masks', names='/srv/bob/lists/test.txt', pairing='name')"
    assert _without_path(Written(text)) == "MaskFolder(root='masks', names='test.txt', pairing='name')"
    assert _without_path(Written('MaskFolder(root="/srv/bob\'s/masks")')) == 'MaskFolder(root="masks")'


class Written:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
