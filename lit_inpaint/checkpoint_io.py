"""Checkpoints that are written atomically, as a plugin of the Trainer."""

import errno
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from lit_inpaint.checkpoints import read_tensors, refuse_newer
from masks.atomic import whole


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to disk, then rename: after a kill, the old or the new file is intact.

    Lightning writes into the temporary folder and moves; where that is another file system the move is a copy, and a
    kill leaves a truncated checkpoint. It also swallows PermissionError: here every failure is raised with its path.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        path = Path(path)
        part = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for stale in filter(_left_behind, path.parent.glob(f".{path.name}.*.part")):
                stale.unlink(missing_ok=True)
            with whole(path, flush=True, part=part), part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as either
            full = shutil.disk_usage(path.parent).free < 2**20 if path.parent.is_dir() else False
            number = getattr(error, "errno", None) or (errno.ENOSPC if full else errno.EIO)
            reason = os.strerror(number) if full else getattr(error, "strerror", None) or str(error)
            raise OSError(number, f"Cannot write {path}: {reason}. The previous checkpoint is intact.") from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = lambda storage, loc: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load tensors and plain values by default: no code in the file is run."""
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only=weights_only is not False)
        checkpoint = read_tensors(Path(path), map_location, weights_only is not False)
        refuse_newer(checkpoint, path)
        return checkpoint


def _left_behind(part: Path) -> bool:
    """Whether the process that wrote a .part is gone; unknown for other machines (a resume removes those files)."""
    machine, _, number = part.name.removesuffix(".part").rpartition("-")
    if not machine.endswith(f".{platform.node()}") or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:  # another user's
        return False
    return False
