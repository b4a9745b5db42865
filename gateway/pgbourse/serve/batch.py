"""A batch in a worker's hands: its documents, the literal for its call, and each document's results."""

from collections.abc import Sequence

from pgbourse.wire.framing import Frame
from pgbourse.wire.messages import Action, Document, ResultRow

__all__ = ["Item", "hand_out", "literal_of", "mark_writes", "writes"]


class Item:
    """One document in a worker's hands."""

    __slots__ = (
        "certificate_name",
        "document",
        "failure",
        "frame",
        "lost",
        "received",
        "requests",
        "results",
        "sequence",
        "waits",
    )

    def __init__(
        self, sequence: int, frame: Frame, document: Document, certificate_name: str | None = None
    ) -> None:
        self.sequence = sequence
        self.certificate_name = certificate_name
        self.frame = frame
        self.received = frame.received
        self.document = document
        self.requests = document.requests
        self.results: Sequence[Sequence[ResultRow]] = ()
        self.failure = ""  # the error for the client, instead of results
        self.lost = False  # may or may not have committed, or comes after such a document
        self.waits = False  # not carried out because the database takes no writes, or comes after such a one


def writes(item: Item) -> bool:
    """Return whether a document needs a database that takes writes."""
    return any(request.action != Action.QUERY_ORDER for request in item.requests)


def mark_writes(items: Sequence[Item]) -> None:
    """Mark one client's documents that write, and those behind them, as waiting."""
    waits = False
    for item in items:
        waits = item.waits = waits or writes(item)


def literal_of(items: Sequence[Item]) -> bytes:
    """Write the requests of these documents as one literal of exchange.request[].

    They hold only letters, digits, sign and point: only the names of certificates need quotes. What is
    empty is null.
    """
    rows: list[str] = []
    for item in items:
        sequence, name = str(item.sequence), _quoted(item.certificate_name)
        for action, account_id, sym, amount, limit, order_id, _ in item.requests:
            rows.append(
                f'"({sequence},{action},{account_id or ""},{sym or ""},{amount or ""},{limit or ""},'
                f'{"" if order_id is None else order_id},{name})"'
            )
    return f"{{{','.join(rows)}}}".encode("ascii")


def _quoted(name: str | None) -> str:
    """Quote printable ASCII for a row, and what that needs again for the array that the row stands in."""
    if name is None:
        return ""
    field = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return field.replace("\\", "\\\\").replace('"', '\\"')


def hand_out(items: Sequence[Item], rows: Sequence[ResultRow]) -> None:
    """Give each document the rows of each of its requests."""
    results: list[list[ResultRow]] = [[] for item in items for _ in item.requests]
    for row in rows:
        results[row.request - 1].append(row)
    start = 0
    for item in items:
        end = start + len(item.requests)
        item.results = results[start:end]
        start = end
