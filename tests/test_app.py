"""The page in a browser as a person uses it, and what it refuses."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.app.command import main as app
from experiments.large import available_memory
from lit_inpaint.methods import DeepFillV2
from masks.files import read_mask, write_mask

pytest.importorskip("gradio", reason="the page needs gradio, the extra `app`")

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
SLOW = {"timeout": 60_000}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def sketching(folder: Path) -> str:
    """A small DeepFillV2 with a sketch channel, untrained."""
    torch.manual_seed(0)
    network = DeepFillV2(width=8, sketch=True)
    checkpoint = {"method": "DeepFillV2", "hyper_parameters": dict(network.hparams), "state_dict": network.state_dict()}
    torch.save(checkpoint, folder / "sketch.ckpt")
    return str(folder / "sketch.ckpt")


@pytest.fixture(scope="module")
def page(folder: Path, sketching: str) -> Iterator[Any]:
    from experiments.app.page import serve

    (folder / "served").mkdir()
    methods = {"Telea": "Telea", "Harmonic": "Harmonic", "Sketched": sketching}
    started = serve(methods, str(folder / "served"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield started
        started.close()


@pytest.fixture
def tab(page: Any, browser: Any) -> Iterator[Any]:
    """A new tab; whatever it asks of another host fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1100})
    asked: list[str] = []
    opened.on("request", lambda r: r.url.startswith((page.url, "data:", "blob:")) or asked.append(r.url))
    opened.goto(page.url)
    opened.wait_for_selector("#editor .stage", **SLOW)
    yield opened
    opened.close()
    assert not asked


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
    assert "the lines are not used" in said.splitlines()[0] and "not used" not in said.splitlines()[1]
    assert tab.locator("#gallery img").count() >= 2
    tab.wait_for_selector("#slider img", **SLOW)
    if shots := os.environ.get("LIT_INPAINT_SCREENSHOTS"):
        tab.screenshot(path=f"{shots}/page.png")
    truth = np.asarray(Image.open(file))
    for name in ("Telea", "Sketched"):
        filled = download(tab, f"{name}.png", tmp_path / f"{name}.png")
        changed = (filled != truth).any(-1)
        assert changed[42:78, 62:118].any()  # the rectangle was 60..120 by 40..80
        changed[38:82, 58:122] = False
        assert not changed.any()


@pytest.mark.slow
def test_a_mask_of_another_size_is_an_error_on_the_page_and_one_that_fits_comes_back(tab: Any, tmp_path: Path):
    load(tab, photograph(tmp_path / "photo.png", (2600, 1300)))
    hole = np.zeros((1300, 2600), np.uint8)
    hole[401:611, 1001:1207] = 1  # odd numbers: no preview of half the size keeps them
    write_mask(hole[:-1], tmp_path / "small.png")
    write_mask(hole, tmp_path / "fits.png")
    tab.set_input_files("#mask input[type=file]", str(tmp_path / "small.png"))
    assert "2600x1299, the photograph 2600x1300" in wait_for(tab, "must have one size")
    tab.locator("#mask button[aria-label*=lear], #mask button[aria-label*=emove]").first.click()
    tab.set_input_files("#mask input[type=file]", str(tmp_path / "fits.png"))
    wait_for(tab, "can be edited")
    time.sleep(0.5)  # the picture of the mask is drawn after the line is written
    tab.get_by_text("make mask file").click()
    wait_for(tab, r"The mask covers 1\.3%\.")
    with tab.expect_download() as coming:
        tab.locator("#mask_out a[download='mask.png']").first.click()
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
    tab.locator("#photo button[aria-label*=lear], #photo button[aria-label*=emove]").first.click()
    tab.set_input_files("#photo input[type=file]", str(file))
    wait_for(tab, "6000x4000")
    time.sleep(1)
    paint_rectangle(tab)
    tab.click("#go")
    assert "GB" in wait_for(tab, r"Telea.*windows.*\.\d s", 120)
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
    assert session is None and shown is None and "12000x9000 is too large" in said
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
