"""``lit-inpaint vote``: ask people which completion looks more real, and turn the answers into a column."""

from experiments.compare.reader import read_folders
from experiments.records.files import write_column
from experiments.vote import options
from experiments.vote.result import Votes, binomial, column
from experiments.vote.store import CONSISTENT, Store
from experiments.vote.study import Study, make_study


def main(argv: list[str]) -> int:
    a = options.vote().parse_args(argv)
    if a.pairs is not None and a.pairs < 1:
        raise ValueError(f"--pairs is {a.pairs}; expected at least 1.")
    if not 0 <= a.port <= 65535:
        raise ValueError(f"--port is {a.port}; expected 1 to 65535, or 0 for any free one.")
    records, _ = read_folders([a.out], votes=False)  # a damaged column is no obstacle to the one that replaces it
    study = make_study(records, a.reference, a.against, a.protocol)
    store = Store(study.database, study)
    if a.result:
        print(_write_result(study, store))
        return 0
    from experiments.vote.page import serve

    server = serve(study, store, a.port, a.pairs)
    address = f"http://127.0.0.1:{server.server_port}"
    print(f"lit-inpaint: {address} asks about {len(study.pairs)} pairs (press Ctrl-C to stop)", flush=True)
    try:
        server.serve_forever()
    finally:
        server.server_close()
        store.close()
    return 0


def _write_result(study: Study, store: Store) -> str:
    """Write one file per method for ``compare`` and return the table as Markdown."""
    raters = store.raters()
    left_out = {r.name: r for r in raters if r.consistency is None or r.consistency < CONSISTENT}
    lines = [
        f"| against {study.reference} | votes, % [95 %] | binomial, % | votes | images |",
        "|---|---:|---:|---:|---:|",
    ]
    kept = [r.id for r in raters if r.name not in left_out]
    for label, record in study.records.items():
        votes = Votes([v for v in store.votes() if v.rater in kept and v.rival == label])
        metric = column(votes, study.reference, label == study.reference, len(raters))
        write_column(metric, record.votes_path, {n: study.records[n].method_hash for n in (study.reference, label)})
        if label == study.reference:
            continue
        if metric.mean is None:
            lines.append(f"| {label} | {metric.reason} | | 0 | 0 |")
            continue
        interval = f" [{metric.interval[0]:.1f}, {metric.interval[1]:.1f}]" if metric.interval else ""
        share, half = binomial(votes)
        lines.append(
            f"| {label} | {metric.mean:.1f}{interval} | {share:.1f} ± {half:.1f} | {len(votes.all)} | {metric.n} |"
        )
    lines += ["", f"{len(kept)} of {len(raters)} raters."]
    for name, rater in left_out.items():
        why = "no pair twice" if rater.consistency is None else f"{rater.consistency:.0%} of the pairs alike"
        lines.append(f"Left out: {name}, who answered {why} (at least {CONSISTENT:.0%}).")
    return "\n".join(lines)
