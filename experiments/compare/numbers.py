"""Number formatting for all tables and the page."""

import math

from lit_inpaint.metrics import higher_is_better, quantity


def number(metric: str, value: float, signed: bool = False) -> str:
    """
    >>> number("psnr_hole", 23.456), number("lpips_alex", 0.06789), number("psnr", 0.5, signed=True)
    ('23.46', '0.0679', '+0.50')
    """
    found = quantity(metric)
    return f"{value:{'+' * signed}.{found.decimals if found else 4}f}"


def column(metric: str) -> str:
    """Heading of a column, as papers write it; a metric that nothing here defines keeps its name.

    >>> column("psnr_hole"), column("lpips_alex"), column("val/mystery")
    ('PSNR (hole)', 'LPIPS (Alex)', 'mystery')
    """
    found = quantity(metric)
    return (found.column or found.title) if found else metric.rpartition("/")[2]


def titled(metric: str) -> str:
    """Display name of a column, shown before its definition.

    >>> titled("psnr_hole"), titled("mystery")
    ('PSNR in the hole, dB. ', '')
    """
    found = quantity(metric)
    return f"{', '.join(filter(None, [found.title, found.unit]))}. " if found else ""


def significant(value: float | None, digits: int = 3) -> str:
    """
    >>> significant(0.01234), significant(123.4), significant(None)
    ('0.0123', '123', '')
    """
    if value is None or not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def millions(count: float | None) -> str:
    """
    >>> millions(4052478), millions(0), millions(10570), millions(80)
    ('4.05 M', '0', '10.6 k', '80')
    """
    if count is None or count < 1e3:
        return "" if count is None else f"{count:.0f}"
    return f"{significant(count / 1e6)} M" if count >= 1e6 else f"{significant(count / 1e3)} k"


def arrow(metric: str) -> str:
    """Arrow for the better direction; empty if undefined."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better(metric)]
