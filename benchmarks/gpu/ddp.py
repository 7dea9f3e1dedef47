"""NCCL at world size 1, and two processes on one GPU through gloo: the gradients of one process with twice the batch.

NCCL refuses two ranks on one GPU ("Duplicate GPU detected"), so that the two speak through gloo, which takes CUDA
tensors over the host. Cases, float64 and what is compared are those of tests/lit_inpaint/test_ddp.py. Each process is
told that it is a machine of its own with one GPU, because Lightning counts the GPUs of a machine.
"""

import multiprocessing
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from benchmarks.gpu.support import Skipped, bounded, difference, on
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from tests.support import processes
from tests.support.gradients import CASES, COUPLED, gradients

SMALL = (
    "hinge",
    "WGAN-GP, penalty as a backward of its own",
    "DeepFillV2",
)  # on the CPU tests/lit_inpaint/test_ddp.py has them all
TOLERANCE, SECONDS = 1e-5, 200


def items(part: str, device: str) -> list[str]:
    return ["NCCL, one process", "gloo, two processes on one device"]


def cases(device: str) -> list[str]:
    return list(SMALL) if device == "cpu" else [case for case in CASES if case not in COUPLED]


def rank_process(rank: int, world: int, backend: str, device: str, port: int, path: str) -> None:
    """Gradients of every case on one rank, into a file."""
    from benchmarks.gpu.runner import die_with_parent

    die_with_parent()
    torch.set_num_threads(1)
    # A rank is local rank 0 of node ``rank``.
    os.environ.update(processes.rank_env(0, world, port) | {"NODE_RANK": str(rank)})
    if device == "cuda":
        torch.cuda.set_device(0)
    # Here and not by Lightning, which binds gloo to the GPU and waits half an hour for a rank that is gone.
    torch.distributed.init_process_group(backend, rank=rank, world_size=world, timeout=timedelta(seconds=60))
    found = {}
    for case in cases(device):
        strategy = DDPStrategy(find_unused_parameters=True, process_group_backend=backend)
        # Lightning's own environment, also within a job of SLURM, whose ranks these are not.
        plugins = [AtomicCheckpointIO(), LightningEnvironment()]
        where = on(device) | {"num_nodes": world, "strategy": strategy, "plugins": plugins}
        found[case] = gradients(case, "ranks" if world > 1 else "whole", rank, **where)
    torch.save(found, path)
    torch.distributed.destroy_process_group()


def ranks(world: int, backend: str, device: str) -> list[dict[str, Any]]:
    """What each rank found, from processes of their own; none outlives another that fails."""
    context: Any = multiprocessing.get_context("spawn" if device == "cuda" else "fork")
    port = processes.free_port()
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{rank}.pt" for rank in range(world)]
        started = [
            context.Process(target=rank_process, args=(rank, world, backend, device, port, path))
            for rank, path in enumerate(paths)
        ]
        for process in started:
            process.start()
        deadline = time.monotonic() + SECONDS
        while any(p.is_alive() for p in started):
            if any(p.exitcode for p in started) or time.monotonic() > deadline:
                for process in started:
                    process.kill()
            time.sleep(0.05)
        codes = [p.exitcode for p in started]
        if any(codes):
            raise RuntimeError(f"ranks ended with exit codes {codes} over {backend} (killed after {SECONDS} s: -9)")
        return [torch.load(Path(path), weights_only=True) for path in paths]


def run(item: str, part: str, device: str) -> dict[str, Any]:
    nccl = item.startswith("NCCL")
    if nccl and device == "cpu":
        raise Skipped("NCCL needs a GPU")
    if nccl and not torch.distributed.is_nccl_available():
        raise Skipped("this torch is built without NCCL")
    found = ranks(1, "nccl", device) if nccl else ranks(2, "gloo", device)
    torch.set_default_dtype(torch.float32)
    worst = 0.0
    for case in cases(device):
        whole = gradients(case, "whole", **on(device))
        if len(found) == 2:
            bounded(f"{case}: difference between the ranks", difference(found[0][case], found[1][case]), 0)
        worst = max(worst, bounded(f"{case}: difference", difference(found[0][case], whole), TOLERANCE))
    return {"cases": len(cases(device)), "difference": worst}
