"""What people ask of `inpaint`: larger holes, drawn ones, frames, formats, masks in an alpha channel, no seams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from skimage import data

from experiments.cli import main
from experiments.weights import imports as import_weights
from lit_inpaint.load import load_method
from lit_inpaint.method import Method
from lit_inpaint.methods import ContextEncoder, NavierStokes, Telea
from lit_inpaint.windows import complete_pixels, plan, windows_of
from masks import Half, Wide
from masks.files import write_mask
from masks.generator import keyed_rng
from tests.support.pictures import hole, photo


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*argv: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["inpaint", *([] if "--method" in argv else ["--method", "Telea"]), *argv])
    return int(end.value.code or 0)


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def changed(before: str, after: str) -> np.ndarray:
    return (pixels(before) != pixels(after)).any(-1)


def test_a_dilated_hole_takes_the_edge_that_its_mask_leaves():
    """continue-revolution/sd-webui-segment-anything#13: a thin edge of the object stays."""
    photo(0).save("a.png")
    write_mask(hole(), "m.png")
    rows, columns = np.nonzero(hole())
    grid = np.indices(hole().shape)[..., None]
    near = np.hypot(grid[0] - rows, grid[1] - columns).min(-1) <= 3
    assert call("--image", "a.png", "--mask", "m.png", "--dilate", "3", "--out", "wide.png") == 0
    write_mask(near, "wide_mask.png")
    assert call("--image", "a.png", "--mask", "wide_mask.png", "--out", "same.png") == 0
    assert (pixels("wide.png") == pixels("same.png")).all() and near.sum() > 1.5 * hole().sum()
    assert (changed("a.png", "wide.png") <= near).all() and changed("a.png", "wide.png")[near].mean() > 0.9
    assert call("--image", "a.png", "--mask", "m.png", "--dilate", "-1", "--out", "x.png") == 2


def test_masks_are_drawn_by_a_law_seed_and_name(capsys: pytest.CaptureFixture[str]):
    """SayedNadim/Global-and-Local-Attention-Based-Free-Form-Image-Inpainting#4: photographs without mask files."""
    Path("in").mkdir()
    for number in (0, 1):
        photo(number, (80, 64)).save(f"in/{number}.png")
    law = '{"class_path": "Half"}'
    assert call("--image", "in", "--mask-law", law, "--out", "half") == 0
    drawn = Half()(64, 80, keyed_rng(0, "mask of 0.png"))
    assert (changed("in/0.png", "half/0.png") <= (drawn == 1)).all()
    for out in ("one", "two"):
        assert call("--image", "in", "--mask-law", "Wide", "--seed", "3", "--out", out) == 0
    for number in (0, 1):
        mask = Wide()(64, 80, keyed_rng(3, f"mask of {number}.png"))
        assert (changed(f"in/{number}.png", f"one/{number}.png") <= (mask == 1)).all()
        assert Path(f"one/{number}.png").read_bytes() == Path(f"two/{number}.png").read_bytes()
    capsys.readouterr()
    write_mask(hole(), "m.png")
    for more in ([], ["--mask", "m.png", "--mask-law", "Wide"]):
        assert call("--image", "in", *more, "--out", "x") == 2
        assert "--mask-law, by which masks are drawn; one of the two" in capsys.readouterr().err
    assert call("--image", "in", "--mask-law", "Wid", "--out", "x") == 2
    assert "'Wid' is not a mask generator" in capsys.readouterr().err


def test_outputs_in_jpeg_and_webp_of_a_quality(capsys: pytest.CaptureFixture[str]):
    """Sanster/IOPaint#229: the output's format and quality are chosen, lossless by default."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo(0).save("a.png", icc_profile=profile)
    write_mask(hole(), "m.png")
    known = hole() == 0
    both = ["--image", "a.png", "--mask", "m.png"]
    for out, more in {
        "a.jpg": [], "b.jpg": ["--quality", "20"], "c.webp": [], "d.webp": ["--quality", "100"], "e.png": [],
    }.items():  # fmt: skip
        assert call(*both, "--out", out, *more) == 0
        lossy = "of quality" in capsys.readouterr().out
        assert lossy == (out not in ("d.webp", "e.png"))
        with Image.open(out) as image:
            assert image.format == {"jpg": "JPEG", "ebp": "WEBP", "png": "PNG"}[out[-3:]]
            assert image.info["icc_profile"] == profile
        difference = np.abs(pixels(out).astype(int) - pixels("a.png"))[known].mean()
        assert (difference == 0) == (not lossy)
    assert Path("b.jpg").stat().st_size < Path("a.jpg").stat().st_size / 2
    Path("in").mkdir()
    photo(1).save("in/x.png")
    assert call("--image", "in", "--mask", "m.png", "--out", "out", "--format", "jpeg") == 0
    assert Path("out/x.jpg").is_file()
    capsys.readouterr()
    for more, said in (
        (["--out", "x.png", "--quality", "90"], "--quality is for JPEG and WebP"),
        (["--out", "x.jpg", "--quality", "0"], "expected 1 to 100"),
        (["--out", "x.jpg", "--format", "webp"], "is a jpeg, but --format is webp"),
    ):
        assert call(*both, *more) == 2
        assert said in capsys.readouterr().err


def test_a_picture_carries_its_hole_in_its_own_alpha_channel():
    """AUTOMATIC1111/stable-diffusion-webui#12898 and lllyasviel/Fooocus#2153: cut out in an image editor."""
    Path("in").mkdir()
    for name in ("x", "y"):
        opaque = Image.fromarray(255 * (1 - hole()))
        cut = photo(ord(name)).copy()
        cut.putalpha(opaque)
        cut.save(f"in/{name}.png")
    both = ["--mask-alpha", "transparent"]
    assert call("--image", "in/x.png", "--mask", "in/x.png", *both, "--out", "one.png") == 0
    assert call("--image", "in", "--mask", "in", *both, "--out", "out") == 0
    for name, out in (("x", "one.png"), ("x", "out/x.png"), ("y", "out/y.png")):
        photo(ord(name)).save("plain.png")
        write_mask(hole(), "m.png")
        assert call("--image", "plain.png", "--mask", "m.png", "--out", "plain-out.png", "--overwrite") == 0
        assert (pixels(out) == pixels("plain-out.png")).all()


def test_frames_have_one_mask_for_all_or_one_each_in_their_order():
    """advimman/lama#97, Sanster/IOPaint#392 and #367: a folder of frames, a watermark that stays or moves."""
    for folder in ("frames", "masks"):
        Path(folder).mkdir()
    moving = [np.roll(hole(), 2 * number, 1) for number in range(3)]
    for number, mask in enumerate(moving):
        photo(number).save(f"frames/{number:05}.jpg", quality=100)
        write_mask(mask, f"masks/mask-{number + 1}.png")
    write_mask(moving[0], "logo.png")
    assert call("--image", "frames", "--mask", "logo.png", "--out", "still") == 0
    assert call("--image", "frames", "--mask", "masks", "--pairing", "order", "--out", "moving") == 0
    for number, mask in enumerate(moving):
        frame = f"frames/{number:05}.jpg"
        assert (changed(frame, f"still/{number:05}.png") <= (moving[0] == 1)).all()
        difference = changed(frame, f"moving/{number:05}.png")
        assert (difference <= (mask == 1)).all() and difference[mask == 1].mean() > 0.9


class _Flat:
    """Fills with the mean of what its window knows: a method whose windows differ as much as they can."""

    fixed_size, device, local = None, torch.device("cpu"), False

    def draws(self, *given: object) -> dict[str, object]:
        return {}

    def __call__(self, image: torch.Tensor, mask: torch.Tensor, **guides: object) -> torch.Tensor:
        known = (image * (1 - mask)).sum((2, 3), keepdim=True) / (1 - mask).sum((2, 3), keepdim=True)
        return image * (1 - mask) + known * mask


HOLE = (slice(150, 650), slice(150, 850))  # 700x500, of which windows of 256 px see a part


def column_step(picture: np.ndarray) -> float:
    """The largest mean difference between neighbouring columns in the hole, in levels."""
    inner = picture[HOLE].astype(float).mean(2)
    return float(np.abs(np.diff(inner, axis=1)).mean(0).max())


def large() -> tuple[np.ndarray, np.ndarray]:
    picture = np.asarray(Image.fromarray(data.astronaut()).resize((1000, 800), Image.Resampling.BICUBIC))
    mask = np.zeros((800, 1000), np.uint8)
    mask[HOLE] = 1
    return picture, mask


def test_the_windows_of_a_large_hole_fade_into_each_other_and_known_pixels_stay():
    picture, mask = large()
    tiled = complete_pixels(_Flat(), picture, mask, "x", tile=256)  # type: ignore[arg-type]
    assert (tiled == picture)[mask == 0].all() and len(plan(mask, 256)) > 12
    assert column_step(complete_pixels(_Flat(), picture, mask, "x")) == 0  # type: ignore[arg-type]
    assert column_step(tiled) < 3
    grey = torch.from_numpy(picture).permute(2, 0, 1) / 127.5 - 1
    floats = complete(grey, mask)
    assert (floats == grey)[:, mask == 0].all() and floats.isfinite().all()


def complete(image: torch.Tensor, mask: np.ndarray) -> torch.Tensor:
    from lit_inpaint.windows import complete

    return complete(_Flat(), image, mask, "x", tile=256)  # type: ignore[arg-type]


def test_telea_fills_a_hole_of_any_size_as_in_the_whole_image():
    """Where the fronts of windows met, columns differed by 14 levels, by 4.6 in the whole image."""
    picture, mask = large()
    picture, mask = np.pad(picture, ((300, 300), (200, 600), (0, 0)), "reflect"), np.pad(mask, ((300, 300), (200, 600)))
    mask[20:60, 1700:1720] = mask[700:704, 1500:1510] = 1  # small ones elsewhere
    whole, tiled = (complete_pixels(Telea(), picture, mask, "x", tile=tile) for tile in (0, 256))
    assert (whole == tiled).all()
    sizes = [window.box[2] - window.box[0] for window in windows_of(Telea(), mask, 256)]
    assert max(sizes) < 800 and len(sizes) == 3  # not the whole image


class _Barred(Method):
    """A network of one size that paints bars of a pixel of its own: the smaller its window, the steeper they are."""

    fixed_size, device, hparams = 64, torch.device("cpu"), {}  # type: ignore[assignment]

    def fill(self, erased: torch.Tensor, mask: torch.Tensor, **generators: object) -> torch.Tensor:
        return (torch.arange(64) % 2 * 0.8).expand(erased.shape)


@pytest.mark.parametrize("margin", [0, 400])
def test_a_network_of_one_size_takes_a_large_hole_whole(margin: int):
    """ssube/onnx-web#85: windows that do not line up. MI-GAN's columns differed by 12.8 levels, by 6.9 whole."""
    picture, mask = large()
    around = slice(margin, margin + 800), slice(margin, margin + 1000)
    wide, hole_in = (np.pad(x, [(margin, margin)] * 2 + [(0, 0)] * (x.ndim - 2), "edge") for x in (picture, mask))
    whole = complete_pixels(_Barred(), picture, mask, "x", tile=0)
    tiled = complete_pixels(_Barred(), wide, hole_in, "x", tile=256)
    assert (tiled == wide)[hole_in == 0].all()
    assert column_step(tiled[around]) <= column_step(whole) + 3
    long = np.zeros((800, 4000), np.uint8)
    long[300:420, 100:3900] = long[:20, :20] = 1
    boxes = [window.box for window in windows_of(_Barred(), long, 256)]
    assert len(boxes) > 20 and max(right - left for _, left, _, right in boxes) == 256  # bars keep their aspect


def test_what_became_of_a_window_of_a_network_of_one_size_is_said(capsys: pytest.CaptureFixture[str]):
    network = ContextEncoder(size=64, region="random", overlap=2, width=8, bottleneck=16)
    arguments = dict(network.hparams)
    torch.save(
        {"method": "ContextEncoder", "state_dict": network.state_dict(), "hyper_parameters": arguments}, "x.ckpt"
    )
    photo(0, (1400, 600)).save("a.png")
    for hole_, said in (
        ((slice(200, 300), slice(200, 300)), "resized 512x512 to 64x64 and back"),
        ((slice(200, 220), slice(200, 220)), "cropped 64x64 around the hole"),
        ((slice(200, 240), slice(20, 1300)), "windows, each cropped or resized to 64x64"),
    ):
        mask = np.zeros((600, 1400), np.uint8)
        mask[hole_] = 1
        write_mask(mask, "m.png")
        assert call("--method", "x.ckpt", "--image", "a.png", "--mask", "m.png", "--out", "o.png", "--overwrite") == 0
        assert said in capsys.readouterr().out


@pytest.mark.slow
def test_tiles_add_nothing_to_the_steps_of_the_released_mi_gan(weights_dir: Path):
    import_weights.main(["MIGAN", str(weights_dir / "migan_places2_512.pth"), "--out", "migan.ckpt"])
    network, (picture, mask) = load_method("migan.ckpt"), large()
    whole, tiled = (column_step(complete_pixels(network, picture, mask, "x", tile=tile)) for tile in (0, 256))
    print(f"columns differ by at most {whole:.1f} levels whole, {tiled:.1f} in windows of 256")
    assert tiled <= whole + 3


@pytest.mark.slow
@pytest.mark.parametrize("method", [NavierStokes, Telea])
def test_tiles_add_at_most_three_levels_to_the_steps_of_the_whole_image(method: type[Any]):
    """ssube/onnx-web#85: windows that do not line up."""
    picture, mask = large()
    whole, tiled = (column_step(complete_pixels(method(), picture, mask, "x", tile=tile)) for tile in (0, 256))
    assert tiled <= whole + 3
