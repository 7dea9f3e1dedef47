"""`make reliability`: kill -9 at random points of training, go on, and compare with a run that never stopped.

    python tests/reliability.py [--kills 20] [--seed 0] [--methods DeepFillV2 PartialConv DDPM]

Every method is killed ``--kills`` times, in turn with 0, 2 and 4 workers and as two processes (DDP, gloo). One line a
kill; what is compared: SHA-256 of weights, averages and optimiser states, the samples of every step, all curves.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import killing  # noqa: E402
from killing import EVERY, POINTS, STEPS, Kill  # noqa: E402
from test_kill import model  # noqa: E402

SETTINGS = ((0, 1), (2, 1), (4, 1), (0, 2))  # workers, ranks


def draw(rng: random.Random, point: str) -> Kill:
    """A random place of this kind: a batch, or which of the seven files is being written."""
    steps = {
        "in a write": range(1, 8), "after a write": range(1, 8), "in validation": range(EVERY, STEPS, EVERY),
        "last batch": (4, 8), "epoch end": (4, 8),
    }  # fmt: skip
    return Kill(point, rng.choice(steps.get(point, range(1, STEPS + 1))), round(rng.random(), 3))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each method")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", default=["DeepFillV2", "PartialConv", "DDPM"])
    given = parser.parse_args()
    rng, begun, failed = random.Random(given.seed), time.monotonic(), 0
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.methods:
            equal, seen = 0, dict.fromkeys(POINTS, 0)
            for number in range(given.kills):
                workers, ranks = SETTINGS[number % len(SETTINGS)]
                folder = Path(temporary) / f"{name}-{workers}-{ranks}"
                config = killing.settings(model(name), workers, ranks)
                if not folder.exists() and killing.run(folder / "whole", config, ranks=ranks) != [0] * ranks:
                    sys.exit(f"{name} does not train: {(folder / 'whole/log-0-0.txt').read_text()[-2000:]}")
                kill = draw(rng, POINTS[(number + number // len(SETTINGS)) % len(POINTS)])
                at = killing.killed_and_resumed(folder / str(number), config, kill, ranks)
                found = killing.differences(folder / str(number), folder / "whole", ranks)
                equal, seen[kill.point] = equal + (not found), seen[kill.point] + 1
                said = "equal" if not found else f"DIFFERENT: {found[0][:200]}"
                print(
                    f"{name:12} {workers} workers, {ranks} process(es), {kill.point} {kill.step}, on from {at}: {said}",
                    flush=True,
                )
            failed += given.kills - equal
            kinds = ", ".join(f"{count} {point}" for point, count in seen.items())
            print(f"{name}: {equal} of {given.kills} equal ({kinds})", flush=True)
    print(f"{time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
