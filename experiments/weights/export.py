"""``lit-inpaint export``: a checkpoint as ONNX, safetensors or in the layout of the published program."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from experiments.weights import options
from experiments.weights.imports import weights_module
from lit_inpaint import hub, zoo
from lit_inpaint.foreign import pipeline_folder
from lit_inpaint.load import load_method
from lit_inpaint.method import Method
from masks.atomic import whole
from masks.convention import composite

TOLERANCE = 1e-4  # of values in [-1, 1]


class Whole(nn.Module):
    """Image and mask in, completed image out: erase, network, composite."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return composite(self.method.predict(image, mask).clamp(-1, 1), image, mask)


def main(argv: list[str]) -> int:
    a = options.export().parse_args(argv)
    at = hub.address(a.checkpoint)
    name = at.name.partition("/")[2] if at else zoo.entry(a.checkpoint) or a.checkpoint
    out = a.out or Path(name).with_suffix({"official": ".pth"}.get(a.format, f".{a.format}"))
    if out.exists() and not a.overwrite:
        raise ValueError(f"{out} exists; give another --out, or --overwrite.")
    method = load_method(a.checkpoint, a.weights)
    if a.format != "official" and (method.diverse or not method.averaged):
        raise ValueError(f"{type(method).__name__} is not a feed-forward network; only those can be exported.")
    if a.format == "official" and (write_folder := _folder_writer(method)):
        write = _whole_folder(a.out or out.with_suffix(""), a.overwrite, lambda part: write_folder(method, part))
        print(f"{a.out or out.with_suffix('')}: {write}, {method.loaded_weights} weights")
        return 0
    with whole(out, a.overwrite) as part:
        if a.format == "onnx":
            write = write_onnx(method, part, a.size)
        else:
            write = (write_official if a.format == "official" else _write_safetensors)(method, part)
    print(f"{out}: {write}, {out.stat().st_size / 1e6:.1f} MB, {method.loaded_weights} weights")
    return 0


def write_onnx(method: Method, path: Path, size: int) -> str:
    """``image`` (1, 3, S, S) in [-1, 1] and ``mask`` (1, 1, S, S), 1 = hole, in; ``completed`` out.

    Raises:
        ValueError: The size is not supported, an operation cannot be exported, or the outputs differ.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError("ONNX needs onnx, onnxruntime and onnxscript: pip install 'lit-inpaint[export]'.") from None
    name = type(method).__name__
    if size < 1 or not method.takes(size, size):
        needed = f"{method.fixed_size}" if method.fixed_size else f"a multiple of {method.multiple}"
        raise ValueError(f"--size is {size}; {name} takes {needed}.")
    whole = Whole(method).eval()
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                whole, _example(size, 0), dynamo=True, verbose=False, input_names=["image", "mask"],
                output_names=["completed"],
            )  # fmt: skip
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ValueError(f"{name} cannot be exported to ONNX at {size}x{size}: {reason}") from error
    assert program is not None
    content = program.model_proto.SerializeToString()  # one file: no weights beside it
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    image, mask = _example(size, 1)
    (found,) = session.run(None, {"image": image.numpy(), "mask": mask.numpy()})
    with torch.no_grad():
        largest = float(np.abs(found - whole(image, mask).numpy()).max())
    if not largest <= TOLERANCE:
        raise ValueError(f"the ONNX output of {name} differs by {largest:.2g} from the original; nothing was written.")
    path.write_bytes(content)
    return f"{name} at {size}x{size}, equal to the original to {largest:.1e}"


def _write_safetensors(method: Method, path: Path) -> str:
    """The networks that complete images, by attribute; class and arguments are in the file's metadata."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    names = tuple(f"{name}." for name in method.averaged)
    state = {k: v.contiguous().clone() for k, v in method.state_dict().items() if k.startswith(names)}
    hyper_parameters = json.dumps(dict(method.hparams), default=str)
    save_file(state, path, {"method": type(method).__name__, "hyper_parameters": hyper_parameters})
    with safe_open(path, "pt") as file:
        same = set(file.keys()) == set(state) and all(torch.equal(file.get_tensor(k), v) for k, v in state.items())
    if not same:
        raise ValueError(f"{path} does not contain what was written; the disk may be full.")
    return f"{len(state)} tensors of {', '.join(method.averaged)} of {type(method).__name__}, equal to the original"


def write_official(method: Method, path: Path) -> str:
    """What ``export`` of the method's weights.py makes: torch.save, or numpy's .npz of TensorFlow's variables by name.

    Raises:
        ValueError: No published program has this method, or not this variant of it.
    """
    name = type(method).__name__
    if not type(method).exports:
        raise ValueError(f"{name} has no published layout; use safetensors instead.")
    module = weights_module(type(method))
    state = module.export(method)
    arrays = any(isinstance(value, np.ndarray) for value in state.values())
    if arrays != (path.suffix == ".npz"):
        kind = "arrays by name, numpy's: give --out NAME.npz" if arrays else "tensors, torch's: give --out NAME.pth"
        raise ValueError(f"the layout '{module.detect(state)}' holds {kind}.")
    with path.open("wb") as file:
        if arrays:
            np.savez(file, **state)
        else:
            torch.save(state, file)
    return f"{name} in the layout '{module.detect(state)}'"


def _folder_writer(method: Method) -> Callable[[Method, Path], str] | None:
    """``write_folder`` of the method's weights.py: its published layout is a folder."""
    return getattr(weights_module(type(method)), "write_folder", None) if type(method).exports else None


def _whole_folder(out: Path, overwrite: bool, write: Callable[[Path], str]) -> str:
    """Write beside ``out`` and rename; what ``--overwrite`` replaces must be a pipeline's folder."""
    if out.exists() and not (overwrite and pipeline_folder.is_pipeline(out)):
        raise ValueError(
            f"{out} exists; give another --out"
            + (", or --overwrite." * (not overwrite) or ": it is no pipeline's folder.")
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        part = Path(temporary) / "new"
        part.mkdir()
        said = write(part)
        if out.exists():
            out.rename(Path(temporary) / "old")
        part.rename(out)
    return said


def _example(size: int, seed: int) -> tuple[Tensor, Tensor]:
    """A random image with a hole; another seed has another hole."""
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 4 : size // 2, size // (3 + seed) : size // 2 + seed * size // 5] = 1
    return image, mask
