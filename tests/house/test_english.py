"""Phrases that are not English, and the marks of a merge, stay gone from code, configurations and docs."""

import re
import subprocess

import pytest

from tests.support.house import ROOT

RATES = "batch|call|code|completion|device|epoch|image|index|line|mask|method|minute|part|pixel|process|rater|row|run|"
RATES += "second|step|token|trial|update|worker"
COUNTED = "bits|bytes|calls|completions|curve|files?|images|labels?|lines?|masks?|MiB|ms|numbers?|once|passes|rows?|"
COUNTED += "samples|seconds|times|tokens|trials?|twice|values?|workers?"
GONE = {  # what must not come back: what to write instead
    rf"\b({COUNTED}) an? ({RATES})\b(?! (counts|signal|is|in))": "per image, per step, ...",
    r"\b(goes|going) on\b|\bgo on where\b": "resumes, continues",
    r"\bunless told\b": "default: ...",
    r"\bbeg[iu]ns? anew\b|\bdrawn anew\b": "starts over, starts from scratch; redrawn",
    r"\b(he|him|his)\b": "they, them, their",
    r'"""Of |^ {4,}[a-z_, ]+: Of ': "a docstring names its subject: 'Seed for ...'",
    r"\bone that goes\b|of_the_dead": "what it is in the field's words",
    r"^(<{7}|>{7}|\|{7})( |$)": "one of the two sides of the merge",
}
ALLOWED = {  # file: a line that may stand there, and why
    "experiments/run/identity.py": "images a step",  # a key in checkpoints of 0.1.0
    "tests/experiments/test_run.py": "images a step",
    "tests/experiments/test_allow_changes.py": "images a step",
    "tests/experiments/test_other_processes.py": "images a step",
}


def faults(name: str, text: str) -> list[str]:
    """
    >>> faults("a.md", "seconds an image\\nseconds per image\\nThe run goes on.")
    ['a.md:1: seconds an image (per image, per step, ...)', 'a.md:3: goes on (resumes, continues)']
    """
    return [
        f"{name}:{number}: {found[0].strip()} ({instead})"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, instead in GONE.items()
        if (found := re.search(pattern, line)) and found[0] != ALLOWED.get(name)
    ]


def test_phrases_that_are_not_english_stay_gone() -> None:
    kinds = ["py", "md", "yaml", "yml", "j2", "js", "css", "toml", "cfg", "cff", "ipynb"]
    patterns = ["Makefile", *(f"*.{kind}" for kind in kinds)]
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    names = [n for n in listed.stdout.splitlines() if n != "tests/house/test_english.py"]
    assert "README.md" in names
    assert not [fault for name in names if (ROOT / name).is_file() for fault in faults(name, (ROOT / name).read_text())]
