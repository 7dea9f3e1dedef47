"""One folder a paper; the names in ``__all__`` are those of the command line (``--method Telea``)."""

from lit_inpaint.methods.biharmonic.method import Biharmonic
from lit_inpaint.methods.harmonic.method import Harmonic
from lit_inpaint.methods.navier_stokes.method import NavierStokes
from lit_inpaint.methods.telea.method import Telea

__all__ = ["Biharmonic", "Harmonic", "NavierStokes", "Telea"]
