"""The page of 1000 images x 10 methods in a browser: its size, and how long it takes to open and to look through.

    python -m benchmarks.page [--out FOLDER] [--images 1000] [--methods 10]

Telea completes drawn faces of 64 px; the other methods are its completions with noise of their own in the hole, so the
pictures differ and no network is needed. --out keeps records, page and screenshots at three widths.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.scale import drawn_faces, page_of
from experiments.evaluate.from_python import evaluate
from experiments.records.files import read_record, write_record
from experiments.records.record import MetricResult, Record

WIDTHS = (1366, 1920, 390)


def records(folder: Path, images: int, methods: int) -> None:
    evaluate("Telea", str(drawn_faces(folder)), folder, limit=images)
    path = next(folder.rglob("records/*/Telea.json"))
    record = read_record(path)
    pictures = record.picture_folder()
    assert pictures is not None
    rng = np.random.default_rng(0)
    for number in range(1, methods):
        label = f"Telea{number}"
        for file in sorted(pictures.rglob("*.png")):
            image = np.asarray(Image.open(file)).astype(int)
            image[18:46, 18:46] += rng.integers(-4 * number, 4 * number + 1, (28, 28, 1))
            target = pictures.with_name(label) / file.relative_to(pictures)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(target)
        write_record(
            replace(
                record, method=replace(record.method, label=label), metrics={"psnr_hole": _less(record, number / 5)}
            ),
            path.with_stem(label),
        )


def _less(record: Record, decibel: float) -> MetricResult:
    known = record.metrics["psnr_hole"]
    assert known.mean is not None and known.interval is not None
    low, high = (value - decibel for value in known.interval)
    values = {name: value and value - decibel for name, value in known.values.items()}
    return replace(known, values=values, mean=known.mean - decibel, interval=(low, high), buckets={})


def used(page: Page, act: Callable[[], object]) -> float:
    """Seconds that the page's main thread is busy until what ``act`` does is drawn: those of an idle core."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        return {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]

    start = busy()
    act()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return busy() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--methods", type=int, default=10)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = a.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if len(list(folder.rglob("records/*/Telea*.json"))) < a.methods:
            records(folder, a.images, a.methods)
        page_of(folder)
        path = folder / "page" / "page.html"
        print(f"{path.stat().st_size / 1e6:.1f} MB, {path.read_text().count('data:image')} pictures in it")
        print("| width | opens, s | 12 more images, s | another order, s | to the end, s |\n|---|---|---|---|---|")
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.set_default_timeout(300_000)
            opens = used(page, partial(page.goto, path.resolve().as_uri()))
            page.screenshot(path=folder / f"page-{width}.png")
            more = page.locator("button.more")
            next_sheet = used(page, more.click)
            order = used(page, partial(page.locator("[data-order]").select_option, "name"))
            end = used(page, partial(page.evaluate, "scrollTo(0, document.documentElement.scrollHeight)"))
            more.scroll_into_view_if_needed()
            page.screenshot(path=folder / f"images-{width}.png")
            print(f"| {width} | {opens:.1f} | {next_sheet:.2f} | {order:.2f} | {end:.2f} |", flush=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
