"""docs/add_a_method.md, run as it stands: a new method needs nothing that the page does not say."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch
import wandb
import yaml

from experiments.cli import main
from lit_inpaint import methods
from lit_inpaint.load import load_method

PAGE = (Path(__file__).parents[2] / "docs" / "add_a_method.md").read_text(encoding="utf-8")


def test_the_example_of_the_page_trains_and_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    method, import_line = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (config,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    assert method.count("\n") <= 60
    folder = tmp_path / "lit_inpaint_extra" / "tiny_gan"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "method.py").write_text(method, encoding="utf-8")
    # The page's import line, with the folder found below this one instead of the installed package.
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder.parent)])
    tiny = importlib.import_module(re.search(r"from (\S+) import", import_line)[1])
    monkeypatch.setattr(methods, "TinyGAN", tiny.TinyGAN, raising=False)
    monkeypatch.setattr(methods, "__all__", [*methods.__all__, "TinyGAN"])
    try:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("WANDB_MODE", "disabled")
        settings = yaml.safe_load(config)
        settings["trainer"] |= {"max_steps": 2, "accelerator": "cpu", "num_sanity_val_steps": 0}
        (tmp_path / "photos.yaml").write_text(yaml.safe_dump(settings))
        with pytest.raises(SystemExit) as end:
            main(["fit", "--config", "photos"])
        assert end.value.code == 0
        trained = load_method("runs/tiny_gan/checkpoints/last.ckpt")
        assert type(trained).__name__ == "TinyGAN"
        image = torch.zeros(1, 3, 32, 32)
        assert trained(image, torch.ones(1, 1, 32, 32)).abs().sum() > 0
    finally:
        wandb.finish()
        sys.modules.pop("lit_inpaint.methods.tiny_gan.method", None)
        sys.modules.pop("lit_inpaint.methods.tiny_gan", None)
