"""Numbers of a published program for a test that keeps them, from weights that the test can draw without the program.

    python -m benchmarks.training.printed ROW SEED --public DIR

Weights are ``drawn`` of tests/support/published.py under our names; images, masks and draws are those of the row.
Printed are the loss terms of the first step, of every optimiser step the network and the norms of its gradient and of
its update, and how far the row's buffers (codebooks) have moved after three steps.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from benchmarks.training import table
from benchmarks.training.steps import Pair, State, quiet, wide
from tests.support.published import drawn


def begin(pair: Pair, state: State) -> None:
    """Give the program's networks the weights that are ``state`` under our names.

    ``convert`` renames and reorders, so that what it makes of each number's position says where that number goes.
    """
    flat = torch.cat([v.flatten().double() for net in pair.networks.values() for v in net.state_dict().values()])
    positions: dict[str, State] = {role: {} for role in pair.networks}
    count = 0
    for role, net in pair.networks.items():
        for name, value in net.state_dict().items():
            positions[role][name] = torch.arange(count, count + value.numel()).double().view(value.shape)
            count += value.numel()
    for name, where in pair.convert(positions).items():
        if name in state:
            flat[where.long().flatten()] = state[name].double().flatten()
    for role, net in pair.networks.items():
        net.load_state_dict({k: flat[v.long().flatten()].view(v.shape) for k, v in positions[role].items()})
        if hasattr(net, "write"):  # into TensorFlow's session
            net.write()


def _norm(tensors: list[Tensor]) -> float:
    return torch.cat([x.flatten() for x in tensors]).norm().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", help="a row of the training table")
    parser.add_argument("seed", type=int)
    parser.add_argument("--public", type=Path, required=True)
    a = parser.parse_args()
    quiet(1)
    kinds = (*table.PAIRS.items(), *table.VARIANTS.items())
    family = next(family for family, rows in kinds if a.row in rows)
    before: dict[int, list[Tensor]] = {}

    def pre(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        before[id(optimizer)] = [p.detach().clone() for g in optimizer.param_groups for p in g["params"]]

    def post(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        own = [p for g in optimizer.param_groups for p in g["params"]]
        role = next(r for r, net in pair.networks.items() if any(p is own[0] for p in net.parameters()))
        gradient = _norm([p.grad for p in own if p.grad is not None])
        update = _norm([p.detach() - q for p, q in zip(own, before[id(optimizer)], strict=True)])
        print(f"{role}: gradient {gradient:.9g}, update {update:.9g}")

    with wide():
        pair = table.made(family, a.row, a.public)
        start = drawn(pair.ours, a.seed)
        begin(pair, start)
        register_optimizer_step_pre_hook(pre)
        register_optimizer_step_post_hook(post)
        for step in range(3):
            terms = pair.step()
            if step == 0:
                print({name: float(value) for name, value in terms.items()})
        now = pair.convert({role: net.state_dict() for role, net in pair.networks.items()})
        print({name: _norm([now[name] - start[name]]) for name in pair.buffers})


if __name__ == "__main__":
    main()
