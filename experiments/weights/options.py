"""The options of `assemble`, `export`, `import-weights`, `push` and `pull`, without what they run on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit_inpaint.options import Parser
from masks.size import parse_size

LICENSES = "apache-2.0, mit, bsd-3-clause, cc-by-4.0, cc-by-sa-4.0, cc-by-nc-4.0, openrail, other"


def assemble(stages: Mapping[str, str] | None = None) -> Parser:
    """``stages`` of one method: its class name by flag."""
    p = Parser(
        prog="lit-inpaint assemble",
        description="Combine the separately trained stages of a method into one checkpoint for inpaint and benchmark.",
        epilog="`lit-inpaint assemble METHOD --help` shows the stages of a method, a flag each.",
    )
    p.add_argument("method", help="class name of a method with several stages, see `lit-inpaint methods`")
    p.add_argument("arguments", nargs="*", metavar="KEY=VALUE", help="arguments of the method that no stage has")
    for name, stage in (stages or {}).items():
        p.add_argument(f"--{name}", type=Path, required=True, help=f"a checkpoint of {stage}")
    p.add_argument("--out", type=Path, required=True, help="the checkpoint to write (.ckpt)")
    p.add_argument(
        "--weights", choices=("ema", "raw"), default="ema", help="EMA weights if there are any, or raw weights"
    )
    return p


def export() -> Parser:
    p = Parser(
        prog="lit-inpaint export",
        description="Export a method for other programs: onnx and safetensors for feed-forward networks, verified "
        "against the original before they are kept; official for the published program of its variant.",
        epilog="ONNX needs the extra `export`: pip install 'lit-inpaint[export]'. `lit-inpaint methods NAME` lists the "
        "layouts that official writes.",
    )
    p.add_argument("checkpoint", help="a checkpoint, hf://user/name[@revision] or zoo:NAME")
    p.add_argument("--format", choices=["onnx", "safetensors", "official"], required=True)
    p.add_argument(
        "--out",
        type=Path,
        help="file to write (default: the checkpoint's name with the format's suffix), or diffusers' folder",
    )
    p.add_argument("--size", type=parse_size, default=512, help="of the ONNX model's images: 512 (default), or 480x640")
    p.add_argument("--dynamic", action="store_true", help="an ONNX model of any batch, height and width")
    p.add_argument("--weights", choices=["ema", "raw"], default="ema", help="EMA or raw weights of a checkpoint")
    p.add_argument("--overwrite", action="store_true")
    return p


def flag(name: str) -> str:
    """
    >>> flag("num_heads")
    '--num-heads'
    """
    return f"--{name.replace('_', '-')}"


def import_weights(more: Mapping[str, dict[str, Any]] | None = None) -> Parser:
    """``more``: options of the converters, as argparse takes them."""
    p = Parser(
        prog="lit-inpaint import-weights",
        description="Turn published weights into a checkpoint for inpaint, benchmark and fit --init_from.",
        epilog="The format is found from the names of the tensors; `lit-inpaint methods` lists what each method reads, "
        "`lit-inpaint import-weights NAME --help` the options of single formats.",
    )
    p.add_argument("method", help="class name, see `lit-inpaint methods`")
    p.add_argument(
        "file",
        type=Path,
        help="released file (.pth, .pt, .ckpt, .safetensors, .npz, .t7), or a folder of diffusers or TensorFlow",
    )
    p.add_argument("--out", type=Path, required=True, help="the checkpoint to write (.ckpt)")
    for name, settings in (more or {}).items():
        p.add_argument(flag(name), **settings)
    p.add_argument("--overwrite", action="store_true")
    return p


def push() -> Parser:
    p = Parser(
        prog="lit-inpaint push",
        description="Publish a checkpoint as safetensors, config.json and a model card. Optimiser states, callbacks "
        "and paths of this machine stay here.",
        epilog="A repository that exists gets a new commit; one that holds what lit-inpaint did not write is refused. "
        "Needs the extra `hub` and a token: HF_TOKEN, or `hf auth login`.",
    )
    p.add_argument("checkpoint", type=Path)
    p.add_argument("repository", help="hf://user/name")
    p.add_argument("--license", help=f"licence of the weights, as the Hub names it: {LICENSES}")
    p.add_argument("--record", type=Path, nargs="+", default=[], help="records of this checkpoint, shown on the card")
    p.add_argument("--data", help="what it was trained on, as the card says it")
    p.add_argument("--drop", nargs="+", default=[], metavar="ARGUMENT", help="arguments replaced by their defaults")
    p.add_argument("--private", action="store_true", help="create a private repository")
    p.add_argument("--overwrite", action="store_true", help="replace files that lit-inpaint did not write")
    return p


def pull() -> Parser:
    p = Parser(
        prog="lit-inpaint pull",
        description="Download what `lit-inpaint push` published, verify it, and write it as a checkpoint. Nothing is "
        "unpickled and no code of the repository runs.",
        epilog="Commands that take a checkpoint to run it take hf://user/name too; a file is needed for --init_from. "
        "Needs the extra `hub`; a private repository needs HF_TOKEN, or `hf auth login`.",
    )
    p.add_argument("repository", help="hf://user/name, or hf://user/name@revision (a branch, tag or commit)")
    p.add_argument("--out", type=Path, help="the checkpoint to write (default: name.ckpt)")
    p.add_argument("--overwrite", action="store_true")
    return p
