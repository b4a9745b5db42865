"""The file of an export: JSON lines, the first of which says what it is and the last how many there are.

Between them stand lines of three classes, each an object that names its class first:

- an *event* is to be carried out again: account, symbol, grant, order, replace, cancel, reduce;
- a *result* is what came of the order before it: fill, canceled;
- a *state* is how it stood at the end: open, cash, position, halted, frozen.

Amounts of money and shares are strings, with all their digits; the ids of orders are numbers.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pgbourse.errors import PgbourseError

__all__ = ["FORMAT", "NUMBERS", "VERSION", "Line", "LinesError", "Numbered", "dump", "kind_of", "load"]

FORMAT = "pgbourse history"
VERSION = 1

Line = dict[str, Any]

_CLASSES = ("event", "result", "state")
_ID = int
_MAX_ID = 2**63 - 1
# What each kind of line must have, and of which type; the rest of an order's terms may be absent.
_NEEDED: dict[str, dict[str, type]] = {
    "account": {"account": str, "balance": str},
    "symbol": {"sym": str},
    "grant": {"account": str, "sym": str, "shares": str},
    "order": {"id": _ID, "account": str, "sym": str, "side": str, "shares": str},
    "replace": {"id": _ID, "replaced": _ID, "account": str, "sym": str, "side": str, "shares": str},
    "cancel": {"id": _ID, "account": str, "shares": str},
    "reduce": {"id": _ID, "account": str, "shares": str},
    "fill": {"buy": _ID, "sell": _ID, "shares": str, "price": str},
    "canceled": {"id": _ID, "by": _ID, "shares": str},
    "open": {"id": _ID, "account": str, "sym": str, "side": str, "limit": str, "shares": str},
    "cash": {"account": str, "cash": str},
    "position": {"account": str, "sym": str, "shares": str},
    "halted": {"sym": str},
    "frozen": {"account": str},
}


# What else an order may say, and what the words are for what has words.
_TERMS = {
    **dict.fromkeys(
        ("limit", "budget", "ref", "type", "tif", "stp", "executed", "canceled", "released"), str
    ),
    "post": bool,
    "passed": list,
}
_WORDS = {
    "side": ("buy", "sell"),
    "type": ("limit", "market"),
    "tif": ("GTC", "IOC", "FOK"),
    "stp": ("taker", "maker", "both"),
}
NUMBERS = frozenset(
    {"balance", "budget", "canceled", "cash", "executed", "limit", "price", "released", "shares"}
)
# Below 0 is nothing that an exchange has done, but where it stands may be wrong.
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_ANY_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class LinesError(PgbourseError):
    """The file is no export, or not a whole one. The text names the line."""

    exit_status = 2


class Numbered(NamedTuple):
    """A line with its place in the file, from 1."""

    number: int
    line: Line


def kind_of(line: Line) -> str:
    """Return what an event, a result or a state is called."""
    return str(next((line[name] for name in _CLASSES if name in line), ""))


def dump(lines: Iterable[Line], header: Line) -> Iterator[str]:
    """Write lines as those of a file, with the header and the last line, which counts them all."""
    written = 1
    yield _dumped({"format": FORMAT, "version": VERSION, **header})
    for line in lines:
        yield _dumped(line)
        written += 1
    yield _dumped({"end": written + 1})


def load(texts: Iterable[str]) -> Iterator[Numbered]:
    """Read the lines of a file between its first and its last one.

    Raises LinesError at the first line that isn't as it must be, or if the file ends before its last one.
    """
    number = 0
    ended = False
    for number, text in enumerate(texts, 1):
        if ended:
            raise LinesError(f"line {number}: it stands behind the end")
        line = _parsed(number, text)
        if number == 1:
            _require_header(line)
        elif "end" in line:
            if line["end"] != number:
                raise LinesError(f"line {number}: it ends {line['end']} lines, so some are lost or added")
            ended = True
        else:
            _require_sound(number, line)
            yield Numbered(number, line)
    if not ended:
        raise LinesError(f"it ends at line {number}, without a last line: it is not whole")


def _dumped(line: Line) -> str:
    return json.dumps(line, separators=(",", ":")) + "\n"


def _parsed(number: int, text: str) -> Line:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise LinesError(f"line {number} is no JSON") from error
    if not isinstance(line, dict):
        raise LinesError(f"line {number} is no object of JSON")
    return line


def _require_header(line: Line) -> None:
    if line.get("format") != FORMAT:
        raise LinesError("line 1: it is no export of pgbourse, which begins with its format")
    if line.get("version") != VERSION:
        raise LinesError(f"line 1: it is of version {line.get('version')}, and this pgbourse reads {VERSION}")


def _require_sound(number: int, line: Line) -> None:
    kind = kind_of(line)
    if kind not in _NEEDED:
        raise LinesError(f"line {number}: it is none of {', '.join(_NEEDED)}")
    types = _NEEDED[kind] | ({name: _TERMS[name] for name in _TERMS if name in line} if "id" in line else {})
    for name, type_ in types.items():
        value = line.get(name)
        if fault := _fault(value, type_, name, is_state="state" in line):
            raise LinesError(f"line {number}: {kind} must have {name}, {fault}")


def _fault(value: object, type_: type, name: str, *, is_state: bool) -> str:
    """Return what a value must be, if it isn't."""
    if type(value) is not type_:
        return {int: "a whole number", str: "a string", bool: "true or false", list: "a list"}[type_]
    if isinstance(value, int) and not 0 < value <= _MAX_ID and type_ is int:
        return "an id above 0"
    if isinstance(value, list) and not all(type(one) is int and 0 < one <= _MAX_ID for one in value):
        return "a list of ids"
    if name in _WORDS and value not in _WORDS[name]:
        return f"one of {', '.join(_WORDS[name])}"
    if name in NUMBERS and not (_ANY_NUMBER if is_state else _NUMBER).fullmatch(str(value)):
        return "a number in digits"
    return ""
