"""A run that stops and resumes sees the samples that it would have seen, whatever workers read them."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.support.pictures import photographs
from tests.support.recording import BATCHES, EPOCHS, IMAGES, Recorder, StopAfter, fit, fit_a_rank, merged


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photos"), IMAGES, 5, (20, 24))


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> list[tuple[int, int, list[tuple[str, str]]]]:
    module = Recorder()
    fit(folder, 0, module, [])
    return module.seen


def test_an_epoch_shows_every_image_once_and_no_two_epochs_are_alike(uninterrupted: list[Any]):
    names = [[n for e, _, samples in uninterrupted if e == epoch for n, _ in samples] for epoch in range(EPOCHS)]
    assert all(sorted(epoch) == [f"train/{i:02}.png" for i in range(IMAGES)] for epoch in names)
    assert names[0] != names[1] != names[2]
    assert len({sample for _, _, samples in uninterrupted for sample in samples}) == IMAGES * EPOCHS


@pytest.mark.parametrize("workers", [2, 4])
def test_the_stream_of_images_and_masks_is_the_same_for_any_number_of_workers(
    folder: Path, uninterrupted: list[Any], workers: int
):
    module = Recorder()
    fit(folder, workers, module, [])
    assert module.seen == uninterrupted  # with no workers


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("hook", "epoch", "batch"),
    [
        ("on_train_batch_end", 0, 0),
        ("on_train_batch_end", 1, 1),
        ("on_train_batch_end", 1, BATCHES - 1),
        ("on_train_batch_end", 0, BATCHES - 1),
        ("on_validation_end", 1, BATCHES - 1),
        ("on_train_epoch_end", 0, BATCHES - 1),
        ("on_train_epoch_end", 1, BATCHES - 1),
        ("on_train_batch_start", 1, 1),
        ("on_train_batch_start", 1, BATCHES - 1),
    ],
)
def test_a_resumed_run_sees_what_the_uninterrupted_run_sees(
    folder: Path, tmp_path: Path, uninterrupted: list[Any], hook: str, epoch: int, batch: int, workers: int
):
    first, second, path = Recorder(), Recorder(), tmp_path / "stopped.ckpt"
    with pytest.raises(InterruptedError):
        fit(folder, workers, first, [StopAfter(path, hook, epoch, batch)])
    fit(folder, workers, second, [], ckpt_path=path)
    assert first.seen + second.seen == uninterrupted


@pytest.mark.parametrize("batch", [0, BATCHES - 1])
def test_a_run_resumed_from_the_end_of_an_epoch_and_stopped_once_more_sees_the_same(
    folder: Path, tmp_path: Path, uninterrupted: list[Any], batch: int
):
    seen: list[Any] = []
    for stop in ((0, BATCHES - 1), (1, batch), None):  # Lightning does not count epoch 1 as started
        module, path = Recorder(), tmp_path / "stopped.ckpt"
        with pytest.raises(InterruptedError) if stop else contextlib.nullcontext():
            stops = [StopAfter(path, "on_train_batch_end", *stop)] if stop else []
            fit(folder, 0, module, [*stops], ckpt_path=path if path.exists() else None)
        seen += module.seen
    assert seen == uninterrupted


@pytest.mark.parametrize(("workers", "epoch", "batch"), [(0, 1, 0), (2, 0, 0), (0, 0, 1)])
def test_a_run_that_overfits_some_batches_resumes_at_the_one_that_would_have_come(
    folder: Path, tmp_path: Path, workers: int, epoch: int, batch: int
):
    whole, first, second, path = Recorder(), Recorder(), Recorder(), tmp_path / "stopped.ckpt"
    fit(folder, 0, whole, [], overfit_batches=2)
    with pytest.raises(InterruptedError):
        fit(folder, workers, first, [StopAfter(path, "on_train_batch_end", epoch, batch)], overfit_batches=2)
    fit(folder, workers, second, [], overfit_batches=2, ckpt_path=path)
    assert first.seen + second.seen == whole.seen
    assert [samples for _, _, samples in whole.seen[:2]] * EPOCHS == [samples for _, _, samples in whole.seen]


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "epoch", "batch"), [(0, 1, 1), (2, 1, 1), (2, 0, BATCHES - 1)])
def test_two_ranks_share_the_batches_of_one_also_after_a_restart(
    folder: Path, tmp_path: Path, uninterrupted: list[Any], workers: int, epoch: int, batch: int
):
    runs, path = [tmp_path / "a", tmp_path / "b"], tmp_path / "stopped.ckpt"
    for seen, stop, code in ((runs[0], (epoch, batch), 1), (runs[1], None, 0)):
        port = processes.free_port()
        ranks = [
            processes.start(
                fit_a_rank, folder, workers, seen, path, stop,
                folder=tmp_path, log=f"{seen.name}-{rank}.txt", env=processes.rank_env(rank, 2, port),
            )
            for rank in range(2)
        ]  # fmt: skip
        for rank, process in enumerate(ranks):
            process.join(120)
            said = (tmp_path / f"{seen.name}-{rank}.txt").read_text()
            assert process.exitcode == code and (stop is None or "InterruptedError" in said), said[-2000:]
    assert merged(runs[0]) + merged(runs[1]) == [(e, b, set(samples)) for e, b, samples in uninterrupted]
    validated = [json.loads((runs[1] / f"val-{rank}.json").read_text()) for rank in range(2)]
    assert len(validated[0]) > len(validated[1])
    assert sorted({*validated[0], *validated[1]}) == [f"val/{i:02}.png" for i in range(5)]
