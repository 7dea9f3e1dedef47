"""A paper in a package of its own: nothing of lit-inpaint is edited."""

from own_method.data import Afternoon
from own_method.laws import Cross
from own_method.method import Residual

__all__ = ["Afternoon", "Cross", "Residual"]
