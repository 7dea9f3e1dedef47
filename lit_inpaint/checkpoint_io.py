"""Checkpoints that are either complete or not there."""

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to the disk, then rename: after a kill the old file or the new one is whole.

    Lightning writes into the temporary folder and moves; where that is another file system the move is a copy, and a
    kill leaves a truncated checkpoint. It also swallows PermissionError: here every failure is raised with its path.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        path = Path(path)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for stale in path.parent.glob(f".{path.name}.*.part"):
                stale.unlink(missing_ok=True)  # of a killed run
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by either
            full = shutil.disk_usage(path.parent).free < 2**20 if path.parent.is_dir() else False
            part.unlink(missing_ok=True)
            number = getattr(error, "errno", None) or (errno.ENOSPC if full else errno.EIO)
            reason = os.strerror(number) if full else getattr(error, "strerror", None) or str(error)
            raise OSError(number, f"Cannot write {path}: {reason}. The previous checkpoint is whole.") from error

    def load_checkpoint(
        self, path: Any, map_location: Any = lambda storage, loc: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Tensors and plain values, unless told otherwise: no code of the file is run."""
        return super().load_checkpoint(path, map_location, weights_only=weights_only is not False)


def check_writable(folder: Path) -> None:
    """Make ``folder``, and fail now if nothing can be written into it, not when the first checkpoint is due."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"Nothing can be written into {folder}: {error.strerror}"
        raise OSError(error.errno, f"{reason}. Set trainer.default_root_dir to a folder of yours.") from None
