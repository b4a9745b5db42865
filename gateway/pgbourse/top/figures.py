"""Figures as top writes them: short, and exact where they are prices or shares. Pure."""

import math
from decimal import Decimal

__all__ = ["count", "number", "places_of", "short", "size"]


def count(value: float) -> str:
    """Write a count or rate in at most seven characters, if it is below a billion."""
    if value >= 10_000_000:
        return f"{value / 1_000_000:,.0f} M"
    if 0 < value < 10 and value != int(value):
        return f"{value:.1f}"
    return f"{value:,.0f}"


def places_of(value: Decimal) -> int:
    """Return how many decimal places a number has."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def number(value: Decimal | None, places: int = 0) -> str:
    """Write a price or a number of shares exactly, with at least so many decimal places."""
    return "-" if value is None else f"{value:,.{max(places, places_of(value))}f}"


def short(seconds: float | None) -> str:
    """Write a time, as top wants to know it."""
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return ">30 s"
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def size(value: float) -> str:
    """Write a number of bytes."""
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
