"""``lit-inpaint pull``: a checkpoint from a repository of the Hugging Face Hub."""

from pathlib import Path
from typing import Any

import lightning as L

from experiments.weights import options
from lit_inpaint import hub
from lit_inpaint.checkpoint_io import AtomicCheckpointIO
from lit_inpaint.load import built


def main(argv: list[str]) -> int:
    a = options.pull().parse_args(argv)
    at = hub.address(a.repository)
    if at is None:
        raise ValueError(f"{a.repository} names no repository; expected hf://user/name or hf://user/name@revision.")
    out = a.out or Path(f"{at.name.partition('/')[2]}.ckpt")
    if out.exists() and not a.overwrite:
        raise ValueError(f"{out} exists; give another --out, or --overwrite.")
    at = hub.pinned(at)
    content: dict[str, Any] = hub.checkpoint_of(at, "raw")
    built(dict(content, state_dict=dict(content["state_dict"])), at)  # before anything is written
    source = {"repository": at.name, "revision": at.revision}
    AtomicCheckpointIO().save_checkpoint({**content, "pytorch-lightning_version": L.__version__, "source": source}, out)
    averaged = f"averaged and raw weights of {', '.join(content['ema'])}" if content.get("ema") else "raw weights"
    print(f"{at} is {content['method']} -> {out} ({averaged})")
    return 0
