"""Carry a history out again in an empty exchange, and compare what comes of it row by row."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from pgbourse.database.ledger import Connection
from pgbourse.database.migrate import connect
from pgbourse.database.rights import act_as, refusals_explained
from pgbourse.errors import PgbourseError
from pgbourse.replay.carry import Carrier
from pgbourse.replay.compare import compare
from pgbourse.replay.history import lines, open_history
from pgbourse.replay.lines import Numbered, load

__all__ = ["ReplayError", "Replayed", "replay", "require_export"]

_MOST_REFUSALS = 10

_IS_USED = """
    select
        exists (select from exchange.accounts)
        or exists (select from exchange.symbols)
        or exists (select from exchange.orders)
        or exists (select from exchange.incoming_orders)
"""


class ReplayError(PgbourseError):
    """The history could not be carried out again, so whether the same would come of it isn't known."""

    exit_status = 2


class Replayed(NamedTuple):
    """What was carried out again, and how much of it came out differently; the first differences in words."""

    orders: int
    fills: int
    differences: int
    first: list[str]
    is_whole: bool  # or it was given up, at so many refusals


def replay(path: Path, database_url: str) -> Replayed:
    """Carry out the history in a file in the empty exchange of a database, and compare.

    Nobody else may use that exchange meanwhile. Raises ReplayError if it isn't empty, LinesError if the file
    is no whole export, HistoryError, or MigrationError if the database can't be reached.
    """
    with _empty_exchange(database_url) as connection:
        carrier = Carrier(connection, _MOST_REFUSALS)
        with _opened(path) as numbered:
            is_whole = carrier.carry_out(numbered)
    refused = len(carrier.refusals)
    if not is_whole:
        return Replayed(len(carrier.ids), 0, refused, carrier.refusals, is_whole)
    with (
        open_history(database_url, "pgbourse replay") as connection,
        closing(lines(connection)) as here,
        _opened(path) as numbered,
    ):
        others = (one for one in numbered if one.number not in carrier.refused)
        compared = compare(others, here, carrier.ids)
    return Replayed(
        compared.orders,
        compared.fills,
        compared.differences + refused,
        [*carrier.refusals, *compared.first],
        is_whole,
    )


def require_export(path: Path) -> None:
    """Look at the first lines of a file, and raise LinesError, or ReplayError, if it is no export."""
    with _opened(path) as numbered:
        next(numbered, None)


@contextmanager
def _empty_exchange(database_url: str) -> Iterator[Connection]:
    with connect(database_url, "pgbourse replay") as connection:
        act_as(connection, "exchange_owner")
        with refusals_explained(connection, "a replay"):
            try:
                is_used = connection.execute(_IS_USED.encode()).fetchone() == (True,)
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
                raise ReplayError("the database has no exchange: run `pgbourse migrate` first") from error
            if is_used:
                raise ReplayError(
                    "the exchange is not empty: a history is carried out again in one without accounts, "
                    "symbols and orders"
                )
            # Each transaction needn't be durable; the last one is, and all before it then.
            connection.execute("set synchronous_commit = off")
            yield connection
            connection.execute("set synchronous_commit = on")
            connection.execute("select pg_current_xact_id()")


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[Numbered]]:
    try:
        with path.open(encoding="utf-8") as file:
            yield load(file)
    except UnicodeDecodeError as error:
        raise ReplayError(f"{path} is no text in UTF-8") from error
    except OSError as error:
        raise ReplayError(f"can't read {path}") from error
