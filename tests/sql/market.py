"""The exchange as the tests of its SQL call it, and sessions that meet at a lock.

Numbers are compared as text: 1.50 and 1.5 are the same Decimal, but not the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import TupleRow

from tests.codes import CODES

__all__ = [
    "Answer",
    "Connection",
    "Market",
    "Request",
    "Said",
    "Session",
    "always_hint",
    "literals",
    "meeting",
    "replace",
    "until_blocked",
    "wrap",
]

Connection = psycopg.Connection[TupleRow]


class Said(NamedTuple):
    """What a request says beyond symbol, amount, limit and id: exchange.terms."""

    ref: str | None = None
    type: str | None = None
    budget: str | None = None
    tif: str | None = None
    post: bool | None = None
    stp: str | None = None
    of_ref: str | None = None
    if_open: str | None = None


class Request(NamedTuple):
    """One request of a batch, as process_batch takes it."""

    action: str
    account: str | None = None
    sym: str | None = None
    amount: str | None = None
    limit: str | None = None
    order_id: int | None = None
    sequence: int = 1
    said: Said | None = None


class Answer(NamedTuple):
    """One row of a batch's answer, its numbers as text."""

    request: int
    outcome: str
    order_id: int | None
    shares: str | None
    price: str | None
    at: int | None
    code: str | None
    message: str | None
    sym: str | None = None
    amount: str | None = None
    ref: str | None = None


def literals(requests: Sequence[Request], certificates: Sequence[str | None] | None = None) -> list[str]:
    """Write requests as rows of exchange.request; clients without a certificate may come last."""
    names = [*(certificates or ()), *[None] * len(requests)]
    return [
        _composite(
            request.sequence,
            *request[:-2],
            name,
            None if request.said is None else _composite(*request.said),
        )
        for request, name in zip(requests, names, strict=False)
    ]


def _composite(*values: object) -> str:
    """Write a row as PostgreSQL reads it."""
    return "({})".format(
        ",".join(
            "" if value is None else '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
            for value in values
        )
    )


class Market:
    """Calls of the API functions, one statement each, over a connection of the test's own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def account(self, account: str, cash: object = 0) -> str:
        """Create an account; return `created` or the code of the refusal."""
        query = "select coalesce(code, outcome) from exchange.create_account(%s, %s::text::numeric)"
        return self._text(query, account, cash)

    def grant(self, account: str, sym: str, shares: object) -> str:
        """Give an account shares; return `created` or the code of the refusal."""
        query = "select coalesce(code, outcome) from exchange.grant_shares(%s, %s, %s::text::numeric)"
        return self._text(query, sym, account, shares)

    def place(self, account: str, sym: str, amount: object, limit: object) -> int:
        """Place an order that must be accepted; return its id."""
        order_id, code = self.try_place(account, sym, amount, limit)
        assert order_id is not None, code
        return order_id

    def try_place(
        self, account: str | None, sym: str | None, amount: object, limit: object
    ) -> tuple[int | None, str | None]:
        """Place an order; return its id, or the code of the refusal."""
        row = self.connection.execute(
            "select order_id, code from exchange.place_order(%s, %s, %s::text::numeric, %s::text::numeric)",
            [account, sym, amount, limit],
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    def query(self, account: str, order_id: int) -> list[str]:
        """Return an order's parts, as in `open 100` or `executed 20 @ 125`; or the code of the refusal."""
        return self._parts("query_order", account, order_id)

    def cancel(self, account: str, order_id: int) -> list[str]:
        """Cancel an order; return its parts, as `query` does."""
        return self._parts("cancel_order", account, order_id)

    def batch(
        self, requests: Sequence[Request], certificates: Sequence[str | None] | None = None
    ) -> list[list[Answer]]:
        """Carry out a batch, for clients with these certificates if given; return each request's answers."""
        rows = self.connection.execute(
            "select request, outcome, order_id, shares::text, price::text, at, code, message, "
            "sym, amount::text, ref "
            "from exchange.process_batch(%s::text[]::exchange.request[], %s)",
            [literals(requests, certificates), certificates is not None],
        ).fetchall()
        answers = [Answer(*row) for row in rows]
        assert [answer.request for answer in answers] == sorted(answer.request for answer in answers)
        assert {answer.code for answer in answers} <= {None, "later", "locked", *CODES}
        return [[answer for answer in answers if answer.request == i + 1] for i in range(len(requests))]

    def cash(self, account: str) -> str:
        """Return what an account can spend, settled or not."""
        query = "select trim_scale(cash)::text from exchange.account_balances where account_id = %s"
        return self._text(query, account)

    def shares(self, account: str, sym: str) -> str:
        """Return the shares that an account can sell, settled or not."""
        query = (
            "select coalesce(trim_scale(sum(shares)), 0)::text from exchange.account_positions "
            "where account_id = %s and sym = %s"
        )
        return self._text(query, account, sym)

    def book(self, sym: str) -> list[str]:
        """Return a symbol's open orders as the book lists them, as in `buy 100 @ 125 (1)`."""
        rows = self.connection.execute(
            "select format('%%s %%s @ %%s (%%s)', side, trim_scale(open_shares), trim_scale(limit_price), "
            "order_id) from exchange.order_book where sym = %s",
            [sym],
        ).fetchall()
        return [row[0] for row in rows]

    def violations(self) -> list[tuple[str, str, str]]:
        """Return every finding of check_integrity."""
        query = "select invariant, subject, detail from exchange.check_integrity()"
        return [(row[0], row[1], row[2]) for row in self.connection.execute(query).fetchall()]

    def _text(self, query: str, *arguments: object) -> str:
        row = self.connection.execute(query.encode(), arguments).fetchone()
        assert row is not None
        return str(row[0])

    def _parts(self, function: str, account: str, order_id: int) -> list[str]:
        query = f"select outcome, shares::text, price::text, code from exchange.{function}(%s, %s)"
        rows = self.connection.execute(query.encode(), [account, order_id]).fetchall()
        return [
            code or f"{outcome} {shares}" + (f" @ {price}" if price else "")
            for outcome, shares, price, code in rows
        ]


class Session:
    """A session of its own, with a thread, so that a call may wait for a lock while the test looks on."""

    def __init__(self, database: str) -> None:
        self.connection = psycopg.connect(database, autocommit=True)
        self.market = Market(self.connection)
        self.pid = self.connection.info.backend_pid
        self._thread = ThreadPoolExecutor(1, f"session-{self.pid}")

    def begin(self) -> None:
        self.connection.execute("begin")

    def commit(self) -> None:
        self.connection.execute("commit")

    def start(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Begin a call in the session's thread."""
        return self._thread.submit(call, *arguments)

    def close(self) -> None:
        self.connection.cancel_safe()
        self._thread.shutdown()
        self.connection.close()


@contextmanager
def meeting(database: str, count: int) -> Iterator[list[Session]]:
    """Open sessions for a test in which some wait for others; none is left waiting at the end."""
    with ExitStack() as stack:
        sessions = [Session(database) for _ in range(count)]
        for session in sessions:
            stack.callback(session.close)
        yield sessions


def until_blocked(observer: Connection, session: Session, rival: Session, call: Future[Any]) -> str:
    """Return once the server says that a session's call waits for a rival; return what it waits for."""
    query = (
        "select wait_event from pg_stat_activity "
        "where pid = %s and wait_event_type = 'Lock' and %s = any(pg_blocking_pids(pid))"
    )
    while not call.done():
        row = observer.execute(query, [session.pid, rival.pid]).fetchone()
        if row is not None:
            return str(row[0])
    raise AssertionError(f"the call didn't wait: {call.result()}")


def replace(connection: Connection, name: str, body: str, language: str = "plpgsql") -> None:
    """Give a function of exchange another body; its arguments, result, settings and rights stay."""
    with connection.transaction():
        connection.execute("set local role exchange_owner")
        connection.execute(_definition(connection, name, body, language).encode())


def wrap(connection: Connection, name: str, body: str) -> None:
    """Put a function in PL/pgSQL in the place of one of exchange; `{call}` in its body calls that one."""
    with connection.transaction():
        connection.execute("set local role exchange_owner")
        function = connection.execute(
            "select array_to_string(proargnames[:pronargs], ', '), pg_get_function_identity_arguments(oid), "
            "has_function_privilege('exchange_gateway', oid, 'execute') "
            "from pg_proc where pronamespace = 'exchange'::regnamespace and proname = %s",
            [name],
        ).fetchone()
        assert function is not None, name
        names, types, is_api = function
        inner = f"wrapped_{name}"
        while connection.execute("select from pg_proc where proname = %s", [inner]).rowcount:
            inner = f"wrapped_{inner}"
        body = body.replace("{call}", f"exchange.{inner}({names})")
        definition = _definition(connection, name, body, "plpgsql")
        connection.execute(f"alter function exchange.{name}({types}) rename to {inner}".encode())
        connection.execute(definition.encode())
        if is_api:
            grant = f"grant execute on function exchange.{name}({types}) to exchange_gateway"
            connection.execute(grant.encode())


def _definition(connection: Connection, name: str, body: str, language: str) -> str:
    """Return the text that makes the function anew, with another body; in PL/pgSQL it may write."""
    row = connection.execute("select pg_get_functiondef(%s::regproc)", [f"exchange.{name}"]).fetchone()
    assert row is not None
    head = re.split(r"\n(?:AS|RETURN|BEGIN) ?", row[0])[0]
    head = re.sub(r"\n LANGUAGE \w+", f"\n LANGUAGE {language}", head)
    if language == "plpgsql":
        body = f"#variable_conflict use_column\n{body}"
        head = re.sub(r"\b(IMMUTABLE|STABLE)\b", "", head)
    return f"{head} as $body$\n{body}\n$body$"


def always_hint(connection: Connection) -> None:
    """Let every run note where the first orders rest, as under a long snapshot; three, which run out."""
    connection.execute(
        "create sequence exchange.steps; alter sequence exchange.steps owner to exchange_owner"
    )
    replace(connection, "count_stepped_over", "select nextval('exchange.steps') * 1000000", "sql")
    row = connection.execute("select prosrc from pg_proc where proname = 'note_book_hints'").fetchone()
    assert row is not None
    assert row[0].count("'Infinity', 32") == 1
    replace(connection, "note_book_hints", row[0].replace("'Infinity', 32", "'Infinity', 3"))
