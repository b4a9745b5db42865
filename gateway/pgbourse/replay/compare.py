"""Compare what an original's lines say with what those of a copy say: two streams in one order, side by side.

Times may differ, and so may the ids of orders, which are mapped. Where the streams don't agree, the next
place where they do is looked for within a window, so a line that is missing is one difference and no more.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from pgbourse.replay.ids import Ids
from pgbourse.replay.lines import NUMBERS, Line, Numbered, kind_of

__all__ = ["Compared", "compare"]

_WINDOW = 1000  # lines to look ahead for the place where the streams agree again
_MOST = 10  # differences to tell of
_IDS = ("id", "replaced", "buy", "sell", "by")
# What says which line of its kind it is.
_NAMES = ("account", "sym", "id", "buy", "sell")

_Identity = tuple[object, ...]


class Compared(NamedTuple):
    """What was compared, and how much of it differs; the first differences in words."""

    orders: int
    fills: int
    differences: int
    first: list[str]


class _Side:
    """A stream with the lines that were looked at ahead, each with its number in the file or 0."""

    def __init__(self, lines: Iterator[Numbered]) -> None:
        self._lines = lines
        self.ahead: deque[Numbered] = deque()

    def look(self, count: int) -> bool:
        """Look so many lines ahead, if there are; return whether there is any."""
        while len(self.ahead) < count and (line := next(self._lines, None)) is not None:
            self.ahead.append(line)
        return bool(self.ahead)

    def find(self, wanted: Line) -> int | None:
        """Return how many lines ahead there is one of this identity."""
        identity = _identity(wanted)
        for place, numbered in enumerate(self.ahead):
            if _identity(numbered.line) == identity:
                return place
        return None


class _Comparison:
    """The differences so far: how many, and the first in words."""

    def __init__(self, ids: Ids) -> None:
        self.count = 0
        self.first: list[str] = []
        self._ids = ids

    def changed(self, numbered: Numbered, copy: Line) -> None:
        """Note a line that says something else in the copy."""
        line = numbered.line
        for name in [*line, *(name for name in copy if name not in line)]:
            if name != "at" and not _same(name, line.get(name), copy.get(name)):
                here, there = self._told(copy.get(name)), self._told(line.get(name))
                if name in _IDS or name == "passed":
                    here, there = self._ids_told(copy.get(name)), self._ids_told(line.get(name))
                self._note(f"{self._words(line, numbered)}: {name} {there} in the original, {here} here")

    def missing(self, numbered: Numbered) -> None:
        """Note a line that the copy hasn't."""
        self._note(f"{self._words(numbered.line, numbered)}: only in the original")

    def extra(self, numbered: Numbered) -> None:
        """Note a line that the original hasn't."""
        self._note(f"{self._words(numbered.line, numbered)}: only here")

    def _note(self, text: str) -> None:
        self.count += 1
        if self.count <= _MOST:
            self.first.append(text)

    def _words(self, line: Line, numbered: Numbered) -> str:
        kind = kind_of(line)
        if kind == "fill":
            what = f"fill of orders {self._ids_told(line['buy'])} and {self._ids_told(line['sell'])}"
        elif "id" in line:
            order = self._ids_told(line["id"])
            what = {
                "order": f"order {order}",
                "replace": f"order {order}",
                "open": f"open order {order}",
                "canceled": f"what was cancelled of order {order}",
            }.get(kind, f"{kind} of order {order}")
        else:
            what = " ".join(str(line[name]) for name in ("account", "sym") if name in line)
            what = f"{kind} of {what}" if kind in ("cash", "position", "grant") else f"{kind} {what}"
        shares = f", {line['shares']} shares" if kind in ("fill", "canceled", "cancel", "reduce") else ""
        return f"line {numbered.number}: {what}{shares}" if numbered.number else f"{what}{shares}"

    def _ids_told(self, value: object) -> str:
        """Return ids of the copy as those of the original, which a reader of the file knows."""
        if isinstance(value, list):
            return " ".join(self._ids_told(one) for one in value) or "none"
        if not isinstance(value, int):
            return "none"
        if value < 0:  # of the original alone
            return str(-value)
        original = self._ids.original(value)
        return f"{value} of the copy" if original is None else str(original)

    @staticmethod
    def _told(value: object) -> str:
        return "nothing" if value is None else str(value)


def compare(original: Iterable[Numbered], copy: Iterable[Line], ids: Ids) -> Compared:
    """Compare an original's lines with a copy's, line by line.

    `ids` maps ids of the original to those of the copy. A line of the original with an order that is not
    there is different, whatever the copy says.
    """
    counts = {"order": 0, "replace": 0, "fill": 0}
    found = _Comparison(ids)
    first = _Side(_counted(_mapped(original, ids), counts))
    second = _Side(Numbered(0, line) for line in copy)
    while first.look(1) | second.look(1):
        if not second.ahead:
            found.missing(first.ahead.popleft())
        elif not first.ahead:
            found.extra(second.ahead.popleft())
        else:
            _compare_next(first, second, found)
    return Compared(counts["order"] + counts["replace"], counts["fill"], found.count, found.first)


def _compare_next(first: _Side, second: _Side, found: _Comparison) -> None:
    """Compare the next line of both sides, and drop what is compared."""
    line, other = first.ahead[0].line, second.ahead[0].line
    if _identity(line) == _identity(other):
        found.changed(first.ahead.popleft(), other)
        second.ahead.popleft()
        return
    first.look(_WINDOW)
    second.look(_WINDOW)
    in_first, in_second = first.find(other), second.find(line)
    if in_second is not None and (in_first is None or in_second <= in_first):
        for _ in range(in_second):
            found.extra(second.ahead.popleft())
    elif in_first is not None:
        for _ in range(in_first):
            found.missing(first.ahead.popleft())
    else:
        found.missing(first.ahead.popleft())
        found.extra(second.ahead.popleft())


def _identity(line: Line) -> _Identity:
    return (kind_of(line), *(line.get(name) for name in _NAMES))


def _same(name: str, one: object, other: object) -> bool:
    if one == other:
        return True
    if name not in NUMBERS or not isinstance(one, str) or not isinstance(other, str):
        return False
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False


def _mapped(original: Iterable[Numbered], ids: Ids) -> Iterator[Numbered]:
    """Give the original's lines with the ids that their orders have in the copy; -id where there is none."""

    def here(order_id: int) -> int:
        found = ids.get(order_id)
        return -order_id if found is None else found

    for number, line in original:
        mapped = {name: here(value) if name in _IDS else value for name, value in line.items()}
        if "passed" in line:
            mapped["passed"] = [here(order_id) for order_id in line["passed"]]
        yield Numbered(number, mapped)


def _counted(lines: Iterable[Numbered], counts: dict[str, int]) -> Iterator[Numbered]:
    for numbered in lines:
        kind = kind_of(numbered.line)
        if kind in counts:
            counts[kind] += 1
        yield numbered
