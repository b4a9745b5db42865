"""A batch in a worker's hands: the literal of what is asked in one call, and each request's result."""

from collections.abc import Sequence

from pgbourse.serve.accounts import sequences_of
from pgbourse.serve.portions import Portion
from pgbourse.wire.messages import ResultRow, Terms

__all__ = ["hand_out", "literal_of"]


def literal_of(portions: Sequence[Portion]) -> bytes:
    """Write what is asked for as one literal of exchange.request[].

    The requests of a portion are one sequence, which keeps its order. They hold only letters, digits, sign
    and point: only the names of certificates need quotes. What is empty is null.
    """
    rows: list[str] = []
    for sequence, portion in zip(sequences_of(portions), portions, strict=True):
        name = portion.certificate_name
        name = "" if name is None else _quoted(name)
        for action, account_id, sym, amount, limit, order_id, _, terms, _ in portion.asked():
            rows.append(
                f'"({sequence},{action},{account_id or ""},{sym or ""},{amount or ""},{limit or ""},'
                f'{"" if order_id is None else order_id},{name},{"" if terms is None else _row(terms)})"'
            )
    return f"{{{','.join(rows)}}}".encode("ascii")


def _row(terms: Terms) -> str:
    """Write terms as a row within the row of a request, which needs quotes for its commas."""
    return f'\\"({",".join([value or "" for value in terms])})\\"' if any(terms) else ""


def _quoted(name: str) -> str:
    """Quote printable ASCII for a row, and what that needs again for the array that the row stands in."""
    field = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return field.replace("\\", "\\\\").replace('"', '\\"')


def hand_out(portions: Sequence[Portion], rows: Sequence[ResultRow]) -> bool:
    """Give each portion the rows of each request. True if some were left for later, because of locks."""
    results: list[list[ResultRow] | None] = [[] for portion in portions for _ in portion.places]
    some_are_left = False
    for row in rows:
        if row.outcome == "later":
            results[row.request - 1] = None
            some_are_left = True
        elif (answer := results[row.request - 1]) is not None:
            answer.append(row)
    start = 0
    for portion in portions:
        places = portion.places
        end = start + len(places)
        answers = results[start:end]
        start = end
        if len(places) == len(portion.results):
            portion.results[:] = answers
        else:
            for place, answer in zip(places, answers, strict=True):
                portion.results[place] = answer
        if some_are_left:
            portion.is_locked = None in answers
    return some_are_left
