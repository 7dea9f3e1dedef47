"""``lit-inpaint pull``: a checkpoint from a repository of the Hugging Face Hub."""

import argparse
from pathlib import Path
from typing import Any

import lightning as L

from lit_inpaint import hub
from lit_inpaint.checkpoints import AtomicCheckpointIO
from lit_inpaint.load import built


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="lit-inpaint pull",
        description="Download what `lit-inpaint push` published, verify it, and write it as a checkpoint. Nothing is "
        "unpickled and no code of the repository runs.",
        epilog="Commands that take a checkpoint to run it take hf://user/name too; a file is needed for --init_from. "
        "Needs the extra `hub`; a private repository needs HF_TOKEN, or `hf auth login`.",
    )
    p.add_argument("repository", help="hf://user/name, or hf://user/name@revision (a branch, tag or commit)")
    p.add_argument("--out", type=Path, help="the checkpoint to write (default: name.ckpt)")
    p.add_argument("--overwrite", action="store_true")
    return p


def main(argv: list[str]) -> int:
    a = parser().parse_args(argv)
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
