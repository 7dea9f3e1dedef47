"""Base classes of methods without parameters, and Laplace's equation.

All of them run test, predict, benchmark and compare like any other method.
"""

from abc import abstractmethod
from collections.abc import Sequence
from inspect import Parameter, signature
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lit_inpaint.method import Method


class UnfillableError(ValueError):
    """One image that a method cannot complete. ``index`` is its place in the batch, ``reason`` one clause."""

    def __init__(self, reason: str, index: int, name: str | None = None) -> None:
        super().__init__(f"{name or f'image {index} of the batch'}: {reason}")
        self.reason, self.index = reason, index


class ClassicalModule(Method):
    """A method without parameters: no LightningModule, see :func:`lit_inpaint.evaluated.for_trainer`.

    An image without a hole is returned unchanged; one without a known pixel raises :class:`UnfillableError`, which
    validate, test and predict re-raise with the image's name.
    """

    trainable: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._arguments: dict[str, Any] = {}
        self.register_buffer("_place", torch.empty(0), persistent=False)  # moves with the method

    @property
    def device(self) -> torch.device:
        return self.get_buffer("_place").device

    @property
    def hparams(self) -> dict[str, Any]:
        return self._arguments

    def save_hyperparameters(self, **arguments: Any) -> None:
        """Keep the constructor's ``arguments`` as :attr:`hparams`, which loggers write down."""
        self._arguments |= arguments


class PerImage(ClassicalModule):
    """A classical method that runs on one NumPy image at a time, on the CPU, wherever the tensors live."""

    @abstractmethod
    def fill_one(self, erased: NDArray[np.float64], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Complete one image: (H, W, 3) float64 in [-1, 1] and (H, W) in, (H, W, 3) out. Not all pixels are hole."""

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        refuse_without_known_pixels(mask)
        filled = erased.clone()
        for index, hole in enumerate(mask[:, 0].cpu().numpy() == 1):
            if hole.any():
                image = erased[index].double().permute(1, 2, 0).cpu().numpy()
                filled[index] = torch.from_numpy(self.fill_one(image, hole)).permute(2, 0, 1).to(erased)
        return filled


class Plain(ClassicalModule):
    """``forward(image, mask)`` of any nn.Module, a LightningModule too.

    ``image`` is (B, 3, H, W) in [-1, 1] with 0 in the hole, ``mask`` (B, 1, H, W) with 1 = hole; what comes back is the
    whole image in [-1, 1]. The hole alone is taken of it. A class attribute ``multiple`` or ``fixed_size`` says which
    sides the network takes. ``__init__`` loads the weights, or ``package.module.Net:net.pth`` names their file; its
    arguments, if it needs any, stand in a YAML (:mod:`lit_inpaint.recipes`).
    """

    year = 0
    paper = "a network without a paper"
    averaged = ("network",)
    network_class: ClassVar[type[nn.Module]]

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.save_hyperparameters(**arguments)
        self.network = self.network_class(**arguments)
        try:
            signature(self.network.forward).bind(None, None)
        except TypeError as error:
            raise ValueError(f"forward of {type(self).__name__} must take an image and a mask: {error}.") from error
        self.multiple = getattr(self.network, "multiple", 1)
        self.fixed_size = getattr(self.network, "fixed_size", None)

    def fill(self, erased: Tensor, mask: Tensor, *, generators: Sequence[torch.Generator] | None = None) -> Tensor:
        filled: Any = self.network(erased, mask)
        if not isinstance(filled, Tensor):
            given = type(filled).__name__
        elif not filled.is_floating_point() or filled.layout != torch.strided:
            given = f"{filled.dtype}, {filled.layout}"
        elif filled.shape != erased.shape:
            given = str(tuple(filled.shape))
        else:
            return filled
        expected = f"the whole image, {tuple(erased.shape)}, floats in [-1, 1]"
        raise ValueError(f"forward of {type(self).__name__} returned {given}; expected {expected}.")


def unset(cls: type) -> list[str]:
    """The arguments of a constructor that have no default.

    >>> unset(nn.Linear)
    ['in_features', 'out_features']
    """
    any_number = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    kinds = signature(cls).parameters.values()
    return [one.name for one in kinds if one.default is one.empty and one.kind not in any_number]


def plain(cls: type[nn.Module]) -> type[Plain]:
    """``cls`` as a method, under its own name."""
    content = {"network_class": cls, "__module__": cls.__module__, "__doc__": cls.__doc__ or Plain.__doc__}
    return type(cls.__name__, (Plain,), content)


def refuse_without_known_pixels(mask: Tensor) -> None:
    """Raise :class:`UnfillableError` for the first mask of (B, 1, H, W) that is all hole."""
    empty = mask.flatten(1).amin(1) == 1
    if bool(empty.any()):
        raise UnfillableError("every pixel is hole; there is nothing to continue or copy", int(empty.nonzero()[0]))


def harmonic_fill(image: NDArray[Any], hole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Solve Laplace's equation in the hole: every hole pixel becomes the mean of its neighbours (4, or fewer at the
    border of the image, where the normal derivative is 0). A sparse direct solve, exact to rounding.

    Args:
        image: (H, W, C); what lies in the hole is not read.
        hole: (H, W), not all True.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import splu

    if not hole.any():
        return image.astype(np.float64)
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())
    diagonal = np.zeros(hole.sum())
    right = np.zeros((hole.sum(), image.shape[2]))
    rows, columns = [], []
    for axis in (0, 1):
        ahead, behind = [slice(None)] * 2, [slice(None)] * 2
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        for pixel, neighbour in ((tuple(ahead), tuple(behind)), (tuple(behind), tuple(ahead))):
            own, other = number[pixel][hole[pixel]], number[neighbour][hole[pixel]]
            diagonal[own] += 1
            rows.append(own[other >= 0])
            columns.append(other[other >= 0])
            right[own[other < 0]] += image[neighbour][hole[pixel]][other < 0]
    row, column = np.concatenate([*rows, number[hole]]), np.concatenate([*columns, number[hole]])
    values = np.concatenate([np.full(len(row) - len(diagonal), -1.0), diagonal])
    laplace = coo_matrix((values, (row, column))).tocsc()
    filled = image.astype(np.float64)
    # The matrix is symmetric and diagonally dominant, so the ordering for symmetric patterns needs no pivoting.
    solver = splu(laplace, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    filled[hole] = solver.solve(right)
    return filled
