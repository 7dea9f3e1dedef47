"""AOT-GAN: its blocks and losses against the published program, the three label rules, and one photograph to learn."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lit_inpaint import weights as backbones
from lit_inpaint.discriminators import FixedVectorSpectralConv2d
from lit_inpaint.losses.perceptual import VGG19Features

# ---- VGG19 -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def random_vgg19(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """A VGG19 of random weights in the cache of torch hub, in torchvision's layout, where the real one would lie."""
    generator, state, inputs = torch.Generator().manual_seed(0), {}, 3
    channels = iter([64] * 2 + [128] * 2 + [256] * 4 + [512] * 8)
    for index in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34):
        outputs = next(channels)
        weight = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.weight"] = weight
        state[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        inputs = outputs
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / "vgg19.pth")
    digits = hashlib.sha256((folder / "vgg19.pth").read_bytes()).hexdigest()[:8]
    (folder / "vgg19.pth").rename(folder / f"vgg19-{digits}.pth")
    known = backbones.BACKBONES["vgg19"]._replace(sha256=digits, hub_file=f"vgg19-{digits}.pth")
    monkeypatch.setitem(backbones.BACKBONES, "vgg19", known)
    monkeypatch.delenv("LIT_INPAINT_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return state


def test_vgg19_in_the_cache_of_torch_hub_gives_the_features_of_torchvision_s_network(random_vgg19):
    import torchvision

    with torch.device("meta"):
        theirs = torchvision.models.vgg19().features.eval()
    theirs.load_state_dict({name.removeprefix("features."): x for name, x in random_vgg19.items()}, assign=True)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    normalised = torchvision.transforms.functional.normalize(image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for given, features in ((True, normalised), (False, image)):
        for index, ours in zip((1, 8, 17, 31), VGG19Features((1, 8, 17, 31), normalise=given)(image), strict=True):
            torch.testing.assert_close(ours, theirs[: index + 1](features), atol=1e-4, rtol=1e-4)


def test_a_vgg19_that_is_another_file_or_is_missing_is_refused(random_vgg19, tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    (tmp_path / "vgg19-dcbb9e9d.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"expected .*: replace the file"):
        VGG19Features((1,))(torch.zeros(1, 3, 16, 16))
    (tmp_path / "vgg19-dcbb9e9d.pth").unlink()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "empty"))
    with pytest.raises(backbones.BackboneMissingError, match=r"vgg19-dcbb9e9d\.pth .* Do without."):
        VGG19Features((1,)).require("Do without.")


# ---- the critic ------------------------------------------------------------------------------------------------------


def test_spectral_norm_with_fixed_vectors_is_torch_s_own_over_steps_and_in_evaluation():
    torch.manual_seed(0)
    ours = FixedVectorSpectralConv2d(3, 5, 4, 2, padding=1, bias=False)
    theirs = nn.Conv2d(3, 5, 4, 2, padding=1, bias=False)
    theirs.load_state_dict({"weight": ours.weight})
    torch.nn.utils.spectral_norm(theirs)
    theirs.weight_u.copy_(ours.u)
    theirs.weight_v.copy_(ours.v)
    for _ in range(3):  # two forward passes a step, as a critic and then its generator make them
        x, y = torch.randn(2, 2, 3, 8, 8)
        for layer in (ours, theirs):
            layer.zero_grad()
            (layer(x).square().mean() + layer(y).mean()).backward()
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours.weight.grad, theirs.weight_orig.grad)
        with torch.no_grad():
            for weight in (ours.weight, theirs.weight_orig):
                weight -= 0.1 * weight.grad
    before = ours.u.clone()
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert torch.equal(ours.u, before)
