"""Metrics against their definitions, against the packages that papers use, and over processes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lit_inpaint import metrics
from lit_inpaint.backbones import BackboneMissingError, backbone, sha256
from lit_inpaint.metrics import ImageMean, inception, kernel, metric, perceptual, round_to_8_bits
from tests.support.metric_ranks import numbers_of_rank, rank_of
from tests.support.processes import free_port, start


def read(path: Path) -> Tensor:
    pixels = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def photographs(data_dir: Path, count: int) -> Tensor:
    return torch.cat([read(path) for path in sorted((data_dir / "synthetic_faces256").iterdir())[:count]])


def noisy(image: Tensor, seed: int = 0) -> Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return round_to_8_bits(image + 0.2 * noise)


# ---- pixels ---------------------------------------------------------------------------------------------------------


def test_pixel_metrics_equal_sums_over_loops():
    generator = torch.Generator().manual_seed(0)
    a, b = (round_to_8_bits(torch.rand(2, 3, 5, 4, generator=generator) * 2 - 1) for _ in range(2))
    mask = (torch.rand(2, 1, 5, 4, generator=generator) > 0.5).float()
    for i in range(2):
        x, y = ((t[i].double() + 1) / 2 for t in (a, b))
        inside = [(c, r, k) for c in range(3) for r in range(5) for k in range(4) if mask[i, 0, r, k] == 1]
        everywhere = [(c, r, k) for c in range(3) for r in range(5) for k in range(4)]
        error = {p: (x[p] - y[p]).item() for p in everywhere}
        expected = {
            "l1_hole": sum(abs(error[p]) for p in inside) / len(inside),
            "l1_mean": sum(abs(error[p]) for p in everywhere) / 60,
            "l1_relative_sum": sum(abs(error[p]) for p in everywhere) / sum((x[p] + y[p]).item() for p in everywhere),
            "l1_relative_target": sum(abs(error[p]) for p in everywhere) / sum(y[p].item() for p in everywhere),
            "psnr": -10 * np.log10(sum(error[p] ** 2 for p in everywhere) / 60),
            "psnr_hole": -10 * np.log10(sum(error[p] ** 2 for p in inside) / len(inside)),
        }
        for name, value in expected.items():
            assert metric(name)(a, b, mask)[i].item() == pytest.approx(value, rel=1e-5), name


def test_images_without_error_or_hole_are_left_out_and_counted():
    image = torch.zeros(3, 3, 8, 8)
    other = image.clone()
    other[0] += 0.2  # squared error 0.01: 20 dB; images 1 and 2 are equal
    hole = torch.ones(3, 1, 8, 8)
    hole[2] = 0
    mean = ImageMean("psnr", round_first=False)
    mean.update(other, image, hole)
    assert (mean.compute().item(), int(mean.count), int(mean.left_out)) == (pytest.approx(20, abs=1e-5), 1, 2)
    l1 = ImageMean("l1_hole", round_first=False)
    l1.update(other, image, hole)
    assert (l1.compute().item(), int(l1.count), int(l1.left_out)) == (pytest.approx(0.05, abs=1e-6), 2, 1)


def test_pooled_psnr_averages_the_squared_error_first():
    target = torch.zeros(2, 3, 4, 4)
    prediction = torch.stack([torch.full((3, 4, 4), 0.2), torch.full((3, 4, 4), 0.02)])  # 20 and 40 dB
    pooled, usual = ImageMean("psnr_pooled", round_first=False), ImageMean("psnr", round_first=False)
    for m in (pooled, usual):
        m.update(prediction, target)
    assert usual.compute().item() == pytest.approx(30, abs=1e-4)
    assert pooled.compute().item() == pytest.approx(-10 * np.log10((0.01 + 0.0001) / 2), abs=1e-4)


def test_what_is_measured_is_what_a_png_would_hold(tmp_path: Path):
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().byte()[0].permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(tmp_path / "x.png")
    assert torch.equal(round_to_8_bits(image), round_to_8_bits(read(tmp_path / "x.png")))
    mean = ImageMean("l1_mean")
    mean.update(image, read(tmp_path / "x.png"))
    assert mean.compute().item() == 0


def test_metrics_of_the_hole_ask_for_a_mask_and_unknown_names_offer_the_nearest():
    image = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ValueError, match="give mask"):
        metric("psnr_hole")(image, image)
    with pytest.raises(ValueError, match="Did you mean 'psnr_hole'"):
        metric("psnr_holes")


def test_every_metric_says_its_version_and_which_end_is_better():
    for name in metrics.NAMES:
        assert metrics.definition(name).startswith(f"{name}/1: ")
    higher, lower = ("psnr", "ssim", "_ids", "diversity", "clip"), ("l1", "fid", "kid", "fd_")
    for word, wins in {**dict.fromkeys(higher, True), **dict.fromkeys(lower, False)}.items():
        assert {metric(name).higher_is_better for name in metrics.NAMES if word in name} == {wins}
    assert not metric("lpips_alex").higher_is_better and not metric("lpips_vgg").higher_is_better


def test_the_tables_of_the_docs_are_those_of_the_definitions():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if "|" in line]
    documented = {row[0].strip("`"): row for row in rows if len(row) == 5 and row[0].startswith("`")}
    assert sorted(documented) == sorted(metrics.NAMES)
    for name, (_, _, scale, least, _) in documented.items():
        quantity = metric(name).quantity
        assert scale.endswith(", high" if quantity.higher_is_better else ", low"), name
        assert scale.startswith("dB") is (quantity.unit == "dB"), name
        if metric(name).features:
            assert f"at least {least}, " in str(metrics.refusal(metric(name), 0)), name


OF_A_SET = [name for name in metrics.NAMES if metric(name).features]
BAD_PAIRS = {  # what is done to a good pair, and a word of the refusal
    "0..255": (lambda x: (x + 1) * 127.5, r"values in \[.*expected \[-1, 1\]"),
    "uint8": (lambda x: ((x + 1) * 127.5).byte(), "is uint8; expected a tensor of floats"),
    "int64": (lambda x: x.long(), "is int64"),
    "numpy": (lambda x: x.numpy(), "is ndarray"),
    "NaN": (lambda x: x.where(x < 0.9, torch.nan), "has NaN pixels"),
    "infinite": (lambda x: x.where(x < 0.9, torch.inf), "values in"),
    "overshooting": (lambda x: x * 1.01, "clamp"),
    "without a batch": (lambda x: x[0], "has shape"),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), "has shape"),
    "grey and alpha": (lambda x: x[:, :2], "has shape"),
    "empty": (lambda x: x[:0], "has shape"),
}


@pytest.mark.parametrize("kind", BAD_PAIRS)
@pytest.mark.parametrize("name", [name for name in metrics.NAMES if not metric(name).features])
def test_a_metric_refuses_what_it_does_not_mean(name: str, kind: str):
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    change, word = BAD_PAIRS[kind]
    bad, mask = change(image), torch.ones(2, 1, 32, 32)
    if name == "diversity_lpips":
        image, bad = torch.stack([image, image]), bad[None] if kind == "numpy" else torch.stack([bad, bad])
        with pytest.raises(ValueError, match="samples"):
            metric(name)(bad)
        return
    for prediction, target, which in ((bad, image, "prediction"), (image, bad, "target")):
        with pytest.raises(ValueError, match=f"{which}.*{word}"):
            metric(name)(prediction, target, mask)
    with pytest.raises(ValueError, match="target is ndarray" if kind == "numpy" else "target"):
        ImageMean(name).update(image, bad, mask)


@pytest.mark.parametrize("name", ["psnr", "psnr_hole", "ssim", "l1_mean", "lpips_vgg"])
def test_a_metric_refuses_pairs_that_do_not_belong_together(name: str):
    image, mask = torch.zeros(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    for other in (torch.zeros(2, 3, 32, 31), torch.zeros(1, 3, 32, 32)):
        with pytest.raises(ValueError, match="expected the same"):
            metric(name)(other, image, mask)
    for wrong in (mask[:1], mask.expand(2, 3, 32, 32), mask * 255, mask * 0.5, mask[..., 1:], mask.numpy()):
        with pytest.raises(ValueError, match="mask"):
            metric(name)(image, image, wrong)
    assert metric("l1_hole")(image, image, mask.bool()).tolist() == [0, 0]


@pytest.mark.parametrize("name", OF_A_SET)
def test_metrics_of_a_set_refuse_the_same(name: str):
    levels = torch.full((4, 3, 8, 8), 200.0)
    with pytest.raises(ValueError, match=r"target has values in \[200, 200\]"):
        metric(name)(levels, levels)
    with pytest.raises(ValueError, match="is uint8"):
        inception.InceptionMetrics().update(levels.byte(), levels.byte())


def test_a_diverged_prediction_is_left_out_of_a_mean_and_ends_nothing():
    image, mask = torch.zeros(3, 3, 16, 16), torch.ones(3, 1, 16, 16)
    prediction = image + 0.2
    prediction[1, 0, 3, 3], prediction[2, 0, 0, 0] = torch.nan, torch.inf
    for round_first in (True, False):
        mean = ImageMean("l1_hole", round_first)
        mean.update(prediction, image, mask)
        assert (int(mean.count), int(mean.left_out)) == (1, 2) and mean.compute().item() == pytest.approx(0.1, abs=2e-3)


# ---- SSIM -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [("ssim", {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}), ("ssim_uniform7", {})],
)
def test_ssim_equals_scikit_image(name: str, settings: dict, data_dir: Path):
    from skimage.metrics import structural_similarity

    image = photographs(data_dir, 3)
    for other in (noisy(image), torch.nn.functional.avg_pool2d(image, 5, 1, 2)):
        ours = metric(name)(other, image)
        for i in range(3):
            a, b = (((t[i].double() + 1) / 2).numpy() for t in (other, image))
            theirs = structural_similarity(a, b, channel_axis=0, data_range=1.0, **settings)
            assert ours[i].item() == pytest.approx(theirs, abs=1e-4)


def test_ssim_is_torchmetrics_over_the_windows_inside_the_image():
    from torchmetrics.functional.image import structural_similarity_index_measure

    image = torch.rand(8, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = noisy(image)

    a, b = (other + 1) / 2, (image + 1) / 2
    _, whole = structural_similarity_index_measure(a, b, data_range=1.0, reduction="none", return_full_image=True)
    inner = whole[..., 5:-5, 5:-5].mean((1, 2, 3))  # the windows that lie inside the image
    torch.testing.assert_close(metrics.ssim(other, image), inner, atol=1e-4, rtol=0)


def test_ssim_keeps_full_precision_under_autocast():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean = ImageMean("ssim")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean.update(noisy(image), image)
    assert mean.compute().item() == pytest.approx(metrics.ssim(noisy(image), round_to_8_bits(image)).item(), abs=1e-6)


# ---- LPIPS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "expected"), [("lpips_alex", (0.7219, 0.1376)), ("lpips_vgg", (0.5686, 0.4217))])
def test_lpips_gives_the_published_values_of_its_example(
    name: str, expected: tuple[float, float], data_dir: Path, weights_dir: Path
):
    reference, first, second = (read(data_dir / "lpips_example" / f"ex_{n}.png") for n in ("ref", "p0", "p1"))
    values = metric(name)(torch.cat([first, second]), torch.cat([reference, reference]))
    assert values.tolist() == pytest.approx(expected, abs=5e-5)


def test_features_of_the_truth_are_computed_once_for_all_methods(weights_dir: Path, monkeypatch: pytest.MonkeyPatch):
    perceptual._network.cache_clear()
    network = perceptual._network("alexnet", torch.device("cpu"))
    seen: list[int] = []
    plain = network.forward
    monkeypatch.setattr(network, "forward", lambda image: (seen.append(len(image)), plain(image))[1])
    target = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first = metrics.lpips_alex(noisy(target, 1), target)
    assert seen == [3, 3]
    metrics.lpips_alex(noisy(target, 2), target)
    assert seen == [3, 3, 3]
    torch.testing.assert_close(metrics.lpips_alex(noisy(target, 1)[1:2], target[1:2]), first[1:2])
    assert seen == [3, 3, 3, 1, 1], "the bits of a convolution may depend on what stands beside an image"


def test_features_of_the_truth_are_kept_up_to_a_limit(weights_dir: Path, monkeypatch: pytest.MonkeyPatch):
    perceptual._network.cache_clear()
    network = perceptual._network("alexnet", torch.device("cpu"))
    targets = torch.rand(3, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = [metrics.lpips_alex(noisy(target, 1), target) for target in targets]
    size = sum(layer.nbytes for layer in next(iter(network._kept.values())))
    assert len(network._kept) == 3
    for limit, left in ((2 * size, 2), (size - 1, 0)):
        monkeypatch.setattr(perceptual, "_KEPT_BYTES", limit)
        network._kept.clear()
        assert [metrics.lpips_alex(noisy(target, 1), target) for target in targets] == expected
        assert len(network._kept) == left


def test_upsampled_lpips_is_lpips_of_the_upsampled_images(weights_dir: Path):
    target = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    big = [torch.nn.functional.interpolate(x, (256, 256), mode="bilinear") for x in (noisy(target), target)]
    assert metrics.lpips_alex_up256(noisy(target), target).item() == metrics.lpips_alex(*big).item()


def test_diversity_is_the_mean_over_pairs_of_samples(weights_dir: Path):
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    samples = torch.stack([noisy(image, seed) for seed in range(3)])
    pairs = [metrics.lpips_alex(samples[i], samples[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(metrics.diversity_lpips(samples), sum(pairs) / 3)
    with pytest.raises(ValueError, match="n >= 2"):
        metrics.diversity_lpips(samples[:1])


# ---- FID, P-IDS, U-IDS ----------------------------------------------------------------------------------------------


def test_frechet_distance_of_gaussians_with_known_moments_and_as_torch_fidelity_computes_it():
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 32)), rng.normal(0.3, 1.5, size=(300, 32))
    statistics = [fidelity.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    theirs = fidelity.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert inception.frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6)
    # Exact moments: C1 = I, C2 = 4 I in 2 dimensions at distance 5: 25 + 2 (1 + 4 - 2 * 2) = 27.
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)
    assert inception.frechet_distance(square, 2 * square + [3, 4]) == pytest.approx(27)


def test_fid_of_a_set_with_itself_is_0_and_grows_with_blur(data_dir: Path, weights_dir: Path):
    pytest.importorskip("torch_fidelity")
    image = photographs(data_dir, 4)
    features = [inception.inception_features(image).double().numpy()]
    for size in (5, 11):
        blurred = torch.nn.functional.avg_pool2d(image, size, 1, size // 2)
        features.append(inception.inception_features(blurred).double().numpy())
    itself, little, much = (inception.frechet_distance(f, features[0]) for f in features)
    assert abs(itself) < 1e-3
    assert 1 < little < much


@pytest.mark.slow
def test_fid_equals_torch_fidelity_on_the_same_folders(
    data_dir: Path, weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fidelity = pytest.importorskip("torch_fidelity")
    image = photographs(data_dir, 10)
    blurred = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    for name, pictures in {"a": blurred, "b": image}.items():
        (tmp_path / name).mkdir()
        for i, picture in enumerate(pictures):
            levels = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(levels).save(tmp_path / name / f"{i}.png")
    state = torch.load(backbone("inception_fid"), weights_only=True)
    whole = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008), **state}
    torch.save(whole, tmp_path / "inception.pth")
    theirs = fidelity.calculate_metrics(
        input1=str(tmp_path / "a"),
        input2=str(tmp_path / "b"),
        fid=True,
        cuda=False,
        cache=False,
        verbose=False,
        batch_size=10,
        feature_extractor_weights_path=str(tmp_path / "inception.pth"),
    )["frechet_inception_distance"]
    monkeypatch.setattr(metric("fid"), "least", 10)
    assert metrics.fid(blurred, image).item() == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kid_is_torch_fidelitys_with_all_images_as_one_subset(dtype: type):
    fidelity = pytest.importorskip("torch_fidelity.metric_kid")
    a, b = features_like_inceptions(kernel._BLOCK + 76, dtype)  # two blocks, the second smaller
    settings = {"kid_subsets": 1, "kid_subset_size": len(a), "verbose": False}
    theirs = fidelity.kid_features_to_metric(torch.from_numpy(a), torch.from_numpy(b), **settings)
    kid, paired = inception.from_features([metric("kid"), metric("kid_paired")], a, b)
    assert kid == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    kernels = [fidelity.kernel_poly(*pair) for pair in ((a, a), (a, b), (b, b))]
    assert paired == pytest.approx(fidelity.mmd2(*kernels, mmd_est="u-statistic"), abs=1e-6)
    assert kid != pytest.approx(paired, abs=1e-5)


def features_like_inceptions(count: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (count, 64) of one distribution, each alike: what a method without a fault makes."""
    rng = np.random.default_rng(3)
    shared = rng.exponential(0.4, size=(count, 64))
    a, b = (shared + rng.exponential(0.2, size=(count, 64)) for _ in range(2))
    return a.astype(dtype), b.astype(dtype)


def test_kid_of_pairs_is_0_on_average_and_kid_of_them_is_not():
    a, b = features_like_inceptions(40_000)
    found = np.array([kernel.kernel_distances(a[i : i + 200], b[i : i + 200]) for i in range(0, len(a), 200)])
    mean, error = found.mean(0), found.std(0) / np.sqrt(len(found))
    assert abs(mean[1]) < 3 * error[1]
    assert mean[0] < -10 * error[0]
    shuffled = np.array([kernel.kernel_distances(a[i : i + 200], b[i - 200 :][:200]) for i in range(200, len(a), 200)])
    assert abs(shuffled.mean(0)[0]) < 3 * shuffled.std(0)[0] / np.sqrt(len(shuffled))  # of strangers, both are


def test_kid_needs_50_images_where_fid_needs_1000(weights_dir: Path):
    a, b = features_like_inceptions(50)
    fid, kid = inception.from_features([metric(name) for name in ("fid", "kid")], a, b)
    assert np.isnan(fid) and kid == kernel.kernel_distances(a, b)[0]
    with pytest.raises(ValueError, match="kid needs at least 50 images, given 2"):
        metric("kid")(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32))


def test_u_ids_is_near_half_for_equal_and_0_for_separated_gaussians():
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 20_000, 16))
    paired, unpaired = inception.discriminative_scores(a, b)
    # A linear rule with 17 free numbers fits 40,000 random labels a little better than chance.
    assert unpaired == pytest.approx(0.5, abs=0.02)
    assert paired == pytest.approx(0.5, abs=0.03)
    assert inception.discriminative_scores(c + 10, b) == (0, 0)


def test_p_ids_and_u_ids_equal_a_direct_computation_on_stored_features():
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(1)
    real = rng.normal(size=(500, 16))
    fake = real + rng.normal(0.5, 1, size=(500, 16))
    x, y = np.concatenate([fake, real]), np.repeat([0, 1], 500)
    svm = LinearSVC(dual=False).fit(x, y)
    scores = x @ svm.coef_[0] + svm.intercept_[0]
    wrong = np.mean((scores > 0).astype(int) != y)
    above = np.mean(scores[:500] > scores[500:])
    assert inception.discriminative_scores(fake, real) == (
        pytest.approx(above, abs=2e-3),
        pytest.approx(wrong, abs=1e-3),
    )
    assert 0 < above < 0.5 and 0 < wrong < 0.5


def test_set_metrics_refuse_too_few_images():
    images = torch.zeros(4, 3, 32, 32)
    with pytest.raises(ValueError, match="fid needs at least 1000 images, given 4"):
        metrics.fid(images, images)
    with pytest.raises(ValueError, match="p_ids needs at least 4096 images"):
        metrics.p_ids(images, images)
    # Why: 100 pairs of pure noise in 2048 dimensions are separated without an error, as if the method were hopeless.
    a, b = np.random.default_rng(0).normal(size=(2, 100, 2048))
    assert inception.discriminative_scores(a, b)[1] == 0


# ---- backbones ------------------------------------------------------------------------------------------------------


def test_a_missing_backbone_says_how_to_get_it_and_a_wrong_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIT_INPAINT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    with pytest.raises(BackboneMissingError, match=r"put alexnet_features.pth into .*torchvision.models.alexnet"):
        backbone("alexnet")
    assert "torchvision.models.vgg16" in (metrics.unavailable("lpips_vgg") or "")
    assert metrics.unavailable("psnr") is None
    (tmp_path / "alexnet_features.pth").write_bytes(b"not the weights")
    with pytest.raises(ValueError, match=r"has sha256 .* expected 1454cf628f56"):
        backbone("alexnet")
    hub = tmp_path / "hub" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / "vgg16-397923af.pth").write_bytes(b"not the weights")
    with pytest.raises(ValueError, match="expected 397923af"):
        backbone("vgg16")
    (tmp_path / "x").write_bytes(b"abc")  # FIPS 180: the hash of "abc"
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ---- processes ------------------------------------------------------------------------------------------------------


SLOW = ("lpips_vgg", "lpips_alex_up256", "diversity_lpips")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(
            tuple(n for n in metrics.NAMES if n not in (*OF_A_SET, *SLOW) and not metric(n).of_prompts), id="cheap"
        ),
        pytest.param(SLOW, id="slow", marks=pytest.mark.slow),
    ],
)
def test_every_metric_is_equal_on_1_2_and_3_processes_with_an_odd_number_of_images(
    names: tuple[str, ...], tmp_path: Path
):
    names = tuple(n for n in names if not metrics.unavailable(n))
    if not names:
        pytest.skip("no backbone: LIT_INPAINT_WEIGHTS does not name a folder")
    images = 37
    least = {name: metric(name).least for name in OF_A_SET}
    try:
        alone = numbers_of_rank(0, 1, names, images)
    finally:
        for name in OF_A_SET:
            metric(name).least = least[name]
    assert alone["fid"] > 0 and alone["kid"] != alone["kid_paired"] and 0 <= alone["u_ids"] <= 0.5
    for world in (2, 3):
        folder, port = tmp_path / str(world), free_port()
        processes = [
            start(rank_of, rank, world, port, names, images, folder=folder, log=f"{rank}.txt") for rank in range(world)
        ]
        for rank, process in enumerate(processes):
            process.join(240)
            assert process.exitcode == 0, (folder / f"{rank}.txt").read_text()[-3000:]
            numbers = json.loads((folder / f"{rank}.json").read_text())
            assert numbers.pop("left out of psnr_hole", 2) == 2
            for name, value in numbers.items():
                assert value == pytest.approx(alone[name], rel=1e-6, abs=1e-6), (name, world)
