"""One folder per paper; the names in ``__all__`` are those of the command line (``--method Telea``).

Each method is imported at its first use: one without parameters starts without Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_inpaint.methods.aotgan.method import AOTGAN
    from lit_inpaint.methods.bertalmio.method import Bertalmio
    from lit_inpaint.methods.biharmonic.method import Biharmonic
    from lit_inpaint.methods.context_encoder.method import ContextEncoder
    from lit_inpaint.methods.ddpm.method import DDPM
    from lit_inpaint.methods.deepfillv1.method import DeepFillV1
    from lit_inpaint.methods.deepfillv2.method import DeepFillV2
    from lit_inpaint.methods.diffusers_inpaint.method import DiffusersInpaint
    from lit_inpaint.methods.dsi.method import DSI
    from lit_inpaint.methods.glcic.method import GLCIC
    from lit_inpaint.methods.harmonic.method import Harmonic
    from lit_inpaint.methods.ict.method import ICT
    from lit_inpaint.methods.lama.method import LaMa
    from lit_inpaint.methods.latent_inpainting.method import LatentInpainting
    from lit_inpaint.methods.migan.method import MIGAN
    from lit_inpaint.methods.navier_stokes.method import NavierStokes
    from lit_inpaint.methods.palette.method import Palette
    from lit_inpaint.methods.partial_conv.method import PartialConv
    from lit_inpaint.methods.patchmatch.method import PatchMatch
    from lit_inpaint.methods.telea.method import Telea

__all__ = [
    "AOTGAN",
    "DDPM",
    "DSI",
    "GLCIC",
    "ICT",
    "MIGAN",
    "Bertalmio",
    "Biharmonic",
    "ContextEncoder",
    "DeepFillV1",
    "DeepFillV2",
    "DiffusersInpaint",
    "Harmonic",
    "LaMa",
    "LatentInpainting",
    "NavierStokes",
    "Palette",
    "PartialConv",
    "PatchMatch",
    "Telea",
]
_FOLDERS = {
    "ContextEncoder": "context_encoder",
    "DiffusersInpaint": "diffusers_inpaint",
    "LatentInpainting": "latent_inpainting",
    "NavierStokes": "navier_stokes",
    "PartialConv": "partial_conv",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_FOLDERS.get(name, name.lower())}.method"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
