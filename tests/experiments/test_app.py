"""The page in a browser as a person uses it, and what it refuses."""

import base64
import io
import itertools
import multiprocessing
import os
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, ImageCms

from datamodules.faces import draw
from experiments import cli
from experiments.app import examples
from experiments.app.command import main as app
from experiments.app.session import said
from experiments.app.worker import Task, Worker
from experiments.inpaint.large import available_memory, refuse_too_large
from experiments.web import refusal
from lit_inpaint.methods import DeepFillV2, PartialConv, Telea
from masks.files import read_mask, write_mask
from tests.support import processes
from tests.support.browsing import violations
from tests.support.serving import fork_apps

pytest.importorskip("gradio", reason="the page needs gradio, the extra `app`")

SLOW = {"timeout": 60_000}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    from experiments.app.folder import remove

    name = Path(tempfile.mkdtemp())
    yield name
    remove(name)
    assert not name.exists()


@pytest.fixture(scope="module")
def sketching(folder: Path) -> str:
    """A small DeepFillV2 with a sketch channel, untrained."""
    torch.manual_seed(0)
    network = DeepFillV2(width=8, sketch=True)
    checkpoint = {"method": "DeepFillV2", "hyper_parameters": dict(network.hparams), "state_dict": network.state_dict()}
    torch.save(checkpoint, folder / "sketch.ckpt")
    return str(folder / "sketch.ckpt")


@pytest.fixture(scope="module")
def of_grey(folder: Path) -> str:
    """A small PartialConv of grey pictures, untrained."""
    network = PartialConv(levels=4, width=8, channels=1)
    arguments = {k: v for k, v in network.hparams.items() if not k.startswith("_")}
    checkpoint = {"method": "PartialConv", "hyper_parameters": arguments, "state_dict": network.state_dict()}
    torch.save(checkpoint, folder / "grey.ckpt")
    return str(folder / "grey.ckpt")


@pytest.fixture(scope="module")
def page(folder: Path, sketching: str, of_grey: str) -> Iterator[Any]:
    from experiments.app.page import serve

    (folder / "served").mkdir()
    methods = {"Telea": "Telea", "Harmonic": "Harmonic", "Sketched": sketching, "Grey": of_grey}
    started = serve(methods, str(folder / "served"))
    yield started
    started.close()


@pytest.fixture
def tab(page: Any, browser: Any) -> Iterator[Any]:
    """A new tab; any request to another host and any console message fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1100}, has_touch=True)
    asked: list[str] = []
    opened.on("console", lambda m: asked.append(f"{m.type}: {m.text}"))
    opened.on("pageerror", lambda error: asked.append(str(error)))
    opened.on("request", lambda r: r.url.startswith((page.url, "data:", "blob:")) or asked.append(r.url))
    opened.goto(page.url)
    opened.wait_for_selector("#editor .stage", **SLOW)
    yield opened
    opened.close()
    assert not asked, asked


def photograph(path: Path, size: tuple[int, int] = (240, 160)) -> Path:
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    Image.fromarray(np.stack([across, down, 255 - across], 2).astype(np.uint8)).save(path)
    return path


def load(tab: Any, file: Path) -> None:
    tab.set_input_files("#photo input[type=file]", str(file))
    tab.wait_for_selector("#editor .stage[data-loaded]", **SLOW)


def drag(tab: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, in shares of the stage."""
    box = tab.locator("#editor .stage").bounding_box()
    for move, (x, y) in ((True, start), (False, end)):
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        tab.mouse.down() if move else tab.mouse.up()


def wait_for(tab: Any, pattern: str, seconds: float = 120) -> str:
    """The status line, once it matches."""
    status, end = "", time.monotonic() + seconds
    while time.monotonic() < end:
        status = tab.locator("#status textarea").input_value()
        if re.search(pattern, status):
            return status
        time.sleep(0.1)
    raise AssertionError(f"the status stayed {status!r}")


def paint_rectangle(tab: Any) -> None:
    tab.click("#editor [data-layer=hole]")
    tab.click("#editor [data-tool=rectangle]")
    drag(tab, (0.25, 0.25), (0.5, 0.5))


def download(tab: Any, name: str, to: Path) -> np.ndarray:
    with tab.expect_download() as coming:
        tab.locator(f"#files a[download='{name}']").first.click()
    coming.value.save_as(to)
    return np.asarray(Image.open(to))


@pytest.mark.slow
def test_a_hole_is_painted_two_methods_fill_it_and_a_line_guides_one(tab: Any, tmp_path: Path):
    file = photograph(tmp_path / "photo.png")
    load(tab, file)
    paint_rectangle(tab)
    tab.click("#editor [data-layer=lines]")
    tab.click("#editor [data-tool=brush]")
    drag(tab, (0.25, 0.3), (0.5, 0.45))
    tab.get_by_label("Sketched").check()
    tab.click("#go")
    said = wait_for(tab, r"Telea.*\n.*Sketched")
    assert "guide lines ignored" in said.splitlines()[0] and "ignored" not in said.splitlines()[1]
    tab.locator("#gallery img").nth(1).wait_for(**SLOW)
    tab.wait_for_selector("#slider img", **SLOW)
    if shots := os.environ.get("LIT_INPAINT_SCREENSHOTS"):
        tab.screenshot(path=f"{shots}/page.png")
    truth = np.asarray(Image.open(file))
    for name in ("Telea", "Sketched"):
        filled = download(tab, f"photo-{name}.png", tmp_path / f"{name}.png")
        changed = (filled != truth).any(-1)
        assert changed[42:78, 62:118].any()  # the rectangle was 60..120 by 40..80
        changed[38:82, 58:122] = False
        assert not changed.any()


@pytest.mark.slow
def test_a_network_of_grey_pictures_fills_a_grey_photograph_and_refuses_one_in_colour(tab: Any, tmp_path: Path):
    """JiahuiYu/generative_inpainting#302: a grey picture comes back coloured."""
    Image.open(photograph(tmp_path / "colour.png")).convert("L").save(tmp_path / "grey.png")
    load(tab, tmp_path / "grey.png")
    paint_rectangle(tab)
    tab.get_by_label("Grey").check()
    tab.click("#go")
    assert "ignored" not in wait_for(tab, r"Telea.*\n.*Grey.*\d s")
    tab.locator("#gallery img").nth(1).wait_for(**SLOW)
    tab.wait_for_selector("#slider img", **SLOW)
    if shots := os.environ.get("LIT_INPAINT_SCREENSHOTS"):
        tab.screenshot(path=f"{shots}/grey.png")
    truth, filled = np.asarray(Image.open(tmp_path / "grey.png")), download(tab, "grey-Grey.png", tmp_path / "out.png")
    assert filled.shape == truth.shape == (160, 240)  # one channel
    changed = filled != truth
    assert changed[42:78, 62:118].any()
    changed[38:82, 58:122] = False
    assert not changed.any()
    load(tab, tmp_path / "colour.png")
    wait_for(tab, "^colour.png, 240x160")
    paint_rectangle(tab)
    tab.click("#go")
    assert re.search(r"Telea.*\d s", said := wait_for(tab, "Grey: .*in colour")), said


def drawn(tab: Any, layer: str = "hole") -> np.ndarray:
    """What is painted, (H, W) of 0 and 1."""
    _, _, content = tab.evaluate(f"litEditor.read('{layer}')").partition(",")
    return (np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L")) > 127).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(1920, 1080, "light"), (1366, 800, "dark"), (390, 844, "light")]
)
def test_an_example_is_filled_on_every_screen_and_axe_finds_nothing_serious(
    tab: Any, tmp_path: Path, width: int, height: int, scheme: str
):
    tab.set_viewport_size({"width": width, "height": height})
    tab.emulate_media(color_scheme=scheme)
    tab.reload()  # Gradio chooses its colours when the page is loaded
    tab.wait_for_selector("#editor .stage", **SLOW)
    assert not violations(tab)
    tops = {round(button.bounding_box()["y"]) for button in tab.locator("#examples button").all()}
    assert len(tops) <= (1 if width > 400 else 2)
    tab.locator("#examples button").nth(3).click()
    wait_for(tab, r"The hole covers \d")
    tab.wait_for_selector("#editor .stage[data-loaded]", **SLOW)
    box = tab.locator("#editor .stage").bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1) and box["height"] < height
    tab.click("#go")
    wait_for(tab, r"Telea.*\d s")
    tab.wait_for_selector("#slider img", **SLOW)
    assert not violations(tab)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture = tab.locator("#gallery img").first
    assert picture.evaluate("image => getComputedStyle(image).objectFit") == "contain"
    around = tab.locator("#gallery").bounding_box()["height"] - picture.bounding_box()["height"]
    assert 0 <= around < 60, "no empty rows"
    truth, hole = draw(0, 2, 3, 256), drawn(tab)
    filled = download(tab, "face4-Telea.png", tmp_path / "filled.png")
    assert hole.any() and ((filled != truth).any(-1) <= hole).all() and (filled != truth).any()


@pytest.mark.slow
def test_two_fingers_zoom_one_paints_and_every_change_can_be_undone(tab: Any, tmp_path: Path):
    load(tab, photograph(tmp_path / "photo.png"))
    stage, device = tab.locator("#editor .stage"), tab.context.new_cdp_session(tab)
    box = stage.bounding_box()

    def touch(kind: str, *shares: float) -> None:
        places = [{"x": box["x"] + x * box["width"], "y": box["y"] + box["height"] / 2} for x in shares]
        points = [{**place, "id": number} for number, place in enumerate(places)]
        device.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    for kind, at in (("Start", 0.3), ("Move", 0.4)):
        touch(kind, at)
    touch("End")
    once = drawn(tab)
    assert once[80, 72:96].all() and not once[80, 140:].any()
    for kind, at in (("Start", (0.4,)), ("Move", (0.45,)), ("Start", (0.45, 0.55)), ("Move", (0.3, 0.7))):
        touch(kind, *at)
    touch("End")
    assert (drawn(tab) == once).all()  # the first finger of a pair paints nothing
    large = stage.bounding_box()
    assert large["width"] == pytest.approx(4 * box["width"], rel=0.02)
    middle = [(b["x"] + share * b["width"]) for b, share in ((box, 0.5), (large, 0.5))]
    assert middle[0] == pytest.approx(middle[1], abs=2)  # what lay between the fingers still does
    box = tab.locator("#editor .view").bounding_box()
    touch("Start", 0.5)
    touch("End")
    twice, across = drawn(tab), (box["x"] + box["width"] / 2 - large["x"]) / large["width"]
    down = (box["y"] + box["height"] / 2 - large["y"]) / large["height"]
    row, column = round(160 * down), round(240 * across)
    assert twice[row, column] and (twice - once).any(), (row, column)
    assert not (twice - once)[:, : column - 13].any() and not (twice - once)[: row - 13].any()
    tab.get_by_label("whole picture").click()
    assert stage.bounding_box()["width"] == pytest.approx(large["width"] / 4, rel=0.02)

    write_mask(np.ones((160, 240), np.uint8), tmp_path / "all.png")
    tab.get_by_text("mask files").click()
    tab.set_input_files("#mask input[type=file]", str(tmp_path / "all.png"))
    wait_for(tab, "can be edited")
    end = time.monotonic() + 20
    while not drawn(tab).all():
        assert time.monotonic() < end
    tab.click("#editor [data-do=clear]")
    assert not drawn(tab).any()
    for before in (np.ones_like(once), twice, once, np.zeros_like(once), np.zeros_like(once)):
        tab.keyboard.press("Control+z")
        assert (drawn(tab) == before).all()
    (tmp_path / "none.png").write_bytes(b"no picture")
    tab.set_input_files("#photo input[type=file]", str(tmp_path / "none.png"))
    wait_for(tab, "^none.png")
    tab.wait_for_selector("#editor .stage:not([data-loaded])", **SLOW)
    assert tab.evaluate("litEditor.read('hole')") == ""


def test_files_are_named_after_the_photograph_and_an_example_that_is_none_is_refused(tmp_path: Path):
    from gradio import EventData

    from experiments.app.page import Page

    page = Page({"Telea": "Telea"}, str(tmp_path), "cpu")
    for stem, name in (
        ("a b", "a b"),
        ("x" * 200, "x" * 120),
        ("\u00e9" * 100, "\u00e9" * 60),
        ("k\u20ac" * 50, "k\u20ac" * 30),
    ):
        session, _, _ = page.load(str(photograph(tmp_path / f"{stem}.png", (24, 16))))
        file, _ = page.mask_file(session, "", "")
        assert Path(file["value"]).name == f"{name}_mask.png"
        session.uploaded = file["value"]
    for number in (-1, examples.COUNT, "0", None, 0.5):
        session, _, said = page.example(EventData(None, {"number": number}))
        assert session is None and said.startswith("Load"), number


@pytest.mark.slow
def test_a_photograph_is_dropped_and_the_same_mask_is_read_again_the_other_way(tab: Any, tmp_path: Path):
    content = base64.b64encode(photograph(tmp_path / "dropped.png").read_bytes()).decode()
    tab.evaluate(
        """content => {
            const given = new DataTransfer(), bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            given.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            const stage = document.querySelector("#editor .stage");
            stage.dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
        }""",
        content,
    )
    wait_for(tab, "^dropped.png, 240x160")
    hole = np.zeros((160, 240), np.uint8)
    hole[40:80, 60:120] = 1
    write_mask(hole, tmp_path / "hole.png")
    tab.get_by_text("mask files").click()
    tab.set_input_files("#mask input[type=file]", str(tmp_path / "hole.png"))
    wait_for(tab, r"covers 6\.2%")
    tab.get_by_label("known").check()
    wait_for(tab, r"covers 93\.8%")


@pytest.mark.slow
def test_a_mask_of_another_size_is_an_error_on_the_page_and_one_that_fits_comes_back(tab: Any, tmp_path: Path):
    load(tab, photograph(tmp_path / "photo.png", (2600, 1300)))
    hole = np.zeros((1300, 2600), np.uint8)
    hole[401:611, 1001:1207] = 1  # odd numbers: no preview of half the size keeps them
    write_mask(hole[:-1], tmp_path / "small.png")
    write_mask(hole, tmp_path / "fits.png")
    tab.get_by_text("mask files").click()
    tab.set_input_files("#mask input[type=file]", str(tmp_path / "small.png"))
    assert "2600x1299, the photograph 2600x1300" in wait_for(tab, "must have the same size")
    tab.set_input_files("#mask input[type=file]", str(tmp_path / "fits.png"))
    wait_for(tab, "can be edited")
    time.sleep(0.5)  # the picture of the mask is drawn after the line is written
    tab.get_by_text("make mask file").click()
    wait_for(tab, r"The mask covers 1\.3%\.")
    with tab.expect_download() as coming:
        tab.locator("#mask_out a[download='photo_mask.png']").first.click()
    coming.value.save_as(tmp_path / "back.png")
    assert (read_mask(tmp_path / "back.png") == hole).all()


def test_a_mask_in_an_alpha_channel_is_read_as_the_page_says(tmp_path: Path):
    from experiments.app.page import Page

    page = Page({}, str(tmp_path), "cpu")
    file = photograph(tmp_path / "photo.png", (24, 16))
    session, _, _ = page.load(str(file))
    hole = np.zeros((16, 24), np.uint8)
    hole[4:8, 4:10] = 255
    Image.fromarray(np.dstack([np.asarray(Image.open(file).convert("RGB")), hole])).save(tmp_path / "layer.png")
    mask = str(tmp_path / "layer.png")
    assert "has transparent pixels" in page.load_mask(session, mask, "hole")[1]
    for side, share in (("opaque", "6.2%"), ("transparent", "93.8%")):
        assert f"covers {share}" in page.load_mask(session, mask, "hole", side)[1]
    assert (page.hole(session, "").shape) == (16, 24)


@pytest.mark.slow
def test_a_slow_method_is_cancelled_and_the_next_run_works(tab: Any, tmp_path: Path):
    load(tab, photograph(tmp_path / "photo.png", (2000, 2000)))
    tab.click("#editor [data-tool=rectangle]")
    drag(tab, (0.02, 0.02), (0.97, 0.97))
    tab.get_by_label("Telea").uncheck()
    tab.get_by_label("Harmonic").check()
    tab.click("#go")
    wait_for(tab, "Harmonic.*(completion|window)")
    begun = time.monotonic()
    tab.click("#stop")
    wait_for(tab, "cancelled", 20)
    assert time.monotonic() - begun < 20
    tab.click("#editor [data-do=undo]")
    paint_rectangle(tab)
    tab.get_by_label("Harmonic").uncheck()
    tab.get_by_label("Telea").check()
    tab.click("#go")
    wait_for(tab, r"Telea.*\d s")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.close()


def task(folder: Path, image: Path, method: str = "Telea") -> Task:
    hole = np.zeros((160, 240), np.uint8)
    hole[40:80, 60:120] = 1
    write_mask(hole, folder / "hole.png")
    return Task(str(image), str(folder / "hole.png"), None, str(folder), {"A": method})


@pytest.mark.parametrize("end", ["left", "cancelled"])
def test_whoever_waits_behind_a_run_that_was_left_or_cancelled_is_served(worker: Worker, tmp_path: Path, end: str):
    given = task(tmp_path, photograph(tmp_path / "photo.png"))
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            first = worker.run(given, "first")
            assert next(message for message in first if message)["said"]
            waiting = pool.submit(lambda: [message for message in worker.run(given, "second") if message])
            if end == "left":
                first.close()
            else:
                assert not worker.cancel("second") and worker.cancel("first")
                assert [message for message in first if message] == [{"error": "cancelled"}]
            messages = waiting.result(timeout=120)
            assert not any("error" in message for message in messages) and "file" in messages[-1], messages
            assert not worker.cancel("first") and not worker.cancel("second")


def test_a_completion_keeps_the_profile_and_tags_and_a_deleted_photograph_is_named_without_its_path(
    worker: Worker, tmp_path: Path
):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "a camera"
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"the erased face"
    file = tmp_path / "photo.jpg"
    Image.open(photograph(tmp_path / "p.png")).save(file, icc_profile=profile, exif=tags.tobytes(), dpi=(300, 300))
    *_, done = (message for message in worker.run(task(tmp_path, file), "me") if message)
    assert done["said"].endswith("MakerNote dropped") and b"the erased face" not in Path(done["file"]).read_bytes()
    with Image.open(done["file"]) as filled:
        assert filled.info["icc_profile"] == profile and filled.getexif()[ExifTags.Base.Make] == "a camera"
        assert filled.info["dpi"] == pytest.approx((300, 300), abs=0.02)
    given = task(tmp_path, file)
    file.unlink()
    messages = [message for message in worker.run(given, "me") if message]
    assert messages[-1] == {"error": "A: photo.jpg: no such file. Check the path."}


def test_the_page_speaks_of_no_option_and_of_no_path_that_it_does_not_have(tmp_path: Path, monkeypatch: Any):
    from experiments.app.page import Page

    page = Page({"Telea": "Telea"}, str(tmp_path), "cpu")
    file = photograph(tmp_path / "a photo.png", (24, 16))
    session, _, _ = page.load(str(file))
    assert session is not None
    soft = np.full((16, 24), 100, np.uint8)
    tifffile.imwrite(tmp_path / "four.tif", np.dstack([soft] * 4), photometric="rgb", extrasamples=["unassalpha"])
    Image.fromarray(soft).save(tmp_path / "soft.png")
    Image.fromarray(np.dstack([soft] * 2)).save(tmp_path / "clear.png")
    monkeypatch.setattr("experiments.inpaint.large.available_memory", lambda device: 0)
    with pytest.raises(ValueError) as too_large:
        refuse_too_large(Telea(), np.ones((2000, 2001), np.uint8), 1024)
    lines = {
        "soft.png: 100.00% of its pixels are grey.* Save it in two colours\\.": page.load_mask(
            session, str(tmp_path / "soft.png"), "hole"
        )[1],
        "clear.png: has transparent pixels. State below which side.* is the hole\\.": page.load_mask(
            session, str(tmp_path / "clear.png"), "hole"
        )[1],
        "four.tif: has a fourth band.* Save it with three bands\\.": page.load(str(tmp_path / "four.tif"))[2],
        "a window under 1024": said(too_large.value),
    }
    for pattern, line in lines.items():
        assert re.search(pattern, line), line
        assert "--" not in line and "command line" not in line and str(tmp_path) not in line
    session.results = {"Telea": {"preview": str(file)}}
    assert page.compare(session, "input", "Telea") is not None
    file.unlink()
    assert page.compare(session, "input", "Telea") is None
    with pytest.raises(ValueError, match=r"^The photograph was deleted: files are kept for 6 hours\. Load it again\.$"):
        page.task(session, "", "", ["Telea"], 0, 1, 1024)
    assert said("/srv/a/b.ckpt: no such file (n/a, 1/2).") == "b.ckpt: no such file (n/a, 1/2)."


def resident_mb(process: int | str, most: bool = True) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{'VmHWM' if most else 'VmRSS'}:\s+(\d+)", text)[1]) / 1000  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc to read memory from")
def test_24_megapixels_take_less_than_700_mb_of_either_process(page: Any, tab: Any, tmp_path: Path):
    file = photograph(tmp_path / "large.jpg", (6000, 4000))
    load(tab, photograph(tmp_path / "small.png"))  # starts what a first run starts
    paint_rectangle(tab)
    tab.click("#go")
    wait_for(tab, r"Telea.*\d s")
    worker = page.worker._process.pid
    before = {process: resident_mb(process, most=False) for process in ("self", worker)}
    for process in before:
        Path(f"/proc/{process}/clear_refs").write_text("5")
    tab.set_input_files("#photo input[type=file]", str(file))
    wait_for(tab, "6000x4000")
    time.sleep(1)
    paint_rectangle(tab)
    tab.click("#go")
    wait_for(tab, r"Telea, about [\d.]+ GB: [\d.]+ s", 120)  # in one window, whatever the size
    grown = {process: resident_mb(process) - mb for process, mb in before.items()}
    print(f"grown by, MB: {grown}")
    assert all(mb < 700 for mb in grown.values()), grown


# ---- requests -------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(page: Any) -> Iterator[Any]:
    import httpx

    with httpx.Client(base_url=page.url, timeout=30) as opened:
        yield opened


def test_the_page_listens_on_loopback_and_other_hosts_need_a_password(page: Any):
    assert urlparse(page.url).hostname == "127.0.0.1"
    with pytest.raises(ValueError, match="--password"):
        app(["--host", "0.0.0.0"])


def test_a_port_or_a_queue_that_cannot_be_is_one_line_before_the_page_loads(capsys: Any):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, said in (
            (
                f"--port={port}",
                f"port {port}: Address already in use. Give another --port, or none for a free one.",
            ),
            ("--port=65536", "--port is 65536; expected 1 to 65535."),
            ("--port=0", "--port is 0; expected 1 to 65535."),
            ("--queue=0", "--queue is 0; expected 1 or more runs that may wait."),
        ):
            with pytest.raises(SystemExit) as end:
                cli.main(["app", "--methods", "Telea", words])
            assert end.value.code == 2 and capsys.readouterr().err == f"lit-inpaint: {said}\n"


@pytest.mark.parametrize("path", ["/etc/passwd", "setup.cfg", "../../../etc/passwd", "%2fetc%2fpasswd", "sketch.ckpt"])
def test_files_outside_the_folder_are_refused(client: Any, folder: Path, path: str):
    for file in (path, str(Path(path).absolute()), str(folder / path), f"{folder}/served/../{path}"):
        for route in ("gradio_api/file=", "file=", "gradio_api/file/"):
            answer = client.get(f"/{route}{file}")
            assert answer.status_code in (403, 404, 405) or b"root:" not in answer.content, (route, file)
            assert b"hyper_parameters" not in answer.content and b"[metadata]" not in answer.content


def test_fifty_megabytes_are_refused_within_two_seconds(client: Any):
    begun = time.monotonic()
    try:
        answer = client.post("/gradio_api/upload", files={"files": ("x.png", bytes(52 * 2**20))})
        assert answer.status_code == 413 and "50 MB" in answer.text
    except Exception as error:  # the server closes while the client still sends
        assert type(error).__name__ in ("WriteError", "RemoteProtocolError", "ReadError"), error
    assert time.monotonic() - begun < 2


def test_a_body_without_a_stated_length_is_counted(client: Any):
    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield bytes(2**20)

    try:
        answer = client.post("/gradio_api/queue/join", content=endless())
        assert answer.status_code in (400, 413)
    except Exception as error:
        assert type(error).__name__ in ("WriteError", "RemoteProtocolError", "ReadError"), error
    assert client.get("/config").status_code == 200


def test_a_hundred_megapixels_are_refused_by_their_header_within_two_seconds(page: Any, tmp_path: Path):
    Image.new("1", (12_000, 9_000)).save(tmp_path / "huge.png")
    begun = time.monotonic()
    session, shown, said = page.load(str(tmp_path / "huge.png"))
    assert session is None and shown == {"image": ""} and "12000x9000 is too large" in said
    assert str(tmp_path) not in said and time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "content", [b"", b"<svg onload=alert(1)>", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\xff\xd8\xff"]
)
def test_an_upload_that_is_no_picture_is_a_line(page: Any, tmp_path: Path, content: bytes):
    (tmp_path / "x.png").write_bytes(content)
    session, _, said = page.load(str(tmp_path / "x.png"))
    assert session is None and said.startswith("x.png:") and "\n" not in said


def test_a_painted_layer_that_the_page_did_not_make_is_refused(page: Any, tmp_path: Path):
    session, _, _ = page.load(str(photograph(tmp_path / "x.png")))
    for drawn in ("data:image/svg+xml;base64,AAAA", "file:///etc/passwd", "data:image/png;base64,!!", "x" * 30_000_000):
        with pytest.raises(ValueError, match="painted layer"):
            page.task(session, drawn, "", ["Telea"], 0, 1, 1024)
    with pytest.raises(ValueError, match="Paint the hole"):
        page.task(session, "", "", ["Telea"], 0, 1, 1024)


def test_uploads_at_once_keep_to_their_own_files(client: Any, page: Any, tmp_path: Path):
    def upload(number: int) -> tuple[int, str]:
        content = photograph(tmp_path / f"{number}.png", (20 + number, 10)).read_bytes()
        answer = client.post("/gradio_api/upload", files={"files": ("../../../../x.png", content)})
        return number, answer.json()[0]

    with ThreadPoolExecutor(8) as pool:
        for number, file in pool.map(upload, range(16)):
            assert Path(file).resolve().is_relative_to(Path(page.folder).resolve())
            session, _, _ = page.load(file)
            assert session.width == 20 + number


def upload(client: Any, content: bytes, name: str = "x.png", **headers: str) -> Any:
    return client.post("/gradio_api/upload", files={"files": (name, content)}, headers=headers)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Host": "rebound.example"}, "127.0.0.1 or localhost"),
        ({"Host": "127.0.0.1.rebound.example:7860"}, "127.0.0.1 or localhost"),
        ({"Host": "192.168.0.7"}, "127.0.0.1 or localhost"),
        ({"Host": ""}, "127.0.0.1 or localhost"),
        ({"Origin": "http://evil.example"}, "from the page itself"),
        ({"Origin": "http://localhost:3000"}, "from the page itself"),  # another program of this machine
        ({"Origin": "null"}, "from the page itself"),  # a sandboxed frame
    ],
)
def test_another_site_cannot_use_the_page_through_a_browser(client: Any, method: str, headers: Any, said: str):
    for path in ("/", "/config", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/file=x"):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 403 and said in answer.text, (path, answer.status_code)
    own = str(client.base_url).rstrip("/")
    assert client.get("/config", headers={"Origin": own}).status_code == 200


def test_a_page_for_other_machines_answers_under_addresses_and_its_own_names():
    own = socket.gethostname()
    for host in ("192.168.0.7:7860", "[fe80::1]:7860", f"{own}:7860", own.upper(), "localhost:7860"):
        assert refusal(host, f"http://{host}", local=False) is None, host
    for host in ("rebound.example", f"{own}.rebound.example", "", None, "[::1", "192.168.0.7.rebound.example:7860"):
        assert own in (refusal(host, f"http://{host}", local=False) or ""), host
    assert refusal("192.168.0.7:7860", "http://192.168.0.7:80", local=False)


@pytest.mark.parametrize("name", ["x.png", "x.html", "x.svg", "x.pdf", "no ending"])
def test_what_was_uploaded_is_a_download_and_runs_nothing(client: Any, name: str):
    file = upload(client, b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", name).json()[0]
    for route in ("gradio_api/file=", "gradio_api/file/"):
        for more in ({}, {"Range": "bytes=0-9"}):
            answer = client.get(f"/{route}{file}", headers=more)
            assert answer.status_code in (200, 206), (route, more)
            assert answer.headers["content-disposition"].startswith("attachment")
            assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_fetches_nothing_from_the_network_for_a_browser(client: Any):
    for path in (
        "file=https://example.org/x.png",
        "file=//example.org/x",
        "proxy=https://x.hf.space/y",
        "file=HTTP:/x",
    ):
        answer = client.get(f"/gradio_api/{path}")
        assert answer.status_code == 403 and "Only this page" in answer.text, path


@contextmanager
def served(folder: Path, **settings: Any) -> Iterator[tuple[Any, Any]]:
    """A page of its own, and a client."""
    import httpx

    from experiments.app.page import serve

    before = os.environ.get("GRADIO_TEMP_DIR", "")
    started = serve({"Telea": "Telea"}, str(folder), **settings)
    try:
        with httpx.Client(base_url=started.url, timeout=30) as opened:
            yield started, opened
    finally:
        started.close()
        os.environ["GRADIO_TEMP_DIR"] = before


def test_all_uploads_together_have_a_limit_and_old_ones_make_room(tmp_path: Path):
    with served(tmp_path, max_upload_mb=1, max_total_mb=3) as (page, client):
        contents = [bytes([number]) * 700_000 for number in range(12)]
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda content: upload(client, content), contents))
        kept = [answer.json()[0] for answer in answers if answer.status_code == 200]
        assert {answer.status_code for answer in answers} == {200, 413} and 1 <= len(kept) <= 4
        assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 3 * 2**20
        full = next(answer for answer in answers if answer.status_code == 413)
        assert "The page is full: 3 MB" in full.json()["detail"]
        for file in kept:
            os.utime(file, (time.time() - 7 * 3600,) * 2)
        assert upload(client, contents[0] + b"new").status_code == 200
        assert not any(Path(file).exists() for file in kept)
        (tmp_path / "results").write_bytes(bytes(3 * 2**20))  # results count as well: no run begins
        session, _, _ = page.load(str(photograph(tmp_path / "x.png")))
        with pytest.raises(ValueError, match="The page is full"):
            page.task(session, "", "", ["Telea"], 0, 1, 1024)


def test_passwords_cannot_be_tried_at_will_and_a_right_one_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from experiments.app import guard

    def login(password: str, number: int = 0) -> int:
        other = {"X-Forwarded-For": f"10.0.0.{number}"}  # the brake is one for all addresses
        path = ("/login", "/login/")[number % 2]
        return client.post(path, data={"username": "lit", "password": password}, headers=other).status_code

    with served(tmp_path, password="open sesame") as (_, client):
        assert [login("open sesame") for _ in range(guard.TRIES + 2)] == [200] * (guard.TRIES + 2)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: login(f"wrong {number}", number), range(40)))
        assert sorted(answers) == [400] * guard.TRIES + [429] * (40 - guard.TRIES)
        assert login("open sesame") == 429
        assert client.get("/config").status_code == 200  # whoever is in stays in
        monkeypatch.setattr(guard, "PERIOD", -1.0)  # the minute is over
        assert login("wrong") == 400 and login("open sesame") == 200


# ---- every end ------------------------------------------------------------------------------------------------------


class App:
    """One real process, a photograph uploaded to it, and a browser's connection that stays open."""

    def __init__(self, apps: Any, folder: Path) -> None:
        import httpx

        port, self.apps, self.log = processes.free_port(), apps, folder / "log.txt"
        apps.send((str(folder), port))
        self.pid = apps.recv()
        end = time.monotonic() + 240
        while not (self.log.is_file() and "Ctrl-C" in self.log.read_text()):
            assert alive(self.pid) and time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self.open = self.client.stream("GET", "/gradio_api/heartbeat/tab")
        self.open.__enter__()
        self.photograph = Path(upload(self.client, b"a photograph").json()[0])
        assert self.photograph.read_bytes() == b"a photograph"

    def end(self, number: int) -> int:
        family, end = family_of(self.pid), time.monotonic() + 240
        os.kill(self.pid, number)
        while any(map(alive, family)):
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)
        self.apps.send(self.pid)
        return int(self.apps.recv())


def children_of(pid: int) -> list[int]:
    try:
        return [int(one) for path in Path(f"/proc/{pid}/task").glob("*/children") for one in path.read_text().split()]
    except OSError:
        return []


def family_of(pid: int) -> list[int]:
    """A process and its descendants: the server of forks and the worker of an app."""
    return [pid, *(one for child in children_of(pid) for one in family_of(child))]


@pytest.fixture
def apps(tmp_path: Path) -> Iterator[Any]:
    ours, theirs = multiprocessing.Pipe()
    (tmp_path / "tmp").mkdir()
    process = processes.start(fork_apps, theirs, str(tmp_path / "tmp"), folder=tmp_path / "forks")
    yield ours
    for pid in family_of(process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.join()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_folder_is_removed_while_a_thread_still_writes_to_it(tmp_path: Path):
    from experiments.app.folder import remove

    def write(folder: Path) -> None:
        end = time.monotonic() + 0.3
        with suppress(FileNotFoundError):
            for number in itertools.count():
                (folder / f"{number}.png").touch()
                if time.monotonic() > end:
                    return

    for number in range(10):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        writer = threading.Thread(target=write, args=(folder,))
        writer.start()
        time.sleep(0.02)
        remove(folder)
        writer.join()
        assert not folder.exists(), f"{len(files_in(folder))} files are left"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to see processes in")
def test_photographs_are_gone_at_every_end_and_after_a_kill_at_the_next_start(apps: Any, tmp_path: Path):
    temporary, link = tmp_path / "tmp", tmp_path / "tmp" / "lit-inpaint-app-link"
    (tmp_path / "kept").mkdir()
    link.symlink_to(tmp_path / "kept")
    living, killed = App(apps, tmp_path / "living"), App(apps, tmp_path / "killed")
    try:
        assert killed.end(signal.SIGKILL) == -signal.SIGKILL and killed.photograph.exists()
        following = App(apps, tmp_path / "following")
        assert not killed.photograph.exists() and living.photograph.exists() and (tmp_path / "kept").is_dir()
        (worker,) = (one for child in children_of(living.pid) for one in children_of(child))
        os.kill(worker, signal.SIGKILL)  # as the system does when memory is short
        assert living.end(signal.SIGHUP) == 128 + signal.SIGHUP
        assert not living.photograph.exists() and following.photograph.exists()
        assert following.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert App(apps, tmp_path / "last").end(signal.SIGINT) == 128 + signal.SIGINT
        assert not files_in(temporary) and list(temporary.glob("lit-inpaint-app-*")) == [link]
    finally:
        for log in tmp_path.glob("*/log.txt"):
            print(log.read_text())


def test_a_password_is_asked_for_and_the_queue_has_an_end(tmp_path: Path):
    import httpx

    from experiments.app.page import serve

    before = os.environ.get("GRADIO_TEMP_DIR")
    page = serve({"Telea": "Telea"}, str(tmp_path), password="open sesame", queue=3)
    try:
        upload = httpx.post(f"{page.url}gradio_api/upload", files={"files": ("x.png", b"x")})
        assert upload.status_code == 401
        with httpx.Client(base_url=page.url) as client:
            assert client.post("/login", data={"username": "lit", "password": "wrong"}).status_code == 400
            assert client.post("/login", data={"username": "lit", "password": "open sesame"}).status_code == 200
        assert page.server.max_file_size == 50 * 2**20 and page.server._queue.max_size == 3
    finally:
        page.close()
        os.environ["GRADIO_TEMP_DIR"] = before or str(tmp_path)


def test_memory_is_told_where_the_system_tells_it():
    assert (available_memory(torch.device("cpu")) or 1) > 0
