"""Batches, and what becomes of their documents when the database fails them."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgbourse.database.embedded import EmbeddedPostgres
from pgbourse.database.migrate import migrate
from pgbourse.serve.gathering import LEAST_SHARE
from pgbourse.serve.reader import LARGE
from tests.integration.client import WireClient, wait_until
from tests.integration.conftest import Block, Gateway, Session, StartGateway, waiting_workers

CREATE = b"""
<create>
  <account id="1" balance="1000"/><account id="2" balance="1000"/>
  <symbol sym="GOOD"><account id="1">100</account></symbol><symbol sym="BAD"/><symbol sym="NULL"/>
</create>"""

# Where a test's own trigger breaks the database: at once, or when the transaction commits.
BREAK_AT_ONCE = "create trigger breaks after insert on exchange.orders for each row execute function breaks()"
BREAK_AT_COMMIT = (
    "create constraint trigger breaks after insert on exchange.orders deferrable initially deferred "
    "for each row execute function breaks()"
)
RAISE = "raise exception 'the guilty one' using errcode = 'EX999';"


def buy(shares: int, sym: str = "GOOD", account: int = 1) -> bytes:
    order = f'<order sym="{sym}" amount="{shares}" limit="1"/>'
    return f'<transactions id="{account}">{order}</transactions>'.encode()


def buys(count: int, bad_at: int | None = None) -> bytes:
    orders = [f'<order sym="{"BAD" if i == bad_at else "GOOD"}" amount="1" limit="1"/>' for i in range(count)]
    return f'<transactions id="1">{"".join(orders)}</transactions>'.encode()


def number(opened: Any) -> int:
    return int(opened.get("id") or 0)


def break_database(connection: Session, when: str, action: str) -> None:
    """Let every order of the symbol BAD do something terrible."""
    body = f"begin if new.symbol_key = public.bad() then {action} end if; return null; end"
    bad = "select symbol_key from exchange.symbols where sym = 'BAD'"
    statements = [
        f"create function bad() returns integer language sql security definer as $$ {bad} $$",
        f"create function breaks() returns trigger language plpgsql security definer as $$ {body} $$",
        when,
    ]
    for statement in statements:
        connection.execute(statement.encode())


@pytest.fixture
def one_batch(
    start_gateway: StartGateway, wait_for_workers: Callable[[int], None], block: Block
) -> Callable[..., list[WireClient]]:
    """Have documents of several clients carried out in one batch: each list is one client's."""

    def run(*documents: list[bytes]) -> list[WireClient]:
        gateway = start_gateway(reserve_workers=1, lanes=0)
        assert {child.tag for child in gateway.ask(CREATE)} == {"created"}
        blocker = block()
        first, *clients = [gateway.connect() for _ in range(len(documents) + 1)]
        first.send(buy(1))
        wait_for_workers(1)
        for client, pipeline in zip(clients, documents, strict=True):
            client.send(*pipeline)
        expected = sum(len(pipeline) for pipeline in documents)
        wait_until(lambda: gateway.waiting() == expected, "everything waits for the only worker")
        blocker.commit()
        assert first.reply()[0].tag == "opened"
        return clients

    return run


def end_workers(connection: Session) -> None:
    """End the sessions of all workers, and wait until they are gone."""
    rows = connection.execute(
        "select pid, pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name like 'pgbourse worker%' and datname = current_database()"
    )
    pids = [pid for pid, _ in rows]
    count = "select count(*) from pg_stat_activity where pid = any(%s)"
    wait_until(lambda: connection.execute(count, [pids]).fetchone() == (0,), "the workers' sessions are gone")


def orders(connection: Session) -> int:
    row = connection.execute("select count(*) from exchange.orders").fetchone()
    assert row is not None
    return int(row[0])


def test_documents_that_wait_share_one_transaction(
    one_batch: Callable[..., list[WireClient]], connection: Session
) -> None:
    for client in one_batch(*[[buy(1), buy(2)]] * 20):
        assert [client.reply()[0].get("amount") for _ in range(2)] == ["1", "2"]
    assert connection.execute("select count(distinct xmin::text) from exchange.orders").fetchone() == (2,)


@pytest.mark.parametrize("when", [BREAK_AT_ONCE, BREAK_AT_COMMIT])
def test_only_the_guilty_document_of_a_batch_fails(
    one_batch: Callable[..., list[WireClient]],
    connection: Session,
    caplog: pytest.LogCaptureFixture,
    when: str,
) -> None:
    break_database(connection, when, RAISE)
    innocent, mixed = one_batch([buy(2), buy(3)], [buy(4), buy(5, "BAD"), buy(6)])
    assert [innocent.reply()[0].get("amount") for _ in range(2)] == ["2", "3"]
    assert mixed.reply()[0].get("amount") == "4"
    error = mixed.reply()
    assert [child.tag for child in error] == ["error"]
    text = error[0].text or ""
    assert re.fullmatch(r"internal error [0-9a-f]{8}: this was not carried out", text)
    assert mixed.reply()[0].get("amount") == "6"
    assert orders(connection) == 5
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert text.split(":")[0] in record.getMessage()
    assert "SQLSTATE EX999" in record.getMessage()


def test_a_document_alone_in_its_batch_fails_alone(gateway: Gateway, connection: Session) -> None:
    gateway.ask(CREATE)
    break_database(connection, BREAK_AT_COMMIT, RAISE)
    assert "internal error" in (gateway.ask(buy(1, "BAD"))[0].text or "")
    assert gateway.ask(buy(1))[0].tag == "opened"
    assert orders(connection) == 1


def test_a_backend_that_is_ended_while_it_waits_costs_nobody_a_reply(
    one_batch: Callable[..., list[WireClient]], connection: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL says that it ended the session before the commit: the batch may be sent again."""
    break_database(
        connection,
        BREAK_AT_ONCE,
        "if not exists (select from pg_stat_activity where application_name = 'seen') then "
        "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(10); end if;",
    )
    # The next try must succeed, or it would be ended again and again: this session is what it looks for.
    clients_batch = [buy(1, "BAD")], [buy(2)]

    def mark(record: logging.LogRecord) -> bool:
        if "database is away" in record.getMessage():
            connection.execute("set application_name = 'seen'")
        return True

    logging.getLogger("pgbourse.dispatch").addFilter(mark)
    try:
        clients = one_batch(*clients_batch)
        assert [client.reply()[0].get("amount") for client in clients] == ["1", "2"]
    finally:
        logging.getLogger("pgbourse.dispatch").removeFilter(mark)
    assert orders(connection) == 3
    assert "the database is back" in caplog.text


def test_waiting_backends_that_are_ended_cost_nobody_a_reply(
    start_gateway: StartGateway,
    wait_for_workers: Callable[[int], None],
    connection: Session,
    block: Block,
) -> None:
    gateway = start_gateway(reserve_workers=2, lanes=0)
    gateway.ask(CREATE)
    blocker = block()
    clients = [gateway.connect() for _ in range(10)]
    clients[0].send(buy(1))
    wait_for_workers(1)
    for client in clients[1:]:
        client.send(buy(1))
    wait_for_workers(2)
    ended = waiting_workers(connection)
    for pid in ended:
        connection.execute("select pg_terminate_backend(%s)", [pid])
    wait_until(lambda: len(set(waiting_workers(connection)) - set(ended)) == 2, "both workers wait again")
    blocker.commit()
    assert [client.reply()[0].tag for client in clients] == ["opened"] * 10
    assert orders(connection) == 10


def test_a_connection_lost_during_the_commit_closes_without_a_reply(
    one_batch: Callable[..., list[WireClient]], connection: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can tell whether it committed, so the clients are told nothing."""
    break_database(
        connection, BREAK_AT_COMMIT, "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(10);"
    )
    clients = one_batch([buy(1), buy(2, "BAD"), buy(3)], [buy(4)], [b"<nothing/>", buy(5)])
    assert clients[0].is_closed()
    assert clients[1].is_closed()
    assert "unknown root element" in (clients[2].reply()[0].text or "")  # this never was in the database
    assert clients[2].is_closed()
    assert "fate of their requests unknown" in caplog.text


def test_an_idle_connection_that_was_ended_costs_nothing(
    gateway: Gateway, connection: Session, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.ask(CREATE)
    for number in range(1, 4):
        end_workers(connection)
        assert gateway.ask(buy(number))[0].get("amount") == str(number)
    assert "unknown" not in caplog.text


def test_requests_wait_for_a_database_that_is_away(start_gateway: StartGateway, folder: Path) -> None:
    with EmbeddedPostgres(folder / "server") as postgres:
        conninfo = postgres.dsn()
        migrate(conninfo)
        gateway = start_gateway(conninfo)
        gateway.ask(CREATE)
    clients = [gateway.connect() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(buy(1 + number), buy(1))
    wait_until(lambda: gateway.waiting() == 0 or gateway.waiting() < 40, "a worker has found out")
    with EmbeddedPostgres(folder / "server"):
        for number, client in enumerate(clients):
            assert [client.reply()[0].get("amount") for _ in range(2)] == [str(1 + number), "1"]


def test_a_symbol_may_be_called_null(gateway: Gateway) -> None:
    gateway.ask(CREATE)
    assert gateway.ask(buy(1, "NULL"))[0].get("sym") == "NULL"


def test_a_document_without_a_request_needs_no_database(start_gateway: StartGateway) -> None:
    client = start_gateway("host=127.0.0.1 port=1 dbname=nowhere").connect()
    assert client.ask(b"<nothing/>")[0].tag == "error"
    assert client.ask(b'<transactions id="x"><query id="1"/></transactions>')[0].get("id") == "1"


def test_a_batch_carries_no_more_than_it_may(start_gateway: StartGateway, connection: Session) -> None:
    gateway = start_gateway(reserve_workers=1, lanes=0, batch_requests=10)
    client = gateway.connect()
    client.ask(CREATE)
    client.send(*[buy(1)] * 100)
    assert [client.reply()[0].tag for _ in range(100)] == ["opened"] * 100
    assert [child.tag for child in client.ask(buys(50))] == ["opened"] * 50
    sizes = connection.execute("select count(*) from exchange.orders group by xmin::text").fetchall()
    assert max(size for (size,) in sizes) <= 10


def test_who_sends_large_documents_leaves_the_others_their_share(
    start_gateway: StartGateway, wait_for_workers: Callable[[int], None], block: Block
) -> None:
    """Ids of orders tell in which order they were carried out."""
    gateway = start_gateway(reserve_workers=1, lanes=0, batch_requests=100)
    gateway.ask(CREATE)
    blocker = block()
    first, hog, *others = [gateway.connect() for _ in range(7)]
    first.send(buy(1))
    wait_for_workers(1)
    hog.send(buys(500), buys(3))
    wait_until(lambda: gateway.waiting() == 2, "the documents wait")
    for other in others:
        other.send(buy(1, account=2), buy(2, account=2))
    wait_until(lambda: gateway.waiting() == 12, "everything waits for the only worker")
    blocker.commit()
    last = max(number(other.reply()[0]) for other in others for _ in range(2))
    assert last <= 1 + LEAST_SHARE + 10
    assert [number(child) > last for child in hog.reply()].count(True) == 500 - LEAST_SHARE
    assert len(hog.reply()) == 3


def test_a_document_too_large_to_read_at_once_holds_up_nobody(start_gateway: StartGateway) -> None:
    gateway = start_gateway(reserve_workers=1, lanes=0)
    gateway.ask(CREATE)
    hog, other = gateway.connect(), gateway.connect()
    large = buys(5_000).replace(b'amount="1"', b'amount="0.01"')
    assert len(large) > LARGE
    hog.send(buy(1), large, buy(2), b"<transactions>" + large)
    other.send(*[buy(1, account=2)] * 50)
    assert hog.reply()[0].get("amount") == "1"
    mine = [number(other.reply()[0]) for _ in range(50)]
    reply = hog.reply()
    assert [child.tag for child in reply] == ["opened"] * 5_000
    assert max(mine) < number(reply[-1])
    assert hog.reply()[0].get("amount") == "2"
    assert "not readable as XML" in (hog.reply()[0].text or "")


def test_the_guilty_order_of_a_large_document_fails_alone(
    start_gateway: StartGateway, connection: Session
) -> None:
    gateway = start_gateway(batch_requests=10)
    gateway.ask(CREATE)
    break_database(connection, BREAK_AT_ONCE, RAISE)
    reply = gateway.ask(buys(55, bad_at=33))
    assert [child.tag for child in reply] == ["opened"] * 33 + ["error"] + ["opened"] * 21
    assert "this was not carried out" in (reply[33].text or "")
    assert orders(connection) == 54


def test_a_database_in_which_everything_fails_does_so_soon(
    gateway: Gateway, connection: Session, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.ask(CREATE)
    break_database(connection, BREAK_AT_ONCE, RAISE)
    reply = gateway.ask(buys(500).replace(b"GOOD", b"BAD"))
    assert [child.tag for child in reply] == ["error"] * 500
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) < 20


def test_a_connection_lost_amid_a_large_document_closes_without_a_reply(
    start_gateway: StartGateway, connection: Session
) -> None:
    gateway = start_gateway(batch_requests=10)
    gateway.ask(CREATE)
    break_database(
        connection, BREAK_AT_COMMIT, "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(10);"
    )
    client = gateway.connect()
    client.send(buys(55, bad_at=33), buy(1))
    assert client.is_closed()
    assert orders(connection) == 30  # those of the portions before


def transactions(connection: Session) -> int:
    """Count the transactions that have changed the book of GOOD."""
    row = connection.execute(
        "select count(*) from exchange.updates natural join exchange.symbols where sym = 'GOOD'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_few_clients_who_ask_what_takes_long_fill_a_batch(
    start_gateway: StartGateway,
    connection: Session,
    wait_for_workers: Callable[[int], None],
    block: Block,
) -> None:
    """As soon as the gateway knows what they ask: a replace takes as long as twenty orders."""
    gateway = start_gateway(reserve_workers=1, lanes=0)
    gateway.ask(CREATE)
    first, *clients = [gateway.connect() for _ in range(61)]
    replace = '<replace id="{}" amount="1" limit="1"/>'
    mine = [[number(client.ask(buy(1))[0]) for _ in range(3)] for client in clients]
    for client, (order, *_) in zip(clients, mine, strict=True):
        document = f'<transactions id="1">{replace.format(order)}</transactions>'
        assert client.ask(document.encode())[0].tag == "opened"
    before = transactions(connection)
    blocker = block()
    first.send(buy(1))
    wait_for_workers(1)
    for client, (_, *others) in zip(clients, mine, strict=True):
        both = "".join(map(replace.format, others))
        client.send(f'<transactions id="1">{both}</transactions>'.encode())
    wait_until(lambda: gateway.waiting() == len(clients), "everything waits for the only worker")
    blocker.commit()
    for client in clients:
        assert [child.tag for child in client.reply()] == ["opened", "opened"]
    # The first order's, and then those of 120 replaces, 50 at most in each.
    assert transactions(connection) - before >= 1 + 3
