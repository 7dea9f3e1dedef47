"""Each method, made small and trained with its own step, learns one photograph beyond what Telea makes of it."""

import lightning as L
import pytest

from lit_inpaint.methods import GLCIC, ContextEncoder, DeepFillV1, PartialConv
from tests.support.overfit import assert_learns, square


def test_context_encoder_learns_one_photograph_beyond_telea():
    L.seed_everything(0, verbose=False)
    model = ContextEncoder(size=64, overlap=2, width=16, bottleneck=64)
    assert_learns(model, square(28), batch=8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_context_encoder_of_random_regions_learns_one_photograph_beyond_telea():
    L.seed_everything(0, verbose=False)
    assert_learns(ContextEncoder("random", size=64, width=16, bottleneck=64), square(28), batch=8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_context_encoder_with_the_channelwise_layer_learns_one_photograph_beyond_telea():
    L.seed_everything(0, verbose=False)
    assert_learns(ContextEncoder(size=64, overlap=2, width=16, bottleneck=None), square(28), batch=8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_partial_conv_learns_one_photograph_beyond_telea(weights_dir):
    L.seed_everything(0, verbose=False)
    # With the published style weight of 120 the L1s count for nothing in the first minute: here it is 1.
    model = PartialConv(levels=5, width=32, learning_rate=2e-3, style_weight=1.0)
    assert_learns(model, square(32), batch=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_glcic_learns_one_photograph_beyond_telea_in_its_joint_phase():
    L.seed_everything(0, verbose=False)
    model = GLCIC(completion_steps=20, discriminator_steps=5, size=64, local_size=32, width=16, features=32)
    assert_learns(model, square(32), batch=4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deepfillv1_learns_one_photograph_beyond_telea():
    L.seed_everything(0, verbose=False)
    model = DeepFillV1(
        width=16, discriminator_width=16, size=64, local_size=32, discriminator_updates=1, learning_rate=1e-3
    )
    assert_learns(model, square(32), batch=2)
