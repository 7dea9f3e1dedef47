"""`make reliability`: end runs at random moments, damage their files at random places, resume, and compare.

    python tests/reliability.py [--sections journals kills ...] [--count N] [--seed 0]

journals  10 of each kind (benchmark, inpaint, sweep, vote, metrics.csv) torn at the end, in the middle, or with NULs
headers   6 kills while metrics.csv is rewritten for a new column
bits      20 bits flipped in a checkpoint: noticed and the file named, or nothing is changed
starts    2 double starts of one run, at once and later: the second is refused
places    a run renamed, copied, and used again with another root
signals   20 times a second signal in the middle of the save that the first one asked for
kills     20 kill -9 each of a GAN, PartialConv and DDPM, in turn with 0, 2 and 4 workers and as two processes

What "resumes" means: SHA-256 of weights, averages and optimiser states, all curves and, after kills, the samples of
every step are those of an uninterrupted run. One line per trial; exit code 1 if one of them fails.
"""

import argparse
import contextlib
import io
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pytest  # noqa: E402

from lit_inpaint.callbacks.signals import SIGNALS  # noqa: E402
from tests.support import runs, torn  # noqa: E402
from tests.support.killing import EVERY, POINTS, STEPS, Kill  # noqa: E402

SETTINGS = ((0, 1), (2, 1), (4, 1), (0, 2))  # workers, ranks
PLACES = (
    "a_saved_config_names_no_folder_so_another_root_and_a_rename_take_it_along",
    "a_config_of_version_0_1_0_with_its_folder_in_it_resumes_after_a_rename",
    "a_new_fit_in_a_folder_that_holds_a_run_takes_the_next_free_name",
    "two_fits_in_one_process_are_two_wandb_runs_and_a_copy_gets_its_own",
)


class Trial(NamedTuple):
    """``check`` gets an empty folder, returns a summary, and raises on failure."""

    group: str
    title: str
    check: Callable[[Path], str]


def passes(test: str) -> Callable[[Path], str]:
    def check(folder: Path) -> str:
        options = ["-q", "-p", "no:cacheprovider", "--no-header", f"--basetemp={folder}/pytest"]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            code = pytest.main([*options, str(ROOT / "tests" / test)])
        assert code == 0, said.getvalue()[-2000:]
        return "passes"

    return check


# ---- the sections: the random draws are made first, so that a seed is one set of trials ------------------------------


def journals(rng: random.Random, count: int) -> list[Trial]:
    def trial(kind: str, damage: str, seed: int) -> Trial:
        check = torn.KINDS[kind]
        return Trial(f"journals of {kind}", damage, lambda folder: check(folder, damage, random.Random(seed)))

    return [trial(kind, torn.DAMAGES[n % 3], rng.randrange(10**6)) for kind in torn.KINDS for n in range(count)]


def headers(rng: random.Random, count: int) -> list[Trial]:
    test = "experiments/test_torn_journals.py::test_no_row_is_lost_by_a_kill_while_the_header_is_rewritten"
    return [Trial("headers", f"kill {n}", passes(f"{test}[{n % 6}]")) for n in range(count)]


def bits(rng: random.Random, count: int) -> list[Trial]:
    shares = [rng.random() for _ in range(count)]
    return [Trial("bits", f"at {s:.4%}", lambda folder, share=s: runs.flipped_bit(folder, share)) for s in shares]


def starts(rng: random.Random, count: int) -> list[Trial]:
    later = passes("experiments/test_run.py::test_the_second_start_of_a_run_is_refused_and_a_killed_one_holds_no_lock")
    at_once = [Trial("starts", "two at once", runs.double_start) for _ in range(count - 1)]
    return [*at_once, Trial("starts", "one later, and one after a kill", later)]


def places(rng: random.Random, count: int) -> list[Trial]:
    return [
        Trial("places", name.replace("_", " "), passes(f"experiments/test_run.py::test_{name}"))
        for name in PLACES[:count]
    ]


def signals(rng: random.Random, count: int) -> list[Trial]:
    def trial(number: int) -> Trial:
        first, second = rng.sample(SIGNALS, 2)
        step, wait, workers = rng.randrange(1, 6), round(1.2 * rng.random(), 2), 2 * (number % 2)
        title = f"{first.name}, {second.name} {wait} s into the save of step {step}, {workers} workers"
        return Trial("signals", title, lambda folder: runs.double_signal(folder, first, second, step, wait, workers))

    return [trial(number) for number in range(count)]


def kills(rng: random.Random, count: int) -> list[Trial]:
    def trial(name: str, number: int) -> Trial:
        workers, ranks = SETTINGS[number % len(SETTINGS)]
        point = POINTS[(number + number // len(SETTINGS)) % len(POINTS)]
        steps = {  # batches, or which of the seven files is being written
            "in a write": range(1, 8), "after a write": range(1, 8), "in validation": range(EVERY, STEPS, EVERY),
            "last batch": (4, 8), "epoch end": (4, 8),
        }  # fmt: skip
        kill = Kill(point, rng.choice(steps.get(point, range(1, STEPS + 1))), round(rng.random(), 3))

        title = f"{point} {kill.step}, {workers} workers, {ranks} process(es)"
        return Trial(f"kills of {name}", title, lambda folder: runs.killed(folder, name, kill, workers, ranks))

    return [trial(name, number) for number in range(count) for name in runs.METHODS]


SECTIONS = {  # trials, and seconds each on a quiet core, for the time left
    journals: (10, 0.5), headers: (6, 2), bits: (20, 0.1), starts: (2, 8), places: (4, 10),
    signals: (20, 10), kills: (20, 9),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {section.__name__: section for section in SECTIONS}
    parser.add_argument("--sections", nargs="+", choices=names, default=list(names))
    parser.add_argument("--count", type=int, help="trials of each kind, in place of those above")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen = [names[name] for name in given.sections]
    todo = [(s, t) for s in chosen for t in s(random.Random(given.seed), given.count or SECTIONS[s][0])]
    costs = [SECTIONS[section][1] for section, _ in todo]
    root, begun, passed = Path(tempfile.mkdtemp()), time.monotonic(), []
    for number, (_, trial) in enumerate(todo):
        (folder := root / str(number)).mkdir()
        try:
            said = trial.check(folder)
            passed.append(trial)
            shutil.rmtree(folder)
        except (Exception, SystemExit) as error:
            why = " ".join("".join(traceback.format_exception_only(error)).split())
            said = f"FAILED ({folder}): {why[:400]}"
        took = time.monotonic() - begun
        left = took * sum(costs[number + 1 :]) / sum(costs[: number + 1])
        print(f"{number + 1}/{len(todo)} {trial.group}, {trial.title}: {said} ({left:.0f} s left)", flush=True)
        group = [t for _, t in todo if t.group == trial.group]
        if group[-1] is trial:
            print(f"== {trial.group}: {sum(t in passed for t in group)} of {len(group)}", flush=True)
    print(f"{len(passed)} of {len(todo)} in {time.monotonic() - begun:.0f} s")
    if len(passed) == len(todo):
        shutil.rmtree(root)
    return 0 if len(passed) == len(todo) else 1


if __name__ == "__main__":
    sys.exit(main())
