"""A run resumed by another number of processes, or with another global batch, shows every image of an epoch once."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from datamodules import ImageFolder
from datamodules.files import Files
from tests.support.pictures import photographs
from tests.support.recording import Noise, Recorder, StopAfter

IMAGES = 22


class Wrapped(ImageFolder):
    """A user's own class around one of ours: other files, same order."""

    def find(self, split: Any) -> Files:
        return super().find(split)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photos"), IMAGES, 2, (20, 24))


def fit(folder: Path, batch: int, stop: L.Callback | None = None, epochs: int = 3, **more: Any) -> Recorder:
    options = {"drop_last": more.pop("drop_last", True), "num_workers": more.pop("workers", 0)}
    data = Wrapped(folder, Noise(), image_size=16, batch_size=batch, seed=3, **options)
    data.may_deal_anew = more.pop("allowed", True)
    module, length = Recorder(), more.pop("length", {"max_epochs": epochs})
    trainer = L.Trainer(
        **length, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[stop] if stop else [],
        **{key: value for key, value in more.items() if key != "ckpt_path"},
    )  # fmt: skip
    try:
        trainer.fit(module, data, ckpt_path=more.get("ckpt_path"))
    except InterruptedError:
        assert stop
    return module


def shown(*runs: Recorder) -> list[Counter[str]]:
    """How often each image was shown, by epoch."""
    epochs: dict[int, Counter[str]] = {}
    for run in runs:
        for epoch, _, samples in run.seen:
            epochs.setdefault(epoch, Counter()).update(name for name, _ in samples)
    return [epochs[epoch] for epoch in sorted(epochs)]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(("first", "second", "batch"), [(4, 6, 2), (4, 3, 1), (6, 4, 2), (2, 8, 7), (4, 6, 4)])
@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_train_epoch_end"])
def test_another_global_batch_deals_the_rest_of_the_epoch_anew(
    folder: Path, tmp_path: Path, first: int, second: int, batch: int, hook: str, drop_last: bool
):
    path, whole = tmp_path / "a.ckpt", -(-IMAGES // first) - 1 if not drop_last else IMAGES // first - 1
    batch = min(batch, whole) if hook == "on_train_batch_end" else whole
    one = fit(folder, first, StopAfter(path, hook, 1, batch), drop_last=drop_last)
    two = fit(folder, second, ckpt_path=path, drop_last=drop_last)
    epochs = shown(one, two)
    assert len(epochs) == 3 and all(count == 1 for epoch in epochs for count in epoch.values())
    done = min((batch + 1) * first, IMAGES)
    rest = 0 if batch == whole else (IMAGES - done) // second * second if drop_last else IMAGES - done
    sizes = [sum(epoch.values()) for epoch in epochs]
    assert sizes[1] == (done + rest if drop_last else IMAGES)
    assert sizes[2] == (IMAGES // second * second if drop_last else IMAGES)
    order = [name for e, _, samples in fit(folder, IMAGES).seen if e == 1 for name, _ in samples]
    seen = [name for run in (one, two) for e, _, samples in run.seen if e == 1 for name, _ in samples]
    assert seen == order[: len(seen)]  # still the same permutation


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_dealt_anew_is_resumed_in_the_same_epoch(folder: Path, tmp_path: Path, workers: int):
    a, b = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    length = {"max_steps": 12, "max_epochs": -1}
    runs = [fit(folder, 4, StopAfter(a, "on_train_batch_end", 1, 1), length=length, workers=workers)]
    whole = fit(folder, 3, ckpt_path=a, length=length)
    runs.append(fit(folder, 3, StopAfter(b, "on_train_batch_end", 1, 4), length=length, ckpt_path=a, workers=workers))
    again = fit(folder, 3, ckpt_path=b, length=length, workers=workers)
    assert runs[1].seen + again.seen == whole.seen and runs[1].seen
    runs.append(fit(folder, 5, ckpt_path=b, length={"max_epochs": 2}, workers=workers))
    second = shown(*runs)[1]
    assert set(second.values()) == {1} and sum(second.values()) == 8 + 6 + 5
    assert [len(samples) for e, _, samples in runs[1].seen if e == 1] == [3, 3]


def test_a_part_of_an_epoch_and_a_validation_inside_it_are_counted_in_the_new_batches(folder: Path, tmp_path: Path):
    path, limit = tmp_path / "a.ckpt", {"limit_train_batches": 4}
    one = fit(folder, 2, StopAfter(path, "on_train_batch_end", 0, 2), **limit)
    two = fit(folder, 4, ckpt_path=path, **limit)
    assert [len(samples) for e, _, samples in two.seen if e == 0] == [4, 4, 4]  # the first of four batches is done
    assert set(shown(one, two)[0].values()) == {1} and [sum(e.values()) for e in shown(two)[1:]] == [16, 16]


def test_another_global_batch_is_refused_unless_allowed(folder: Path, tmp_path: Path):
    path = tmp_path / "a.ckpt"
    fit(folder, 4, StopAfter(path, "on_train_batch_end", 0, 1))
    with pytest.raises(ValueError, match="global_batch was 4 and is 6"):
        fit(folder, 6, ckpt_path=path, allowed=False)
    assert json.dumps(fit(folder, 4, ckpt_path=path, allowed=False).seen)
