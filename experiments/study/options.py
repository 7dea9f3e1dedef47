"""The options of `study`, without what it runs on."""

import argparse
from pathlib import Path

from lit_inpaint.options import Parser


def study() -> Parser:
    p = Parser(
        prog="lit-inpaint study",
        description="Train and evaluate methods x seeds x masks: a graph of fit, assemble, import-weights, benchmark "
        "and compare, run by Snakemake. Run the same command again to resume and to retry what failed.",
        epilog="What follows `--` goes to snakemake: `-- --cores 4`, `-- --executor slurm --jobs 20`. Without --cores "
        "or --jobs it is --cores 1. Snakemake is found on PATH, or through LIT_INPAINT_SNAKEMAKE.",
    )
    p.add_argument("study", help="a YAML file, or the name of a built-in study such as table1")
    p.add_argument("--out", type=Path, help="folder for runs, records and page (default: runs/studies/<name>)")
    p.add_argument(
        "--dry-run",
        action="store_true",
        help="run nothing but the first steps of each training, once, and print graph, cost and what is done",
    )
    p.add_argument("--status", action="store_true", help="print what runs, since when, with time left, and what failed")
    p.add_argument("--step", help=argparse.SUPPRESS)  # run one job of the graph
    p.add_argument("--page", action="store_true", help=argparse.SUPPRESS)  # write the page from what is there
    return p
