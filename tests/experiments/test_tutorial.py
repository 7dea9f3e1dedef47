"""docs/tutorials: every notebook runs from an empty folder, and is committed without outputs."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = {  # notebook: how many pictures it shows, and what must stand in its outputs
    "compare": (0, ["Telea", "Harmonic", "PatchMatch", "<b>Telea</b> under quickstart", "compare.html"]),
    # advimman/lama#297 and JiahuiYu/generative_inpainting#398: released weights, one's own small data set
    "fine_tune": (0, ["nowhere.ckpt", "released", "tuned", "compare.html"]),
    "outputs": (0, ["index.json", "Theirs", "Telea", "compare.html"]),
    "own_data": (1, ["torch.Size([2, 3, 64, 64])", "[0.0, 1.0]"]),
    "own_method": (0, ["Writing small_net.py", "SmallNet", "Telea"]),
    "python": (3, ["<b>Telea</b> under quickstart", "Harmonic", "Blur", "compare.html"]),  # two sheets, a completion
    "sweep": (0, ["2 of 2", "model.init_args.learning_rate", "complete"]),
    "train": (1, ["last.ckpt", "metrics.csv", "('20', ", "('40', "]),
}
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs(path: Path):
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert path.stat().st_size < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_what_it_speaks_of(path: Path, tmp_path: Path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook: Any = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = [output["text"] for output in outputs if output.get("name") == "stderr"]
    # tqdm misses Jupyter's widgets; a data module says what it has found
    assert not [text for text in said if "IProgress" not in text and not text.startswith("data: ")]
    shown = [output.data for output in outputs if "data" in output]
    printed = "".join(output["text"] for output in outputs if output.get("name") == "stdout")
    text = printed + "".join(data.get("text/html", "") + data.get("text/plain", "") for data in shown)
    pictures, words = SHOWN[path.stem]
    assert sum("image/png" in data for data in shown) == pictures and "Traceback" not in text
    assert [word for word in words if word not in text] == []
    assert "\x1b" not in printed and "\r" not in printed  # the site shows text, no terminal
