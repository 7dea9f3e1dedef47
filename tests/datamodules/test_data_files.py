"""Files, lists and names of a data set: special files are rejected, names stay below the root."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules import EvaluationSet
from datamodules.files import Files
from datamodules.reading import UnreadableImageError, read_image
from masks import CenterRectangle
from masks.regular import open_regular, read_text, refuse_irregular

# ---- special files -------------------------------------------------------------------------------------------------


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _links(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


IRREGULAR: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (os.mkfifo, "named pipe"),
    "a link to /dev/zero": (lambda path: path.symlink_to("/dev/zero"), "device"),
    "a socket": (_socket, "socket"),
    "an endless chain of links": (_links, "levels of symbolic links"),
    "a folder": (Path.mkdir, "a folder, not a file"),
    "a sparse terabyte": (_huge, "at most"),
    "nothing": (lambda path: None, "no such file"),
}


@pytest.mark.parametrize("what", IRREGULAR)
def test_what_is_no_regular_file_is_refused_by_name_before_a_byte_is_read(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)  # the name of a socket has at most 107 bytes
    path = Path("photo.png")
    make, said = IRREGULAR[what]
    make(path)
    for read in (read_image, read_text):
        caught: list[BaseException] = []

        def attempt(read: Callable[[Path], object] = read, caught: list[BaseException] = caught) -> None:
            try:
                read(path)
            except BaseException as error:
                caught.append(error)

        reader = threading.Thread(target=attempt, daemon=True)  # a reader that waits for a pipe cannot be interrupted
        reader.start()
        reader.join(20)
        assert not reader.is_alive(), f"{read.__name__} waits for {what}"
        assert isinstance(caught[0], ValueError) and "photo.png: " in str(caught[0]) and said in str(caught[0])
    with pytest.raises(UnreadableImageError):  # so that a training may skip it
        read_image(path)


def test_a_file_that_becomes_a_pipe_after_it_was_looked_at_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "photo.png"
    os.mkfifo(path)
    monkeypatch.setattr("masks.regular.refuse_irregular", lambda *_: None)
    with pytest.raises(ValueError, match=r"photo\.png"):
        open_regular(path)


def test_regular_files_open_through_links_and_texts_come_as_editors_save_them(tmp_path: Path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a.txt").write_bytes("größe\r\n".encode(encoding))
        (tmp_path / "link.txt").unlink(missing_ok=True)
        (tmp_path / "link.txt").symlink_to("a.txt")
        assert read_text(tmp_path / "link.txt") == "größe\r\n"
    refuse_irregular(tmp_path / "link.txt")
    (tmp_path / "a.txt").write_bytes("größe".encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"a\.txt: is not text"):
        read_text(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"gr\xf6\xdfe")
    assert read_text(tmp_path / "a.txt") == os.fsdecode(b"gr\xf6\xdfe")


def test_an_evaluation_set_with_a_pipe_in_it_ends_with_its_name(tmp_path: Path):
    os.mkfifo(tmp_path / "photo.png")
    images = EvaluationSet(Files(tmp_path, ["photo.png"]), CenterRectangle(), 32)
    for use in (images.fingerprint, lambda: images[0]):
        with pytest.raises(ValueError, match=r"photo\.png: is a named pipe"):
            use()
