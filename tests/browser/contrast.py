"""The contrast of all text that a page shows, as WCAG computes it."""

import re
from typing import NamedTuple, Protocol

__all__ = ["Pair", "contrasts", "ratio"]

# Each element that has text of its own, with its colour and all grounds from there to the root.
_SCRIPT = """
    return [...document.querySelectorAll("body *")].filter((node) =>
        [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())
        && node.getClientRects().length && !node.closest(".hidden, caption, .skip, script, style, noscript")
    ).map((node) => {
        const grounds = [], own = getComputedStyle(node);
        for (let at = node; at; at = at.parentElement) grounds.push(getComputedStyle(at).backgroundColor);
        const bar = /rgba?\\([^)]*\\)/.exec(own.backgroundImage);
        const colour = node.namespaceURI.endsWith("svg") ? own.fill : own.color;
        return [node.textContent.trim().slice(0, 30), colour, ...(bar ? [bar[0]] : []), ...grounds];
    })
"""


class _Runs(Protocol):
    def run(self, script: str, *arguments: object) -> list[list[str]]: ...


class Pair(NamedTuple):
    """Some text, its colour, its ground and their contrast."""

    text: str
    colour: str
    ground: str
    ratio: float


def contrasts(page: _Runs) -> list[Pair]:
    """Return the contrast of every piece of text; over a bar, that with the bar."""
    pairs = []
    for text, colour, *grounds in page.run(_SCRIPT):
        ground = next((ground for ground in grounds if not ground.endswith(", 0)")), "rgb(255, 255, 255)")
        pairs.append(Pair(text, colour, ground, ratio(colour, ground)))
    return pairs


def ratio(one: str, other: str) -> float:
    """Return the contrast of two opaque colours, from 1 to 21."""
    darker, lighter = sorted([_luminance(one), _luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
