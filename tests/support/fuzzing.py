"""Damaged and unusual files against the real commands, in this process: what must never happen is counted.

``Arena.attempt`` runs one command in a folder of its own. A command may succeed, or refuse in words that name the
file; a traceback, a refusal without a name, a changed input and a file outside of ``out`` are problems.
"""

import contextlib
import io
import os
import shutil
import struct
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.cli import main
from experiments.inpaint.pairing import shown

SEED = int(os.environ.get("LIT_INPAINT_FUZZ_SEED", "19"))
Damage = Callable[[bytes, np.random.Generator], bytes]


@dataclass
class Outcome:
    """Exit code and everything that a command printed."""

    code: int
    said: str


@dataclass
class Arena:
    """Runs commands in folders of their own below ``root`` and keeps the problems."""

    root: Path
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """A fresh working folder, entered, and removed afterwards; what appears beside it is a problem."""
        before = os.getcwd()
        work = self.root / "work"
        work.mkdir(parents=True)
        os.chdir(work)
        try:
            yield work
        finally:
            os.chdir(before)
            shutil.rmtree(work)
            if beside := [path.name for path in self.root.iterdir()]:
                self.problems.append(f"written beside the working folder: {beside}")
                shutil.rmtree(self.root), self.root.mkdir()

    def attempt(
        self, what: str, argv: Sequence[str], named: Sequence[str] = (), refused: bool | None = None
    ) -> Outcome:
        """Run ``lit-inpaint *argv`` in the current folder.

        Args:
            what: For the problems' lines: which damage to which file.
            named: A refusal has one of these names in it.
            refused: True: it must not be accepted; False: it must be; None: either.
        """
        self.counts["attempts"] += 1
        before, printed = _states(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                main(list(argv))
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                code = -1
                traceback.print_exc()
        said = printed.getvalue()
        complain = lambda problem: self.problems.append(f"{what}: {problem}\n    {' '.join(said.split())[-400:]}")  # noqa: E731
        if code == -1 or "Traceback" in said:
            complain("a traceback")
        elif code and not any(shown(name) in said for name in named):
            complain(f"refused without any of {list(named)}")
        if refused is not None and refused != bool(code):
            complain("accepted" if refused else "refused")
        if changed := [path for path, state in _states().items() if before.get(path) != state]:
            complain(f"changed or written outside of out: {changed}")
        self.counts["refused" if code else "accepted"] += 1
        return Outcome(code, said)

    def verdict(self, least: int) -> None:
        """Fail with every problem, or if there were fewer than ``least`` attempts."""
        print(f"seed {SEED} (LIT_INPAINT_FUZZ_SEED): {dict(self.counts)}")
        assert self.counts["attempts"] >= least
        assert not self.problems, "\n".join([f"{len(self.problems)} problems with seed {SEED}", *self.problems[:40]])


def _states() -> dict[str, tuple[int, int]]:
    """Size and time of everything in the current folder but ``out`` and beside it."""
    found = {}
    for folder, folders, files in os.walk(".."):
        if Path(folder).name == "work":
            folders[:] = [name for name in folders if not name.startswith("out")]
        for name in files:
            status = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (status.st_size, status.st_mtime_ns)
    return found


# ---- damage to bytes -------------------------------------------------------------------------------------------------


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(len(content) * rng.uniform(0.02, 0.6))]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, len(changed), rng.integers(1, 20)):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def zeroed(content: bytes, rng: np.random.Generator) -> bytes:
    """A block that was never written."""
    start = int(rng.integers(0, len(content)))
    length = min(len(content) - start, int(rng.integers(1, 400)))
    return content[:start] + bytes(length) + content[start + length :]


def headless(content: bytes, rng: np.random.Generator) -> bytes:
    return bytes(8) + content[8:]


def shuffled(content: bytes, rng: np.random.Generator) -> bytes:
    """Blocks in another order."""
    size = max(1, len(content) // 8)
    blocks = [content[i : i + size] for i in range(0, len(content), size)]
    return blocks[0] + b"".join(blocks[1 + i] for i in rng.permutation(len(blocks) - 1))


def emptied(content: bytes, rng: np.random.Generator) -> bytes:
    return b""


def replaced(content: bytes, rng: np.random.Generator) -> bytes:
    kinds = (
        b"<html>not found</html>\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        b"\0" * 4096,
    )
    return [*kinds, rng.bytes(int(rng.integers(1, 4096)))][int(rng.integers(len(kinds) + 1))]


DAMAGES: dict[str, Damage] = {
    f.__name__: f for f in (truncated, flipped, zeroed, headless, shuffled, emptied, replaced)
}
FATAL = ("truncated", "emptied", "replaced")  # damages after which nothing may be accepted


# ---- pictures --------------------------------------------------------------------------------------------------------

SIZE = (40, 32)


def photo(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth colours, (H, W, 3): a JPEG of them is near to them."""
    y, x = np.mgrid[: size[1], : size[0]]
    waves = [127 + 100 * np.sin((x * (k + 1) + y * (3 - k) + 10 * seed) / 20) for k in range(3)]
    return np.stack(waves, -1).round().astype(np.uint8)


def hole(size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = 1
    return mask


def encoded(pixels: np.ndarray, kind: str, mode: str | None = None, **options: object) -> bytes:
    content = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(content, kind, **options)
    return content.getvalue()


def with_header(png: bytes, **changes: int) -> bytes:
    """A PNG that claims another width, height, bits or colour, its checksum right."""
    names = ("width", "height", "bits", "colour", "compression", "filter", "interlace")
    header = dict(zip(names, struct.unpack(">IIBBBBB", png[16:29]), strict=True)) | changes
    data = b"IHDR" + struct.pack(">IIBBBBB", *header.values())
    return png[:12] + data + struct.pack(">I", zlib.crc32(data)) + png[33:]
