"""Samplers as words of a command: names, types and ranges are checked before anything runs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from experiments.evaluate.job import Job
from experiments.evaluate.protocol import load_protocols
from lit_inpaint.diffusion.samplers import DDIM, DDNM, CoPaint, RePaint
from lit_inpaint.sampling import sampler_of
from tests.support.protocols import write_protocol


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("RePant", "no sampler 'RePant'. Did you mean 'RePaint'"),
        ("Sampler", "no sampler 'Sampler'"),
        ("DDNM step=5", "DDNM has no argument 'step'. Did you mean 'steps'"),
        ("DDNM steps", "'steps' is not an argument"),
        ("DDNM steps=5 steps=6", "steps is given twice, 5 and 6"),
        ("DDNM steps=abc", "steps of DDNM is 'abc'. Expected a whole number from 1."),
        ("DDNM steps=0", "steps of DDNM is 0. Expected a whole number from 1."),
        ("DDNM steps=2.5", "Expected a whole number"),
        ("DDNM steps=true", "Expected a whole number"),
        ("RePaint jump_length=0", "jump_length of RePaint is 0. Expected a whole number from 1."),
        ("RePaint clip=maybe", "clip of RePaint is 'maybe'. Expected true or false."),
        ("RePaint clip=1", "Expected true or false"),
        ("DDIM rule=leadin", "rule of DDIM is 'leadin'. Did you mean 'leading'"),
        ("DDIM eta=2", "eta of DDIM is 2. Expected a number from 0 to 1."),
        ("DDRM eta_b=-0.1", "eta_b of DDRM is -0.1"),
        ("DPS scale=.inf", "scale of DPS is inf. Expected a number from 0."),
        ("CoPaint learning_rate=[1]", "learning_rate of CoPaint is .1.. Expected a number"),
        (f"{__name__}.Grey level=a", "level of Grey is 'a'. Expected a number."),
        (f"{__name__}.Needy", "Needy: .*missing 1 required positional argument: 'what'"),
        (f"{__name__}.Path", "is no sampler: expected a subclass"),
        ("lit_inpaint.nowhere.Grey", "there is no module 'lit_inpaint.nowhere'"),
    ],
)
def test_a_sampler_that_there_is_not_is_named(words: str, said: str):
    with pytest.raises(ValueError, match=said):
        sampler_of(words.split())


def test_what_a_sampler_takes_is_taken_in_every_spelling():
    assert sampler_of(["CoPaint", "regularisation=1e-3", "learning_rate=1"]) == CoPaint(
        regularisation=1e-3, learning_rate=1
    )
    assert sampler_of(["DDIM", "steps=7", "rule=leading", "clip=false"]) == DDIM(7, rule="leading", clip=False)
    assert RePaint(np.int64(3), 1, 1) == RePaint(3, 1, 1)  # type: ignore[arg-type]


def test_python_and_yaml_are_held_to_the_same_ranges():
    with pytest.raises(ValueError, match=r"eta of DDNM is 1.5. Expected a number from 0 to 1."):
        DDNM(5, eta=1.5)


@dataclass(frozen=True)
class Grey(RePaint):
    level: float = -0.5  # of one's own: no range is known


@dataclass(frozen=True)
class Needy(RePaint):
    def __init__(self, what: int) -> None: ...


def test_one_s_own_sampler_is_named_by_its_path_and_its_code_counts(photos: Path, tmp_path: Path):
    words = (f"{__name__}.Grey", "steps=3", "level=-2")
    assert sampler_of(words) == Grey(3, level=-2)
    (protocol,) = load_protocols(write_protocol(tmp_path), photos)
    job = Job("zoo:DDPM_drawn_faces64", "X", protocol, tmp_path, sampler=words)
    assert "sampler_code" in job.identity() and __name__ in (job.source().described().sources or {})
    ours = Job("zoo:DDPM_drawn_faces64", "X", protocol, tmp_path, sampler=("RePaint",))
    assert "sampler_code" not in ours.identity() and ours.source().described().sources is None
