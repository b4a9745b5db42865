"""A batch in a worker's hands: the literal for its call, and each portion's results."""

from collections.abc import Sequence

from pgbourse.serve.turns import Portion
from pgbourse.wire.messages import ResultRow

__all__ = ["hand_out", "literal_of"]


def literal_of(portions: Sequence[Portion]) -> bytes:
    """Write the requests of these portions as one literal of exchange.request[].

    They hold only letters, digits, sign and point: only the names of certificates need quotes. What is
    empty is null.
    """
    rows: list[str] = []
    for portion in portions:
        sequence, name = str(portion.sequence), _quoted(portion.certificate_name)
        for action, account_id, sym, amount, limit, order_id, _ in portion.requests:
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


def hand_out(portions: Sequence[Portion], rows: Sequence[ResultRow]) -> None:
    """Give each portion the rows of each of its requests."""
    results: list[list[ResultRow]] = [[] for portion in portions for _ in portion.requests]
    for row in rows:
        results[row.request - 1].append(row)
    start = 0
    for portion in portions:
        end = start + len(portion.requests)
        portion.results = results[start:end]
        start = end
