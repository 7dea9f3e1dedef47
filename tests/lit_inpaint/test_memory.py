"""The peak of a process, on the systems that count it differently."""

import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lit_inpaint import memory


@pytest.mark.parametrize(
    ("system", "status", "peak"),
    [
        ("linux", "VmPeak:\t   9000 kB\nVmHWM:\t    5000 kB\nVmRSS:\t    4000 kB\n", 5000 * 1024),
        ("linux", None, 7000 * 1024),  # no /proc
        ("linux", "Name:\tsandboxed\n", 7000 * 1024),  # one that does not count
        ("freebsd14", None, 7000 * 1024),
        ("darwin", None, 7000),  # bytes
    ],
)
def test_the_peak_is_in_bytes_on_every_system(
    system: str, status: str | None, peak: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if status is not None:
        (tmp_path / "status").write_text(status)
    monkeypatch.setattr(memory, "_PROCESS", tmp_path)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=7000))
    assert memory.resident_peak() == memory.peak_bytes(torch.device("cpu")) == peak


@pytest.mark.skipif(not Path("/proc/self/clear_refs").is_file(), reason="only Linux resets the peak")
def test_a_reset_forgets_what_was_freed():
    cpu = torch.device("cpu")
    torch.ones(50 * 2**20, dtype=torch.uint8)  # mapped and unmapped
    high = memory.peak_bytes(cpu)
    memory.reset_peak(cpu)
    assert memory.peak_bytes(cpu) <= high
    held = torch.ones(100 * 2**20, dtype=torch.uint8)
    grown = memory.peak_bytes(cpu)
    memory.reset_peak(cpu)
    del held
    assert memory.peak_bytes(cpu) >= grown - 2**20  # what is held counts at once
