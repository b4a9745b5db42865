"""Orders in two stages, reserved for by account and matched by symbol, in the order that clients rely on."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from pgbourse.serve import gathering
from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.test_dispatch import number

SYMS = ("A", "B", "C", "D")
CREATE = b"""
<create>
  <account id="1" balance="0"/><account id="2" balance="1000000"/><account id="3" balance="1000000"/>
  <symbol sym="A"><account id="1">1000</account><account id="2">1000</account></symbol>
  <symbol sym="B"><account id="2">1000</account></symbol>
  <symbol sym="C"><account id="2">1000</account></symbol>
  <symbol sym="D"><account id="2">1000</account></symbol>
</create>"""

Psql = Callable[[], Session]


def order(sym: str, shares: float, limit: float) -> str:
    return f'<order sym="{sym}" amount="{shares}" limit="{limit}"/>'


def orders(account: int, *children: str) -> bytes:
    return f'<transactions id="{account}">{"".join(children)}</transactions>'.encode()


@pytest.fixture
def gateway(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway that never takes both stages in one transaction."""
    monkeypatch.setattr(gathering, "FEW", 0)
    gateway = start_gateway(reserve_workers=2, lanes=4)
    assert {child.tag for child in gateway.ask(CREATE)} == {"created"}
    return gateway


@pytest.fixture
def psql(database: str) -> Iterator[Psql]:
    """Open sessions of somebody else, in a transaction each."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(psycopg.connect(database)))


@pytest.fixture(autouse=True)
def sound(connection: Session) -> Iterator[None]:
    """Nothing may be lost or minted, and nothing left between the stages."""
    yield
    assert connection.execute("select * from exchange.check_integrity()").fetchall() == []
    assert connection.execute("select count(*) from exchange.incoming_orders").fetchone() == (0,)


def tags(reply: Any) -> list[str]:
    return [child.tag for child in reply]


def incoming(connection: Session) -> int:
    row = connection.execute("select count(*) from exchange.incoming_orders").fetchone()
    assert row is not None
    return int(row[0])


def hold_symbol(session: Session, sym: str) -> None:
    """Place an order in psql and leave the transaction open."""
    row = session.execute("select outcome from exchange.place_order('3', %s, 1, 0.01)", [sym]).fetchone()
    assert row == ("opened",)


def hold_account(session: Session, account: str) -> None:
    session.execute("select exchange.lock_accounts(array[%s], true)", [account])


def test_what_earlier_orders_bring_pays_for_the_next(gateway: Gateway) -> None:
    assert tags(gateway.ask(orders(2, order("A", 100, 2)))) == ["opened"]
    client = gateway.connect()
    reply = client.ask(orders(1, order("B", 1, 1), order("A", -50, 2), order("B", 100, 1), order("B", 1, 1)))
    assert tags(reply) == ["error", "opened", "opened", "error"]
    # And across documents that are sent at once.
    client.send(orders(1, order("A", -50, 2)), orders(1, order("B", 100, 1)), orders(1, order("B", 1, 1)))
    assert [tags(client.reply()) for _ in range(3)] == [["opened"], ["opened"], ["error"]]


def test_what_follows_an_order_sees_it_matched(gateway: Gateway) -> None:
    client = gateway.connect()
    (first,) = client.ask(orders(2, order("A", -10, 5)))
    query = f'<query id="{number(first)}"/>'
    for _ in range(10):
        client.send(orders(2, order("A", 1, 5), query, order("A", 1, 5)), orders(2, query))
    for sold in (1, 3, 5, 7, 9, *[10] * 5):
        opened, status, also = client.reply()
        assert (opened.tag, also.tag) == ("opened", "opened")
        assert sum(int(part.get("shares") or 0) for part in status if part.tag == "executed") == sold
        assert tags(client.reply()) == ["status"]


def test_poor_accounts_are_served_as_one_order_after_the_other_would_be(
    gateway: Gateway, connection: Session
) -> None:
    """The same orders, by one client at once and in psql one by one, have the same results."""
    dice = random.Random(17)
    twins = "".join(f'<symbol sym="{sym * 2}"><account id="2">1000</account></symbol>' for sym in SYMS)
    shares = '<symbol sym="AA"><account id="4">1000</account></symbol>'
    gateway.ask(f'<create><account id="4" balance="0"/>{twins}{shares}</create>'.encode())
    for sym in SYMS:
        gateway.ask(
            orders(2, *[order(twin, side * 500, 2 - side) for twin in (sym, sym * 2) for side in (1, -1)])
        )
    children = [
        (dice.choice(SYMS), dice.choice((-1, 1)) * dice.randint(1, 60), dice.randint(1, 3))
        for _ in range(400)
    ]
    client = gateway.connect()
    cut = [children[:150], *[[child] for child in children[150:250]], children[250:]]
    client.send(*[orders(1, *[order(*child) for child in part]) for part in cut])
    outcomes = [tag for _ in cut for tag in tags(client.reply())]
    place = "select outcome from exchange.place_order('4', %s, %s, %s)"
    expected = [
        "opened" if connection.execute(place, [sym * 2, amount, limit]).fetchone() == ("opened",) else "error"
        for sym, amount, limit in children
    ]
    assert outcomes == expected
    assert 50 < expected.count("error") < 350


def test_an_open_transaction_that_holds_a_symbol_holds_up_nothing_else(
    gateway: Gateway, connection: Session, psql: Psql, caplog: pytest.LogCaptureFixture
) -> None:
    holder = psql()
    hold_symbol(holder, "A")
    waiting = [gateway.connect() for _ in range(4)]
    for client in waiting:
        client.send(orders(2, order("B", 1, 1), order("A", 1, 1)), orders(2, order("B", 1, 1)))
    wait_until(lambda: incoming(connection) == 4, "the orders of A are reserved for")
    for sym in "BCD" * 5:
        assert tags(gateway.ask(orders(2, order(sym, 1, 1)))) == ["opened"]
    assert tags(gateway.ask(orders(1, order("A", 1, 1), order("B", 1, 1)))) == ["error", "error"]
    wait_until(lambda: "wait for locks" in caplog.text, "the log says who holds what")
    assert f"pid {holder.info.backend_pid}" in caplog.text
    holder.commit()
    for client in waiting:
        assert tags(client.reply()) == ["opened", "opened"]
        assert tags(client.reply()) == ["opened"]
    assert caplog.text.count("wait for locks") <= 2


def test_an_open_transaction_that_holds_an_account_holds_up_nothing_else(
    gateway: Gateway, psql: Psql
) -> None:
    holder = psql()
    hold_account(holder, "2")
    client = gateway.connect()
    client.send(orders(1, order("A", -1, 1)), orders(2, order("B", 1, 1)), orders(1, order("A", -1, 1)))
    assert tags(client.reply()) == ["opened"]
    other = gateway.connect()
    for _ in range(20):
        assert tags(other.ask(orders(3, order("A", 1, 1), order("B", 1, 1)))) == ["opened", "opened"]
    holder.commit()
    assert [tags(client.reply()) for _ in range(2)] == [["opened"], ["opened"]]


def test_queries_and_cancels_go_on_while_a_symbol_is_held(gateway: Gateway, psql: Psql) -> None:
    (mine, other) = gateway.ask(orders(2, order("A", 1, 1), order("B", 1, 1)))
    holder = psql()
    hold_symbol(holder, "A")
    client = gateway.connect()
    client.send(orders(2, f'<cancel id="{number(mine)}"/>'))
    for _ in range(5):
        assert tags(gateway.ask(orders(2, f'<query id="{number(mine)}"/>'))) == ["status"]
    assert tags(gateway.ask(orders(2, f'<cancel id="{number(other)}"/>'))) == ["canceled"]
    holder.commit()
    assert tags(client.reply()) == ["canceled"]


def test_who_is_frozen_between_the_stages_has_no_order(
    gateway: Gateway, connection: Session, psql: Psql
) -> None:
    """A freeze gives back what is reserved; the gateway asks anew, and is refused."""
    holder = psql()
    hold_symbol(holder, "A")
    client = gateway.connect()
    client.send(orders(2, order("A", 1, 1), order("B", 1, 1)))
    wait_until(lambda: incoming(connection) == 1, "the order of A is reserved for")
    connection.execute("select exchange.freeze_account('2')")
    assert incoming(connection) == 0
    holder.commit()
    first, second = client.reply()
    assert (first.tag, second.tag) == ("error", "opened")
    assert "frozen" in (first.text or "")


def test_a_halted_symbol_is_refused_by_its_lane(gateway: Gateway, connection: Session) -> None:
    connection.execute("select exchange.halt_symbol('A')")
    first, second = gateway.ask(orders(2, order("A", 1, 1), order("B", 1, 1)))
    assert (first.tag, second.tag) == ("error", "opened")
    assert "halted" in (first.text or "")


def test_many_clients_trade_in_all_lanes(gateway: Gateway, connection: Session) -> None:
    dice = random.Random(4)
    clients = [gateway.connect() for _ in range(12)]
    documents = [
        [
            orders(
                dice.choice((2, 3)),
                *[
                    order(dice.choice(SYMS), dice.choice((-1, 1)) * dice.randint(1, 3), dice.randint(1, 3))
                    for _ in range(7)
                ],
            )
            for _ in range(20)
        ]
        for _ in clients
    ]
    for client, mine in zip(clients, documents, strict=True):
        client.send(*mine)
    for client in clients:
        for _ in range(20):
            assert set(tags(client.reply())) <= {"opened", "error"}
    placed = "select count(*) from exchange.orders natural join exchange.accounts where account_id = '2'"
    assert connection.execute(placed).fetchone() != (0,)
