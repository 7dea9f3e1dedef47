"""``lit-inpaint export``: a checkpoint as ONNX, safetensors or in the layout of the published program."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from experiments.weights import options
from experiments.weights.imports import weights_module
from lit_inpaint import hub, zoo
from lit_inpaint.calls import networks_of
from lit_inpaint.checkpoints import first_line
from lit_inpaint.classical import ClassicalModule
from lit_inpaint.foreign import pipeline_folder
from lit_inpaint.load import load_method
from lit_inpaint.method import Method, completing
from masks.atomic import whole
from masks.convention import composite
from masks.size import Size, by_name, sides

TOLERANCE = 1e-4  # of values in [-1, 1]
DYNAMIC_SIDE = 48  # pixels, about: the shorter side at which a model of every size is compared
Shape = tuple[int, int, int]  # batch, height, width


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
    if a.dynamic and a.format != "onnx":
        raise ValueError(f"--dynamic is for --format onnx, not {a.format}, which knows no size.")
    method = load_method(a.checkpoint, a.weights)
    if said := _not_exported(method, a.format):
        raise ValueError(said)
    if a.format == "official" and (write_folder := _folder_writer(method)):
        write = _whole_folder(a.out or out.with_suffix(""), a.overwrite, lambda part: write_folder(method, part))
        print(f"{a.out or out.with_suffix('')}: {write}, {method.loaded_weights} weights")
        return 0
    with whole(out, a.overwrite) as part:
        if a.format == "onnx":
            write = write_dynamic_onnx(method, part) if a.dynamic else write_onnx(method, part, a.size)
        else:
            write = (write_official if a.format == "official" else _write_safetensors)(method, part)
    print(f"{out}: {write}, {out.stat().st_size / 1e6:.1f} MB, {method.loaded_weights} weights")
    return 0


def _not_exported(method: Method, format: str) -> str | None:
    """Why a method has no file in this format, or None."""
    name, official = type(method).__name__, bool(type(method).exports)
    if isinstance(method, ClassicalModule) and not networks_of(method):
        return f"{name} has no network, so there is nothing to export."
    if format != "official" and (method.diverse or not method.averaged):
        beside = "; --format official writes its weights" if official else ""
        return f"{name} is not a feed-forward network: it samples by many network calls per image{beside}."
    if format == "official" and not official:
        beside = "" if method.diverse else "; use safetensors instead"
        return f"{name} has no published layout{beside}."
    return None


def write_onnx(method: Method, path: Path, size: Size) -> str:
    """``image`` (1, C, H, W) in [-1, 1] and ``mask`` (1, 1, H, W), 1 = hole, in; ``completed`` out.

    Raises:
        ValueError: The size is not supported, an operation cannot be exported, or the outputs differ.
    """
    name, shape = type(method).__name__, sides(size)
    if not method.takes(*shape):
        needed = by_name(method.fixed_size) if method.fixed_size else f"a multiple of {method.multiple}"
        raise ValueError(f"--size is {by_name(size)}; {name} takes {needed}.")
    largest = _write(method, path, f"at {by_name(size)}", (1, *shape), [(1, *shape)])
    return f"{name} at {by_name(size)}, equal to the original to {largest:.1e}"


def write_dynamic_onnx(method: Method, path: Path) -> str:
    """:func:`write_onnx` for any batch, height and width in multiples of the method's, compared at three of them.

    Raises:
        ValueError: The network has one size, ONNX cannot express it without one, or the outputs differ.
    """
    name = type(method).__name__
    if method.fixed_size:
        raise ValueError(f"{name} has one size, {by_name(method.fixed_size)}: leave out --dynamic.")
    step = method.multiple
    unit = step * -(-DYNAMIC_SIDE // step)
    shapes = [(1, unit, 2 * unit), (2, 2 * unit, unit + step), (3, unit + step, unit + step)]
    dynamic = {0: Dim("batch", min=1), 2: _multiple(step, "rows"), 3: _multiple(step, "columns")}
    largest = _write(
        method, path, "for every size", (2, unit, unit + step), shapes, {"image": dynamic, "mask": dynamic}
    )
    compared = ", ".join(f"{batch} of {height}x{width}" for batch, height, width in shapes)
    sizes = f"any batch, height and width in multiples of {step}"
    return f"{name}, {sizes}, equal to the original to {largest:.1e} ({compared})"


def _multiple(step: int, name: str) -> Any:
    return step * Dim(name, min=1) if step > 1 else Dim(name, min=DYNAMIC_SIDE)


def _write(
    method: Method,
    path: Path,
    what: str,
    traced: Shape,
    compared: Sequence[Shape],
    dynamic: dict[str, Any] | None = None,
) -> float:
    """Trace the method at one shape (batch, height, width), compare at others, and write; the largest difference."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError("ONNX needs onnx, onnxruntime and onnxscript: pip install 'lit-inpaint[export]'.") from None
    name, whole = type(method).__name__, Whole(method).eval()
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                whole, _example(traced, 0, method.channels), dynamo=True, verbose=False, dynamic_shapes=dynamic,
                input_names=["image", "mask"], output_names=["completed"],
            )  # fmt: skip
    except Exception as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise ValueError(f"{name} cannot be exported to ONNX {what}: {first_line(cause)}") from error
    assert program is not None
    content = program.model_proto.SerializeToString()  # one file: no weights beside it
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    differences = []
    for shape in compared:
        image, mask = _example(shape, 1, method.channels)
        try:
            (found,) = session.run(None, {"image": image.numpy(), "mask": mask.numpy()})
        except Exception as error:  # onnxruntime's own: the graph holds numbers of the traced size
            where = f"{shape[0]} of {shape[1]}x{shape[2]}"
            raise ValueError(f"the ONNX model of {name} fails on {where}: {first_line(error)}") from error
        with torch.no_grad():
            differences.append(float(np.abs(found - whole(image, mask).numpy()).max()))
    if not max(differences) <= TOLERANCE:
        worst = max(differences)
        raise ValueError(f"the ONNX output of {name} differs by {worst:.2g} from the original; nothing was written.")
    path.write_bytes(content)
    return max(differences)


def _write_safetensors(method: Method, path: Path) -> str:
    """The networks that complete images, by attribute; class and arguments are in the file's metadata."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    state = {k: v.contiguous().clone() for k, v in completing(method.state_dict()).items()}
    if not state:
        raise ValueError(f"{type(method).__name__} has no tensors to write.")
    hyper_parameters = json.dumps(dict(method.hparams), default=str)
    save_file(state, path, {"method": type(method).__name__, "hyper_parameters": hyper_parameters})
    with safe_open(path, "pt") as file:
        same = set(file.keys()) == set(state) and all(torch.equal(file.get_tensor(k), v) for k, v in state.items())
    if not same:
        raise ValueError(f"{path} does not contain what was written; the disk may be full.")
    networks = dict.fromkeys(name.partition(".")[0] for name in state)
    return f"{len(state)} tensors of {', '.join(networks)} of {type(method).__name__}, equal to the original"


def write_official(method: Method, path: Path) -> str:
    """What ``export`` of the method's weights.py makes: torch.save, or numpy's .npz of TensorFlow's variables by name.

    Raises:
        ValueError: No published program has this method, or none this variant of it.
    """
    name = type(method).__name__
    if said := _not_exported(method, "official"):
        raise ValueError(said)
    if method.channels != 3:
        raise ValueError(f"this {name} has channels {method.channels}, published programs 3; use safetensors instead.")
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


def _example(shape: Shape, seed: int, channels: int) -> tuple[Tensor, Tensor]:
    """Random images with a hole; another seed has another hole."""
    batch, height, width = shape
    image = torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    mask = torch.zeros(batch, 1, height, width)
    mask[..., height // 4 : height // 2, width // (3 + seed) : width // 2 + seed * width // 5] = 1
    return image, mask
