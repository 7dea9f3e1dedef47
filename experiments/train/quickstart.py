"""``make quickstart``: train, test and compare with the regular commands."""

import subprocess
import sys
import time
from pathlib import Path

from experiments.cli import current_folder_last
from experiments.files.write import next_free
from experiments.run import Run

RUN = Path("runs/quickstart")
CLASSICS = ["Telea", "NavierStokes", "Biharmonic", "Harmonic", "PatchMatch", "Bertalmio"]


def run(*arguments: str) -> None:
    print(f"\n$ lit-inpaint {' '.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, "-P", "-m", "experiments", *arguments]).returncode
    if code:
        sys.exit(code)


def main() -> None:
    current_folder_last()
    start = time.perf_counter()
    if RUN.exists():
        earlier = next_free(RUN)
        RUN.rename(earlier)
        print(f"The previous run is now in {earlier}.")
    run("fit", "--config", "quickstart")
    checkpoint = Run(RUN).checkpoint
    run("test", "--config", "quickstart", "--ckpt_path", str(checkpoint))
    run(
        "benchmark",
        "quickstart",
        "--methods",
        *CLASSICS,
        f"DeepFillV2={checkpoint}",
        "--out",
        str(RUN),
        "--baseline",
        "Telea",
    )
    run("compare", str(RUN), "--out", str(RUN / "compare.html"))
    print(f"\nDone in {(time.perf_counter() - start) / 60:.1f} minutes. Open {RUN / 'compare.html'}", flush=True)


if __name__ == "__main__":
    main()
