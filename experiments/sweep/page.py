"""Outputs of a sweep: trials.csv, best.yaml, and a self-contained page that works offline."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from optuna.trial import FrozenTrial, TrialState
from plotly.colors import sample_colorscale
from plotly.offline import get_plotlyjs

from experiments.compare import page as comparison
from experiments.files.write import write_text
from experiments.run import Run
from experiments.sweep.laws import text
from experiments.sweep.ledger import Ledger, lost, why_lost

HERE = Path(__file__).parent
ABSENT = "-"  # a parameter of another method
COLOURS = {"COMPLETE": "#2f6fb3", "PRUNED": "#cf6a24", "FAIL": "#b8405e", "RUNNING": "#8b8f1d"}


def write(ledger: Ledger, out: Path) -> list[Path]:
    """Write trials.csv, best.yaml if a trial is complete, and sweep.html, each atomically."""
    files = {out / "trials.csv": table(ledger)}
    best = ledger.best()
    config = best_config(best, out) if best else None
    if config:
        files[out / "best.yaml"] = config
    files[out / "sweep.html"] = render(ledger, config)
    for path, content in files.items():
        write_text(path, content)
    return list(files)


def best_config(best: FrozenTrial, out: Path) -> str | None:
    """The parsed configuration of the best trial with its own run folder; None if it is elsewhere."""
    folder = best.user_attrs.get("folder", "")
    configs = Run(Path(folder)).configs if folder else []
    if not configs:
        return None
    config = yaml.safe_load(configs[0].read_text(encoding="utf-8").replace(folder, str(out / "best")))
    if isinstance(config.get("trainer"), dict):  # a saved configuration names no folder of its own
        config["trainer"]["default_root_dir"] = str(out / "best")
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def table(ledger: Ledger) -> str:
    names = list(ledger.sweep.parameters)
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["trial", "state", ledger.sweep.metric, "images_seen", "seconds", *names, "reason"])
    for trial in ledger.trials():
        said, drawn = trial.user_attrs, trial.user_attrs.get("drawn", {})
        state = "lost" if lost(trial) else trial.state.name.lower()
        seconds = f"{trial.duration.total_seconds():.1f}" if trial.duration else ""
        values = [text(drawn[name]) if name in drawn else "" for name in names]
        reason = why_lost(trial) if lost(trial) else said.get("reason", "")
        writer.writerow([trial.number, state, _value(trial), said.get("images_seen", ""), seconds, *values, reason])
    return lines.getvalue()


def _value(trial: FrozenTrial) -> float | str:
    return "" if trial.value is None else trial.value


def render(ledger: Ledger, config: str | None) -> str:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    importance, why = _importances(ledger)
    figures = {"history": history(ledger), "parallel": parallel(ledger), "importance": _bars(importance)}
    held = ledger.held()
    return environment.get_template("page.html.j2").render(
        style=Markup((comparison.HERE / "page.css").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
        sweep=ledger.sweep,
        budget=ledger.budget,
        held=held,
        lost=len(ledger.trials()) - len(held),
        best=ledger.best(),
        config=config,
        failed=[trial for trial in held if trial.state == TrialState.FAIL],
        figures={name: figure.to_plotly_json() for name, figure in figures.items() if figure},
        json=lambda figure: Markup(go.Figure(figure).to_json().replace("<", "\\u003c")),
        why=why,
        text=text,
    )


# ---- figures -------------------------------------------------------------------------------------------------------


def _figure(*traces: object, **layout: object) -> go.Figure:
    figure = go.Figure(list(traces))
    figure.update_layout(
        template="none", paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", height=380,
        font={"size": 13, "color": "#808890"}, margin={"l": 64, "r": 24, "t": 24, "b": 48}, **layout,
    )  # fmt: skip
    return figure


def history(ledger: Ledger) -> go.Figure:
    """The value of each trial over its number, and the best so far."""
    traces: list[object] = []
    held = ledger.held()
    for state in ("COMPLETE", "PRUNED"):
        chosen = [t for t in held if t.state.name == state and t.value is not None]
        if chosen:
            marker = {"color": COLOURS[state], "size": 9, "symbol": "circle" if state == "COMPLETE" else "x"}
            x, y = [t.number for t in chosen], [t.value for t in chosen]
            traces.append(go.Scatter(x=x, y=y, mode="markers", name=state.lower(), marker=marker))
    complete = [t for t in held if t.state == TrialState.COMPLETE]
    best, line = None, []
    for trial in complete:
        better = max if ledger.sweep.maximize else min
        best = trial.value if best is None else better(best, trial.value or 0.0)
        line.append(best)
    if line:
        shape = {"color": COLOURS["COMPLETE"], "shape": "hv", "width": 1.5}
        traces.append(go.Scatter(x=[t.number for t in complete], y=line, mode="lines", name="best so far", line=shape))
    grid = {"gridcolor": "rgba(128,136,144,0.25)", "zeroline": False}
    axes = {"xaxis": {"title": "trial", **grid}, "yaxis": {"title": ledger.sweep.metric, **grid}}
    return _figure(*traces, **axes, legend={"orientation": "h", "y": 1.08})


def parallel(ledger: Ledger) -> go.Figure | None:
    """One line per complete trial through its values, coloured by the metric; constant parameters have no axis.

    Plotly's own parallel coordinates want WebGL and ``eval``; lines want neither.
    """
    complete = [t for t in ledger.held() if t.state == TrialState.COMPLETE]
    axes: dict[str, list[Any]] = {}
    for name in ledger.sweep.parameters:
        values = [t.user_attrs["drawn"].get(name, ABSENT) for t in complete]
        if len(set(map(text, values))) > 1:
            axes[name] = values
    if not axes:
        return None
    metric = [t.value or 0.0 for t in complete]
    heights, marks = [], []
    for place, (name, values) in enumerate([*axes.items(), (ledger.sweep.metric, metric)]):
        logarithmic = "log" in ledger.sweep.parameters.get(name, {}).get("distribution", "")
        column, labels = _axis(values, logarithmic)
        heights.append(column)
        marks += [{"x": place, "y": y, "text": said, "showarrow": False, "xanchor": "right"} for y, said in labels]
    names = [short(name) for name in (*axes, ledger.sweep.metric)]
    worst, best = (min(metric), max(metric)) if ledger.sweep.maximize else (max(metric), min(metric))
    traces = []
    for i in sorted(
        range(len(complete)), key=lambda i: metric[i], reverse=not ledger.sweep.maximize
    ):  # the best on top
        shade = (metric[i] - worst) / (best - worst) if best != worst else 1.0
        colour = sample_colorscale("Viridis", [1 - shade])[0]
        said = f"trial {complete[i].number}: {metric[i]:.5g}"
        hover = [said, *(f"{short(name)} {text(values[i])}" for name, values in axes.items())]
        y = [column[i] for column in heights]
        line = {"color": colour, "width": 1 + 1.5 * shade}
        traces.append(
            go.Scatter(x=list(range(len(y))), y=y, mode="lines", line=line, name=said, text="<br>".join(hover))
        )
    figure = _figure(*traces, annotations=marks, showlegend=False, hovermode="closest")
    figure.update_traces(hoverinfo="text")
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "side": "top", "gridcolor": "#808890"}
    figure.update_xaxes(**ticks, zeroline=False, range=[-0.35, len(names) - 0.9])
    figure.update_yaxes(visible=False, range=[-0.06, 1.06])
    return figure


def _axis(values: list[Any], logarithmic: bool) -> tuple[list[float], list[tuple[float, str]]]:
    """Heights in [0, 1], and the labels of an axis: its ends for numbers, every choice otherwise.

    >>> _axis([1, 10, 100], logarithmic=True)
    ([0.0, 0.5, 1.0], [(0.0, '1'), (1.0, '100')])
    >>> _axis(["b", "a", "b"], logarithmic=False)
    ([1.0, 0.0, 1.0], [(0.0, 'a'), (1.0, 'b')])
    """
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        logarithmic = logarithmic and min(values) > 0
        numbers = [math.log(value) if logarithmic else float(value) for value in values]
        low, span = min(numbers), (max(numbers) - min(numbers)) or 1.0
        return [(n - low) / span for n in numbers], [(0.0, f"{min(values):.4g}"), (1.0, f"{max(values):.4g}")]
    names = sorted(set(map(text, values)))
    place = {name: i / max(1, len(names) - 1) for i, name in enumerate(names)}
    return [place[text(value)] for value in values], [(y, short(name, 24)) for name, y in place.items()]


def short(name: str, most: int = 32) -> str:
    """
    >>> short("model.init_args.learning_rate")
    'learning_rate'
    """
    name = name.rpartition("init_args.")[2].removeprefix("trainer.")
    return name if len(name) <= most else "..." + name[3 - most :]


def _importances(ledger: Ledger) -> tuple[dict[str, float], str]:
    """Share of each parameter in the variance of the metric (fANOVA, Hutter et al. 2014), or why there is none."""
    complete = [t for t in ledger.held() if t.state == TrialState.COMPLETE]
    if len(complete) < 4 or len({t.value for t in complete}) < 2:
        return {}, "fewer than four complete trials, or all with the same value"
    study = optuna.create_study(direction=ledger.study.direction)
    study.add_trials([_plain(trial) for trial in complete])
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    try:
        return optuna.importance.get_param_importances(study, evaluator=evaluator), ""
    except (ValueError, RuntimeError) as error:
        return {}, str(error)


def _plain(trial: FrozenTrial) -> FrozenTrial:
    """The trial without intermediate values: the in-memory storage accepts only finite numbers."""
    return optuna.trial.create_trial(value=trial.value, params=trial.params, distributions=trial.distributions)


def _bars(importance: dict[str, float]) -> go.Figure | None:
    if not importance:
        return None
    names = list(importance)[::-1]
    bar = go.Bar(x=[importance[n] for n in names], y=[short(n) for n in names], orientation="h", marker_color="#3a8f5c")
    figure = _figure(bar, xaxis={"title": "share of the variance", "range": [0, 1], "zeroline": False})
    figure.update_layout(height=90 + 34 * len(names), margin={"l": 200, "r": 24, "t": 16, "b": 48})
    return figure
