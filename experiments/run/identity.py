"""Identity of a run: all settings that affect training, and its training images and masks."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.files.read import Plain
from masks import MaskFolder
from masks.generator import MaskGenerator

if TYPE_CHECKING:  # slow to import; `runs` and a sweep's workers do without
    from lightning import LightningDataModule, Trainer

MAY_CHANGE = (  # from one start of a run to the next; everything else must not
    "__*", "import", "ckpt_path", "init_from", "init_strict", "allow_changes", "weights",
    "config", "subcommand", "optimizer", "lr_scheduler", "val_metrics",
    # its length
    "trainer.max_*", "trainer.min_*",
    # workers, processes, devices: the global batch is compared instead
    "data.init_args.num_workers", "data.init_args.batch_size", "data.init_args.global_batch",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy*",
    # checkpoints, logs, panels, what is shown
    "trainer.default_root_dir", "trainer.logger*", "trainer.log_every_n_steps", "trainer.enable_*", "trainer.profiler*",
    "trainer.detect_anomaly", "trainer.barebones", "trainer.fast_dev_run", "trainer.model_registry",
    "trainer.plugins.*CheckpointIO*", "trainer.plugins.*Environment*",
    *(f"trainer.callbacks.{name}*" for name in (
        "StepProgressBar", "RichProgressBar", "TQDMProgressBar", "ModelSummary", "RichModelSummary", "Throughput",
        "Health", "Panels", "RunRecord", "Status", "Restart", "FrozenRank", "ModelCheckpoint", "EarlyStopping", "Timer",
        "LearningRateMonitor", "DeviceStatsMonitor", "ValMetrics",
    )),
    # validation
    "data.init_args.eval_*", "data.init_args.limit_eval", "model.init_args.validation*", "trainer.inference_mode",
    "trainer.limit_val_batches", "trainer.limit_test_batches", "trainer.limit_predict_batches",
    "trainer.val_check_interval", "trainer.check_val_every_n_epoch", "trainer.num_sanity_val_steps",
    # the policy for a bad image or loss: the run has not stopped at one so far
    "data.init_args.on_bad_image", "model.init_args.non_finite",
)  # fmt: skip
WHEN_ALLOWED = (  # by --allow-changes
    "images a step", "images per epoch", "model.init_args.accumulate",
    # how fast it learns; the optimisers keep their state
    "model.init_args.lr", "model.init_args.*learning_rate", "model.init_args.optimizers.*.init_args.lr",
    "model.init_args.schedules*", "model.init_args.warmup*", "model.init_args.decay_steps",
)  # fmt: skip
PLAIN = ("model.init_args.optimizers", "model.init_args.schedules")  # written as given, without defaults
PATHS = (
    "data.init_args.root",
    "data.init_args.lists",
    "data.*mask*.root",
    "data.*mask*.names",
)  # their files are compared


def may_change(key: str, allowed: bool = False) -> bool:
    """Whether a resume may change a setting: always, or (``allowed``) because the user said so.

    >>> may_change("trainer.max_steps"), may_change("trainer.precision"), may_change("images a step", allowed=True)
    (True, False, True)
    """
    return any(fnmatchcase(key, pattern) for pattern in (*MAY_CHANGE, *(WHEN_ALLOWED if allowed else ())))


@dataclass(frozen=True)
class Identity:
    """Equal identities train alike. ``facts`` are plain values by dotted key, as one writes them on the command line;
    callbacks and plugins are represented by their class name."""

    facts: Plain

    @classmethod
    def of(cls, config: Plain, data: "LightningDataModule", trainer: "Trainer") -> "Identity":
        """From the parsed configuration of ``fit``, its data module (set up) and its trainer."""
        facts = dict(flat("", json.loads(json.dumps(config, default=str))))
        train = data.files("train") if hasattr(data, "files") else None
        files = None if train is None else [*train.names(), *(train.masks.names() if train.masks else ())]
        if files is not None:
            facts = {key: value for key, value in facts.items() if not any(fnmatchcase(key, path) for path in PATHS)}
            masks = list(_mask_files(getattr(data, "mask", None)))
            facts |= {"training images": _described(files), "mask files": _described(masks)}
        facts["images a step"] = getattr(data, "batch_size", 1) * trainer.world_size
        if files is not None and not getattr(
            data, "drop_last", True
        ):  # what does not divide among processes is dropped
            samples = getattr(data, "samples_per_epoch", None) or len(train or ())
            facts["images per epoch"] = samples // trainer.world_size * trainer.world_size
        for name in ("precision", "limit_train_batches"):  # null is written as what it means
            facts[f"trainer.{name}"] = getattr(trainer, name)
        return cls({key: value for key, value in facts.items() if not may_change(key)})

    def check(self, checkpoint: Plain, path: Path | str, allowed: bool = False) -> tuple[str | None, list[str]]:
        """Compare with the identity in ``checkpoint``; return one line about what could not be compared, or None, and
        the differences that are accepted because the user has ``allowed`` some.

        Raises:
            ValueError: Naming every other difference with both values; or it holds weights alone.
        """
        if "optimizer_states" not in checkpoint:
            raise ValueError(
                f"{path} holds weights alone (save_weights_only), not the state of a training. Resume from another "
                "checkpoint, or start a new run with these weights: --init_from instead of --ckpt_path."
            )
        recorded = checkpoint.get("run", {}).get("identity")
        saved = _of_0_1_0(checkpoint) if recorded is None else recorded
        unknown = {key for key in self.facts if key not in saved and (recorded is None or _is_new(key, saved))}
        different = self._differences(saved, unknown)
        if refused := {key: line for key, line in different.items() if not may_change(key, allowed)}:
            hint = ", resume with --allow-changes" if all(may_change(key, True) for key in refused) else ""
            raise ValueError(
                f"{path} cannot be resumed: {'; '.join(refused.values())}. Change it back{hint}, or start a new run "
                "with these weights: --init_from instead of --ckpt_path."
            )
        groups = sorted({".".join(key.split(".")[:3]) for key in unknown})
        older = "was written by an earlier version; not recorded and therefore not compared"
        return f"{path} {older}: {', '.join(groups)}." if groups else None, list(different.values())

    def check_start(self, saved: Plain | None, folder: str) -> None:
        """Compare with the last start of a run that has no checkpoint yet, ``saved``, if it recorded what it was.

        Raises:
            ValueError: Naming every difference with both values.
        """
        unknown = {key for key in self.facts if saved and key not in saved and _is_new(key, saved)}
        if saved and (different := self._differences(saved, unknown)):
            raise ValueError(
                f"{folder} holds another run, without a checkpoint: {'; '.join(different.values())}. Change it back, "
                "or give another --trainer.default_root_dir."
            )

    def _differences(self, saved: Plain, unknown: set[str]) -> dict[str, str]:
        keys = {*saved, *self.facts}
        keys -= {key for key in PLAIN if any(other.startswith(f"{key}.") for other in keys)}  # null, and what it was
        return {
            key: f"{key} was {_shown(saved, key)} and is {_shown(self.facts, key)}"
            for key in sorted(keys - unknown)
            if (key in saved) != (key in self.facts) or saved.get(key) != self.facts.get(key)
        }


def flat(key: str, value: object) -> Iterator[tuple[str, object]]:
    """Dotted keys and plain values; a class is its last name, so that it may be imported from elsewhere."""
    if key in ("trainer.callbacks", "trainer.plugins"):
        for inner in value if isinstance(value, list) else [value] if value else []:
            name = str(inner["class_path"]).rpartition(".")[2] if isinstance(inner, dict) else str(inner)
            yield from flat(f"{key}.{name}", inner)
    elif isinstance(value, dict) and "class_path" in value:
        yield key, str(value["class_path"]).rpartition(".")[2]
        for name in ("init_args", "dict_kwargs"):
            yield from flat(f"{key}.{name}", value.get(name) or {})
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from flat(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            yield from flat(f"{key}.{number}", inner)
    else:
        yield key, value


def _mask_files(mask: object) -> Iterator[str]:
    """The files used by a mask distribution, at any nesting depth."""
    if isinstance(mask, MaskFolder):
        yield from mask.files
    elif isinstance(mask, MaskGenerator):
        for value in vars(mask).values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                yield from _mask_files(inner)


def _described(names: Iterable[str]) -> str:
    names = list(names)
    digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{len(names)} files, names {digest[:16]}"


def _is_new(key: str, saved: Plain) -> bool:
    """Whether a newer version added this argument to a class, or to Trainer, that the checkpoint knows.

    >>> [_is_new(key, {"data": "ImageFolder"}) for key in ("data.init_args.gamma", "trainer.callbacks.EMA")]
    [True, False]
    """
    if any(key.startswith(f"{plain}.") for plain in PLAIN):
        return False
    owner, inside, _ = key.rpartition(".init_args.")
    if inside:
        return owner in saved
    return key == "images per epoch" or (key.startswith("trainer.") and key.count(".") == 1)


def _shown(facts: Plain, key: str) -> str:
    return repr(facts[key]) if key in facts else "absent"


def _of_0_1_0(checkpoint: Plain) -> Plain:
    """What a checkpoint of version 0.1.0 records about its data: seed, drop_last, global batch."""
    states = (v for v in checkpoint.values() if isinstance(v, dict) and {"global_batch", "drop_last", "seed"} <= set(v))
    state = next(states, None)
    if state is None:
        return {}
    kept = {f"data.init_args.{key}": state[key] for key in ("seed", "drop_last")}
    return kept | {"images a step": state["global_batch"]}
