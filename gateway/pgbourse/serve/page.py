"""The page: one HTML file, the headers that keep it to itself, and who may ask for it."""

import base64
import hashlib
import re
from email.message import Message
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pgbourse.serve.looks import BARS, View

__all__ = ["Page", "read_view", "refuse_foreign"]

_LONGEST = 255  # characters of a symbol
_BARS = 60  # seconds of a bar, where nothing else is asked for


class Page:
    """The file, as it was when the server began, and the headers that it is sent with."""

    def __init__(self) -> None:
        self.body = Path(__file__).with_name("page.html").read_bytes()
        text = self.body.decode()
        scripts, styles = (
            " ".join([f"'sha256-{_digest(part)}'" for part in _inside(tag, text)])
            for tag in ("script", "style")
        )
        # Nothing but its own script and style, and streams of this server; no text ever becomes HTML.
        policy = (
            f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )
        self.headers = {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-cache",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }


def _inside(tag: str, text: str) -> list[str]:
    return re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def read_view(query: str) -> View | None:
    """Return what the query of /events asks for: `sym`, and `bars` in seconds. None if it can't be."""
    fields = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    sym, seconds = fields.get("sym", ""), fields.get("bars", str(_BARS))
    if len(sym) > _LONGEST or not (sym.isprintable() or sym == ""):
        return None
    return View(sym, int(seconds)) if seconds in map(str, BARS) else None


def refuse_foreign(headers: "Message[str, str]", host: str) -> str:
    """Return why a request is not from a page of ours, or nothing; `host` is the address that we listen on.

    A page of somebody else's can't read what we send: no header of ours allows it. But it could have its own
    name lead to 127.0.0.1, and so be of the same origin. So on a loopback address we answer to addresses and
    to localhost alone. Who listens on another one has opened the port to whoever gets there, by any name.
    """
    asked = headers.get("Host", "")
    name = urlsplit(f"//{asked}").hostname or ""
    if ip_address(host).is_loopback and not _is_own_name(name):
        return f"this port answers to its address and to localhost, and not to {name or 'no name'}"
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != asked.lower():
        return "pages of other origins may not look"
    return ""


def _is_own_name(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True
