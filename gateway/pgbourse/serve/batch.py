"""A batch in a worker's hands: what is asked in one call, its literal, and each request's result."""

from collections.abc import Sequence

from pgbourse.serve.turns import Portion, writes
from pgbourse.wire.messages import Request, ResultRow

__all__ = ["Ask", "hand_out", "literal_of"]


class Ask:
    """The requests of a portion, in order, that one call asks for."""

    __slots__ = ("certificate_name", "places", "portion", "requests", "sequence")

    def __init__(self, portion: Portion, places: Sequence[int], sequence: int = 1) -> None:
        """Ask for the requests in these places; requests of one `sequence` keep their order."""
        self.portion = portion
        self.places = places
        self.sequence = sequence
        self.certificate_name = portion.certificate_name
        self.requests: Sequence[Request] = portion.requests
        if len(places) < len(portion.requests):
            self.requests = [portion.requests[place] for place in places]

    @property
    def writes(self) -> bool:
        """Whether this needs a database that takes writes."""
        return any(map(writes, self.requests))


def literal_of(asks: Sequence[Ask]) -> bytes:
    """Write what is asked for as one literal of exchange.request[].

    They hold only letters, digits, sign and point: only the names of certificates need quotes. What is
    empty is null.
    """
    rows: list[str] = []
    for ask in asks:
        sequence, name = str(ask.sequence), _quoted(ask.certificate_name)
        for action, account_id, sym, amount, limit, order_id, _ in ask.requests:
            rows.append(
                f'"({sequence},{action},{account_id or ""},{sym or ""},{amount or ""},{limit or ""},'
                f'{"" if order_id is None else order_id},{name},)"'
            )
    return f"{{{','.join(rows)}}}".encode("ascii")


def _quoted(name: str | None) -> str:
    """Quote printable ASCII for a row, and what that needs again for the array that the row stands in."""
    if name is None:
        return ""
    field = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return field.replace("\\", "\\\\").replace('"', '\\"')


def hand_out(asks: Sequence[Ask], rows: Sequence[ResultRow]) -> bool:
    """Give each portion the rows of each request. True if some were left for later, because of locks."""
    results: list[list[ResultRow] | None] = [[] for ask in asks for _ in ask.places]
    some_are_left = False
    for row in rows:
        if row.outcome == "later":
            results[row.request - 1] = None
            some_are_left = True
        elif (answer := results[row.request - 1]) is not None:
            answer.append(row)
    start = 0
    for ask in asks:
        end = start + len(ask.places)
        if len(ask.places) == len(ask.portion.requests):
            ask.portion.results[:] = results[start:end]
        else:
            for place, answer in zip(ask.places, results[start:end], strict=True):
                ask.portion.results[place] = answer
        if some_are_left:
            ask.portion.is_locked = None in results[start:end]
        start = end
    return some_are_left
