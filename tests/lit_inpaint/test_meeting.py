"""Where processes meet that torchrun has started again."""

import os

import pytest
import torch.distributed as dist

from lit_inpaint.ddp import meet_after_restart


def test_restarted_processes_of_one_machine_meet_through_a_store_of_their_own(monkeypatch: pytest.MonkeyPatch):
    agent = dist.TCPStore("127.0.0.1", 0, is_master=True)
    started = {
        "TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_USE_AGENT_STORE": "True", "GROUP_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(agent.port),
    }  # fmt: skip

    def port(rank: int, **more: str) -> str:
        for name, value in (started | {"RANK": str(rank)} | more).items():
            monkeypatch.setenv(name, value)
        meet_after_restart()
        return os.environ["MASTER_PORT"]

    first = port(0)
    assert first == port(1) != str(agent.port) and os.environ["TORCHELASTIC_USE_AGENT_STORE"] == "False"
    again = [port(rank, TORCHELASTIC_RESTART_COUNT="2") for rank in (0, 1)]
    assert again[0] == again[1] and again[0] not in (first, str(agent.port))
    for case in ("TORCHELASTIC_RESTART_COUNT=0", "TORCHELASTIC_USE_AGENT_STORE=False", "GROUP_WORLD_SIZE=2"):
        name, _, value = case.partition("=")
        assert port(0, **{name: value}) == str(agent.port), case
