"""The comparison: what it refuses, what it marks, what it writes, and the page in a real browser."""

import csv
import io
import json
import math
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from experiments.compare import screen, spreadsheet, table, text
from experiments.compare.command import main
from experiments.compare.costs import COSTS, Cost
from experiments.compare.grouping import make_tables, validation_tables
from experiments.compare.page import _chart_runs
from experiments.compare.reader import read_folders
from experiments.compare.tiles import families, map_of_masks, mask_name
from experiments.compare.weights_and_biases import read_project, workspace
from experiments.records.files import read_record, text_of
from experiments.records.intervals import mean_interval
from experiments.records.record import hash_of
from lit_inpaint import plugins
from lit_inpaint.metrics import higher_is_better
from tests.support.browsing import violations, watch
from tests.support.wandb_server import wandb_server

NAMES = [f"image{i:03}" for i in range(100)]
DEFINITION = {
    "images": {"image000": "a" * 64, "image001": "b" * 64},
    "masks": {"image000": "c" * 64, "image001": "d" * 64},
    "size": 256,
    "resize": "shorter",
    "seed": 0,
    "measured": "composite",
    "rounding": "8 bits",
    "metrics": {"psnr": "psnr/1: as in the test"},
}

HASH = hash_of(DEFINITION)


def write_record(out: Path, label: str, metrics: Mapping[str, Any], **changes: Any) -> Path:
    """One record as `benchmark` writes it. ``metrics``: name -> values by image, or a float for a metric of the set."""
    protocol = {"name": "wide"} | changes.pop("protocol", {})
    protocol.setdefault(
        "definition", DEFINITION if protocol["name"] == "wide" else DEFINITION | {"of": protocol["name"]}
    )
    protocol["hash"] = hash_of(protocol["definition"])
    method = {"name": label, "label": label, "checkpoint": None, "checkpoint_sha256": None, "weights": "none"}
    method |= {"parameters": {"generator": 4_052_478}, "seed": None, "images_seen": None, "run": None}
    method |= changes.pop("method", {})
    record: dict[str, Any] = {"format": 1, "protocol": protocol, "method": method, "metrics": {}, "hole_share": {}}
    for name, values in metrics.items():
        kept = np.array([v for v in values.values() if v is not None]) if isinstance(values, Mapping) else np.array([])
        mean = float(kept.mean()) if len(kept) else (values if isinstance(values, float) else None)
        record["metrics"][name] = {
            "definition": f"{name}/1: as in the test",
            "values": dict(values) if isinstance(values, Mapping) else {},
            "mean": mean,
            "interval": mean_interval(kept),
            "n": len(kept) or (0 if mean is None else 100),
            "left_out": sum(v is None for v in values.values()) if isinstance(values, Mapping) else 0,
        }
        if isinstance(values, Mapping):
            record["hole_share"] |= dict.fromkeys(values, 0.25)
    record |= {"seconds_per_image": 0.02, "peak_memory_bytes": 2**28, "device": "cpu", "versions": {"torch": "2.11"}}
    record |= {"adaptation": None, "not_applicable": None, "note": None} | changes
    path = out / "records" / f"{protocol['name']}-{protocol['hash'][:8]}" / f"{label.replace('/', '_')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def spread(centre: float, deviation: float = 1.0, n: int = 100) -> dict[str, float]:
    """Values whose mean and sample deviation are exactly those given."""
    raw = np.random.default_rng(7).normal(size=n)
    raw = (raw - raw.mean()) / raw.std(ddof=1)
    return dict(zip(NAMES[:n], (centre + deviation * raw).tolist(), strict=True))


def compare(*folders: Path, out: Path) -> str:
    assert main([*map(str, folders), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


# ---- what it refuses -----------------------------------------------------------------------------------------------


def test_one_protocol_name_with_two_hashes_is_refused_and_the_difference_is_named(tmp_path: Path) -> None:
    write_record(tmp_path / "a", "Telea", {"psnr": spread(24)})
    other = {**DEFINITION, "seed": 1}
    write_record(tmp_path / "b", "LaMa", {"psnr": spread(25)}, protocol={"definition": other})
    with pytest.raises(
        ValueError, match=rf"'wide' has two definitions: {HASH[:8]} .* {hash_of(other)[:8]} .* seed: 0 and 1\."
    ):
        main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "page.html")])
    assert not list(tmp_path.glob("page*"))


def test_the_pages_of_two_definitions_are_named_as_commands_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(plugins.VARIABLE, "collections.abc")
    monkeypatch.chdir(tmp_path)
    other = {**DEFINITION, "images": {f"x{name}": found for name, found in DEFINITION["images"].items()}}
    write_record(tmp_path / "a b", "Telea", {"psnr": spread(24)})
    write_record(tmp_path / "c", "MIGAN", {"psnr": spread(24)})
    write_record(tmp_path / "a b", "LaMa", {"psnr": spread(25)}, protocol={"definition": other})
    with pytest.raises(ValueError, match="images: same contents, other names") as told:
        main([str(tmp_path / "a b"), str(tmp_path / "c")])
    commands = [shlex.split(command) for command in re.findall("`(.*?)`", str(told.value))]
    assert [command[-2:] for command in commands] == [["--import", "collections.abc"]] * 2
    found = {frozenset(compare(*words[2:-4], out=Path(words[-3])).split()) for words in commands}
    assert len(found) == len([*tmp_path.glob("wide-*.html")]) == 2
    assert {len(command) for command in commands} == {7, 8}, "the records of one lie in two folders"


def test_a_metric_of_a_module_that_is_not_imported_says_which_flag_ranks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path, "Telea", {"psnr": spread(24), "my_metrics.gradient_hole": spread(2)})
    compare(tmp_path, out=tmp_path / "page.html")
    said = capsys.readouterr().out
    assert said.count("add --import my_metrics.\n") == said.count("--import") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": {"image000": "a" * 64, "image001": "e" * 64}}, r"images\.image001: bbbbbbbb and eeeeeeee"),
        ({"size": 128}, "size: 256 and 128"),
        ({"rounding": "none"}, "rounding: 8 bits and none"),
        ({"metrics": {"psnr": "psnr/2: pooled"}}, r"metrics\.psnr: psnr/1: as in the test and psnr/2: pooled"),
    ],
)
def test_every_part_of_a_definition_is_named_when_it_differs(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_record(tmp_path, "Telea", {"psnr": spread(24)})
    write_record(tmp_path, "LaMa", {"psnr": spread(25)}, protocol={"definition": {**DEFINITION, **change}})
    with pytest.raises(ValueError, match=said):
        make_tables(read_folders([tmp_path])[0])


def test_two_protocols_make_two_tables_and_one_heat_map(tmp_path: Path) -> None:
    for name in ("repaint-wide", "repaint-half"):
        published = [{"label": "LaMa", "metrics": {"psnr": 31.5}, "source": "a paper"}]
        protocol = {"name": name, "published": published}
        for label, centre in (("Telea", 24.0), ("LaMa", 26.0)):
            write_record(tmp_path, label, {"psnr": spread(centre)}, protocol=protocol)
    page = compare(tmp_path, out=tmp_path / "page.html")
    assert page.count('<table class="results">') == 2
    assert page.count('<table class="map">') == 1
    tiles, rest = page.split('<table class="map">')[1].split("</table>", 1)
    assert ("31.5" in tiles, rest.split("</aside>")[0].count("31.5")) == (False, 2)
    for name in ("mine-wide", "mine-half", "repaint-narrow"):
        write_record(tmp_path, "Telea", {"psnr": spread(24.0)}, protocol={"name": name})
    names = [table.name for table in make_tables(read_folders([tmp_path])[0])]
    assert names == ["mine-half", "mine-wide", "repaint-wide", "repaint-narrow", "repaint-half"]  # in RePaint's order


def test_masks_of_several_words_share_the_heat_map_of_their_family(tmp_path: Path) -> None:
    names = ["repaint-wide", "repaint-super_resolve_2x", "repaint-alternating_lines"]
    for name in names:
        write_record(tmp_path, "Telea", {"psnr": spread(24)}, protocol={"name": name})
    (family,) = families(make_tables(read_folders([tmp_path])[0], [])).items()
    assert (family[0], sorted(table.name for table in family[1])) == ("repaint", sorted(names))


def test_a_dash_in_the_name_of_a_mask_or_a_protocol_does_not_part_a_family(tmp_path: Path) -> None:
    other = DEFINITION | {"size": 64}
    for name, definition in (
        ("set-thin-256", DEFINITION), ("set-thin-512", DEFINITION), ("set-wide", DEFINITION),
        ("my-set-half", DEFINITION), ("my-set-wide", DEFINITION), ("my-other-half", other), ("my-other-wide", other),
        ("odd-thin-256", other | {"of": 1}), ("odd-wide", other | {"of": 2}),
    ):  # fmt: skip
        protocol = {"name": name, "definition": definition | {"masks": {"image000": name}}}
        write_record(tmp_path, "Telea", {"psnr": spread(24)}, protocol=protocol)
    found = families(make_tables(read_folders([tmp_path])[0], []))
    assert {name: sorted(mask_name(name, table) for table in group) for name, group in found.items()} == {
        "set": ["thin-256", "thin-512", "wide"], "my-set": ["half", "wide"], "my-other": ["half", "wide"],
        "odd": ["thin-256", "wide"],
    }  # fmt: skip


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = write_record(tmp_path, "Telea", {"psnr": spread(24)})
    path.write_text("{")
    with pytest.raises(ValueError, match=r"Telea\.json is not a benchmark record"):
        read_folders([tmp_path])


def test_a_folder_with_nothing_in_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no records"):
        main([str(tmp_path)])
    with pytest.raises(ValueError, match="is not a folder"):
        main([str(tmp_path / "missing")])


# ---- what it marks -------------------------------------------------------------------------------------------------


def test_a_tie_is_a_paired_difference_whose_interval_holds_zero(tmp_path: Path) -> None:
    """By hand: n = 100 and a deviation of the differences of 1 give mean +- 1.984 / 10; 0.25 lies outside, 0.15 inside.

    The values themselves spread over 5 dB, so that unpaired intervals would call everything tied.
    """
    best = spread(30.0, 5.0)
    noise = np.random.default_rng(3).permutation(list(spread(0.0).values()))
    for label, gap in (("clearly below", 0.25), ("tied", 0.15)):
        values = {name: v - gap + float(e) for (name, v), e in zip(best.items(), noise, strict=True)}
        write_record(tmp_path, label, {"psnr": values})
    write_record(tmp_path, "best", {"psnr": best})
    (table,) = make_tables(read_folders([tmp_path])[0])
    marks = {row.label: (row.cells["psnr"].best, row.cells["psnr"].tied) for row in table.rows}
    assert marks == {"best": (True, False), "tied": (False, True), "clearly below": (False, False)}


def test_under_twenty_images_nothing_is_called_tied(tmp_path: Path) -> None:
    write_record(tmp_path, "A", {"psnr": spread(30, n=8)})
    write_record(tmp_path, "B", {"psnr": spread(29.99, n=8)})
    (table,) = make_tables(read_folders([tmp_path])[0])
    assert [(r.cells["psnr"].best, r.cells["psnr"].tied, r.cells["psnr"].few) for r in table.rows] == [
        (True, False, True),
        (False, False, True),
    ]


def test_the_lower_distance_is_best_and_half_a_benchmark_does_not_compete(tmp_path: Path) -> None:
    write_record(tmp_path, "whole", {"lpips_alex": spread(0.2, 0.01)})
    write_record(tmp_path, "worse", {"lpips_alex": spread(0.3, 0.01)})
    write_record(tmp_path, "half", {"lpips_alex": spread(0.1, 0.01, n=50)})
    (table,) = make_tables(read_folders([tmp_path])[0])
    assert {row.label: row.cells["lpips_alex"].best for row in table.rows} == {
        "whole": True,
        "worse": False,
        "half": False,
    }


def test_the_direction_of_every_metric_is_that_of_its_definition() -> None:
    from lit_inpaint.metrics import NAMES as METRICS
    from lit_inpaint.metrics import metric

    assert {name: higher_is_better(name) for name in METRICS} == {
        name: metric(name).higher_is_better for name in METRICS
    }


def test_runs_that_differ_only_in_seed_become_one_row(tmp_path: Path) -> None:
    for seed, centre, rate in ((0, 24.0, 1e-4), (1, 25.0, 1e-4), (2, 27.0, 1e-4), (3, 20.0, 1e-3)):
        run = tmp_path / "runs" / f"run{seed}"
        run.mkdir(parents=True)
        config = f"seed_everything: {seed}\nmodel:\n  class_path: LaMa\n  init_args:\n    lr: {rate}\n"
        (run / "config.yaml").write_text(config + f"trainer:\n  default_root_dir: {run}\n")
        method = {"name": "LaMa", "label": f"LaMa-seed{seed}", "seed": seed, "run": str(run), "weights": "ema"}
        write_record(tmp_path / "out", f"LaMa-seed{seed}", {"psnr": spread(centre)}, method=method)
    (table,) = make_tables(read_folders([tmp_path / "out"])[0])
    merged, other = table.rows
    cell = merged.cells["psnr"]
    assert (merged.label, merged.seeds, other.seeds) == ("LaMa", [0, 1, 2], [3])
    assert cell.mean == pytest.approx((24 + 25 + 27) / 3)
    assert cell.deviation == pytest.approx(math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2))
    assert cell.n == 100


def test_without_configs_only_a_seed_mark_in_the_label_merges(tmp_path: Path) -> None:
    for label, seed in (("LaMa-seed0", 0), ("LaMa-seed1", 1), ("LaMa-big", 2)):
        write_record(tmp_path, label, {"psnr": spread(24 + seed)}, method={"name": "LaMa", "seed": seed})
    (table,) = make_tables(read_folders([tmp_path])[0])
    assert [(row.label, row.seeds) for row in table.rows] == [("LaMa-big", [2]), ("LaMa", [0, 1])]


def test_a_label_without_a_mark_joins_one_with_a_mark_as_their_configs_are_equal(tmp_path: Path) -> None:
    for label, seed in (("LaMa", 0), ("LaMa-seed1", 1)):
        (tmp_path / f"run{seed}").mkdir()
        (tmp_path / f"run{seed}/config.yaml").write_text(f"seed_everything: {seed}\nmodel: {{class_path: LaMa}}\n")
        method = {"name": "LaMa", "seed": seed, "run": str(tmp_path / f"run{seed}")}
        write_record(tmp_path / "out", label, {"psnr": spread(24 + seed)}, method=method)
    (table,) = make_tables(read_folders([tmp_path / "out"])[0])
    assert [(row.label, row.seeds) for row in table.rows] == [("LaMa", [0, 1])]


def test_a_record_given_twice_counts_once(tmp_path: Path) -> None:
    write_record(tmp_path / "a", "Telea", {"psnr": spread(24)})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (table,) = make_tables(read_folders([tmp_path / "a", tmp_path / "b"])[0])
    assert [row.label for row in table.rows] == ["Telea"]


# ---- training curves -----------------------------------------------------------------------------------------------


def test_segments_join_by_images_seen_and_the_later_one_wins(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(
        "images_seen,step,train/loss,val/psnr\n8,1,3.0,\n16,2,2.0,\n,2,,20.5\n24,3,1.5,\n32,4,1.0,\n40,5,"
    )
    (tmp_path / "metrics-1.csv").write_text("images_seen,step,train/loss,val/psnr\n24,3,9.0,\n,4,,21.5\n40,5,8.0,\n")
    ((run,), records) = read_folders([tmp_path])[::-1]
    assert records == []
    assert run.curves == {
        "train/loss": [(8, 3.0), (16, 2.0), (24, 9.0), (40, 8.0)],
        "val/psnr": [(16, 20.5), (32, 21.5)],
    }


def test_a_method_has_one_name_where_not_all_seeds_are_measured_under_every_mask(tmp_path: Path) -> None:
    """Else the overview of a study that runs has two lines of it, each with gaps."""
    half = {"name": "half"}
    for label, seed in (("LaMa-seed0", 0), ("LaMa-seed1", 1), ("ICT-seed0", 0)):
        write_record(tmp_path, label, {"psnr": spread(24 + seed)}, method={"name": label[:3], "seed": seed})
    for label, name, seed in (("LaMa-seed0", "LaM", 0), ("ICT-seed0", "ICT", 0), ("LaMa-seed2", "big", 2)):
        write_record(tmp_path, label, {"psnr": spread(24)}, method={"name": name, "seed": seed}, protocol=half)
    found = {t.name: {row.label for row in t.rows} for t in make_tables(read_folders([tmp_path])[0])}
    assert found == {"half": {"LaMa", "ICT-seed0", "LaMa-seed2"}, "wide": {"LaMa", "ICT-seed0"}}


def test_a_name_is_taken_from_another_mask_only_for_the_same_training(tmp_path: Path) -> None:
    """Two folders measured trainings of two lengths under one label."""
    for seen, label, seed in ((1000, "LaMa-seed0", 0), (2000, "LaMa-seed0", 0), (1000, "LaMa-seed1", 1)):
        method = {"name": "LaMa", "seed": seed, "images_seen": seen}
        write_record(tmp_path / str(seen), label, {"psnr": spread(24)}, method=method)
    method = {"name": "LaMa", "seed": 0, "images_seen": 2000}
    write_record(tmp_path / "2000", "LaMa-seed0", {"psnr": spread(25)}, method=method, protocol={"name": "half"})
    half, wide = make_tables(read_folders([tmp_path / "1000", tmp_path / "2000"])[0])
    assert {row.label for row in wide.rows} == {"LaMa", "LaMa-seed0"}
    assert [row.label for row in half.rows] == ["LaMa-seed0"]


def test_two_samplers_of_one_training_are_two_rows_and_an_adopted_seed_joins_a_trained_one(tmp_path: Path) -> None:
    """A record whose run is not here, as of an adopted unit, has no config to compare."""
    runs = {seed: tmp_path / "runs" / f"seed{seed}" for seed in (0, 1)}
    for seed, run in runs.items():
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(f"seed_everything: {seed}\nmodel: {{class_path: DDPM}}\n")
    for label, run in (
        ("DDNM-seed0", runs[0]), ("RePaint-seed0", runs[0]), ("RePaint-seed1", runs[1]),
        ("LaMa-seed0", "runs/LaMa-seed0"), ("LaMa-seed1", runs[1]),
    ):  # fmt: skip
        method = {"name": "DDPM", "seed": int(label[-1]), "run": str(run)}
        write_record(tmp_path / "out", label, {"psnr": spread(24)}, method=method)
    (table,) = make_tables(read_folders([tmp_path / "out"])[0])
    assert {row.label: row.seeds for row in table.rows} == {"DDNM-seed0": [0], "RePaint": [0, 1], "LaMa": [0, 1]}


def test_a_mask_that_every_method_refuses_so_far_leaves_the_overview_its_numbers(tmp_path: Path) -> None:
    write_record(tmp_path, "MIGAN", {}, protocol={"name": "set-half"}, not_applicable="the hole is too large")
    write_record(tmp_path, "MIGAN", {"psnr": spread(24)}, protocol={"name": "set-wide"})
    ((family, tables),) = families(make_tables(read_folders([tmp_path])[0])).items()
    ((metric, [(label, [half, wide])]),) = map_of_masks(family, tables).grids.items()
    assert (metric, label, half.reason, wide.n) == ("psnr", "MIGAN", "the hole is too large", 100)


def write_run(folder: Path, seed: int, val_hash: str, last: float) -> None:
    folder.mkdir(parents=True)
    facts = {"method": "DeepFillV2", "seed": seed, "val_protocol_hash": val_hash * 8, "parameters": {"generator": 10}}
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "config.yaml").write_text(f"seed_everything: {seed}\nmodel: {{class_path: DeepFillV2}}\n")
    (folder / "metrics.csv").write_text(f"images_seen,step,val/psnr\n8,1,15.0\n16,2,{last}\n")


def test_the_last_validation_is_tabled_by_the_hash_of_its_protocol(tmp_path: Path) -> None:
    for name, seed, val_hash, last in (
        ("a", 0, "aaaaaaaa", 20.0),
        ("b", 1, "aaaaaaaa", 22.0),
        ("c", 0, "bbbbbbbb", 9.0),
    ):
        write_run(tmp_path / name, seed, val_hash, last)
    runs = read_folders([tmp_path])[1]
    tables = validation_tables(runs)
    found = [(t.hash[:8], [(row.seeds, row.cells["psnr"].mean) for row in t.rows]) for t in tables]
    assert found == [("aaaaaaaa", [([0, 1], 21.0)]), ("bbbbbbbb", [([0], 9.0)])]
    curves = {key for run in _chart_runs([], runs, {"a": 0, "b": 1, "c": 2}) for key in run["curves"]}
    assert curves == {"val/psnr [aaaaaaaa]", "val/psnr [bbbbbbbb]"}


# ---- W&B -----------------------------------------------------------------------------------------------------------

# Rows as `fit` logs them (one row per log call; W&B sends non-finite values as strings) and the config of a run.
HISTORY = [
    {"_step": 0, "_runtime": 1.2, "_timestamp": 1.7e9, "trainer/global_step": 1, "train/l1": 0.5, "images_seen": 8.0},
    {
        "_step": 1,
        "_runtime": 2.2,
        "_timestamp": 1.7e9,
        "trainer/global_step": 2,
        "train/l1": "NaN",
        "images_seen": 16.0,
    },
    {"_step": 2, "_runtime": 2.9, "_timestamp": 1.7e9, "trainer/global_step": 2, "val/psnr": 21.5},
    {"_step": 3, "_runtime": 3.0, "_timestamp": 1.7e9, "val/panels": {"_type": "images/separated", "count": 8}},
]
CONFIG = {"method": "LaMa", "seed": 3, "val_protocol_hash": "c" * 64, "parameters": {"generator": 27_045_123}}


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Three runs on a stand-in for W&B's server, asked by the real client; the queries that arrive."""
    runs = [
        {"name": name, "id": identifier, "config": CONFIG, "history": HISTORY}
        for name, identifier in (("lama-places", "abc123"), ("at hand", "def456"), ("lama-again", "fed789"))
    ]
    with wandb_server(runs) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
        yield server.asked


def test_runs_of_a_wandb_project_are_read_with_their_curves_and_config(project: list[str]) -> None:
    first, last = read_project("lab/inpainting", known=["def456"])
    assert (first.label, first.method, first.seed, first.val_hash) == ("lama-places", "LaMa", 3, "c" * 64)
    assert first.curves == {"train/l1": [(8.0, 0.5)], "val/psnr": [(16.0, 21.5)]}
    assert last.label == "lama-again"  # of the second page
    assert (project.count("Runs"), project.count("RunParquetHistory"), project.count("Run")) == (2, 2, 0)


def test_an_unreachable_wandb_is_one_line_and_the_folders_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("experiments.compare.weights_and_biases.TIMEOUT", 1)
    with pytest.raises(ValueError, match=r"^W&B project lab/inpainting could not be read"):
        main(["--wandb", "lab/inpainting", "--out", str(tmp_path / "page.html")])
    assert not (tmp_path / "page.html").exists()
    write_record(tmp_path, "Telea", {"psnr": spread(24)})
    assert main([str(tmp_path), "--wandb", "lab/inpainting", "--out", str(tmp_path / "page.html")]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-inpaint: ")]
    assert [line.split(" (")[0] for line in said] == [
        "lit-inpaint: W&B project lab/inpainting could not be read, so its runs are skipped"
    ]
    assert "could not be read" in (tmp_path / "page.html").read_text()


def test_the_workspace_draws_every_curve_on_images_seen(project: list[str]) -> None:
    pytest.importorskip("wandb_workspaces")
    view = workspace("lab/inpainting", read_project("lab/inpainting"))
    lines = [panel for section in view.sections[:2] for panel in section.panels]
    assert [(panel.x, panel.y) for panel in lines] == [("images_seen", ["val/psnr"]), ("images_seen", ["train/l1"])]
    assert [config.name for config in view.runset_settings.groupby] == ["method", "val_protocol_hash"]


# ---- what it writes ------------------------------------------------------------------------------------------------

EVIL = "</script><img src=x onerror=alert(1)> & a|b_c"


def evil_folder(tmp_path: Path) -> Path:
    published = [{"method": "LaMa", "metrics": {"lpips_alex": 0.0451}, "source": "Lugmayr et al. 2022, Table 1"}]
    for label, centre in ((EVIL, 0.06), ("=HYPERLINK(1)", 0.09)):
        write_record(tmp_path, label, {"lpips_alex": spread(centre, 0.01)}, protocol={"published": published})
    write_record(tmp_path, "MIGAN", {}, not_applicable="takes 512 pixels only", protocol={"published": published})
    return tmp_path


def test_no_label_becomes_markup(tmp_path: Path) -> None:
    page = compare(evil_folder(tmp_path), out=tmp_path / "page.html")
    assert "<img src=x" not in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("</script>") == 2
    notes = (tmp_path / "page.md").read_text()
    assert r"&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt; &amp; a\|b\_c" in notes
    assert r"\textless{}/script\textgreater{}" in (tmp_path / "page.tex").read_text()
    assert r"\& a|b\_c" in (tmp_path / "page.tex").read_text()
    labels = [row["label"] for row in csv.DictReader(io.StringIO((tmp_path / "page.csv").read_text()))]
    assert labels == [EVIL, "'=HYPERLINK(1)", "MIGAN"]


def test_published_rows_stand_apart_everywhere(tmp_path: Path) -> None:
    page = compare(evil_folder(tmp_path), out=tmp_path / "page.html")
    results, rest = page.split('<table class="results">')[1].split("</table>", 1)
    assert "0.0451" not in results
    assert "0.0451" in rest.split('<aside class="published"')[1].split("</aside>")[0]
    assert "0.0451" not in page.split('id="data">')[1]  # nor in what the charts draw
    assert "0.0451" not in (tmp_path / "page.csv").read_text()
    assert '0.0451,"Lugmayr et al. 2022, Table 1"' in (tmp_path / "page.published.csv").read_text()
    measured, published = (tmp_path / "page.md").read_text().split("Published, not measured here:")
    assert ("0.0451" in measured, "0.0451" in published) == (False, True)
    measured, published = (tmp_path / "page.tex").read_text().split("Published, not measured here")
    assert ("0.0451" in measured, "0.0451" in published) == (False, True)


def test_a_cell_that_cannot_be_measured_says_why(tmp_path: Path) -> None:
    page = compare(evil_folder(tmp_path), out=tmp_path / "page.html")
    assert "n/a: takes 512 pixels only" in page
    assert "n/a: takes 512 pixels only" in (tmp_path / "page.md").read_text()


def test_best_is_bold_and_tied_is_marked_in_markdown_and_latex(tmp_path: Path) -> None:
    write_record(tmp_path, "A", {"psnr": spread(25.0)})
    write_record(tmp_path, "B", {"psnr": {k: v - 0.01 * (-1) ** i for i, (k, v) in enumerate(spread(24.999).items())}})
    write_record(tmp_path, "C", {"psnr": spread(20.0)})
    tables = make_tables(read_folders([tmp_path])[0])
    (row, *_), costs = tables[0].rows, tables[0].costs
    written = [cost.write(number) for cost in costs if (number := row.cost(cost)) is not None]
    assert row.label == "A" and {"0.0200", "4.05 M"} <= set(written) and len(written) == len(costs)
    assert f"| A | **25.00** | {' | '.join(written)} |" in text.markdown(tables)
    assert "| B | 25.00 ≈ |" in text.markdown(tables)
    assert rf"A & \textbf{{25.00}} & {' & '.join(written)} \\" in text.latex(tables)
    assert r"B & \underline{25.00} &" in text.latex(tables)
    assert "| C | 20.00 |" in text.markdown(tables)


def test_a_page_replaces_an_earlier_page_and_no_other_file(tmp_path: Path) -> None:
    write_record(tmp_path / "run", "Telea", {"psnr": spread(24)})
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match=r"README\.md exists"):
        main([str(tmp_path / "run"), "--out", str(tmp_path / "README.html")])
    assert [p.name for p in tmp_path.glob("README*")] == ["README.md"]
    for _ in range(2):
        assert main([str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    write_record(tmp_path, "Telea", {"psnr": spread(24)})
    page = compare(tmp_path, out=tmp_path / "page.html")
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_a_page_on_few_photographs_says_that_it_is_no_result(tmp_path: Path) -> None:
    """Two photographs with two holes each count as two; a hundred give no warning."""
    holes = {f"image00{i}-{j}": 24.0 + i + j for i in range(2) for j in range(2)}
    for label in ("Telea", "Harmonic"):
        write_record(tmp_path / "few", label, {"psnr": holes}, note="psnr_pooled left out: a reason; taken at night")
    page = compare(tmp_path / "few", out=tmp_path / "few.html")
    assert 'role="note">2 images: too few to rank methods<' in page
    assert 'role="note">psnr_pooled left out: a reason; taken at night<' in page
    hundred = {**DEFINITION, "images": dict.fromkeys(NAMES, "a" * 64)}
    write_record(tmp_path / "many", "Telea", {"psnr": spread(24)}, protocol={"definition": hundred})
    assert "too few to rank" not in compare(tmp_path / "many", out=tmp_path / "many.html")


def test_what_is_said_of_one_method_stands_in_its_rows_and_of_several_above_them(tmp_path: Path) -> None:
    for mask in ("wide", "half"):
        for label in ("DDNM-seed0", "DDNM-seed1", "Telea"):
            note = f"at night; {'sampled by DDNM' if 'DDNM' in label else 'blended'}"
            write_record(tmp_path, label, {"psnr": spread(24)}, protocol={"name": mask}, note=note)
    notes = compare(tmp_path, out=tmp_path / "page.html")
    assert "sampled by DDNM" not in " ".join(re.findall('role="note">(.*?)<', notes))
    assert notes.count("sampled by DDNM") >= 2


def test_the_committed_records_are_read_and_written_again_byte_for_byte() -> None:
    files = sorted((Path(__file__).parents[2] / "docs" / "results").rglob("records/*/*.json"))
    assert len(files) == 98
    assert [file for file in files if text_of(read_record(file)) != file.read_text(encoding="utf-8")] == []


def test_a_cost_that_is_added_to_the_list_is_a_column_of_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path, "Telea", {"psnr": spread(24)})
    cost = Cost("joules", "J / image", "joules per image", "Energy.", lambda record: 7.0, lambda value: f"{value:.3f}")
    for module in (table, spreadsheet):
        monkeypatch.setattr(module, "COSTS", (*COSTS, cost))
    page = compare(tmp_path, out=tmp_path / "page.html")
    assert '<td data-value="7.0">7.000</td>' in page
    assert '<option value="joules">joules per image</option>' in page
    assert '"joules": 7.0' in page.split('id="data">')[1]
    assert next(csv.DictReader(io.StringIO((tmp_path / "page.csv").read_text())))["joules"] == "7.0"
    for suffix in (".md", ".tex"):
        written = (tmp_path / "page").with_suffix(suffix).read_text()
        assert "J / image" in written and "7.000" in written
    (one,) = make_tables(read_folders([tmp_path])[0])
    shown = screen.results(one, 200)
    assert [str(column.header) for column in shown.columns][-1] == "J / image"
    assert list(shown.columns[-1].cells) == ["7.000"]


def test_a_cost_that_no_record_says_is_no_column(tmp_path: Path) -> None:
    write_record(tmp_path, "Telea", {"psnr": spread(24)}, peak_memory_bytes=None)
    (one,) = make_tables(read_folders([tmp_path])[0])
    assert one.costs == [cost for cost in COSTS if cost.name not in {"peak_memory_bytes", "network_calls"}]
    assert "memory" not in text.markdown([one]) + text.latex([one])


def test_benchmark_and_compare_write_one_number_alike_and_benchmark_keeps_the_order_given(tmp_path: Path) -> None:
    """Mean 20 and deviation 1 over 100 images: the interval's half width is near 0.2."""
    for label, centre, fid in (("Telea", 20.0, None), ("LaMa", 25.0, 3.0)):
        write_record(tmp_path, label, {"psnr": spread(centre), "fid": fid}, adaptation=f"padded for {label}")
    write_record(tmp_path, "MIGAN", {}, not_applicable="takes 512 pixels only")
    records = {record.label: record for record in read_folders([tmp_path])[0]}
    plain = table.plain_table([records["Telea"], records["MIGAN"], records["LaMa"]], {"psnr": "", "fid": ""})
    low, high = records["Telea"].metrics["psnr"].interval or (0, 0)
    lines = text.report(plain, "Telea").splitlines()
    measured = [line for line in lines if line.startswith("| ") and "MiB" in line]
    assert [line.split(" | ")[0] for line in measured] == ["| Telea", "| MIGAN", "| LaMa"]
    assert measured[0].startswith(f"| Telea | 20.00 [{low:.2f}, {high:.2f}] | n/a: undefined on every image | 0.0200 |")
    assert (low, high) == pytest.approx((19.8, 20.2), abs=0.03)
    assert "| LaMa | +5.00 [+5.00, +5.00] | - |" in lines
    assert {"- Telea: padded for Telea", "- MIGAN: takes 512 pixels only"} <= set(lines)
    marked = text.markdown(make_tables(list(records.values())))
    assert "| LaMa | **25.00** | " in marked and "| Telea | 20.00 | " in marked


def test_a_metric_that_no_method_has_is_a_line_and_no_column(tmp_path: Path) -> None:
    for label, lpips in (("Telea", {"lpips_alex": None}), ("LaMa", {"lpips_alex": None}), ("MIGAN", {})):
        write_record(tmp_path, label, {"psnr": spread(20.0), "ssim": None if label == "LaMa" else 0.5} | lpips)
    write_record(tmp_path, "DDPM", {}, not_applicable="takes 512 pixels only")
    page = compare(tmp_path, out=tmp_path / "page.html")
    written = (tmp_path / "page.md").read_text()
    for said in (written, text.report(table.plain_table(read_folders([tmp_path])[0], dict.fromkeys(LISTED, "")))):
        assert "LPIPS" not in (head := said.split("\n| ---")[0]) and "SSIM" in head
        assert said.count("Not measured: ") == 1 and "lpips\\_alex: undefined on every image" in said
    assert page.count("LPIPS (Alex) (lpips_alex) is not measured: undefined on every image</p>") == 1
    assert 'data-first="ascending" data-tip="LPIPS' not in page
    assert "n/a: undefined on every image" in page, "the SSIM of LaMa alone"


LISTED = ("psnr", "ssim", "lpips_alex")


def test_a_narrow_screen_leaves_the_intervals_to_the_file(tmp_path: Path) -> None:
    write_record(tmp_path, "Telea", {"psnr": spread(24)})
    plain = table.plain_table(read_folders([tmp_path])[0], {"psnr": ""})
    wide, narrow = (list(screen.results(plain, width).columns[1].cells) for width in (200, 40))
    assert (wide[0].startswith("24.00\n["), narrow) == (True, ["24.00"])


def folder_of_seven(tmp_path: Path) -> Path:
    """The quickstart's table: seven methods, four metrics, four costs."""
    names = ("psnr_hole", "ssim", "l1_hole", "lpips_alex")
    definition = DEFINITION | {"metrics": dict.fromkeys(names, "/1")}
    for number in range(7):
        values = {metric: spread(20.0 - number, 0.1) for metric in reversed(names)}
        write_record(
            tmp_path, f"ContextEncoder{number}", values, protocol={"definition": definition}, network_calls=1.0
        )
    return tmp_path


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_a_terminal_of_any_width_shows_whole_words_and_names_what_it_leaves_out(tmp_path: Path, width: int) -> None:
    (one,) = make_tables(read_folders([folder_of_seven(tmp_path)])[0])
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(screen.results(one, width))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    words = {word for line in shown.splitlines() for word in re.findall(r"[^\s│┃━─┏┓┡┩└┘┳╇┴┼┬]+", line)}
    assert {"ContextEncoder0", "20.00*", "(hole)↑"} <= words
    headings = {"SSIM↑", "LPIPS", "(Alex)↓", "calls", "parameters", "memory"}
    left_out = " ".join(shown.split()).partition("Not shown, too wide")[2]
    assert {word for word in headings if word not in words} <= set() or left_out
    assert all(word in words or word in left_out for word in headings)
    assert ("memory" in left_out) == (width <= 100)


def test_the_protocols_first_metric_orders_the_table_whatever_the_order_of_the_record(tmp_path: Path) -> None:
    (one,) = make_tables(read_folders([folder_of_seven(tmp_path)])[0])
    assert list(one.metrics) == ["psnr_hole", "ssim", "l1_hole", "lpips_alex"]
    assert [row.label for row in one.rows] == [f"ContextEncoder{number}" for number in range(7)]


def test_compare_shows_the_table_of_the_terminal_and_no_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    compare(folder_of_seven(tmp_path), out=tmp_path / "page.html")
    said = capsys.readouterr().out
    assert "PSNR (hole)↑" in said and "\\_" not in said and "| ---" not in said
    assert "PSNR (hole)↑" in (tmp_path / "page.md").read_text()


def test_parameters_are_those_of_the_networks_that_complete_and_the_rest_stands_beside(tmp_path: Path) -> None:
    counts = {"generator": 4_000_000, "discriminator_local": 1_000_000, "discriminator_global": 500_000, "features": 7}
    write_record(tmp_path, "GLCIC", {"psnr": spread(24)}, method={"parameters": counts})
    write_record(
        tmp_path, "DSI", {"psnr": spread(23)}, method={"parameters": {"vqvae": 1_000_000, "texture": 2_000_000}}
    )
    page = compare(tmp_path, out=tmp_path / "page.html")
    (one,) = make_tables(read_folders([tmp_path])[0])
    cost = next(cost for cost in COSTS if cost.name == "parameters")
    assert [row.cost(cost) for row in one.rows] == [4_000_000, 3_000_000]
    assert page.count("+ 1.50 M to train") == 1 and page.count("to train</span>") == 1


def test_the_last_validation_has_definitions_and_the_colour_of_its_method(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_record(tmp_path, "Telea", {"psnr": spread(24)})
    write_record(tmp_path, "Mine", {"psnr": spread(23)}, method={"run": str(run)})
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"method": "LaMa", "val_protocol_hash": "f" * 64}))
    (run / "metrics.csv").write_text("images_seen,step,val/psnr,val/l1_hole,val/oddity\n64,1,20,0.1,3\n")
    page = compare(tmp_path, out=tmp_path / "page.html")
    assert "hold no definition" not in page and "mean |a - b| over the pixels" in page
    assert "Logged by the method as val/oddity." in page
    dots = re.findall(r'class="dot (c\d+)"></span>([^<]+)', page)
    assert {colour for colour, label in dots if label in ("Mine", "run")} == {"c0"}, dots
    assert page.count(">n</button>") == 1, "a validation states no number of images: no empty column"


def test_the_table_of_a_paper_marks_best_and_second_and_states_protocol_and_hash(tmp_path: Path) -> None:
    values = {"A": (25.0, 0.3), "B": (26.0, 0.1), "C": (24.0, 0.2)}
    definition = DEFINITION | {"metrics": {"psnr": "/1", "lpips_alex": "/1"}}
    for label, (psnr, lpips) in values.items():
        metrics = {"psnr": spread(psnr), "lpips_alex": spread(lpips, 0.01)}
        write_record(tmp_path, label, metrics, protocol={"definition": definition, "mask": "Wide_1()"})
    half = {"psnr": spread(30.0, n=30), "lpips_alex": spread(0.0, n=30)}
    write_record(tmp_path, "Half_done", half, protocol={"definition": definition, "mask": "Wide_1()"})
    assert main([str(tmp_path), "--out", str(tmp_path / "page.html"), "--paper"]) == 0
    written = (tmp_path / "page.paper.tex").read_text()
    assert r"B & \textbf{26.00} & \textbf{0.1000} & 4.05 M \\" in written
    assert r"A & \underline{25.00} & 0.3000 & 4.05 M \\" in written
    assert r"C & 24.00 & \underline{0.2000} & 4.05 M \\" in written
    assert r"Half\_done & 30.00 & 0.0000 &" in written, "a part of the images does not compete"
    assert r"Method & PSNR$\uparrow$ & LPIPS (Alex)$\downarrow$ & Parameters \\" in written
    whole = hash_of(definition)
    assert (
        f"protocol wide, hash {whole[:16]}: 100 images at 256x256 pixels, masks Wide\\_1(); the composite is" in written
    )
    compare(tmp_path, out=tmp_path / "other.html")
    assert not (tmp_path / "other.paper.tex").exists()


# ---- the page in a browser -----------------------------------------------------------------------------------------


def full_folder(tmp_path: Path, methods: int = 3, images: int = 24, side: int = 64) -> Path:
    """Records with pictures and a run with curves."""
    rng = np.random.default_rng(0)
    out = tmp_path / "out"
    names = NAMES[:images]
    pictures = out / "images" / f"wide-{HASH[:8]}"
    truth = {name: rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for name in names}
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255

    def save(kind: str, name: str, array: np.ndarray) -> None:
        (pictures / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(pictures / kind / f"{name}.png")

    for index, name in enumerate(names):
        save("_truth", name, truth[name])
        save("_mask", name, mask)
        save("_input", name, np.where(mask[..., None] > 0, 128, truth[name]).astype(np.uint8))
        for m in range(methods):  # image i has a spread that grows with i
            filled = np.where(mask[..., None] > 0, np.uint8(100 + m * index), truth[name])
            save(f"Method{m}", name, filled.astype(np.uint8))
    for m in range(methods):
        values = {n: 20.0 + m + (i % 5) for i, n in enumerate(names)}
        lpips = {n: 0.3 - 0.05 * m + 0.01 * (i % 3) for i, n in enumerate(names)}
        method = {"parameters": {"generator": m * 1_000_000}, "run": str(out / "run") if m == 2 else None}
        write_record(
            out, f"Method{m}", {"psnr": values, "lpips_alex": lpips}, method=method, seconds_per_image=0.01 * 4**m
        )
    (out / "run").mkdir()
    rows = "".join(f"{64 * i},{i},{3 / i},{18 + i / 10}\n" for i in range(1, 50))
    (out / "run" / "metrics.csv").write_text("images_seen,step,train/loss,val/psnr\n" + rows)
    return out


def test_images_on_which_the_methods_disagree_come_first(tmp_path: Path) -> None:
    """Fills of 100, 100 + i and 100 + 2 i have a standard deviation of i sqrt(2 / 3) in the hole."""
    from experiments.compare.pictures import collect

    (table,) = make_tables(read_folders([full_folder(tmp_path, images=6, side=16)])[0])
    shown, note = collect(table, 10**7)
    assert [image.name for image in shown] == NAMES[:6][::-1]
    assert [image.disagreement for image in shown] == pytest.approx([i * math.sqrt(2 / 3) for i in range(5, -1, -1)])
    assert set(shown[0].pictures) == {"input", "0", "1", "2", "truth"}
    assert note is None
    fewer, note = collect(table, sum(len(uri) for uri in shown[0].pictures.values()) * 3)
    assert 1 <= len(fewer) < 6
    assert note == f"{len(fewer)} of 6 images are shown, those on which the methods disagree most."


def test_images_of_a_page_stay_below_its_bytes_whatever_was_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.compare import pictures

    (table,) = make_tables(read_folders([full_folder(tmp_path, images=6, side=16)])[0])
    whole, _ = pictures.collect(table, 10**7)
    monkeypatch.setattr(pictures, "_fitting", lambda *_: ((256, 82), 6))
    bytes_of = [sum(map(len, image.pictures.values())) for image in whole]
    shown, note = pictures.collect(table, sum(bytes_of))
    assert 1 <= len(shown) < 6, "values take bytes too"
    assert note == f"{len(shown)} of 6 images are shown, those on which the methods disagree most."
    assert len(pictures.collect(table, 1)[0]) == 1


@pytest.mark.slow
def test_the_page_sorts_slides_and_fits_laptop_and_phone(tmp_path: Path, browser: Any) -> None:
    page_file = tmp_path / "page.html"
    compare(full_folder(tmp_path), out=page_file)
    for width, scheme in ((1366, "light"), (390, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
        page = context.new_page()
        problems = watch(page)
        page.goto(page_file.as_uri())

        assert page.evaluate("document.documentElement.scrollWidth") <= width
        first = "table.results tbody tr:first-child th .name"
        page.focus("table.results .sort:has-text('psnr')")
        assert page.inner_text(first) == "Method2"
        page.keyboard.press("Enter")
        assert page.inner_text(first) == "Method0"
        assert page.inner_text("#tip") == "PSNR, dB. psnr/1: as in the test"
        assert page.get_attribute("th:has(.sort:has-text('psnr'))", "aria-sort") == "ascending"

        assert not violations(page)
        assert page.locator("[data-scatter] circle").count() == 3
        page.select_option("[data-x]", "parameters")
        assert page.locator("[data-scatter] text", has_text="none").count() == 1
        assert page.locator("[data-curves] path.curve").count() == 1
        page.select_option("[data-key]", "train/loss")
        assert page.locator("[data-legend] button").inner_text().startswith("Method2")

        assert page.locator(".card:visible").count() == 12
        assert page.locator(".card").first.get_attribute("data-name") == NAMES[23]
        page.click(".pictures .more")
        assert page.locator(".card:visible").count() == 24
        page.select_option("[data-order]", "name")
        assert page.locator(".card").first.get_attribute("data-name") == NAMES[0]

        page.locator(".card figure[data-column='1'] button").first.click()
        assert page.input_value("[data-left]") == "1"
        assert page.input_value("[data-right]") == "truth"
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.querySelector('.stage').style.getPropertyValue('--at')") == "51%"
        assert not violations(page)
        page.click("[data-step='1']")
        assert page.inner_text("[data-title]") == NAMES[1]
        page.keyboard.press("Escape")
        assert not page.locator(".viewer").is_visible()
        assert problems == []
        context.close()


@pytest.mark.slow
def test_nothing_is_cut_off_without_a_sign_and_every_chart_is_a_file(tmp_path: Path, browser: Any) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect  # polls outside the page, whose policy forbids eval
    page_file = tmp_path / "page.html"
    out = full_folder(tmp_path, methods=9, images=2)
    compare(out, out=page_file)
    for width in (1366, 1920, 390):
        context = browser.new_context(viewport={"width": width, "height": 800}, offline=True, accept_downloads=True)
        page = context.new_page()
        problems = watch(page)
        page.goto(page_file.as_uri())
        cut, hints = (page.locator(f"main {selector}").first for selector in (".scroll", ".hint"))
        assert not violations(page)
        overflows = cut.evaluate("box => box.scrollWidth > box.clientWidth + 1")
        assert overflows == (width == 390)
        expect(cut).to_have_class(re.compile(r"\bcut\b") if overflows else re.compile(r"^(?!.*\bcut\b)"))
        expect(hints).to_be_visible(visible=overflows)
        cut.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
        expect(cut).not_to_have_class(re.compile(r"\bcut\b"))

        strip = page.locator(".strip").first
        tops = {round(figure.bounding_box()["y"]) for figure in strip.locator("figure").all()}
        assert len(tops) == 1, "one row"
        place = strip.locator("figure").first.bounding_box()["x"]
        strip.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
        assert strip.locator("figure").first.bounding_box()["x"] == pytest.approx(place, abs=1), "the input stays"
        strip.focus()

        for chart in ("[data-scatter]", "[data-curves]"):
            with page.expect_download() as svg:
                page.click(f"{chart} .save button:has-text('SVG')")
            drawing = ElementTree.parse(svg.value.path()).getroot()
            assert drawing.tag.endswith("svg") and "class" in drawing.find(".//{*}g").attrib
            with page.expect_download() as pdf:
                page.click(f"{chart} .save button:has-text('PDF')")
            content = Path(pdf.value.path()).read_bytes()
            assert pdf.value.suggested_filename.endswith(".pdf") and content.startswith(b"%PDF-1.4")
            start = int(content.rpartition(b"startxref\n")[2].split()[0])
            assert content[start:].startswith(b"xref")
            for number, line in enumerate(content[start:].splitlines()[3:8], 1):
                assert content[int(line[:10]) :].startswith(b"%d 0 obj" % number)
            assert b"NaN" not in content and b"undefined" not in content
        assert problems == []
        context.close()
