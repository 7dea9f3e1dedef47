"""Programs of TensorFlow 1, in float64 where they stand beside ours, with their variables mirrored in torch.

They run under ``tensorflow.compat.v1`` of TensorFlow 2 (tensorflow-cpu, tf-keras and tf-slim). A step takes gradients
from the program's graph and, unless said otherwise, torch's Adam for both networks: the two Adams differ, see
docs/parity.md.
"""

import contextlib
import importlib
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.published import checkout, stand_in


def tensorflow(double: bool = True) -> Any:
    """``import tensorflow as tf`` of such a program; ``double``: with float64 for float32."""
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    tf, slim = importlib.import_module("tensorflow.compat.v1"), importlib.import_module("tf_slim")
    tf.disable_v2_behavior()
    tf.set_random_seed(1)  # of the default graph, in which the programs build theirs
    found: Any = types.ModuleType("tensorflow")
    found.__path__ = importlib.import_module("tensorflow").__path__
    vars(found).update({name: getattr(tf, name) for name in dir(tf) if not name.startswith("__")})
    found.float32 = wide = tf.float64 if double else tf.float32

    def widened(make: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **options: make(*arguments, **({"dtype": wide} | options))

    for name in ("zeros", "ones", "eye", "one_hot"):
        setattr(found, name, widened(getattr(tf, name)))

    def variable(*arguments: Any, use_resource: bool = False, **options: Any) -> Any:
        # DSI asks its codebooks, resource variables, for their initialized_value, which TensorFlow 2's have no more.
        given = options.get("initializer")
        kind = wide if given is None or callable(given) else given.dtype.base_dtype
        return tf.get_variable(*arguments, **(options | {"dtype": kind}))

    found.nn = types.ModuleType("nn")  # LeakyReLU keeps its slope in float32
    vars(found.nn).update(vars(tf.nn), leaky_relu=lambda x, alpha=0.2: tf.maximum(alpha * x, x))

    def conv2d(x: Any, kernel: Any, strides: Any, padding: str, dilations: Sequence[int] = (1, 1, 1, 1)) -> Any:
        """The same with a gradient on CPUs, where that of a dilated convolution is missing."""
        if max(dilations) == 1:
            return tf.nn.conv2d(x, kernel, strides, padding)
        spread = {"filter_shape": kernel.shape[:2], "dilation_rate": list(dilations[1:3]), "padding": padding}
        return tf.nn.with_space_to_batch(x, op=lambda y, _, pad: tf.nn.conv2d(y, kernel, [1] * 4, pad), **spread)

    found.nn.conv2d = conv2d
    found.get_variable, found.contrib = variable, mock.MagicMock()
    found.contrib.layers.flatten = lambda x: tf.reshape(x, [int(x.shape[0]), -1])
    sys.modules["tensorflow"] = found
    for name in ("contrib", "contrib.framework", "contrib.framework.python", "contrib.framework.python.ops"):
        sys.modules[f"tensorflow.{name}"] = types.ModuleType(name)
    sys.modules["tensorflow.contrib.framework.python.ops"].__dict__.update(
        arg_scope=slim.arg_scope, add_arg_scope=slim.add_arg_scope
    )
    return found


class Variables(nn.Module):
    """A copy of TensorFlow's variables: the trainable ones as parameters, the others as buffers."""

    def __init__(self, session: Any, trainable: Sequence[Any], others: Sequence[Any] = ()) -> None:
        super().__init__()
        self.session, self.trainable = session, list(trainable)
        self.all = {v.name.removesuffix(":0"): v for v in (*trainable, *others)}
        tf = importlib.import_module("tensorflow.compat.v1")
        self.fed = {name: tf.placeholder(v.dtype.base_dtype, v.shape) for name, v in self.all.items()}
        self.assign = tf.group(*(v.assign(self.fed[name]) for name, v in self.all.items()))
        values = session.run(self.all)
        for v in trainable:
            name = v.name.removesuffix(":0")
            self.register_parameter(name, nn.Parameter(torch.from_numpy(np.array(values[name]))))
        for v in others:
            name = v.name.removesuffix(":0")
            self.register_buffer(name, torch.from_numpy(np.array(values[name])))

    def write(self) -> None:
        """Into the session."""
        self.session.run(self.assign, {self.fed[k]: value.numpy() for k, value in self.state_dict().items()})

    @torch.no_grad()
    def read(self) -> None:
        for name, value in self.session.run(self.all).items():
            self.state_dict()[name].copy_(torch.from_numpy(np.array(value)))

    def descend(
        self, gradients: Sequence[Any], optimizer: torch.optim.Optimizer, apply: Any = None, said: Any = ()
    ) -> Any:
        """One step on TensorFlow's ``gradients``: torch's optimiser, or the operation ``apply`` of the graph.

        Returns the values of ``said`` in that same pass, with whatever else the pass assigns on their way.
        """
        found, _, values = self.session.run([list(gradients), () if apply is None else apply, said])
        for variable, gradient in zip(self.trainable, found, strict=True):
            parameter = self.get_parameter(variable.name.removesuffix(":0"))
            parameter.grad = torch.from_numpy(np.array(gradient))
        kept = self.state_dict() if apply is None else {}
        trained = {name for name, _ in self.named_parameters()}
        before = {name: value.clone() for name, value in kept.items() if name in trained}
        self.read()  # what a pass assigns: the vectors of spectral norms
        self.load_state_dict(before, strict=False)
        if apply is None:
            optimizer.step()
        else:
            with torch.no_grad():
                after = {name: p.clone() for name, p in self.named_parameters()}
                optimizer.step()  # only shows its gradients to the recorder
                self.load_state_dict(after, strict=False)
        self.write()
        return values


def neuralgym(public: Path) -> Any:
    """JiahuiYu/neuralgym's layers without its trainers and summaries; returns ``tensorflow``."""
    root = checkout(public, "JiahuiYu/neuralgym", "neuralgym/ops/gan_ops.py")
    tf = tensorflow()
    for package in ("neuralgym", "neuralgym.ops"):
        module = sys.modules[package] = types.ModuleType(package)
        module.__path__ = [str(root / package.replace(".", "/"))]
    stand_in("neuralgym.models", "neuralgym.ops.summary_ops")
    sys.modules["neuralgym.models"].__dict__["Model"] = type("Model", (), {"__init__": lambda self, name: None})
    return tf


def nhwc(x: Tensor) -> np.ndarray:
    return x.permute(0, 2, 3, 1).contiguous().numpy()


def settle(session: Any, kernels: Iterable[tuple[Any, Any]]) -> None:
    """Vectors of spectral norms, each with the kernel that it is of, at their fixed point."""
    for vector, kernel in kernels:
        matrix = session.run(kernel).reshape(-1, kernel.shape[-1])
        vector.load(np.linalg.svd(matrix, full_matrices=False)[2][:1], session)


@contextlib.contextmanager
def narrow(module: Any, **divisors: int) -> Iterator[None]:
    """Layers of a module with so many times fewer channels; 3 stay 3."""
    scope = sys.modules["tensorflow.contrib.framework.python.ops"].__dict__["add_arg_scope"]

    def thinner(layer: Callable[..., Any], by: int) -> Callable[..., Any]:
        def made(x: Any, cnum: int, *arguments: Any, **options: Any) -> Any:
            return layer(x, cnum if cnum == 3 else cnum // by, *arguments, **options)

        made.__name__ = f"narrow_{layer.__name__}"
        return scope(made)

    with mock.patch.multiple(module, **{k: thinner(getattr(module, k), by) for k, by in divisors.items()}):
        yield
