"""Two processes with batch size B train like one with 2 B, for every loss; exceptions are reported at start."""

import warnings
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from datamodules import SamplePhotos
from lit_inpaint.ddp import batch_norms, check_strategy
from masks import CenterRectangle
from tests.support import gradients, processes
from tests.support.contract import ROWS, make, trainer
from tests.support.gradients import CASES, COUPLED, Forms

pytestmark = pytest.mark.xdist_group("ddp")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """{role-rank: {case: gradients of every optimiser step}}, of two gloo ranks, one process, and either half alone."""
    folder, port = tmp_path_factory.mktemp("ddp"), processes.free_port()
    roles = [("ranks", 0), ("ranks", 1), ("whole", 0), ("half", 0), ("half", 1)]
    started = {
        f"{role}-{rank}": processes.start(
            gradients.write_all, role, rank, folder=folder, log=f"{role}-{rank}.txt",
            env=processes.rank_env(rank, 2, port) if role == "ranks" else {},
        )
        for role, rank in roles
    }  # fmt: skip
    for name, process in started.items():
        process.join(200)
        assert process.exitcode == 0, (folder / f"{name}.txt").read_text()[-3000:]
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in started}


def error(a: list[Any], b: list[Any]) -> float:
    """Norm of the difference over the norm, of the gradients of one optimiser step."""
    assert [x is None for x in a] == [x is None for x in b]
    a, b = (torch.cat([x.flatten() for x in y if x is not None]) for y in (a, b))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_gradients_of_one_process_with_twice_the_batch(steps: dict[str, Any], case: str):
    first, second, whole = (steps[name][case] for name in ("ranks-0", "ranks-1", "whole-0"))
    assert len(first) == len(second) == len(whole) > 0
    assert all(error(a, b) == 0 for a, b in zip(first, second, strict=True))
    expected = whole
    if case in COUPLED:
        halves = zip(steps["half-0"][case], steps["half-1"][case], strict=True)
        expected = [[None if x is None else (x + y) / 2 for x, y in zip(a, b, strict=True)] for a, b in halves]
        assert any(error(a, b) > 1e-5 for a, b in zip(whole, expected, strict=True))  # it belongs on the list
    errors = [error(a, b) for a, b in zip(first, expected, strict=True)]
    assert max(errors) < 1e-5


def test_halves_of_a_batch_have_the_gradients_of_the_whole_with_functional_dropout():
    first, second, whole = (
        gradients.gradients("functional dropout", role, rank) for role, rank in (("half", 0), ("half", 1), ("whole", 0))
    )
    for a, b, expected in zip(first, second, whole, strict=True):
        mean = [None if x is None or y is None else (x + y) / 2 for x, y in zip(a, b, strict=True)]
        assert error(mean, expected) < 1e-5


def test_static_graph_is_refused_before_the_other_processes_start(tmp_path: Path):
    strategy = DDPStrategy(static_graph=True)
    method = Forms()
    method.trainer = trainer(tmp_path, strategy=strategy, max_steps=1)
    with pytest.raises(ValueError, match="static_graph gives wrong gradients"):
        method.setup("fit")  # not fit: Lightning would leave a process group and its variables to the other tests


def test_networks_whose_batch_norm_sees_one_device_are_named(tmp_path: Path):
    rows = dict(ROWS)
    made = {name: batch_norms(make(name, rows[name])) for name in ("DeepFillV2", "GLCIC", "PartialConv")}
    assert made == {"DeepFillV2": [], "GLCIC": ["generator", "discriminator"], "PartialConv": ["generator"]}
    assert batch_norms(nn.SyncBatchNorm.convert_sync_batchnorm(make("GLCIC", rows["GLCIC"]))) == []
    several = Mock(world_size=2, strategy=Mock(_ddp_kwargs={}, _layer_sync=None))
    with pytest.warns(UserWarning, match="BatchNorm of generator, discriminator sees the images of one device"):
        check_strategy(several, make("GLCIC", rows["GLCIC"]))


def test_another_global_batch_than_the_one_tuned_at_is_a_warning():
    data = SamplePhotos(CenterRectangle(), image_size=32, batch_size=4, global_batch=16, num_workers=0)
    with pytest.warns(UserWarning, match=r"tuned at 16 images per step .* 1 device x batch_size 4 = 4"):
        data.train_dataloader()
    data.trainer = Mock(world_size=2, global_rank=0, lightning_module=Mock(accumulate=2))
    data.trainer.fit_loop = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).fit_loop
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.train_dataloader()
