"""What numba compiles is cached, but not in the package."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import pytest

from masks.compiled import compiled
from tests.support.house import ROOT

CODE = """
from datamodules.faces import painting
from lit_inpaint.foreign import tensorflow
from lit_inpaint.methods.patchmatch import field
print(*{function._cache.cache_path for function in (field.draw, tensorflow._crc, painting._hash)}, sep="\\n")
"""


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "NUMBA_CACHE_DIR"])
def test_functions_of_every_package_are_cached_outside_it(variable: str, tmp_path: Path):
    environment = {"PATH": "", "HOME": str(tmp_path / "home"), variable: str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    under = tmp_path / ("cache/lit-inpaint/numba" if variable == "XDG_CACHE_HOME" else "cache")
    places = [Path(line) for line in done.stdout.split()]
    assert len(places) == 3 and all(place.is_relative_to(under) for place in places), places


def test_the_setting_of_other_packages_is_left_alone():
    before = numba.config.CACHE_DIR
    compiled(lambda x: x)
    assert before == numba.config.CACHE_DIR


def test_a_read_only_install_compiles_without_a_cache(monkeypatch: pytest.MonkeyPatch):
    njit = numba.njit

    def refuses_to_cache(*given: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available for file")
        return njit(*given, **options)

    monkeypatch.setattr(numba, "njit", refuses_to_cache)
    assert compiled(lambda x: x + 1)(1) == 2
