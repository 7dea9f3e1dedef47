"""The preference study: simulated raters get back what was put into them, and no answer is lost."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from experiments.cli import main
from experiments.compare.command import main as compare
from experiments.compare.reader import read_folders
from experiments.vote.page import serve
from experiments.vote.result import Votes, binomial, interval
from experiments.vote.store import Store, Vote
from experiments.vote.study import Study, make_study
from tests.support.browsing import violations
from tests.support.votes import IMAGES, results, study_of


def simulate(store: Store, study: Study, name: str, prefers: Callable[[str, str, int], bool]) -> None:
    """A rater through the store as the page uses it. ``prefers(rival, image, showing)``: whether the rival wins."""
    token, shown = store.begin(name, study, None), {}
    while (found := store.question(token)) is not None:
        position, _, q = found
        shown[q.rival, q.image] = showing = shown.get((q.rival, q.image), -1) + 1
        store.answer(token, position, q.left == prefers(q.rival, q.image, showing))


def test_known_preferences_come_back_as_percentages_and_an_inconsistent_rater_is_left_out(tmp_path: Path, capsys: Any):
    study = study_of(results(tmp_path))
    store = Store(study.database, study)
    wins = {"LaMa": set(IMAGES[:6]), "Telea": set(IMAGES[:3])}  # 25 % and 12.5 %
    for number in range(3):
        simulate(store, study, f"steady {number}", lambda rival, image, _: image in wins[rival])
    simulate(store, study, "<b>fickle</b>", lambda rival, image, showing: showing == 0)
    simulate(
        store, study, "mostly", lambda rival, image, showing: (image in wins[rival]) ^ (showing and image < "a/06")
    )
    assert [r.consistency for r in store.raters()] == [1, 1, 1, 0, 0.75]
    with pytest.raises(SystemExit) as end:
        main(["vote", str(tmp_path), "--reference", "RePaint", "--result"])
    assert not end.value.code
    said = capsys.readouterr().out
    # "mostly" answers the second showing of six images the other way: 6 of 48 votes of LaMa lost, 0 + 3 of Telea's won.
    lama = 100 * (3 * 12 + 12 - 6) / (4 * 48)
    telea = 100 * (3 * 6 + 6 - 3 + 3) / (4 * 48)
    assert f"| LaMa | {lama:.1f} [" in said and f"| Telea | {telea:.1f} [" in said and "| 192 | 24 |" in said
    assert "4 of 5 raters" in said and "fickle" in said and "0% of the pairs alike" in said

    assert compare([str(tmp_path), "--out", str(tmp_path / "page.html")]) == 0
    table = capsys.readouterr().out
    assert "Votes↑" in table and f"{lama:.1f}" in table
    assert "the others are compared with it" in (tmp_path / "page.md").read_text()
    assert re.search(rf"wide,.*LaMa.*,votes,{lama}", (tmp_path / "page.csv").read_text())


def test_the_order_and_the_sides_are_random_and_every_pair_is_asked_twice(tmp_path: Path):
    study = study_of(results(tmp_path))
    asked, other = study.questions(0), study.questions(1)
    half = len(study.pairs)
    assert asked != other and len(asked) == 2 * half == 96
    assert {(q.rival, q.image) for q in asked[:half]} == set(study.pairs) == {(q.rival, q.image) for q in asked[half:]}
    assert [q.image for q in asked[:half]] != [q.image for q in asked[half:]]
    assert 30 < sum(q.left for q in asked) < 66
    assert len({(q.rival, q.image) for q in study.questions(0, 5)}) == 5


def test_repaints_own_intervals_are_binomial():
    for share, votes, printed in ((41.8, 1000, 3.1), (0.7, 1000, 0.5), (22.3, 1000, 2.6)):  # its Table 1
        won = round(share * votes / 100)
        half = binomial(Votes([Vote(0, "x", str(i), i < won) for i in range(votes)]))[1]
        assert round(half, 1) == printed


def test_the_interval_covers_a_known_preference_where_the_binomial_is_too_narrow():
    rng, truth, covered, narrow = np.random.default_rng(0), 30.0, 0, 0
    for _ in range(200):  # studies: 60 images that differ in how likely a rater is to prefer the rival, 8 raters
        likely = rng.beta(0.6, 1.4, 60)
        won = rng.random((60, 8)) < likely[:, None]
        votes = Votes([Vote(r, "x", str(i), bool(won[i, r])) for i in range(60) for r in range(8)])
        low, high = interval(votes, 400) or (0.0, 0.0)
        covered += low <= truth <= high
        share, half = binomial(votes)
        narrow += share - half <= truth <= share + half
    assert 184 <= covered <= 200 and narrow < 170


class Browser:
    """A rater's browser, no more than http.client and a cookie."""

    def __init__(self, port: int) -> None:
        self.port, self.cookie = port, ""

    def ask(self, path: str, form: dict[str, Any] | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers |= {"Cookie": self.cookie, "Content-Type": "application/x-www-form-urlencoded"}
        body = None if form is None else urlencode(form)
        connection.request("GET" if form is None else "POST", path, body, headers)
        answer = connection.getresponse()
        if cookie := answer.getheader("Set-Cookie"):
            self.cookie = cookie.partition(";")[0]
        content = answer.read()
        connection.close()
        return answer.status, content


@contextmanager
def voting(folder: Path, study: Study | None = None) -> Iterator[tuple[Any, Store, Study]]:
    study = study or study_of(results(folder))
    store = Store(study.database, study)
    started = serve(study, store, 0)
    thread = threading.Thread(target=started.serve_forever, daemon=True)
    thread.start()
    yield started, store, study
    started.shutdown()
    started.server_close()
    store.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Any, Store, Study]]:
    with voting(tmp_path) as started:
        yield started


def test_the_page_shows_pairs_without_their_names_and_keeps_answers(server: Any):
    started, store, study = server
    browser = Browser(started.server_port)
    assert b"Your name" in browser.ask("/")[1]
    assert browser.ask("/begin", {"name": "<script>"})[0] == 303
    status, page = browser.ask("/")
    assert status == 200 and b"1 of 96" in page and not any(label.encode() in page for label in study.records)
    _, _, question = store.question(browser.cookie.partition("=")[2])
    pictures = {side: BytesIO(browser.ask(f"/picture/0/{side}")[1]) for side in ("left", "right")}
    red = {side: np.asarray(Image.open(picture))[0, 0, 0] for side, picture in pictures.items()}
    rival = {"LaMa": 100, "Telea": 150}[question.rival]
    assert red == ({"left": rival, "right": 50} if question.left else {"left": 50, "right": rival})
    assert browser.ask("/answer", {"position": 0, "choice": "left"})[0] == 303
    assert browser.ask("/answer", {"position": 0, "choice": "right"})[0] == 303  # the first one counts
    (vote,) = store.votes()
    assert vote.preferred == question.left and b"2 of 96" in browser.ask("/")[1]


@pytest.mark.slow
def test_a_rater_answers_in_a_real_browser_whose_console_stays_empty(server: Any, browser: Any):
    expect = pytest.importorskip("playwright.sync_api").expect  # polls outside the page, whose policy forbids eval
    started, store, _ = server
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    answer = page.goto(f"http://127.0.0.1:{started.server_port}/")
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(
        answer.headers["content-security-policy"].split("; ")
    )
    page.fill("input[name=name]", "rater")
    page.keyboard.press("Enter")
    expected = []
    for number, key in enumerate(("ArrowLeft", "ArrowRight", "ArrowLeft"), 1):
        shown(page, number, expect)
        question = store.question(page.context.cookies()[0]["value"])[2]
        expected.append(question.left == (key == "ArrowLeft"))
        page.keyboard.press(f"Control+{key}")
        page.keyboard.press(key)
    shown(page, 4, expect)
    assert [vote.preferred for vote in store.votes()] == expected
    page.click("button[value=left]")
    shown(page, 5, expect)
    page.keyboard.down("ArrowLeft")  # held: the pair that follows is not answered as well
    shown(page, 6, expect)
    page.keyboard.down("ArrowLeft")
    page.keyboard.up("ArrowLeft")
    page.wait_for_timeout(500)
    shown(page, 6, expect)
    page.locator("button[value=right] img").click()
    shown(page, 7, expect)
    assert len(store.votes()) == 6 and not said, said
    page.close()


@pytest.mark.slow
def test_an_answer_meant_for_the_pair_before_does_not_count(server: Any, browser: Any):
    """The page reads a clock that this test sets, and one picture arrives when this test says so."""
    expect = pytest.importorskip("playwright.sync_api").expect
    started, store, _ = server
    page, held = browser.new_page(), []
    page.route("**/picture/1/left", lambda route: held.append(route))
    page.add_init_script("window.now = 299; performance.now = () => now")
    page.goto(f"http://127.0.0.1:{started.server_port}/")
    page.fill("input[name=name]", "rater")
    page.keyboard.press("Enter")
    watched = "window.stopped = []; addEventListener('click', (event) => stopped.push(event.defaultPrevented))"

    shown(page, 1, expect)
    page.evaluate(watched)
    page.click("button[value=left]")  # the second half of a double click
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("stopped") == [True, True] and not store.votes()
    page.evaluate("now = 301")
    page.keyboard.press("ArrowRight")

    expect(page.locator("header")).to_contain_text("2 of 96")
    page.evaluate(f"now = 301; {watched}")
    page.keyboard.press("ArrowRight")  # old enough, but half the pair has not been seen
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("stopped") == [True, True] and len(store.votes()) == 1
    held[0].continue_()
    shown(page, 2, expect)
    page.keyboard.press("ArrowRight")
    expect(page.locator("header")).to_contain_text("3 of 96")
    assert len(store.votes()) == 2
    page.close()


def shown(page: Any, number: int, expect: Any) -> None:
    """Both pictures are there, and old enough that an answer counts."""
    expect(page.locator("header")).to_contain_text(f"{number} of 96")
    expect(page.get_by_role("progressbar")).to_have_js_property("value", number - 1)
    assert page.locator("img").count() == 3
    for picture in page.locator("img").all():
        expect(picture).to_have_js_property("naturalWidth", 8)
    page.wait_for_timeout(350)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1366, 800), (1920, 1080), (390, 844)])
def test_both_pictures_are_large_whole_and_on_one_screen(
    tmp_path: Path, browser: Any, width: int, height: int, scheme: str
):
    """Squares of whole pixels where they are enlarged; a picture too large for the window is reduced smoothly."""
    with voting(tmp_path) as (started, *_):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.goto(f"http://127.0.0.1:{started.server_port}/")
        assert not violations(page)
        page.fill("input[name=name]", "rater")
        page.keyboard.press("Enter")
        page.wait_for_selector("header")
        for size in ((8, 8), (64, 64), (60, 90), (256, 256), (1500, 1000)):
            for file in tmp_path.rglob("*.png"):
                Image.new("RGB", size).save(file)
            page.reload()
            boxes = [picture.bounding_box() for picture in page.locator(".two img").all()]
            for box in boxes:
                assert box["x"] >= 0 and box["x"] + box["width"] <= width, size
                assert box["y"] >= 0 and box["y"] + box["height"] <= height, size
                assert box["width"] / box["height"] == pytest.approx(size[0] / size[1], rel=0.01)
            times = boxes[0]["width"] / size[0]
            assert times < 1 if size[0] == 1500 else times == round(times) >= 1, (size, times)
            rendering = page.locator(".two img").first.evaluate("image => getComputedStyle(image).imageRendering")
            assert rendering == ("auto" if times < 1 else "pixelated"), size
            side = min(width / 2, height - 140) if width > height else min(width, (height - 140) / 2)
            assert max(boxes[0]["width"], boxes[0]["height"]) > 0.66 * side, size
            assert (boxes[0]["y"] == boxes[1]["y"]) == (width > height)
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), size
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
            assert not violations(page)
        page.close()


@pytest.mark.parametrize(
    ("path", "form", "headers", "status"),
    [
        ("/", None, {"Origin": "http://evil.example"}, 403),
        ("/", None, {"Host": "127.0.0.1.evil.example"}, 403),
        ("/begin", {"name": "x"}, {"Origin": "null"}, 403),
        ("/begin", {"name": "x"}, {"Origin": "http://localhost:3000"}, 403),
        ("/picture/0/../../etc/passwd", None, {}, 404),
        ("/picture/999999/left", None, {}, 404),
        ("/../votes.sqlite", None, {}, 404),
        ("/picture/0/left", None, {"Host": "evil.example"}, 403),
        ("/begin", {"name": "x"}, {"Origin": "http://evil.example"}, 403),
        ("/begin", {"name": "x" * 5000}, {}, 413),
        ("/answer", {"position": "-1", "choice": "left"}, {}, 400),
        ("/answer", {"position": "0; drop table answer", "choice": "left"}, {}, 400),
        ("/answer", {"position": "0", "choice": "both"}, {}, 400),
        ("/elsewhere", {"x": 1}, {}, 400),
    ],
)
def test_a_request_that_the_page_does_not_make_is_refused(server: Any, path: str, form: Any, headers: Any, status: int):
    browser = Browser(server[0].server_port)
    browser.ask("/begin", {"name": "rater"})
    assert browser.ask(path, form, **headers)[0] == status
    assert not server[1].votes() and server[0].server_address[0] == "127.0.0.1"


def test_every_answer_that_was_confirmed_survives_kill_9(tmp_path: Path):
    results(tmp_path)
    code = (
        "import sys; from pathlib import Path; from experiments.compare.reader import read_folders\n"
        "from experiments.vote.page import serve; from experiments.vote.store import Store\n"
        "from experiments.vote.study import make_study\n"
        f"study = make_study(read_folders([Path({str(tmp_path)!r})])[0], 'RePaint')\n"
        "server = serve(study, Store(study.database, study), 0); print(server.server_port, flush=True)\n"
        "server.serve_forever()"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        browser, confirmed = Browser(int(process.stdout.readline())), 0
        browser.ask("/begin", {"name": "rater"})
        threading.Timer(0.4, process.send_signal, (signal.SIGKILL,)).start()
        try:
            for position in range(96):
                confirmed += browser.ask("/answer", {"position": position, "choice": "left"})[0] == 303
        except (OSError, http.client.HTTPException):
            pass  # killed between two answers or in the middle of one
    finally:
        process.kill()
        process.wait()
    study = study_of(tmp_path)
    store = Store(study.database, study)
    assert 0 < confirmed <= len(store.votes()) <= confirmed + 1
    simulate(store, study, "next", lambda *_: True)
    assert len(store.votes()) >= confirmed + 96


def test_a_file_of_answers_about_other_images_is_refused(tmp_path: Path):
    study = study_of(results(tmp_path))
    Store(study.database, study).close()
    with pytest.raises(ValueError, match="other images"):
        Store(study.database, make_study(read_folders([tmp_path])[0], "LaMa"))
    study.database.write_bytes(b"no database at all, and longer than a header of SQLite" * 20)
    with pytest.raises(ValueError, match="is not a file of answers"):
        Store(study.database, study)
    shutil.rmtree(tmp_path / "images" / "wide-5bc7d730" / "LaMa")
    with pytest.raises(ValueError, match="no pictures by 'LaMa'"):
        make_study(read_folders([tmp_path])[0], "RePaint", ["LaMa"])


def test_a_narrower_study_asks_about_its_own_pairs_alone_and_a_wider_one_about_all_again(tmp_path: Path):
    results(tmp_path)
    with voting(tmp_path) as (server, store, _):
        browser = Browser(server.server_port)
        browser.ask("/begin", {"name": "rater"})
        browser.ask("/answer", {"position": 0, "choice": "left"})
        questions = [store.question(browser.cookie.partition("=")[2], place)[2] for place in range(96)]
    (tmp_path / "images/wide-5bc7d730/RePaint/a/07.png").unlink()
    narrow = make_study(read_folders([tmp_path])[0], "RePaint", ["LaMa"])
    in_it = [place for place, q in enumerate(questions) if q.rival == "LaMa" and q.image != "a/07"]
    assert len(in_it) == 46
    with voting(tmp_path, narrow) as (server, store, _):
        browser.port = server.server_port
        outside = next(place for place, q in enumerate(questions) if place and place not in in_it)
        assert browser.ask(f"/picture/{outside}/left")[0] == 404
        assert browser.ask("/answer", {"position": outside, "choice": "left"})[0] == 404
        for number, place in enumerate([place for place in in_it if place], 46 - len([p for p in in_it if p]) + 1):
            status, page = browser.ask("/")
            assert status == 200 and f"{number} of 46".encode() in page and f"value={place}>".encode() in page
            assert browser.ask(f"/picture/{place}/right")[0] == 200
            assert browser.ask("/answer", {"position": place, "choice": "left"})[0] == 303
        assert b"That was all" in browser.ask("/")[1]
    results(tmp_path)
    with voting(tmp_path) as (server, *_):
        browser.port = server.server_port
        assert f"{len({0, *in_it}) + 1} of 96".encode() in browser.ask("/")[1]


def test_a_picture_that_goes_while_raters_are_asked_is_told_and_stops_nobody(server: Any, capsys: Any):
    started, store, study = server
    browser = Browser(started.server_port)
    browser.ask("/begin", {"name": "rater"})
    question = store.question(browser.cookie.partition("=")[2])[2]
    file = study.picture(question.image, "RePaint")
    file.rename(file.with_suffix(".away"))
    status, page = browser.ask("/")
    assert status == 500 and b"Tell who runs the study" in page and str(file) in capsys.readouterr().err
    file.with_suffix(".away").rename(file)
    assert browser.ask("/")[0] == 200
    shutil.rmtree(study.picture(question.image, None).parents[1])
    assert [browser.ask(path)[0] for path in ("/picture/0/input", "/")] == [500, 200]


def test_one_browser_rates_several_studies_and_continues_each(tmp_path: Path):
    """A browser sends the cookies of 127.0.0.1 to every port."""
    with voting(tmp_path / "a") as (first, *_), voting(tmp_path / "b") as (second, *_):
        jar = {}
        for server in (first, second):
            browser = Browser(server.server_port)
            browser.cookie = "; ".join(jar.values())
            assert b"Your name" in browser.ask("/")[1]
            browser.ask("/begin", {"name": "rater"})
            jar[browser.cookie.partition("=")[0]] = browser.cookie
        browser.cookie = "; ".join(["session[id]=<other page>", *jar.values()])
        for server in (first, second):
            browser.port = server.server_port
            assert b"1 of 96" in browser.ask("/")[1]
        browser.cookie = f"rater={next(iter(jar.values())).partition('=')[2]}"  # as earlier versions named it
        browser.port = first.server_port
        assert b"1 of 96" in browser.ask("/")[1]


@pytest.mark.parametrize("places", [("exp1", "exp2"), ("exp1", ".")])
def test_a_label_that_is_found_twice_is_refused_with_the_folders_to_choose_from(places: Any, tmp_path: Path):
    for place in places:
        results(tmp_path / place)
    with pytest.raises(ValueError, match="there are several 'RePaint'; give one of these folders: ") as error:
        study_of(tmp_path)
    for place, given in zip(places, str(error.value).rstrip(".").partition("folders: ")[2].split(", "), strict=True):
        study = study_of(Path(given))
        assert study.database == (tmp_path / place).resolve() / "votes/wide-5bc7d730/RePaint.sqlite"
        assert len(study.pairs) == 48


def test_the_address_is_in_a_log_at_once_and_a_port_that_is_taken_is_named(tmp_path: Path):
    results(tmp_path)
    command = [sys.executable, "-m", "experiments", "vote", str(tmp_path), "--reference", "RePaint", "--port"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    options: Any = {"cwd": Path(__file__).parents[2], "env": environment, "text": True, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, **options) as process:
        (late := threading.Timer(100, process.kill)).start()
        try:
            assert process.stdout is not None
            port = re.match(r"lit-inpaint: http://127\.0\.0\.1:(\d+) asks about 48 pairs", process.stdout.readline())
            assert port
            second = subprocess.run([*command, port[1]], **options)
        finally:
            late.cancel()
            process.kill()
    said = f"lit-inpaint: port {port[1]}: Address already in use. Give another --port; --port 0 is any free one.\n"
    assert second.returncode == 2 and second.stderr == said


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_that_there_is_not_is_refused(port: int, tmp_path: Path, capsys: Any):
    with pytest.raises(SystemExit):
        main(["vote", str(tmp_path), "--reference", "RePaint", f"--port={port}"])
    assert capsys.readouterr().err == f"lit-inpaint: --port is {port}; expected 1 to 65535, or 0 for any free one.\n"
