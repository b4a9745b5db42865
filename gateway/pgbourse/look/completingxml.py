"""What may come next in XML that is typed into the shell: elements, attributes and values. Pure."""

import re
from collections.abc import Mapping, Sequence

__all__ = ["CHILDREN", "REQUESTS", "next_in_xml"]

_ORDER = ("sym", "amount", "limit", "type", "budget", "ref", "tif", "post", "stp")
_REQUEST: Mapping[str, Sequence[str]] = {
    "order": _ORDER,
    "replace": ("id", "of", "amount", "limit", "open", "ref", "tif", "post", "stp"),
    "reduce": ("id", "ref", "to", "shares"),
    "query": ("id", "ref"),
    "cancel": ("id", "ref", "all", "sym", "after"),
    "account": (),
    "orders": ("sym", "after", "max"),
    "book": ("sym", "depth"),
    "server": (),
}
_SYMBOL = {"account": ("id",)}

# By the element that they stand in: elements, and their attributes, as docs/pgbourse.rng has them.
_Elements = Mapping[str, Sequence[str]]
CHILDREN: Mapping[str, _Elements] = {
    "transactions": _REQUEST,
    "create": {"account": ("id", "balance"), "symbol": ("sym",), "server": ()},
    "symbol": _SYMBOL,
}
# A document, or a request alone.
REQUESTS: _Elements = {"create": ("codes",), "transactions": ("id", "codes"), **_REQUEST, "symbol": ("sym",)}

_VALUES = {
    "tif": ("GTC", "IOC", "FOK"),
    "type": ("limit", "market"),
    "stp": ("taker", "maker", "both"),
    "post": ("true",),
    "all": ("true",),
    "codes": ("true",),
}
_QUOTED = r"\"[^\"]*\"|'[^']*'"
_TAG = re.compile(rf"<(/?)([A-Za-z]+)((?:[^<>\"']|{_QUOTED})*?)(/?)>")
_BEGUN = re.compile(rf"<([A-Za-z]*)((?:\s+[A-Za-z]+\s*=\s*(?:{_QUOTED}))*)(\s*)([^<>]*)")
_VALUE = re.compile(r"([A-Za-z]+)\s*=\s*(?:\"([^\"]*)|'([^']*))")


def next_in_xml(
    text: str, symbols: Sequence[str], accounts: Sequence[str], orders: Sequence[str]
) -> tuple[str, list[str]]:
    """Return the word with which a text ends, as far as it is typed, and which words it may become.

    The others are the symbols, accounts and orders that are known.
    """
    within = _open_elements(text)
    last = text[max([tag.end() for tag in _TAG.finditer(text)], default=0) :]
    place = last.rfind("<")
    if place < 0:
        return "", []
    if last[place:].startswith("</"):
        return last[place + 2 :], [f"{within[-1]}>"] if within else []
    here = CHILDREN.get(within[-1], {}) if within else REQUESTS
    if (begun := _BEGUN.fullmatch(last[place:])) is None:
        return "", []
    name, written, blank, rest = begun.groups()
    if not (written or blank or rest):
        return name, list(here)
    if value := _VALUE.fullmatch(rest):
        quote = '"' if value[3] is None else "'"
        known = {"sym": symbols, "id": accounts if _names_account(within, name) else orders}.get(value[1])
        words = _VALUES.get(value[1], ()) if known is None else known
        return value[2] if value[3] is None else value[3], [f"{word}{quote}" for word in words]
    if not blank:
        return "", []
    have = set(re.findall(r"([A-Za-z]+)\s*=", written))
    return rest, [f'{attribute}="' for attribute in here.get(name, ()) if attribute not in have]


def _open_elements(text: str) -> list[str]:
    within: list[str] = []
    for closes, name, _, is_empty in _TAG.findall(text):
        if closes:
            del within[-1:]
        elif not is_empty:
            within.append(name)
    return within


def _names_account(within: Sequence[str], name: str) -> bool:
    return name in ("transactions", "account") or "symbol" in within
