"""Every YAML of a paper: what it builds at published size, and that its settings train and validate."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
import yaml

from experiments.files.find import INSTALLED
from experiments.train.cli import main
from lit_inpaint.classes import stage_classes
from tests.support.contract import ROWS, STAGES

NO_RUN = {"data", "diffusers", "masks", "protocols", "studies", "sweeps", "launch", "compare", "loggers"}
ABSENT = {"latent_inpainting"} if find_spec("diffusers") is None else set()
CONFIGS = sorted(
    path
    for path in (p.relative_to(INSTALLED) for p in INSTALLED.rglob("*.yaml"))
    if len(path.parts) > 1 and path.parts[0] not in NO_RUN | ABSENT
)
SMALL: dict[str, dict[str, Any]] = dict(ROWS + STAGES)
SMALL["DDPM"] = SMALL["DDPM"] | {"diffusion_steps": 50}
SMALL["Palette"] = SMALL["Palette"] | {"inference_steps": 5}  # as many as the samplers of its YAMLs take
SMALL["LatentInpainting"] = SMALL.get("LatentInpainting", {}) | {"diffusion_steps": 50}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    yield
    wandb.finish()


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load((INSTALLED / path).read_text(encoding="utf-8"))


def published(config: dict[str, Any]) -> tuple[type, dict[str, Any]]:
    """Class of the model and the arguments that the YAML gives it."""
    return stage_classes()[config["model"]["class_path"].split(".")[-1]], config["model"].get("init_args", {})


@pytest.mark.parametrize("path", [Path("quickstart.yaml"), *CONFIGS], ids=str)
def test_a_published_configuration_trains_and_validates_at_reduced_size(path: Path):
    config = load(path)
    cls, arguments = published(config)
    plain = {k: v for k, v in arguments.items() if not isinstance(v, dict)}
    with torch.device("meta"):
        cls(**plain)  # the published size
    reduced = dict(SMALL[cls.__name__])
    if (
        "overlap" in arguments
    ):  # how far a Context Encoder predicts beyond the hole belongs to the mask, not to the size
        reduced.pop("overlap")
    if "vqvae" in arguments:  # DSI's later stages stand on a trained VQ-VAE
        vqvae = stage_classes()["DSIVQVAE"](**SMALL["DSIVQVAE"])
        vqvae.vqvae.top.updates += 1
        content = {"method": "DSIVQVAE", "state_dict": vqvae.state_dict(), "hyper_parameters": SMALL["DSIVQVAE"]}
        torch.save(content, "vqvae.ckpt")
        reduced["vqvae"] = "vqvae.ckpt"
    for name in ("vae_checkpoint", "denoiser_checkpoint"):
        if name in arguments:  # latent diffusion stands on networks that are trained before
            small = SMALL["LatentInpainting"] | {"conditional": False}
            first = stage_classes()["LatentInpainting"](**small)
            content = {"method": "LatentInpainting", "state_dict": first.state_dict(), "hyper_parameters": small}
            torch.save(content, f"{name}.ckpt")
            reduced[name] = f"{name}.ckpt"
    mask = config["data"].get("init_args", {}).get("mask", {"class_path": "CenterRectangle"})
    data = {"mask": mask, "image_size": 64, "batch_size": 2, "num_workers": 0, "eval_repeats": 1, "limit_eval": 2}
    trainer = {
        **{k: v for k, v in config.get("trainer", {}).items() if "callbacks" not in k},
        "max_steps": 1, "val_check_interval": 1, "check_val_every_n_epoch": None, "limit_val_batches": 1,
        "num_sanity_val_steps": 0, "default_root_dir": "run", "logger": False, "callbacks": [],
        "enable_checkpointing": False, "enable_model_summary": False,
        "accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true",
    }  # fmt: skip
    reduced_config = {
        "model": {"class_path": config["model"]["class_path"], "init_args": {**arguments, **reduced}},
        "data": {"class_path": "SamplePhotos", "init_args": data},
        "trainer": trainer,
    }
    Path("reduced.yaml").write_text(yaml.safe_dump(reduced_config))
    assert main(["fit", "--config", "reduced.yaml"]) == 0


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_a_published_configuration_parses_as_it_stands(path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", str(path), "--print_config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["trainer"]["default_root_dir"].startswith("runs/")
    assert printed["trainer"]["max_steps"] == load(path)["trainer"]["max_steps"]


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_a_configuration_that_fixes_the_devices_states_its_global_batch(path: Path):
    config = load(path)
    data, trainer = config["data"]["init_args"], config["trainer"]
    if "devices" in trainer:
        accumulate = config["model"].get("init_args", {}).get("accumulate", 1)
        nodes = trainer.get("num_nodes", 1)
        assert data["global_batch"] == data["batch_size"] * trainer["devices"] * nodes * accumulate
