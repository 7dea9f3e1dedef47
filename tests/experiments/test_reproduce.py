"""docs/reproduce: every published row has its page, made of protocols, reproduce.yaml and values."""

import copy
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from benchmarks import reproduce
from experiments.compare import options as compare_options
from experiments.evaluate import options as evaluate_options
from experiments.evaluate.laws import masks_of, rows_of
from experiments.files.find import INSTALLED
from experiments.files.read import read_yaml
from experiments.records.files import read_record
from experiments.weights import options as weights_options
from experiments.weights.imports import _reader_options, weights_module
from lit_inpaint.classes import method_classes

FACTS = reproduce.source()


def test_pages_are_what_protocols_reproduce_yaml_and_values_say():
    written = {path.name: path.read_text(encoding="utf-8") for path in reproduce.PAGES.glob("*")}
    assert written == reproduce.pages(), "python -m benchmarks.reproduce writes them again"


def test_every_published_row_of_every_protocol_stands_on_a_page_with_its_digits():
    counted = 0
    for path in sorted((INSTALLED / "protocols").glob("*.yaml")):
        config = read_yaml(path)
        for mask, law in masks_of(config, path).items():
            for row in rows_of(config, mask, law):
                found = [r for r in reproduce.rows(path.stem, FACTS) if (r.mask, r.label) == (mask, row.label)]
                assert any({k: float(v) for k, v in r.metrics.items()} == row.metrics for r in found), (path, row)
                counted += 1
    assert counted == sum(len(reproduce.rows(name, FACTS)) for name in reproduce.with_rows()) > 200
    assert "LaMa-Fourier | 0.63 | 0.090 ± " in reproduce.page("lama_places512", FACTS)  # not 0.09


def test_a_row_without_an_entry_and_an_entry_without_a_row_are_named():
    for change in (lambda rows: rows.pop("LaMa"), lambda rows: rows.update(LaMo="lama_places")):
        facts = copy.deepcopy(FACTS)
        change(facts["protocols"]["repaint_places256"]["groups"][0]["rows"])
        with pytest.raises(ValueError, match=r"repaint_places256: \['LaM[ao]'\] stand in only one"):
            reproduce.rows("repaint_places256", facts)


def commands() -> list[str]:
    """Every command of every page, on one line."""
    blocks = [b for text in reproduce.pages().values() for b in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def test_every_command_is_one_that_can_be_typed():
    parsers = {
        "benchmark": evaluate_options.benchmark(),
        "protocol": evaluate_options.protocol(),
        "import-weights": weights_options.import_weights(_reader_options()),
        "compare": compare_options.compare(),
    }
    assert len(commands()) > 80
    for line in commands():
        program, command, *words = shlex.split(line)
        stages = method_classes()[words[0]].stages if command == "assemble" else {}
        parser = parsers.get(command) or weights_options.assemble({k: v.__name__ for k, v in stages.items()})
        given = parser.parse_intermixed_args(words) if command == "assemble" else parser.parse_args(words)
        assert program == "lit-inpaint"
        if command == "import-weights":
            assert weights_module(method_classes()[given.method])
        if masks := getattr(given, "masks", None):
            path = INSTALLED / "protocols" / f"{given.protocol}.yaml"
            assert set(masks) <= set(masks_of(read_yaml(path), path)), line


def test_every_checkpoint_that_is_benchmarked_was_imported_on_the_same_page():
    for name, text in reproduce.pages().items():
        made = set(re.findall(r"--out (\S+\.ckpt)", text))
        assert set(re.findall(r"=(\S+\.ckpt)", text)) <= made, name


@pytest.mark.parametrize("name", FACTS["weights"])
def test_digits_of_a_sha256_are_those_in_the_name_of_the_file(name: str):
    weights = FACTS["weights"][name]
    if "openmmlab" in weights["address"]:
        assert weights["file"].endswith(f"-{weights['sha256']}.pth") and weights["address"].endswith(weights["file"])
    else:
        assert "sha256" not in weights  # nothing that nobody published or computed


def test_two_means_of_other_draws_differ_by_less_than_the_tolerance_in_95_of_100_cases():
    rng, n, deviation = np.random.default_rng(0), 100, 0.06
    means = rng.gamma(2, deviation / math.sqrt(2), (4000, 2, n)).mean(2)  # skewed, as LPIPS is
    bound = reproduce.tolerance("0.045", deviation, n) - reproduce.half_unit("0.045")
    assert 0.94 < (np.abs(means[:, 0] - means[:, 1]) < bound).mean() < 0.96


def test_the_tolerance_is_that_of_the_records_beside_it():
    """By hand, of RePaint's Wide: the largest standard deviation over images of the methods run under it."""
    spread = 0.0
    for path in reproduce.RESULTS.glob("*/records/repaint-wide-*/*.json"):
        values = read_record(path).metrics["lpips_alex"].values.values()
        spread = max(spread, np.std(list(values), ddof=1)) if path.stem != "LaMa-faces64" else spread
    row = next(r for r in reproduce.rows("repaint_places256", FACTS) if (r.mask, r.label) == ("wide", "LaMa"))
    bound = 1.96 * math.sqrt(2 / 100) * spread + 0.0005
    run = reproduce.measured_under("repaint_places256", "wide", FACTS)
    assert reproduce.with_tolerance(row, "lpips_alex", run) == f"0.078 ± {bound:.2g}"


def test_values_of_a_run_are_written_and_read_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    of_records = list(reproduce.values("photos", reproduce.RESULTS / "photos256"))
    monkeypatch.setattr(reproduce, "VALUES", tmp_path / "values.csv")
    reproduce.VALUES.write_text(reproduce.written(of_records), encoding="utf-8")
    reproduce.measured.cache_clear()
    found = [one for one in reproduce.measured() if one.images == "photos"]
    reproduce.measured.cache_clear()
    assert [one[:5] for one in found] == [one[:5] for one in of_records] and len(found) > 100
    np.testing.assert_allclose([one[5:] for one in found], [one[5:] for one in of_records], rtol=1e-5)


@pytest.mark.parametrize("name", reproduce.with_rows())
def test_every_protocol_was_run_here(name: str):
    for mask in reproduce.published(name):
        assert reproduce.measured_under(name, mask, FACTS), mask
