"""Everything that only a GPU can show, part by part, merged into one JSON. `make gpu DEVICE=cpu` runs it small.

    python -m benchmarks.gpu [--device cuda] [--out gpu.json] [--part NAME ...]

Every part runs in a process of its own and takes eight minutes at most. After every item the file is written, so that
a killed run resumes: what is in it from the same commit, torch and device is not measured again. What fails is
recorded with its error and the rest runs; the exit code is then 1. What is missing (a weight, a photograph, a compiler)
is named in the file. It needs nothing but the repository and what `make install` installs.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.gpu.runner import PARTS, run


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    a = parser.parse_args(argv)
    return run(a.out, a.device, a.part, PARTS)


if __name__ == "__main__":
    sys.exit(main())
