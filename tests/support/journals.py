"""A sweep that trains nothing, a table of metrics, and the lines of what they write."""

from pathlib import Path

import yaml
from optuna.trial import TrialState

from experiments.sweep.ledger import Ledger
from experiments.sweep.space import read_sweep

GRID = {
    "name": "torn", "method": "grid", "metric": {"name": "val/loss", "goal": "minimize"},
    "command": ["true", "${args}"], "parameters": {"x": {"values": [1, 2, 3, 4]}},
}  # fmt: skip
ROWS = "step,train/loss,val/psnr,images_seen\r\n" + "".join(
    f"{n},{n / 4},{'' if n % 3 else 20 + n},{8 * n}\r\n" for n in range(10)
)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def open_ledger(folder: Path) -> Ledger:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(GRID))
    sweep = read_sweep(path)
    return Ledger(sweep, str(folder / "journal.log"), sweep.budget(None))


def spend(ledger: Ledger, most: int = 9) -> None:
    while most and (claimed := ledger.claim()):
        trial, drawn = claimed
        ledger.finish(trial.number, TrialState.COMPLETE, float(drawn["x"]))
        most -= 1


def outcome(ledger: Ledger) -> list[tuple[int, float | None]]:
    return sorted((trial.user_attrs["drawn"]["x"], trial.value) for trial in ledger.held())
