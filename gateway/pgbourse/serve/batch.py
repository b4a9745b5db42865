"""A batch in a worker's hands: its documents, the columns of its call, and each document's results."""

from collections.abc import Sequence

from pgbourse.wire.framing import Frame
from pgbourse.wire.messages import Action, Document, ResultRow

__all__ = ["Item", "certificate_names", "columns_of", "hand_out", "mark_writes", "writes"]


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


def columns_of(items: Sequence[Item]) -> list[bytes]:
    """Write the requests of these documents as array literals for exchange.process_batch.

    They hold only letters, digits, sign and point. Only a symbol needs quotes: its name may be NULL.
    """
    sequences: list[str] = []
    actions: list[str] = []
    account_ids: list[str] = []
    syms: list[str] = []
    amounts: list[str] = []
    limits: list[str] = []
    order_ids: list[str] = []
    for item in items:
        sequence = str(item.sequence)
        for request in item.requests:
            sequences.append(sequence)
            actions.append(request.action)
            account_ids.append(request.account_id or "NULL")
            syms.append("NULL" if request.sym is None else f'"{request.sym}"')
            amounts.append(request.amount or "NULL")
            limits.append(request.limit or "NULL")
            order_ids.append("NULL" if request.order_id is None else str(request.order_id))
    columns = (sequences, actions, account_ids, syms, amounts, limits, order_ids)
    return [f"{{{','.join(column)}}}".encode("ascii") for column in columns]


def certificate_names(items: Sequence[Item]) -> bytes:
    """Write the certificate name for each request as an array literal. The names are printable ASCII."""
    names: list[str] = []
    for item in items:
        name = "NULL"
        if item.certificate_name is not None:
            name = '"' + item.certificate_name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        names += [name] * len(item.requests)
    return f"{{{','.join(names)}}}".encode("ascii")


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
