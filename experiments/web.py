"""Access checks for the pages of `app` and `vote`: only their own users, no other site through a user's browser."""

import ipaddress
import socket
from functools import cache
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(host: str | None, origin: str | None, local: bool) -> str | None:
    """Why a request is rejected; None if it is allowed.

    A foreign page cannot choose the Host of a request except by a name of its own that it points at this machine (DNS
    rebinding), and cannot hide its Origin. ``local``: the server only listens on loopback.

    >>> refusal("127.0.0.1:7860", None, True), refusal("127.0.0.1:7860", "http://127.0.0.1:7860", True)
    (None, None)
    >>> refusal("rebound.example", None, True)
    'Open the page under 127.0.0.1 or localhost.'
    >>> refusal("127.0.0.1:7860", "http://localhost:3000", True)
    'Requests come from the page itself.'
    """
    name = _name(f"//{host}") or ""
    if local and not is_loopback(name):
        return "Open the page under 127.0.0.1 or localhost."
    if not local and not _is_own(name):
        return f"Open the page under this machine's address or its name, {socket.gethostname()}."
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return "Requests come from the page itself."
    return None


def _is_own(name: str) -> bool:
    """An address, which cannot be rebound, or a name of this machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in _own_names()
    return True


@cache
def _own_names() -> frozenset[str]:
    full = (socket.gethostname().lower(), socket.getfqdn().lower())  # the latter may ask the network: once
    return frozenset({"localhost", *full, *(name.split(".")[0] for name in full)})


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
