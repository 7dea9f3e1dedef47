"""lit-inpaint: a dispatcher without heavy imports, so that help is instant."""

import argparse
import dis
import errno
import importlib.util
import os
import re
import sys
from pathlib import Path

_HELP = """\
lit-inpaint: train, sweep and compare image inpainting methods on equal terms.

Getting started
  lit-inpaint fit --config quickstart          train a small ContextEncoder; downloads nothing
  lit-inpaint inpaint --method Telea --image photo.jpg --mask mask.png --out filled.png
  lit-inpaint methods                          every method: year, paper, parameters, weights

{commands}

Methods, data sets, masks and metrics of one's own are named package.module.Name; `--import package.module`, in any
command, makes them known by name and opens their checkpoints. A config or protocol is looked up in the current folder,
then among those installed: `quickstart` and `deepfillv2/places2.yaml` both work. `lit-inpaint COMMAND --help` explains
one command.
User errors are reported in one line with exit code 2; set LIT_INPAINT_TRACEBACK=1 for their traceback. A traceback
without it is a bug in lit-inpaint: please report it.
"""

COMMANDS = {  # name: (module with main(argv), one line of help); the order is that of --help
    "Train": {
        "fit": ("experiments.train.command", "train a method"),
        "validate": ("experiments.train.command", "evaluate a checkpoint on the validation images"),
        "test": ("experiments.train.command", "evaluate a checkpoint on the test images"),
        "predict": ("experiments.train.command", "complete the test images of a data set as PNGs"),
        "sweep": ("experiments.sweep.command", "train over a search space in W&B's schema, offline and resumable"),
        "study": ("experiments.study.command", "train and evaluate methods x seeds x masks as a Snakemake workflow"),
        "runs": (
            "experiments.run.listing",
            "list the runs in a folder: status, speed, best metric, how to resume",
        ),
        "assemble": (
            "experiments.weights.assemble",
            "combine separately trained stages (ICT, DSI) into one checkpoint",
        ),
    },
    "Compare": {
        "benchmark": ("experiments.evaluate.benchmark", "evaluate methods and checkpoints under one protocol"),
        "protocol": (
            "experiments.evaluate.protocols",
            "list, show, export protocols; score another program's PNGs",
        ),
        "compare": (
            "experiments.compare.command",
            "show records and training curves as one page, Markdown, CSV, LaTeX",
        ),
        "figure": ("experiments.compare.figure", "input, completions and truth of some images, for a paper"),
        "vote": ("experiments.vote.command", "run a preference study: which completion looks more real?"),
        "methods": (
            "experiments.catalogue.methods",
            "list all methods; NAME: one in full; NAME --memory: memory of a step",
        ),
    },
    "Use": {
        "inpaint": ("experiments.inpaint.command", "fill the holes in your own images"),
        "app": ("experiments.app.command", "open a page to paint holes and compare methods"),
        "export": ("experiments.weights.export", "export a checkpoint to ONNX or safetensors and verify it"),
        "import-weights": ("experiments.weights.imports", "turn a paper's released weights into a checkpoint"),
        "push": (
            "experiments.weights.push",
            "publish a checkpoint on the Hugging Face Hub, with a card from its records",
        ),
        "pull": ("experiments.weights.pull", "make a checkpoint from a repository of the Hub"),
    },
    "Data": {
        "configs": ("experiments.catalogue.configs", "list and show built-in configurations"),
        "masks": ("experiments.catalogue.masks", "write, show and measure masks"),
        "prepare": ("experiments.train.prepare", "check a data set's folder and write its lists"),
    },
    "Help": {
        "doctor": ("experiments.catalogue.doctor", "check versions, devices, weights, disk and names that clash"),
    },
}

_QUICK = {"doctor", "configs", "sweep"}  # to import; like those that train, sweep says itself what it loads later
SAFE_PATH = "lit-inpaint"  # the value of PYTHONSAFEPATH that says who has set it; Python takes any


def help_text() -> str:
    groups = [
        "\n".join([title, *(f"  {name:<15} {line}" for name, (_, line) in commands.items())])
        for title, commands in COMMANDS.items()
    ]
    return _HELP.format(commands="\n\n".join(groups))


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code. Without ``argv``, the process and its path are ours."""
    if argv is None:
        current_folder_last()
        if not sys.stdout.isatty():  # Jupyter sets it for its cells: bars would be animated into a pipe
            os.environ.pop("FORCE_COLOR", None)
        argv = sys.argv[1:]
    if not argv or argv[0] in {"-h", "--help", "help"}:
        print(help_text(), end="")
        sys.exit(0)
    if argv[0] in {"-V", "--version", "version"}:
        import lit_inpaint

        print(f"lit-inpaint {lit_inpaint.__version__}")
        sys.exit(0)
    modules = {name: module for group in COMMANDS.values() for name, (module, _) in group.items()}
    if argv[0] != "doctor":  # which names every clash, and imports no more of ours than it can
        _check_own_packages()
        argv = _take_imports(argv)
        if not argv or argv[0] in {"-h", "--help", "help"}:
            print(help_text(), end="")
            sys.exit(0)
    command, *rest = argv or ["help"]
    if command in modules and rest in (["-h"], ["--help"]) and (parser := _options(modules[command], command)):
        print(parser.format_help(), end="")
        sys.exit(0)
    if command != "doctor":
        from lit_inpaint.options import show_messages

        show_messages()
    if command not in modules:
        from masks.nearest import nearest

        fail(f"there is no command '{command}'. {nearest(command, modules)}")
    training = modules[command] == "experiments.train.command"
    quick = training or command in _QUICK or "torch" in sys.modules
    try:
        if quick:
            module = importlib.import_module(modules[command])
        else:
            from lit_inpaint.options import loading

            with loading(command):
                module = importlib.import_module(modules[command])
        code = module.main([command, *rest]) if training else module.main(rest)
    except KeyboardInterrupt:
        print("lit-inpaint: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # | head has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if os.environ.get("LIT_INPAINT_TRACEBACK") or not is_mistake(error):
            raise
        fail(with_file(reason_of(error), rest))
    sys.exit(code)


def _options(module: str, command: str) -> argparse.ArgumentParser | None:
    """The parser of a command from the options.py of its wing, which imports nothing heavy; None without one."""
    name = f"{module.rpartition('.')[0]}.options"
    options = importlib.import_module(name) if importlib.util.find_spec(name) else None
    make = getattr(options, command.replace("-", "_"), lambda: None)
    parser: argparse.ArgumentParser | None = make()
    return parser


def _take_imports(argv: list[str]) -> list[str]:
    """``argv`` without ``--import MODULE``, which every command and every process that it starts finds in
    LIT_INPAINT_IMPORT."""
    from lit_inpaint import plugins

    left, words = [], iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name != "--import":
            left.append(word)
        elif module := value if equals else next(words, ""):
            plugins.add([module])
        else:
            fail("--import needs a module, as in --import package.module.")
    return left


def is_mistake(error: Exception) -> bool:
    """Whether an error is a user error: OSError always, ValueError if raised by our code or a plugin,
    and OmegaConf's errors about interpolations, which only occur in configurations.

    A ValueError from NumPy, torch or Lightning, or from an expression such as ``int("")``, is a bug in this
    program, and its traceback is shown.
    """
    if isinstance(error, OSError) or type(error).__module__.startswith("omegaconf."):
        return True
    if not isinstance(error, ValueError) or error.__traceback__ is None:
        return False
    worker = re.findall(r'File "(.+)", line \d+, in .+\n +(raise )?', str(error))
    if str(error).startswith("Caught ") and worker:  # out of a DataLoader's worker, with its traceback as text
        return bool(worker[-1][1]) and _is_ours(worker[-1][0])
    place = error.__traceback__
    while place.tb_next is not None:
        place = place.tb_next
    code = place.tb_frame.f_code
    return code.co_code[place.tb_lasti] == dis.opmap["RAISE_VARARGS"] and _is_ours(code.co_filename)


def _is_ours(file: str) -> bool:
    """A file of our four packages, or one that is neither installed nor Python's own: a plugin's, a notebook's."""
    own = Path(__file__).resolve().parents[1]
    path = Path(file).resolve()
    if any(path.is_relative_to(own / name) for name in ("experiments", "lit_inpaint", "datamodules", "masks")):
        return True
    return "site-packages" not in path.parts and not path.is_relative_to(Path(os.__file__).resolve().parent)


def with_file(message: str, argv: list[str]) -> str:
    """Name the YAML with the setting that an error is about, unless it is named already or the command line sets it."""
    words = [value for word in argv for value in (word, word.partition("=")[2]) if value]
    files = [Path(word) for word in words if word.endswith((".yaml", ".yml")) and os.path.isfile(word)]
    wrong = re.split(r" (?:Did you mean|Allowed:)", message)[0]  # what would be right stands in other files too
    said = set(re.findall(r"(?:\w+\.)*(\w{2,})", wrong))
    flags = [word.partition("=")[0] for word in argv if word.startswith("--")]
    options = {part for flag in flags for part in re.findall(r"\w{2,}", flag)[-1:]} - {"config", "print_config"}
    if said & options or any(file.name in message for file in files):
        return message
    texts = {file: re.sub(r"(^|\s)#.*", "", file.read_text(errors="replace"), flags=re.M) for file in files}
    shared = {
        file: len(said & set(re.findall(r"\w{2,}", text)))
        for file, text in texts.items()
        if said & set(re.findall(r"(\w{2,})[\"']?\s*:", text))
    }
    holding = [str(file) for file, count in shared.items() if count == max(shared.values())]
    return f"{message.rstrip()} (read from {', '.join(holding)})" if holding else message


def reason_of(error: Exception) -> str:
    """Message of an error; one from a DataLoader worker carries its traceback, which ends with the reason.

    >>> reason_of(PermissionError(13, "Permission denied", "/runs"))
    '/runs: Permission denied'
    """
    if isinstance(error, OSError) and error.strerror:
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
        if path is None:
            return error.strerror
        file = next((place for place in (path, *path.parents) if os.path.isfile(place)), None)
        if file and error.errno in (errno.EEXIST, errno.ENOTDIR) and error.filename2 is None:
            return f"{file} is a file where a folder is needed. Give another place, or move the file away."
        return f"{path}: {error.strerror}"
    name = type(error).__name__
    return str(error).rpartition(f"{name}: ")[2] if str(error).startswith(f"Caught {name} in") else str(error)


def fail(message: str) -> None:
    """One line on stderr, exit code 2."""
    print("lit-inpaint: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def current_folder_last() -> None:
    """Put the current folder last on the path, so that a user's ``masks.py`` or ``experiments/`` does not shadow ours.

    Child processes of every kind (ranks, workers, spawned ones, fork servers) inherit PYTHONSAFEPATH, which is ``-P``.
    """
    home = Path(__file__).resolve().parents[1]
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.environ.get("PYTHONPATH") else []
    if Path.cwd() == home:  # a checkout, perhaps not installed: children find it wherever they run
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(home), *given]))
        return
    here = os.getcwd()
    others = [entry for entry in sys.path if os.path.realpath(entry) != here]
    if str(home) not in others:  # an editable install, which is found after every folder of the path
        others.append(str(home))
    sys.path[:] = [*others, here]
    if given:
        os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in given if os.path.realpath(entry) != here)
    os.environ.setdefault("PYTHONSAFEPATH", SAFE_PATH)


def _check_own_packages() -> None:
    """Report a file on PYTHONPATH that still shadows one of our packages."""
    home = Path(__file__).resolve().parents[1]
    for name in ("masks", "datamodules", "lit_inpaint"):
        found = importlib.util.find_spec(name)
        if found and found.origin and Path(found.origin).resolve().parents[1] != home:
            fail(f"{found.origin} shadows the package '{name}' of lit-inpaint: rename it, or take it off PYTHONPATH.")


if __name__ == "__main__":
    main()
