"""Splits are those that the files of a folder or an archive state, and masks are in none."""

import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import ImageFolder
from masks import CenterRectangle, MaskFolder, Wide
from masks.archives import Archive
from masks.generator import MaskGenerator

PARTS = ("train", "val", "test")


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(root / name)
    return root


def packed(root: Path, kind: str) -> Path:
    """The folder, or an archive of it."""
    return root if kind == "folder" else Path(shutil.make_archive(str(root.with_name(f"all-{root.name}")), kind, root))


def data(root: Path, mask: MaskGenerator | None = None) -> ImageFolder:
    return ImageFolder(root, mask or CenterRectangle(), image_size=16, num_workers=0, batch_size=1)


def splits(root: Path, mask: MaskGenerator | None = None) -> dict[str, list[str]]:
    return {part: data(root, mask).files(part).names() for part in PARTS}  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_lists_and_folders_of_splits_are_read_in_archives_as_in_folders(tmp_path: Path, kind: str):
    names = [f"p/{i}.png" for i in range(10)]
    lists = {"train": names[:5], "val": names[5:7], "test": names[7:]}
    listed = put(tmp_path / "listed", *names)
    for part, own in lists.items():
        (listed / f"{part}.txt").write_text("\n".join(own))
    assert splits(packed(listed, kind)) == lists
    folders = put(tmp_path / "folders", *(f"{part}/{i}.png" for part in PARTS for i in range(2)))
    assert splits(packed(folders, kind)) == {part: [f"{part}/0.png", f"{part}/1.png"] for part in PARTS}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("part", PARTS)
def test_one_split_alone_is_that_split_and_the_others_are_said_to_be_missing(tmp_path: Path, part: str, kind: str):
    names = [f"p/{i}.png" for i in range(40)]
    listed = put(tmp_path / "listed", *names)
    (listed / f"{part}.txt").write_text("p/3.png\np/9.png\n")
    folder = put(tmp_path / "folder", *names, f"{part}/3.png", f"{part}/9.png")
    for root, own in ((listed, ["p/3.png", "p/9.png"]), (folder, [f"{part}/3.png", f"{part}/9.png"])):
        found = data(packed(root, kind))
        assert found.files(part).names() == own  # type: ignore[arg-type]
        for other in set(PARTS) - {part}:
            said = rf"has no list {other}\.txt, only {part}\.txt" if root == listed else f"folder {part} but no folder"
            with pytest.raises(ValueError, match=said):
                found.files(other)  # type: ignore[arg-type]
        assert found.summary()["images"] == {part: 2}


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("odd", ["Train/", "TEST/", "Val.txt"])
def test_splits_in_capitals_are_refused(tmp_path: Path, odd: str, kind: str):
    root = put(tmp_path / "root", *(f"{'Train' if odd == 'Train/' else 'p'}/{i}.png" for i in range(40)))
    if odd == "TEST/":
        put(root, "TEST/1.png")
    elif odd == "Val.txt":
        (root / odd).write_text("p/1.png")
    with pytest.raises(ValueError, match=f"has {odd}, and no split is called so. Rename it to {odd.lower()}"):
        data(packed(root, kind)).files("train")


def test_what_is_called_almost_like_a_split_is_none(tmp_path: Path):
    root = put(tmp_path / "root", *(f"trains/{i}.png" for i in range(30)), *(f"Tests/{i}.png" for i in range(10)))
    assert sum(map(len, splits(root).values())) == 40


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_shares_do_not_depend_on_the_masks(tmp_path: Path, kind: str):
    """Trained with the mask files of a folder, evaluated with drawn holes: what is tested was not trained on."""
    photos = [f"{i}.png" for i in range(40)]
    apart = packed(put(tmp_path / "apart", *photos, *(f"masks/{i}.png" for i in range(20))), kind)
    beside = packed(put(tmp_path / "beside", *photos, *(f"{i}_mask001.png" for i in range(20))), kind)
    alone = splits(packed(put(tmp_path / "alone", *photos), kind))
    for root, masks in ((apart, apart / "masks"), (beside, beside)):
        laws = (CenterRectangle(), Wide(), MaskFolder(str(masks)))
        assert all(splits(root, law) == alone for law in laws)
    with pytest.warns(UserWarning, match="20 pictures are masks only by this run's mask distribution"):
        other = put(tmp_path / "other", *photos, *(f"holes/{i}.png" for i in range(20)))
        assert splits(other, MaskFolder(str(other / "holes"))) == alone
    assert data(apart).summary()["left_out"] == data(beside).summary()["left_out"] == {"masks": 20}


def test_links_in_archives_are_followed_and_a_name_that_was_added_again_is_one_file(tmp_path: Path):
    """`tar` and `zip -y` keep links; `tar --append` and `zip.write` add a second member of a name."""
    root = put(tmp_path / "root", *(f"real/{i}.png" for i in range(6)))
    (root / "by").mkdir()
    for i in range(6):
        (root / f"by/{i}.png").symlink_to(f"../real/{i}.png")
    (root / "by/twice.png").symlink_to("0.png")
    os.link(root / "real/1.png", root / "hard.png")
    with tarfile.open(tmp_path / "a.tar", "w") as tar, zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        tar.add(root, ".")
        for path in sorted(path for path in root.rglob("*") if path.suffix):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix())
            entry.external_attr = path.lstat().st_mode << 16
            zipped.writestr(entry, os.readlink(path) if path.is_symlink() else path.read_bytes())
    folder = data(root).files("train")
    for name in ("a.tar", "a.zip"):
        files = data(tmp_path / name).files("train")
        assert files.names() == folder.names() and len(files) == 12
        assert [files.sha256(i) for i in range(12)] == [folder.sha256(i) for i in range(12)]
    changed = io.BytesIO()
    Image.new("RGB", (20, 20)).save(changed, "PNG")
    with tarfile.open(tmp_path / "a.tar", "a") as tar, zipfile.ZipFile(tmp_path / "a.zip", "a") as zipped:
        again = tarfile.TarInfo("./real/0.png")
        again.size = len(changed.getvalue())
        tar.addfile(again, io.BytesIO(changed.getvalue()))
        with pytest.warns(UserWarning, match="Duplicate name"):
            zipped.writestr("real/0.png", changed.getvalue())
        nowhere = tarfile.TarInfo("real/nowhere.png")
        nowhere.type, nowhere.linkname = tarfile.SYMTYPE, "../../x.png"
        tar.addfile(nowhere)
    for name in ("a.tar", "a.zip"):
        archive = Archive(tmp_path / name)
        assert archive.names.count("real/0.png") == 1 and archive.read("by/twice.png") == changed.getvalue()
    with pytest.raises(ValueError, match=r"a\.tar/real/nowhere\.png: a link to no file of the archive"):
        Archive(tmp_path / "a.tar").read("real/nowhere.png")
