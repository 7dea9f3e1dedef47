"""What an installed lit-inpaint must do in a folder of its own, without the checkout: `make release-check` runs it.

    python -P tests/smoke.py VERSION [EXTRA ...]

It needs nothing but lit-inpaint, and uses the commands and the Python interface as a newcomer does.
"""

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PROGRAM = str(Path(sysconfig.get_path("scripts"), "lit-inpaint"))
FIT = "--trainer.max_steps=2 --trainer.val_check_interval=2 --data.batch_size=2 --data.limit_eval=2 --model.width=8"


def run(*words: str) -> str:
    """What the command prints.

    Raises:
        SystemExit: It fails, or prints a traceback.
    """
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=300)
    if done.returncode or "Traceback" in done.stderr:
        sys.exit(f"lit-inpaint {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    print(f"ok   lit-inpaint {' '.join(words)[:100]}", flush=True)
    return done.stdout


def main(version: str, *extras: str) -> None:
    import numpy as np
    from PIL import Image

    import lit_inpaint

    site = Path(lit_inpaint.__file__).parents[1]
    assert site == Path(sysconfig.get_path("purelib")), f"{site} is not the installed copy"
    assert lit_inpaint.__version__ == version and version in run("--version"), lit_inpaint.__version__
    assert "inpaint" in run("--help") and "--dilate" in run("inpaint", "--help")
    listed = run("methods")
    assert all(name in listed for name in ("PatchMatch", "DeepFillV2", "LaMa"))

    rows, columns = np.mgrid[:64, :96]
    photo = np.stack([rows * 4, columns * 2, 255 - rows * 4], -1).astype(np.uint8)
    hole = np.zeros((64, 96), np.uint8)
    hole[20:40, 30:60] = 255
    Image.fromarray(photo).save("photo.png")
    Image.fromarray(hole).save("mask.png")
    run("inpaint", "--method", "Telea", "--image", "photo.png", "--mask", "mask.png", "--out", "filled.png")
    filled = np.asarray(Image.open("filled.png").convert("RGB")).astype(int)
    assert (filled == photo)[hole == 0].all(), "known pixels have changed"
    assert abs(filled - photo)[hole == 255].mean() < 20, "a smooth hole is not filled smoothly"
    again = lit_inpaint.load_method("Telea").complete(Image.open("photo.png"), Image.open("mask.png"))
    assert (np.asarray(again) == filled).all(), "Python and the command line differ"
    run("inpaint", "--method", "PatchMatch", "--image", "photo.png", "--mask", "mask.png", "--out", "patched.png")

    run("fit", "--config", "quickstart", *FIT.split(), "--trainer.default_root_dir=run")
    assert "val/psnr" in Path("run/metrics.csv").read_text() and list(Path("run/checkpoints").glob("*.ckpt"))
    run(
        "benchmark",
        "quickstart",
        "--limit",
        "2",
        "--methods",
        "run/checkpoints/last.ckpt",
        "Telea",
        "--out",
        "results",
    )
    run("compare", "results", "run", "--out", "compare.html")
    assert Path("compare.html").stat().st_size > 10_000

    told = subprocess.run([PROGRAM, "doctor"], capture_output=True, text=True, timeout=300).stdout
    assert "ok names" in told and "ok packages" in told, told
    of_users = set(extras) - {"dev", "docs"}  # the doctor is for users
    missing = [extra for extra in of_users if f"ok extra {extra:<12} installed" not in told]
    assert not missing, f"doctor misses {missing}:\n{told}"
    print(f"lit-inpaint {version} works on Python {sys.version.split()[0]}, extras: {', '.join(extras) or 'none'}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        import os

        os.chdir(folder)
        main(*sys.argv[1:])
