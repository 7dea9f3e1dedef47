"""What a RePaint step costs outside the network: ours against the bare arithmetic of the same run, in alternation.

python -m benchmarks.samplers [side] [rounds]
"""

import sys
import time
from itertools import pairwise

import torch
from torch import Tensor

from lit_inpaint.diffusion import Diffusion
from lit_inpaint.diffusion.samplers import RePaint, jump_times


def bare(times: list[int], output: Tensor, known: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """The same draws and the same element-wise operations, with constants for the coefficients."""
    shape, hole = known.shape, mask == 1
    epsilon, v = output.chunk(2, 1)
    x = torch.randn(shape, generator=generator)
    for index, following in pairwise(times):
        if following < index:
            noise = torch.randn(shape, generator=generator)
            x = torch.where(hole, x, 0.6 * known + 0.8 * torch.randn(shape, generator=generator))
            x_0 = (1.1 * x - 0.4 * epsilon).clamp(-1, 1)
            share = (v + 1) / 2
            log_variance = share * -4.0 + (1 - share) * -4.2
            x = 0.1 * x_0 + 0.9 * x + torch.exp(0.5 * log_variance) * noise
        else:
            x = 0.9 * x + 0.4 * torch.randn(shape, generator=generator)
    return x


def main(side: int = 256, rounds: int = 5) -> None:
    torch.set_num_threads(1)
    known, mask = torch.zeros(1, 3, side, side), torch.ones(1, 1, side, side)
    mask[..., : side // 2] = 0
    output, diffusion, sampler = torch.zeros(1, 6, side, side), Diffusion.make(), RePaint(30, 10, 10)
    times = jump_times(30, 10, 10)
    best = {"ours": float("inf"), "bare": float("inf")}
    for _ in range(rounds):
        generator = torch.Generator().manual_seed(0)
        start = time.process_time()
        sampler(lambda x, t: output, diffusion, known, mask, [generator])
        best["ours"] = min(best["ours"], time.process_time() - start)
        start = time.process_time()
        with torch.no_grad():
            bare(times, output, known, mask, generator)
        best["bare"] = min(best["bare"], time.process_time() - start)
    calls = sampler.network_calls
    ours, least = 1000 * best["ours"] / calls, 1000 * best["bare"] / calls
    print(f"{side}x{side}, {calls} calls: ours {ours:.2f} ms per call, bare {least:.2f}, ratio {ours / least:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
