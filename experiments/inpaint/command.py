"""``lit-inpaint inpaint``: fill the holes in the user's files, at any size. Resumes when interrupted."""

import argparse
import os
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from datamodules.bands import reading_settings
from datamodules.reading import read_image
from experiments.files.find import find_method
from experiments.inpaint import options
from experiments.inpaint.holes import files_of, guides_of, hole_of, law_of
from experiments.inpaint.large import refuse_too_large
from experiments.inpaint.original import conversions, kept
from experiments.inpaint.output import SUFFIXES, check_format, is_lossless, suffix_of, write
from experiments.inpaint.pairing import Pair, find_pairs, refuse_outside, shown
from experiments.inpaint.staging import inputs_of, place, refuse_existing, row_of, staged, staging
from experiments.run.journal import Journal, Row, content_of, settings_of
from lit_inpaint import hub
from lit_inpaint.classes import known_guides, method_classes
from lit_inpaint.classical import UnfillableError
from lit_inpaint.load import load_method
from lit_inpaint.method import Method, moved_by
from lit_inpaint.options import show_messages
from lit_inpaint.pictures import grey
from lit_inpaint.sampling import choose
from lit_inpaint.windows import complete_pixels, windows_of
from lit_inpaint.workers import workers
from masks.generator import keyed_rng
from masks.size import sides

MAY_CHANGE = (
    "image",
    "mask",
    "out",
    "device",
    "workers",
    "overwrite",
)  # the rows say which files they are of


def main(argv: list[str]) -> int:
    a, known = _parsed(argv)
    a.device = a.device or ("cuda" if torch.cuda.is_available() else "cpu")
    for name, least in (("samples", 1), ("workers", 1), ("tile", 64), ("dilate", 0)):
        value = getattr(a, name)
        if value < least and not (name == "tile" and value == 0):
            raise ValueError(f"--{name} is {value}; expected at least {least}{', or 0' if name == 'tile' else ''}.")
    check_format(a)
    if (a.mask is None) == (a.mask_law is None):
        raise ValueError("give --mask, a file or folder, or --mask-law, by which masks are drawn; one of the two.")
    if a.mask_law is not None:
        a.mask_law = law_of(a.mask_law, a.out)
        keyed_rng(a.seed, "mask")  # refuses a negative seed
    guides = {name: path for name in known if (path := getattr(a, name))}
    pairs = find_pairs(a.image, a.mask, a.out, a.samples, guides, a.pairing, suffix_of(a), bool(a.mask_alpha))
    many = not (len(pairs) == 1 and pairs[0].outputs[0].parent == a.out.parent and a.out.suffix.lower() in SUFFIXES)
    a.method = find_method(a.method)
    if at := hub.address(a.method):
        a.method = str(hub.pinned(at))  # workers and a resumed run use the same commit
    # As the files are before they are read: what changes meanwhile counts as another.
    content = {"method": content_of(a.method), **files_of(a.mask_law)} if many else {}
    run = Run(a, a.out if many else a.out.parent, (*MAY_CHANGE, *known), content)
    method = _loaded(a)
    for name in guides:
        if name not in method.guided_by:
            takers = ", ".join(label for label, cls in method_classes().items() if name in cls.guides)
            given = f"{type(method).__name__} ({a.method})"
            raise ValueError(f"{given} takes no {name}; {takers} does: {known[name]}.")
    if not many:
        return _one(method, pairs[0], run)
    return _all(method, pairs, run)


def _loaded(a: argparse.Namespace) -> Method:
    """
    Raises:
        ValueError: There is no such method or sampler, or it takes no words or does not sample.
    """
    method = load_method(a.method, a.weights, a.device)
    if a.prompt is not None and not method.prompted:
        raise ValueError(f"{type(method).__name__} takes no words: leave out --prompt.")
    method.asked = a.prompt
    if a.sampler:
        choose(method, a.sampler)
    return method


def _parsed(argv: list[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    """The arguments, and the guides that could be among them. Only whoever asks for one waits until all methods, which
    say what they take, are imported."""
    if not {"-h", "--help"} & {*argv}:
        with suppress(ValueError):
            return options.inpaint().parse_args(argv), {}
    known = known_guides()
    return options.inpaint(known).parse_args(argv), known


@dataclass
class Run:
    """The arguments of a call, its output folder, and the content of files that they name, by which the journal
    identifies a run."""

    arguments: argparse.Namespace
    out: Path
    may_change: tuple[str, ...]
    content: dict[str, str]

    @property
    def journal_folder(self) -> Path:
        return self.out / ".lit-inpaint"

    def identity(self) -> dict[str, Any]:
        return settings_of(self.arguments, self.may_change) | self.content


@dataclass
class Done:
    """Result of one image: a line, whether it failed, and the files from which it was filled."""

    pair: Pair
    said: str
    failed: bool = False
    inputs: Row | None = None


def _one(method: Method, pair: Pair, run: Run) -> int:
    refuse_existing([pair], run.arguments.overwrite)
    with staging([pair]):
        try:
            done = fill_file(method, pair, run)
        except UnfillableError as error:
            raise ValueError(f"{shown(pair.image)}: {error.reason}") from error
        refuse_existing([pair], run.arguments.overwrite)  # files created meanwhile
        place(pair)
    _tell(done)
    return 0


def _all(method: Method, pairs: list[Pair], run: Run) -> int:
    journal = Journal(run)
    left = [pair for pair in pairs if journal.rows.get(pair.name) != row_of(pair)]
    refuse_existing(left, run.arguments.overwrite, journal.rows)
    failed = 0
    with journal.writing(), staging(left), closing(_results(method, left, run)) as results:
        for done in results:
            done = done if done.failed else _kept(done, journal, run.arguments.overwrite)
            failed += done.failed
            _tell(done)
    before = f", {len(pairs) - len(left)} of them earlier" if len(left) < len(pairs) else ""
    said = f"{len(pairs) - failed} of {len(pairs)} images filled{before}, in {shown(run.out)}"
    print(said + (f"; {failed} failed, see above" if failed else ""))
    return 1 if failed else 0


def _tell(done: Done) -> None:
    print(f"lit-inpaint: {done.said}" if done.failed else done.said, file=sys.stderr if done.failed else sys.stdout)


def _kept(done: Done, journal: Journal, overwrite: bool) -> Done:
    """Journal an image, then let its outputs take their names."""
    try:
        refuse_existing([done.pair], overwrite, journal.rows)  # files created meanwhile
    except ValueError as error:
        return Done(done.pair, str(error), failed=True)
    journal.append([row_of(done.pair, done.inputs)])
    try:
        place(done.pair)
    except OSError as error:
        return Done(done.pair, f"{shown(done.pair.image)}: {type(error).__name__}: {error}", failed=True)
    return done


# ---- one image after the other, here or in several processes -------------------------------------------------------


def _results(method: Method, pairs: Sequence[Pair], run: Run) -> Generator[Done, None, None]:
    a = run.arguments
    if a.workers == 1 or len(pairs) < 2:
        yield from (_attempt(method, pair, run) for pair in pairs)
        return
    del method  # the workers have their own
    waiting, queue = iter(pairs), set[Future[Done]]()
    with workers(a.workers, _start_worker, run) as pool:
        try:
            while True:
                for pair in waiting:
                    queue.add(pool.submit(_attempt_in_worker, pair))
                    if len(queue) >= 4 * a.workers:
                        break
                if not queue:
                    return
                finished = wait(queue, return_when=FIRST_COMPLETED).done
                for future in finished:
                    queue.remove(future)
                    yield future.result()
        except BrokenProcessPool:
            raise ValueError(
                "a worker was killed, most likely for want of memory; start again with fewer --workers or a smaller "
                "--tile, and what is done is kept."
            ) from None


_worker: tuple[Method, Run]


def _start_worker(run: Run) -> None:
    global _worker
    show_messages()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // run.arguments.workers))
    _worker = _loaded(run.arguments), run


def _attempt_in_worker(pair: Pair) -> Done:
    return _attempt(_worker[0], pair, _worker[1])


def _attempt(method: Method, pair: Pair, run: Run) -> Done:
    """Report an error as a line about this image, and continue with the next."""
    if pair.problem:
        return Done(pair, pair.problem, failed=True)
    try:
        inputs = inputs_of(pair)  # as they are before they are read
        return replace(fill_file(method, pair, run), inputs=inputs)
    except UnfillableError as error:
        reason = f"{shown(pair.image)}: {error.reason}"
    except Exception as error:
        text = " ".join(str(error).split())
        named = isinstance(error, ValueError) or shown(pair.image) in text
        reason = text if named else f"{shown(pair.image)}: {type(error).__name__}: {text}"
    return Done(pair, reason, failed=True)


def fill_file(method: Method, pair: Pair, run: Run) -> Done:
    """Complete one file, stage its outputs, and describe what was done."""
    a = run.arguments
    for target in pair.outputs:
        refuse_outside(target, run.out)
    pixels = read_image(pair.image, **reading_settings(a.bands, a.white_level))
    hole, guides = hole_of(pair, pixels, a), guides_of(pair, pixels, a)
    share = float(hole.mean())
    if share > 0.6 and pair.mask is not None:
        other = "known" if a.mask_white == "hole" else "hole"
        print(
            f"lit-inpaint: warning: the hole covers {share:.0%} of {shown(pair.image.name)}; if that is the part to "
            f"keep, pass --mask-white {other}.",
            file=sys.stderr,
        )
    given = pixels if method.channels == 3 else grey(pixels, type(method).__name__, str(shown(pair.image)))
    memory = refuse_too_large(method, hole, a.tile) if share else None
    method.moved = [] if method.moves_known else None
    options, left_out = kept(pair.image, given.shape, a.format)
    for number, target in enumerate(pair.outputs):
        result = (
            complete_pixels(method, given, hole, pair.image.stem, number, a.seed, a.tile, guides) if share else given
        )
        write(result, run.out, staged(target).relative_to(run.out).as_posix(), a, options)
    windows = windows_of(method, hole, a.tile)
    cropped = [hole[top:bottom, left:right] for top, left, bottom, right in (window.box for window in windows)]
    dark = a.white_level is None and int(pixels.max()) < 128
    how = [
        *(said := conversions(pair.image, a.bands, "grey" if method.channels == 1 else "RGB")),
        f"dark: at most {pixels.max()} of 255 (--white-level)" if dark and "16 bits" in str(said) else None,
        *left_out,
        method.adaptation(torch.from_numpy(cropped[0])) if len(windows) == 1 else None,
    ]
    how += [None if is_lossless(a) else f"{a.format.upper()} of quality {a.quality} changes known pixels slightly"]
    fixed = "x".join(map(str, reversed(sides(method.fixed_size)))) if method.fixed_size else None
    each = f", each cropped or resized to {fixed}" if fixed else ""
    how += [f"in {len(windows)} windows{each}" if len(windows) > 1 else None, memory]
    how += [moved_by(method), {"ema": "averaged weights", "raw": "raw weights", "none": None}[method.loaded_weights]]
    size = f"{shown(pair.image)} ({pixels.shape[1]}x{pixels.shape[0]})"
    done = f"filled {share:.1%} of {size} by {type(method).__name__}" if share else f"{size} has no hole: copied"
    written = ", ".join(map(shown, pair.outputs))
    return Done(pair, f"{', '.join([done, *filter(None, how)])} -> {written}")
