"""Training runs from W&B through its public API, and the page's charts as a W&B workspace."""

from collections.abc import Iterable, Sequence
from typing import Any

from experiments.run.curves import History, join_segments, present_keys
from lit_inpaint.metrics import headline

TIMEOUT = 15  # seconds: without a network the client would ask again for minutes
_OWN = {"_step", "_runtime", "_timestamp", "trainer/global_step", "epoch"}  # W&B's and Lightning's, no curves
_IDENTIFY = {"started", "val_protocol_hash"}  # of a run, no settings


class Unreachable(Exception):
    """No network, no key, or no such project: one line says which."""


def read_project(project: str, known: Iterable[str] = ()) -> list[History]:
    """Every run of ENTITY/PROJECT with its config and curves, oldest first.

    Args:
        project: As in the address of its page.
        known: Ids of runs already read from folders; they are skipped.

    Raises:
        ValueError: ``project`` is not written ENTITY/PROJECT.
        Unreachable: W&B could not be asked.
    """
    if len([part for part in project.split("/") if part]) != 2:
        raise ValueError(f"--wandb is {project!r}; expected ENTITY/PROJECT, as in the address of the project's page.")
    import wandb

    skipped = set(known)
    try:
        found = wandb.Api(timeout=TIMEOUT).runs(project, order="+created_at", lazy=False)
        return [_run(run) for run in found if run.id not in skipped]
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise Unreachable(
            f"W&B project {project} could not be read, so its runs are skipped ({reason}). Check the network, the "
            "name and WANDB_API_KEY."
        ) from None


def _run(run: Any) -> History:
    """One run of the API: ``scan_history`` gives every row, ``history`` would give a sample."""
    rows = []
    for row in run.scan_history():
        numbers = {key: float(v) for key, v in row.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        if "trainer/global_step" in numbers:
            numbers["step"] = numbers["trainer/global_step"]
        rows.append({key: value for key, value in numbers.items() if key not in _OWN and value - value == 0})
    curves, note = join_segments(present_keys([rows], run.config.get("method")))
    return History(str(run.name), str(run.url), dict(run.config), {}, curves, note)


def save_workspace(project: str, runs: Sequence[History]) -> str:
    """The same charts as a workspace of the project; its address.

    Raises:
        ValueError: The package wandb-workspaces is missing.
        Unreachable: W&B could not be asked.
    """
    view = workspace(project, runs)
    try:
        view.save()
    except Exception as error:
        raise Unreachable(f"the W&B workspace was not saved ({' '.join(str(error).split())[:160]}).") from None
    return str(view.url)


def _varied(runs: Sequence[History]) -> list[str]:
    """Settings in which the runs differ, as those of a sweep do: the axes of parallel coordinates."""
    values: dict[str, set[object]] = {}
    for run in runs:
        for key, value in run.facts.items():
            if isinstance(value, str | int | float) and key not in _IDENTIFY:
                values.setdefault(key, set()).add(value)
    return sorted(key for key, found in values.items() if len(found) > 1)


def workspace(project: str, runs: Sequence[History]) -> Any:
    """Sections for validation, losses, panels and settings; curves over images_seen; runs grouped by method and
    validation protocol."""
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError:
        raise ValueError("a W&B workspace needs wandb-workspaces: pip install 'lit-inpaint[wandb-reports]'.") from None
    keys = sorted({key for run in runs for key in run.curves})
    entity, name = project.strip("/").split("/")
    sections = []
    for title, prefix in (("Validation", "val/"), ("Losses", "train/")):
        lines: list[Any] = [
            panels.LinePlot(title=key, x="images_seen", y=[key]) for key in keys if key.startswith(prefix)
        ]
        if lines:
            sections.append(workspaces.Section(name=title, panels=lines, is_open=True))
    sections.append(
        workspaces.Section(name="Panels", panels=[panels.MediaBrowser(media_keys=["val/panels"])], is_open=True)
    )
    settings = _varied(runs)
    if shown := headline(keys):
        columns: list[Any] = [panels.ParallelCoordinatesPlotColumn(metric=panels.Config(key)) for key in settings]
        columns.append(panels.ParallelCoordinatesPlotColumn(metric=panels.SummaryMetric(shown)))
        plot = panels.ParallelCoordinatesPlot(columns=columns, title=shown)
        sections += [workspaces.Section(name="Settings", panels=[plot], is_open=True)] if settings else []
    groups = workspaces.RunsetSettings(groupby=[workspaces.Config("method"), workspaces.Config("val_protocol_hash")])
    return workspaces.Workspace(
        entity=entity, project=name, name="lit-inpaint comparison", sections=sections, runset_settings=groups
    )
