"""Every private name of another package that our code reads, replaces or overrides, and that the package still has it.

The names hold for the versions that setup.cfg allows at least, which the last test compares with what is installed. A
newer version that drops one fails here, by its name, before a run finds out.
"""

import ast
import configparser
import importlib
import inspect
import re
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from packaging.version import Version

from tests.support.house import MODULES, OURS, ROOT

NAMES = {  # owner: (names, what for)
    "lightning.pytorch.core.optimizer:LightningOptimizer": (
        "_on_before_step _on_after_step", "an optimiser step is not counted; its batch is"),
    "lightning.pytorch.core.module:LightningModule": ("_trainer", "no trainer is no error in on_load_checkpoint"),
    "lightning.pytorch.loops.fit_loop:_FitLoop": (
        "_data_fetcher _can_stop_early", "is a validation due, does a run stop"),
    "lightning.pytorch.loops.training_epoch_loop:_TrainingEpochLoop": (
        "_should_check_val_fx _results _batches_that_stepped", "what a checkpoint inside a batch cuts off"),
    "lightning.pytorch.callbacks.model_checkpoint:ModelCheckpoint": (
        "_last_checkpoint_saved", "one last.ckpt a run"),
    "lightning.pytorch.callbacks.progress.rich_progress:RichProgressBar": (
        "_console _add_task _update _update_metrics", "one bar over all epochs"),
    "lightning.pytorch.cli:LightningCLI": ("_parse_ckpt_path", "a checkpoint must not win over the command line"),
    "lightning.pytorch.loggers.csv_logs:ExperimentWriter": (
        "_check_log_dir_exists _rewrite_with_new_header", "a table whose rows survive a kill"),
    "lightning.pytorch.loggers.csv_logs:CSVLogger": ("_experiment", "the writer is ours"),
    "lightning.pytorch.loggers.wandb:WandbLogger": (
        "_experiment _id _offline _wandb_init", "the id of the folder, and offline after a failure"),
    "lightning.pytorch.strategies.ddp:DDPStrategy": ("_ddp_kwargs _layer_sync", "static_graph, SyncBatchNorm"),
    "jsonargparse:ArgumentParser": ("_parse_common", "a configuration before its interpolations are resolved"),
    "jsonargparse._loaders_dumpers:": ("get_loader_exceptions", "a loader that renames what 0.1 wrote"),
    "jsonargparse._optionals:": ("get_omegaconf_loader", "a loader that renames what 0.1 wrote"),
    "argparse:ArgumentParser": ("_actions", "the names that a typo may have meant"),
    "torch.optim.adam:Adam": ("_step_supports_amp_scaling", "float16's loss scale in fused optimisers"),
    "diffusers.pipelines.pipeline_utils:DiffusionPipeline": (
        "_load_connected_pipes", "a README that names further pipelines"),
    "torch:": ("_foreach_lerp_ _utils", "the average of many tensors at once; how tensors are pickled"),
    "torch.nn:Conv2d": ("_conv_forward", "a convolution with another weight"),
    "torch.nn.modules.batchnorm:": ("_BatchNorm", "any BatchNorm"),
    "torch._utils:": ("_rebuild_tensor _rebuild_tensor_v2 _rebuild_parameter", "reading a pickle without running it"),
    "torch._ops:OpOverload": ("_overloadpacket", "counting FLOPs"),
    "torch.utils._python_dispatch:": ("TorchDispatchMode", "counting memory"),
    "torch.utils._pytree:": ("tree_leaves", "counting memory"),
}  # fmt: skip
UNDOCUMENTED = (  # of a Trainer: no underscore, and no promise either
    "fit_loop.epoch_loop.manual_optimization.optim_step_progress.increment_completed",
    "fit_loop.epoch_loop.batch_progress.current.processed",
    "fit_loop.epoch_loop.batch_progress.is_last_batch",
    "fit_loop.epoch_loop.val_loop.restarting",
    "fit_loop.epoch_loop.manual_optimization.optim_step_progress.total.ready",
    "fit_loop.epoch_progress.current.processed",
    "fit_loop.epoch_progress.increment_started",
    "fit_loop.reset_restart_stage",
    "fit_loop.restarted_mid_epoch",
    "fit_loop.restarted_on_epoch_end",
    "fit_loop.epoch_loop.restarted_on_train_batch_end",
    "fit_loop.restarting",
)
LISTED = {name for names, _ in NAMES.values() for name in names.split()}
STANDARD = {"_asdict", "_exit", "_getframe", "_replace"}  # of os, sys and NamedTuple, documented


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined(tree: ast.AST) -> Iterator[str]:
    """Names that our own code gives to functions, classes, variables and attributes of ``self``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def used(tree: ast.AST) -> Iterator[str]:
    """Private names of objects, also those in getattr, hasattr and imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr", "setattr", "delattr"}:
            yield from (word.value for word in node.args[1:2] if isinstance(word, ast.Constant))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] not in OURS:
            private = any(map(is_private, node.module.split(".")))
            yield from (f"{'_' * private}{alias.name}" for alias in node.names)


def inherited(cls: type) -> set[str]:
    """Private names that classes of other packages give to ``cls``: methods, and attributes that they set on self."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.split(".")[0] in (*OURS, "builtins", "abc", "typing") or base.__module__.startswith("torch"):
            continue
        names |= set(vars(base)) | set(re.findall(r"\bself\.(\w+)\b[^=\n]*=[^=]", inspect.getsource(base)))
    return {name for name in names if is_private(name) and name != "_abc_impl"}


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def test_every_private_name_that_we_use_is_listed():
    ours = {name for tree in TREES.values() for name in defined(tree)}
    found = {(module, name) for module, tree in TREES.items() for name in used(tree) if is_private(name)}
    wrong = [(m, n) for m, n in found if n not in ours | LISTED | STANDARD and n.lstrip("_") not in LISTED]
    assert not wrong, f"private names of other packages; list them with what they are for: {sorted(wrong)}"


def test_every_private_name_that_we_override_is_listed():
    """A method or an attribute of ours that has the name of one of Lightning's takes its place, meant or not."""
    wrong = []
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or not node.bases or not (cls := _class(module, node.name)):
                continue
            own = {n for n in (*defined(node), *used(node)) if is_private(n)}
            wrong += [(module, node.name, name) for name in sorted(own & inherited(cls) - LISTED)]
    assert not wrong, f"taken from a class of another package: {wrong}"


def _class(module: str, name: str) -> type | None:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:  # of an extra that is not installed
        return None
    return found if isinstance(found, type) and not issubclass(found, BaseException) else None


@pytest.mark.parametrize("owner", NAMES)
def test_the_package_still_has_each_name(owner: str):
    module, _, attribute = owner.partition(":")
    place = importlib.import_module(module)
    place = getattr(place, attribute) if attribute else place
    for name in NAMES[owner][0].split():
        bases = place.__mro__[:-1] if isinstance(place, type) else ()
        set_on_self = any(re.search(rf"\b\w+\.{name}\b[^=\n]*=[^=]", inspect.getsource(base)) for base in bases)
        assert hasattr(place, name) or set_on_self, f"{owner} has no {name}, which we need: {NAMES[owner][1]}"


def test_a_trainer_still_has_what_is_not_documented():
    import lightning as L

    for path in UNDOCUMENTED:
        place: object = L.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
        for name in path.split("."):
            assert hasattr(place, name), f"Trainer.{path}: there is no {name}"
            place = getattr(place, name)


def test_the_names_hold_from_the_oldest_version_that_is_allowed():
    """What is tried here is what is installed; the oldest one allowed must not be newer."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = re.compile(r"^(lightning|wandb|jsonargparse)(?:\[\w+\])?>=([\d.]+)$", re.MULTILINE)
    floors = dict(required.findall(setup["options"]["install_requires"]))
    assert floors.keys() == {"lightning", "wandb", "jsonargparse"}
    for package, floor in floors.items():
        assert Version(version(package)) >= Version(floor), f"{package} {version(package)} is older than {floor}"


def test_no_version_of_lightning_stands_in_the_code():
    literals = [(m, n.value) for m, t in TREES.items() for n in ast.walk(t) if isinstance(n, ast.Constant)]
    assert not [(m, v) for m, v in literals if isinstance(v, str) and v == version("lightning")]
