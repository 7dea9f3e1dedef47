"""Pictures of the pages, drawn from what the program wrote: ``make figures``, after ``make quickstart``."""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

COMMENT = 0x010E  # EXIF: ImageDescription


def screenshot(page: Path, out: Path, width: int = 1366, height: int = 1990) -> None:
    """The top of a page as JPEG; its description names the commit."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": width, "height": height})
        opened.goto(page.resolve().as_uri())
        opened.screenshot(path=f"{folder}/page.png")
        browser.close()
        image = Image.open(f"{folder}/page.png").convert("RGB")
    exif = image.getexif()
    exif[COMMENT] = f"lit-inpaint {commit}: the top of {page.name}, {width} px wide"
    image.save(out, quality=82, exif=exif)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("page", type=Path, nargs="?", default=Path("runs/quickstart/compare.html"))
    p.add_argument("--out", type=Path, default=Path("docs/images/compare.jpg"))
    a = p.parse_args()
    screenshot(a.page, a.out)
