"""Python: what the commands do as functions that read no sys.argv, print nothing and never exit."""

import html.parser
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import experiments
import lit_inpaint
from experiments.compare.command import main as compare_command
from experiments.evaluate import measure
from experiments.records.record import Record
from experiments.run import Run
from lit_inpaint import load_method, methods, metric
from lit_inpaint.callbacks.panels import sheet
from masks.convention import from_levels
from tests.support.pictures import hole, photo
from tests.support.protocols import records, run, without_cost, write_protocol


class Blur(nn.Module):
    """A lab's network; its weights are in a file."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.body(image).tanh()


BLUR = f"{__name__}.Blur"


def evaluated(photos: Path, folder: Path, method: str, **changes: Any) -> Record:
    arguments: dict[str, Any] = {"images": photos, "limit": 2} | changes
    return experiments.evaluate(method, write_protocol(folder), folder / "out", **arguments)


# ---- quiet -----------------------------------------------------------------------------------------------------------


def test_no_function_reads_the_command_line_prints_or_exits(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    class Poisoned(list[str]):
        def __getitem__(self, place: Any) -> Any:
            if place == 0:  # argparse names every parser after the program
                return "program"
            raise AssertionError("sys.argv was read")

        def __iter__(self) -> Any:
            raise AssertionError("sys.argv was read")

    monkeypatch.setattr(sys, "argv", Poisoned(["program", "--help"]))
    capfd.readouterr()
    for name in methods.__all__:
        assert getattr(methods, name).year >= 2000
    completed = load_method("Telea").complete(photo(), hole(), samples=2)
    image = from_levels(torch.from_numpy(np.array(completed[0])).permute(2, 0, 1)[None])
    assert float(metric("psnr")(image, image * 0.9)) > 10
    told: list[int] = []
    record = evaluated(photos, tmp_path, "Telea", advance=told.append)
    failed = evaluated(photos, tmp_path, "MINE=Telea", device="nowhere")
    page = experiments.compare(tmp_path / "out", out=tmp_path / "table.html", notes=["a note"])
    for call in (
        lambda: load_method("Tela"),
        lambda: load_method(tmp_path / "none.ckpt"),
        lambda: metric("psnt"),
        lambda: evaluated(photos, tmp_path, "Tela"),
        lambda: evaluated(photos, tmp_path, "Telea", weights="best"),
        lambda: experiments.evaluate("Telea", "repain", tmp_path / "out"),
        lambda: experiments.compare(tmp_path / "nothing"),
        lambda: experiments.compare(),
    ):
        with pytest.raises(ValueError, match=r"\w"):  # a SystemExit would end the test
            call()
    assert capfd.readouterr() == ("", "")
    assert told[-1] == 2 and record.metrics["psnr"].n == 2
    assert "nowhere" in str(failed.not_applicable) and page.path.is_file()


def test_what_a_function_logs_a_command_shows(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]):
    from lit_inpaint.methods.ict.sampling import logger
    from lit_inpaint.options import show_messages

    packages = [logging.getLogger(package) for package in ("lit_inpaint", "experiments")]
    for package in packages:  # an earlier test of this process may have run a command
        package.handlers.clear(), package.setLevel(0)
    logger.info("before")
    show_messages(), show_messages()
    logger.info("ICT: %d network calls", 7)
    assert capsys.readouterr().err == "lit-inpaint: ICT: 7 network calls\n"
    for package in packages:
        package.handlers.clear(), package.setLevel(0)


# ---- evaluate, compare -----------------------------------------------------------------------------------------------


def test_evaluate_gives_the_record_of_the_command_and_neither_measures_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    record = evaluated(photos, tmp_path, "Telea", batch_size=2)
    command = [tmp_path / "try.yaml", "--images", photos, "--limit", 2, "--methods", "Telea", "--batch-size", 2]
    assert run(*command, "--out", tmp_path / "other") == 0
    (of_command,) = without_cost(records(tmp_path / "other")).values()
    assert replace(record, seconds_per_image=None, peak_memory_bytes=None) == of_command
    assert record.path is not None and record.path.is_relative_to(tmp_path / "out")

    monkeypatch.setattr(measure, "_evaluate", lambda *_: pytest.fail("measured again"))
    assert run(*command, "--out", tmp_path / "out") == 0
    assert experiments.evaluate(
        "Telea", tmp_path / "try.yaml", tmp_path / "other", images=photos, limit=2, batch_size=2
    )


def test_a_protocol_of_several_masks_asks_for_one(photos: Path, tmp_path: Path):
    protocol = write_protocol(tmp_path, masks={n: {"class_path": f"masks.{n.title()}"} for n in ("wide", "narrow")})
    call = {"protocol": protocol, "out": tmp_path / "out", "images": photos, "limit": 1}
    with pytest.raises(ValueError, match=r"2 masks, narrow, wide; give one: mask='narrow'"):
        experiments.evaluate("Telea", **call)
    assert experiments.evaluate("Telea", **call, mask="narrow").protocol.name == "try-narrow"


def test_compare_writes_the_files_of_the_command(photos: Path, tmp_path: Path):
    for method in ("Telea", "Harmonic"):
        evaluated(photos, tmp_path, method)
    page = experiments.compare(tmp_path / "out", out=tmp_path / "a.html", notes=["a note"])
    assert compare_command([str(tmp_path / "out"), "--out", str(tmp_path / "b.html"), "--note", "a note"]) == 0
    assert {file.suffix for file in page.files} == {".html", ".md", ".csv", ".tex"}
    for file in page.files:
        assert file.read_text() == (tmp_path / "b").with_suffix(file.suffix).read_text()
    assert {row.label for row in page.tables[0].rows} == {"Telea", "Harmonic"}


# ---- notebooks -------------------------------------------------------------------------------------------------------


class Seen(html.parser.HTMLParser):
    """Balanced markup: its text by cell, and its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.pictures: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_record_and_a_comparison_show_themselves_in_a_notebook(photos: Path, tmp_path: Path):
    record = evaluated(photos, tmp_path, "Telea")
    record.method.label = "<i>"
    seen = Seen(record._repr_html_())
    mean = record.metrics["psnr"].mean
    assert mean is not None and {"psnr", f"{mean:.2f}", record.label, f" under try ({record.hash[:8]})"} <= set(
        seen.text
    )
    assert len(seen.pictures) == 3 * 2 and all(p.startswith("data:image/webp;base64,") for p in seen.pictures)
    evaluated(photos, tmp_path, "Harmonic")
    page = experiments.compare(tmp_path / "out", out=tmp_path / "a.html")
    seen = Seen(page._repr_html_())
    assert {"Harmonic", "a.html", "PSNR↑"} <= set(seen.text) and any("too few to rank" in text for text in seen.text)
    hurt = Seen(replace(record, metrics={}, not_applicable="<out of memory>")._repr_html_())
    assert "<out of memory>" in hurt.text and "Telea" not in hurt.text


def test_a_run_shows_its_state_and_newest_panel(tmp_path: Path):
    page = sheet([np.zeros((40, 208, 3), np.uint8)], ["x"])
    assert page._repr_png_().startswith(b"\x89PNG")  # a panel alone is a PIL image
    (tmp_path / "panels").mkdir()
    for name in ("step-8", "step-64", "step-64-1", "step-16"):
        page.save(tmp_path / "panels" / f"{name}.png")
    seen = Seen(Run(tmp_path)._repr_html_())
    assert {tmp_path.name, "step-64-1"} <= set(seen.text) and len(seen.pictures) == 1
    assert Seen(Run(tmp_path / "none")._repr_html_()).pictures == []


# ---- one's own network with weights in a file ------------------------------------------------------------------------


def network_and_file(folder: Path, seed: int, kind: str = "pth") -> tuple[Blur, Path]:
    torch.manual_seed(seed)
    network, file = Blur(), folder / f"blur{seed}.{kind}"
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(network.state_dict(), file)
    else:
        torch.save({"state_dict": network.state_dict()} if kind == "ckpt" else network.state_dict(), file)
    return network, file


@pytest.mark.parametrize("kind", ["pth", "ckpt", "safetensors"])
def test_a_plain_network_takes_its_weights_from_a_file(kind: str, tmp_path: Path):
    network, file = network_and_file(tmp_path, 1, kind)
    method = load_method(f"{BLUR}:{file}")
    assert torch.equal(method.network.body.weight, network.body.weight) and method.loaded_weights == "raw"


def test_other_weights_of_a_plain_network_are_measured_anew_and_recorded(photos: Path, tmp_path: Path):
    files = [network_and_file(tmp_path, seed)[1] for seed in (1, 2)]
    (tmp_path / "net.pth").write_bytes(files[0].read_bytes())
    first = evaluated(photos, tmp_path, f"Blur={BLUR}:{tmp_path / 'net.pth'}")
    assert first.method.checkpoint_sha256 and first.method.name == "Blur" and first.label == "Blur"
    (tmp_path / "net.pth").write_bytes(files[1].read_bytes())
    second = evaluated(photos, tmp_path, f"Blur={BLUR}:{tmp_path / 'net.pth'}")
    assert second.metrics["psnr"].values != first.metrics["psnr"].values
    assert second.method.checkpoint_sha256 != first.method.checkpoint_sha256


class Code:
    def __reduce__(self) -> Any:
        return pytest.fail, ("code of a file was run",)


def test_weights_that_do_not_fit_and_files_with_code_are_refused(tmp_path: Path):
    torch.save({"body.weight": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save({"body.weight": Code()}, tmp_path / "code.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    for given, said in {
        f"{BLUR}:{tmp_path / 'other.pth'}": r"does not fit .*Blur: 2 differences, first: missing body.bias",
        f"{BLUR}:{tmp_path / 'code.pth'}": "none of its code was run",
        f"{BLUR}:{tmp_path / 'list.pth'}": "holds no state dict; write one with",
        f"{BLUR}:{tmp_path / 'none.pth'}": "There is no checkpoint",
        f"lit_inpaint.methods.Telea:{tmp_path / 'other.pth'}": "Telea is no plain network",
    }.items():
        with pytest.raises(ValueError, match=said):
            load_method(given)


def test_the_package_offers_the_three_names_of_the_first_line():
    assert lit_inpaint.load_method is load_method and lit_inpaint.metric is metric and lit_inpaint.methods is methods
    assert callable(experiments.evaluate) and experiments.evaluate.__name__ == "experiments.evaluate"  # still a folder
