"""TensorFlow's checkpoints are read without TensorFlow, and damaged or hostile ones are refused.

tests/fixtures/tensorflow was written by TensorFlow 2.21 (tf.compat.v1.train.Saver): the official variables of DeepFill
v1 (width 2, discriminators of width 1 for 64 and 32 px) and v2 (width 4, discriminator 2), normal numbers of
np.random.default_rng(0) times 0.1, with global_step 7 and beta1_power 0.5 beside them. The sums below are those that
TensorFlow's session gave.
"""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.weights.imports import main as import_weights
from lit_inpaint.foreign.tensorflow import read
from lit_inpaint.load import load_method

FIXTURES = Path(__file__).parents[1] / "fixtures/tensorflow"
SUMS = {  # sum, sum of magnitudes
    "deepfillv1": {
        "inpaint_net/conv1/kernel": (-0.148046, 20.519241),
        "inpaint_net/conv13_upsample/conv13_upsample_conv/kernel": (-1.253103, 21.694340),
        "inpaint_net/allconv17/bias": (0.093034, 0.459399),
        "discriminator/discriminator_global/conv2/kernel": (-0.407158, 4.204316),
        "discriminator/dout_local_fc/kernel": (-0.268917, 1.990611),
    },
    "deepfillv2": {
        "inpaint_net/conv1/kernel": (-1.344495, 40.446667),
        "inpaint_net/allconv15_upsample/allconv15_upsample_conv/kernel": (-0.724896, 11.993079),
        "inpaint_net/pmconv5/bias": (0.386622, 1.304319),
        "discriminator/sn_patch_gan/conv6/kernel": (0.448613, 131.215393),
        "discriminator/sn_patch_gan/conv1/kernel_sn/u": (-0.014122, 0.095797),
    },
}


@pytest.mark.parametrize("name", SUMS)
def test_every_variable_has_the_numbers_that_tensorflow_wrote(name: str):
    arrays = read(FIXTURES / name)
    assert arrays["global_step"] == 7 and arrays["global_step"].dtype == np.int64 and arrays["beta1_power"] == 0.5
    for variable, expected in SUMS[name].items():
        found = arrays[variable]
        assert (found.sum(), np.abs(found).sum()) == pytest.approx(expected, abs=1e-4)
    for way in (FIXTURES / name / "snap-0", FIXTURES / name / "snap-0.index"):
        assert read(way).keys() == arrays.keys()


@pytest.mark.parametrize(("name", "method"), [("deepfillv1", "DeepFillV1"), ("deepfillv2", "DeepFillV2")])
def test_a_folder_of_tensorflow_becomes_a_method(name: str, method: str, tmp_path: Path):
    assert import_weights([method, str(FIXTURES / name), "--out", str(tmp_path / "x.ckpt")]) == 0
    arrays, state = read(FIXTURES / name), load_method(tmp_path / "x.ckpt").state_dict()
    first = arrays["inpaint_net/conv1/kernel"]  # height, width, in (BGR, ones, mask), out
    red, mask = 2, 4
    assert state["generator.conv1.weight"][1, 0, 3, 2] == first[3, 2, red, 1]
    assert state["generator.conv1.weight"][1, 4, 3, 2] == first[3, 2, mask, 1]
    assert torch.equal(
        state["generator.allconv17.bias"], torch.tensor(arrays["inpaint_net/allconv17/bias"][::-1].copy())
    )
    if name == "deepfillv1":
        dense = arrays["discriminator/dout_local_fc/kernel"]  # of a (2, 2, 8) map, channels last
        weight = state["discriminator_local.linear.weight"].view(-1, 2, 2)
        assert weight[5, 1, 0] == dense[(1 * 2 + 0) * len(weight) + 5, 0]


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "deepfillv1", tmp_path / "copy"))


def test_what_is_cut_off_missing_or_changed_is_refused_by_name(tmp_path: Path):
    folder = copied(tmp_path)
    index, data = folder / "snap-0.index", folder / "snap-0.data-00000-of-00001"
    whole, numbers = index.read_bytes(), data.read_bytes()
    data.write_bytes(numbers[:-10])
    with pytest.raises(ValueError, match="truncated or damaged"):
        read(folder)
    data.write_bytes(numbers[:5000] + b"\0\0\0\0" + numbers[5004:])
    with pytest.raises(ValueError, match=r"checksum of discriminator/\S+ is wrong"):
        read(folder)
    data.unlink()
    with pytest.raises(ValueError, match=r"part snap-0.data-00000-of-00001 is missing"):
        read(folder)
    data.write_bytes(numbers)
    index.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="does not end like an index"):
        read(folder)
    index.write_bytes(whole[:100] + b"\xff" + whole[101:])
    with pytest.raises(ValueError, match="checksum of a block is wrong"):
        read(folder)
    index.unlink()
    with pytest.raises(ValueError, match=r"no file .*snap-0.index"):
        read(folder)
    with pytest.raises(ValueError, match=r"0 \.index files"):
        (folder / "checkpoint").unlink()
        read(folder)


def test_a_listed_checkpoint_lies_in_its_own_folder(tmp_path: Path):
    folder = copied(tmp_path)
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/../else/snap-0"\n')
    assert "inpaint_net/conv1/kernel" in read(folder)


def test_random_damage_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lit_inpaint.foreign.tensorflow._masked", lambda crc: _Any())  # checksums can be forged
    folder, rng = copied(tmp_path), random.Random(0)
    whole = (folder / "snap-0.index").read_bytes()
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            broken[rng.randrange(len(broken) - 8)] = rng.randrange(256)
        (folder / "snap-0.index").write_bytes(broken)
        try:
            read(folder)
        except ValueError as error:
            assert "\n" not in str(error)


class _Any:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0
