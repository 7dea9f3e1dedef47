"""The list of `make mutations` names faults that can be planted, and tests that exist."""

import ast
from pathlib import Path

import pytest

from tests.mutations import ROOT, Mutation, read

MUTATIONS = read()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[f"{m.file}-{n}" for n, m in enumerate(MUTATIONS)])
def test_a_mutation_can_be_planted_and_its_test_exists(mutation: Mutation):
    text = mutation.text_with_fault(ROOT)
    assert text != (ROOT / mutation.file).read_text(encoding="utf-8")
    ast.parse(text)
    file, _, name = mutation.test.partition("::")
    functions = [n.name for n in ast.parse((ROOT / file).read_text(encoding="utf-8")).body if hasattr(n, "name")]
    assert name.partition("[")[0].rpartition(".")[2] in functions  # doctests are named in full


def test_an_entry_that_is_out_of_date_is_refused(tmp_path: Path):
    (tmp_path / "x.py").write_text("loss = 1\nloss = 1\n")
    for old, count in (("loss = 1", 2), ("loss = 2", 0)):
        with pytest.raises(ValueError, match=f"x.py has {count} times '{old}'"):
            Mutation("x.py", old, "", "").text_with_fault(tmp_path)


def test_the_list_is_long_and_names_nothing_twice():
    assert len(MUTATIONS) >= 40 and len(set(MUTATIONS)) == len(MUTATIONS)
