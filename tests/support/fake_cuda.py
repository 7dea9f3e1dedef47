"""A GPU that is not there: tensors are on "cuda", their values on the CPU, and what makes the host wait is counted.

Every operation runs twice. Once under PyTorch's ``FakeTensorMode``, which knows shapes, strides and devices: a CPU
tensor mixed into the work of the GPU raises, as it would there. And once for its value, so that a branch on one, the
shape of ``nonzero`` and the box of a hole are the true ones.

Replaced, because nothing else is possible without a GPU:

* ``backward`` and ``autograd.grad``: the engine has no CUDA device. Gradients are zeros, so optimisers do step.
* ``torch.load``: reads outside the fake mode, which would leave a file's values out.
* The first weights of a convolution made inside (a backbone that is read when it is first used): zeros, to save time.
* ``Module.to``: gives new parameters, because the device of a fake tensor cannot change in place.
* ``LightningModule.log``: numbers become tensors where Lightning puts them, and go no further.
* The trainer, by the few attributes that modules read (:mod:`support.fake_steps`).
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import lightning as L
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
CPU = torch.device("cpu")
ITEM = {aten._local_scalar_dense.default, aten.equal.default}  # item, bool, int, float, a tensor in an `if`
SHAPE = {  # the host allocates what comes out, and so has to know how much there is
    aten.nonzero.default,
    aten.masked_select.default,
    aten.bincount.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
}
INDEX = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
COPY = {aten._to_copy.default, aten.copy_.default}


class FakeCuda(TorchDispatchMode):
    """Inside it, "cuda" works. ``waits`` counts by kind: item, shape, to_host, to_device.

    A copy of non-blocking kind and a number that a kernel takes as its argument do not block the host.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._fake = FakeTensorMode(allow_non_fake_inputs=False)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "FakeCuda":
        self._open.enter_context(self._fake)
        super().__enter__()
        self._open.enter_context(_Values())
        self._open.enter_context(_replaced(self.waits))
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._open.close()

    @contextlib.contextmanager
    def autocast(self, dtype: torch.dtype | None) -> Iterator[None]:
        """``torch.autocast("cuda", dtype)``, which switches itself off on a machine without a GPU."""
        if dtype is not None:
            torch.set_autocast_dtype("cuda", dtype)
            torch.set_autocast_enabled("cuda", True)
        try:
            yield
        finally:
            torch.set_autocast_enabled("cuda", False)
            torch.clear_autocast_cache()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:  # half of all calls
            return args[0].fake_device
        leaves: list[Any] = []

        def collected(leaf: Any) -> Any:
            if isinstance(leaf, Tensor) and not isinstance(leaf, FakeTensor):
                leaf = self._faked(leaf, leaf.device)
            leaves.append(leaf)
            return leaf

        args, kwargs = _mapped(collected, args), _mapped(collected, kwargs or {})
        device = _device(leaves, kwargs)
        _check_generators(func, leaves, device)
        if func.__name__.startswith(("_foreach", "_fused")):  # the fake mode does not look into lists
            _check_lists(func, args)
        self._count(func, args, kwargs, device)
        real_kwargs = {name: value for name, value in _mapped(_real, kwargs).items() if name != "pin_memory"}
        with unset_fake_temporarily():
            value = func(*_mapped(_real, args), **real_kwargs)
        if func in ITEM:
            return value
        if func in SHAPE:
            return _mapped(lambda t: self._faked(t, device), value)
        known = _KNOWN.get(key := _key(func, args, kwargs))
        if known is not None:
            metas = iter(known)
            return _mapped(lambda true: self._remembered(next(metas), true), value)
        if func in INDEX:
            args = (args[0], self._without_masks(args[1]), *args[2:])
        out = func(*args, **kwargs)
        if key is not None:
            _KNOWN[key] = [(o.shape, o.stride(), o.device) if isinstance(o, FakeTensor) else None for o in _flat(out)]
        for fake, true in zip(_flat(out), _flat(value), strict=True):
            if isinstance(fake, FakeTensor):
                fake.value = _in_strides(func, fake, true)  # type: ignore[attr-defined]
        return out

    def _faked(self, value: Tensor, device: torch.device) -> FakeTensor:
        if isinstance(value, FakeTensor):
            return value
        with self._fake:
            fake: Any = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
        fake.value = value
        return fake

    def _remembered(self, meta: Any, value: Any) -> Any:
        if meta is None:
            return value
        shape, stride, device = meta
        with unset_fake_temporarily():
            fake: Any = FakeTensor(
                self._fake, torch.empty_strided(shape, stride, dtype=value.dtype, device="meta"), device
            )
        fake.value = _in_strides(None, fake, value)
        return fake

    def _without_masks(self, indices: Any) -> list[Any]:
        """Masks as positions, by their values: the fake mode cannot know how many there are."""
        out: list[Any] = []
        for index in indices:
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                out.append(index)
            else:
                with unset_fake_temporarily():
                    positions = index.value.nonzero().unbind(1)
                out += [self._faked(one, index.device) for one in positions]
        return out

    def _count(self, func: Any, args: Any, kwargs: Any, device: torch.device) -> None:
        if func in COPY:
            target = kwargs.get("device") or args[0].device
            waits = not (kwargs.get("non_blocking") or (func is aten.copy_.default and args[2:] == (True,)))
            source = args[0].device if func is aten._to_copy.default else args[1].device
            if waits and source.type != torch.device(target).type:
                self.waits["to_host" if source.type == "cuda" else "to_device"] += 1
        elif device.type == "cuda" and func in ITEM:
            self.waits["item"] += 1
        elif device.type == "cuda" and func in SHAPE:
            self.waits["shape"] += 1
        elif device.type == "cuda" and func in INDEX:
            self.waits.update("shape" for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8))


class _Values(TorchFunctionMode):
    """Values that leave PyTorch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.numpy, Tensor.__array__) and isinstance(args[0], FakeTensor):
            if args[0].device.type == "cuda":
                raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
            with _disable_current_modes():
                return func(args[0].value, *args[1:], **(kwargs or {}))  # type: ignore[attr-defined]
        if func is Tensor.__deepcopy__ and isinstance(args[0], FakeTensor):
            copy = args[0].detach().clone().requires_grad_(args[0].requires_grad)
            return nn.Parameter(copy, copy.requires_grad) if isinstance(args[0], nn.Parameter) else copy
        return func(*args, **(kwargs or {}))


def _mapped(function: Callable[[Any], Any], nest: Any) -> Any:
    """Lists, tuples and dicts of arguments; pytree does the same and takes most of the time of a test."""
    if isinstance(nest, list | tuple):
        return type(nest)(_mapped(function, one) for one in nest)
    if isinstance(nest, dict):
        return {name: _mapped(function, one) for name, one in nest.items()}
    return function(nest)


def _flat(nest: Any) -> list[Any]:
    return [leaf for one in nest for leaf in _flat(one)] if isinstance(nest, list | tuple) else [nest]


def _key(func: Any, args: Any, kwargs: Any) -> Any:
    """What the fake mode's answer depends on; None where it is a view, a write or a shape that follows from values.

    Its own cache does this too, in most of the time of a test.
    """
    if func not in _PURE:
        schema = func._schema
        _PURE[func] = not schema.is_mutable and not any(r.alias_info for r in schema.returns) and func not in INDEX
    if not _PURE[func]:
        return None

    def meta(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.device, leaf.dtype, leaf.shape, leaf.stride()
        return type(leaf), leaf  # 1, 1.0 and True are three keys

    def frozen(nest: Any) -> Any:
        return tuple(frozen(one) for one in nest) if isinstance(nest, list | tuple) else meta(nest)

    return func, frozen(args), tuple((name, frozen(value)) for name, value in kwargs.items())


_KNOWN: dict[Any, list[Any]] = {}
_PURE: dict[Any, bool] = {}


def _device(leaves: list[Any], kwargs: Any) -> torch.device:
    """Device of an operation: the given one, else that of its tensors, except CPU scalars."""
    if kwargs.get("device"):
        return torch.device(kwargs["device"])
    return next((t.device for t in leaves if isinstance(t, Tensor) and t.device.type == "cuda"), CPU)


def _check_generators(func: Any, leaves: list[Any], device: torch.device) -> None:
    for generator in leaves:
        if isinstance(generator, torch.Generator) and generator.device.type != device.type:
            raise RuntimeError(
                f"Expected a {device.type!r} device type for generator but found {generator.device.type!r} in {func}"
            )


def _check_lists(func: Any, args: Any) -> None:
    lists = [arg for arg in args if isinstance(arg, list) and arg and isinstance(arg[0], Tensor)]
    for together in zip(*lists, strict=False):
        devices = {t.device for t in together if t.ndim}
        if len(devices) > 1:
            raise RuntimeError(f"Expected all tensors to be on the same device, found {devices} in {func}")


def _real(leaf: Any) -> Any:
    if isinstance(leaf, FakeTensor):
        return leaf.value  # type: ignore[attr-defined]
    return CPU if isinstance(leaf, torch.device) else leaf


def _in_strides(func: Any, fake: Tensor, value: Tensor) -> Tensor:
    """The value as the GPU would lay it out: views of it are taken later."""
    if (
        fake.ndim == 1 and value.numel() == 0 != fake.numel()
    ):  # statistics of batch norm, which the CPU leaves out where they are not learnt
        with unset_fake_temporarily():
            return torch.zeros(fake.shape, dtype=value.dtype)
    assert fake.shape == value.shape and fake.dtype == value.dtype, (func, fake, value.shape, value.dtype)
    if all(a == b or n < 2 for n, a, b in zip(fake.shape, fake.stride(), value.stride(), strict=True)):
        return value
    assert func is None or not any(r.alias_info for r in func._schema.returns), (
        f"{func} aliases its input and has other strides"
    )
    with unset_fake_temporarily():
        return torch.empty_strided(fake.shape, fake.stride(), dtype=value.dtype).copy_(value)


def _apply(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    for child in module.children() if recurse else ():
        child._apply(function)
    for name, p in module._parameters.items():
        if p is not None:
            module._parameters[name] = nn.Parameter(function(p.detach()), p.requires_grad)
    for name, b in module._buffers.items():
        if b is not None:
            module._buffers[name] = function(b)
    return module


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _log(module: Any, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
    if isinstance(value, Tensor | int | float):
        module._LightningModule__to_tensor(value, name)


@contextlib.contextmanager
def _replaced(waits: Counter[str]) -> Iterator[None]:
    """Operations that are impossible without a GPU: see the module's docstring."""
    load_file = torch.load

    def load(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes():
            return load_file(*args, **kwargs)

    def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        assert all(t.requires_grad for t in tree_leaves((outputs, inputs))), "no graph to differentiate"
        return tuple(torch.zeros_like(t) for t in tree_leaves(inputs))

    def backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        assert loss.requires_grad, "no graph to differentiate"

    def tolist(tensor: Any) -> Any:
        if tensor.device.type == "cuda":
            waits["to_host"] += 1
        with _disable_current_modes():
            return tensor.value.tolist()

    with (
        patch.object(torch, "load", load),
        patch.object(L.LightningModule, "log", _log),
        patch.object(torch.autograd, "grad", grad),
        patch.object(Tensor, "backward", backward),
        patch.object(FakeTensor, "tolist", tolist),
        patch.object(nn.Module, "_apply", _apply),
        patch.object(nn.modules.conv._ConvNd, "reset_parameters", _zero),
        torch.backends.cudnn.flags(enabled=False),  # it has operations that no CPU has
    ):
        yield
