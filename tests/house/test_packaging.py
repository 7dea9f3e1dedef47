"""The wheel carries everything, and an installed copy runs from any folder."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_prints_the_quickstart_configuration(tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT], check=True, timeout=280)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    shipped = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "experiments").rglob("*")
        if p.suffix in {".py", ".yaml", ".j2", ".css", ".js", ".sbatch"}
    }
    of_zoo = {".md", ".json", ".safetensors"}
    shipped |= {str(p.relative_to(ROOT)) for p in (ROOT / "lit_inpaint/zoo").iterdir() if p.suffix in of_zoo}
    assert shipped <= inside
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True, timeout=120)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "fit", "--config", "quickstart.yaml", "--print_config"],
        cwd=elsewhere, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and "default_root_dir: runs/quickstart" in done.stdout
    assert not list(elsewhere.iterdir())


def test_a_release_has_a_readme_whose_pictures_and_links_are_absolute(tmp_path: Path):
    steps = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["build"]["steps"]
    (command,) = [step["run"] for step in steps if "README's" in step.get("name", "")]
    given = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(given, encoding="utf-8")
    github = {"GITHUB_SERVER_URL": "https://g.example", "GITHUB_REPOSITORY": "lab/it", "GITHUB_REF_NAME": "v1.2.3"}
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, env={**os.environ, **github}, check=True)
    made = (tmp_path / "README.md").read_text(encoding="utf-8")
    link = re.compile(r"(!?)\[([^\]]*)\]\(([^)]+)\)")
    before, after = link.findall(given), link.findall(made)
    hosts = {"!": "https://raw.githubusercontent.com/lab/it/v1.2.3/", "": "https://g.example/lab/it/blob/v1.2.3/"}
    assert len(before) > 30 and {picture for picture, _, _ in before} == {"!", ""}
    assert after == [(picture, words, hosts[picture] + target) for picture, words, target in before]
    assert all((ROOT / target).exists() for _, _, target in before)
    assert link.sub("", made) == link.sub("", given)


def test_no_weights_are_tracked_beside_fixtures_and_zoo():
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    weights = {".ckpt", ".pt", ".pth", ".safetensors", ".onnx", ".npz", ".bin"}
    found = [name for name in tracked.splitlines() if Path(name).suffix in weights]
    assert [name for name in found if not name.startswith(("tests/fixtures/", "lit_inpaint/zoo/"))] == []
