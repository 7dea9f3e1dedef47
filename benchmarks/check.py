"""What got slower: ratios to references of the same run against those that are committed.

    python -m benchmarks.check [--public DIR] [--data DIR] [--write]

Times differ between machines, ratios to something that runs beside them much less: the share of the convolution peak,
the bare drawing calls of a mask, torchmetrics' SSIM, OpenCV + albumentations, the published programs (DIR as for
benchmarks.steps). They are kept in benchmarks/ratios.json by instruction set. What falls by more than 15 % is measured
again, and named with exit code 1 if it falls again. --write keeps the ratios of this run instead.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import attention, data, masks, ssim, steps, utilisation

COMMITTED = Path(__file__).with_name("ratios.json")
SLOWER = 1.15
# Of the table of utilisation, what takes less than half a minute a step.
ROWS = ["ContextEncoder", "GLCIC", "DeepFillV1", "DeepFillV2", "DSIVQVAE", "DSIStructure", "ICTUpsampler", "MIGAN"]

Group = Callable[[], dict[str, float]]  # higher is faster


def groups(public: Path | None, folder: Path | None) -> dict[str, Group]:
    """What can be measured with these folders."""
    found: dict[str, Group] = {
        "share of the convolution peak": lambda: utilisation.shares(ROWS, 2),
        "masks": lambda: masks.ratios(public),
        "ssim": ssim.ratios,
    }
    if folder:
        found["data"] = lambda: data.ratios(folder)
    if public:
        found["contextual attention"] = lambda: attention.ratios(public, 5)
        found["training steps"] = lambda: steps.ratios(public, list(steps.PAIRS), 3)
    return found


def slower(found: dict[str, float], committed: dict[str, float]) -> list[str]:
    return [name for name, ratio in found.items() if name in committed and ratio * SLOWER < committed[name]]


def measure(group: Group, committed: dict[str, float]) -> dict[str, float]:
    """The group's ratios; the better of two runs where the first is slower than what is committed."""
    first = group()
    if not slower(first, committed):
        return first
    print("slower at first, so once more:", "; ".join(slower(first, committed)))
    second = group()
    return {name: max(ratio, second.get(name, ratio)) for name, ratio in first.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public", type=Path, help="folder with checkouts of the published code")
    parser.add_argument("--data", type=Path, help="folder of JPEGs")
    parser.add_argument("--write", action="store_true", help=f"write {COMMITTED.name} instead of comparing with it")
    a = parser.parse_args()
    kept = json.loads(COMMITTED.read_text()) if COMMITTED.is_file() else {}
    capability = torch.backends.cpu.get_cpu_capability()
    of_this_kind = kept.get(capability, {})
    if not of_this_kind and not a.write:
        print(f"{COMMITTED} has no ratios for {capability} (it has {', '.join(kept) or 'none'}); --write adds them.")
        return 2
    for folder, what in ((a.public, "--public: the published programs"), (a.data, "--data: loading data")):
        if folder is None:
            print(f"not measured without {what}")
    named = []
    for title, group in groups(a.public, a.data).items():
        print(f"\n{title}")
        committed = of_this_kind.get(title, {})
        found = measure(group, {} if a.write else committed)
        if missing := [name for name in committed if name not in found]:
            print("committed and not measured now:", "; ".join(missing))
        named += [
            f"{title}: {name}, {found[name]:.2f}, committed {committed[name]:.2f}" for name in slower(found, committed)
        ]
        if a.write:
            rounded = {name: round(ratio, 3) for name, ratio in found.items()}
            kept.setdefault(capability, {})[title] = of_this_kind.get(title, {}) | rounded
            COMMITTED.write_text(json.dumps(kept, indent=1) + "\n")
    if a.write:
        print(f"\nwrote {COMMITTED}")
        return 0
    print("\n" + ("\n".join(["slower by more than 15 %:", *named]) if named else "nothing is slower by more than 15 %"))
    return 1 if named else 0


if __name__ == "__main__":
    sys.exit(main())
