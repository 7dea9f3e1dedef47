"""``lit-inpaint methods``: what there is to train and to compare with."""

import argparse
import inspect
import json
import sys
from typing import Any

import torch


def describe() -> list[dict[str, Any]]:
    """One row a method, networks counted on the meta device, so that nothing is allocated."""
    from lit_inpaint import methods
    from lit_inpaint.module import parameter_counts

    rows = []
    for name in methods.__all__:
        cls = getattr(methods, name)
        with torch.device("meta"):
            networks = parameter_counts(cls())
        rows.append(
            {
                "name": name,
                "class_path": f"{cls.__module__}.{cls.__qualname__}",
                "year": cls.year,
                "paper": cls.paper,
                "networks": networks,
                "trainable": cls.trainable,
                "imports": list(cls.imports),
                "summary": (inspect.getdoc(cls) or "").split("\n")[0],
            }
        )
    return sorted(rows, key=lambda row: (row["year"], row["name"]))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="lit-inpaint methods", description="Every method, oldest first.")
    parser.add_argument("--json", action="store_true", help="a list for programs")
    arguments = parser.parse_args(argv)
    rows = describe()
    if arguments.json:
        json.dump(rows, sys.stdout, indent=1)
        print()
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Methods")
    for column in ("name", "year", "paper", "networks (parameters)", "trained by `fit`", "reads weights of"):
        table.add_column(column, overflow="fold")
    for row in rows:
        networks = "\n".join(f"{k} {v:,}" for k, v in row["networks"].items()) or "none"
        table.add_row(
            row["name"],
            str(row["year"]),
            row["paper"],
            networks,
            "yes" if row["trainable"] else "no",
            ", ".join(row["imports"]),
        )
    Console().print(table)
    return 0
