"""The answer of each call is lost after the call has committed: the gateway finds out what became of it.

A trigger holds the call up until the network between gateway and database holds back all answers.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from psycopg.conninfo import make_conninfo

from tests.faults.cluster import Cluster, Session
from tests.faults.conftest import StartGateway
from tests.faults.proxy import Proxy
from tests.faults.scene import integrity
from tests.integration.client import WireClient, wait_until
from tests.sql.market import replace

CLIENTS = 6
ORDERS = 30  # of each: too many to be carried out in one transaction where there are lanes
DOCUMENT = '<transactions id="{}">' + '<order sym="X" amount="1" limit="1"/>' * ORDERS + "</transactions>"

# Seconds after which what was reserved and not matched is back, at most.
PROMISE = 10.0

FLAG = 4711  # an advisory lock: who has it holds up the calls
HOLD_UP = f"""
create function hold_up() returns trigger language plpgsql as $$
begin
    while not pg_try_advisory_xact_lock_shared({FLAG}) loop
        perform pg_sleep(0.01);
    end loop;
    return null;
end
$$
"""

# By the call whose answer is lost: the table that it writes to, who makes it, and how many lanes there are.
CALLS = {
    "reserve": ("incoming_orders", "worker", "2"),
    "match": ("orders", "lane", "2"),
    "both": ("orders", "worker", "0"),
}


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with Proxy(cluster.socket) as proxy:
        yield proxy


@pytest.fixture
def session(cluster: Cluster, exchange: str) -> Iterator[Session]:
    """A superuser's session, in an exchange with an account for each client."""
    with cluster.connect(exchange) as session:
        session.execute(
            "select exchange.create_symbol('X'), exchange.create_account(n::text, 1000) "
            "from generate_series(1, %s) as n",
            [CLIENTS],
        )
        yield session


def count(session: Session, table: str) -> int:
    row = session.execute(f"select count(*) from exchange.{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def orders_of(session: Session, account: int) -> list[int]:
    rows = session.execute(
        "select order_id from exchange.orders natural join exchange.accounts "
        "where account_id = %s order by order_id",
        [str(account)],
    )
    return [order_id for (order_id,) in rows]


def lose_an_answer(
    session: Session, proxy: Proxy, address: tuple[str, int], table: str, who: str
) -> list[list[int]]:
    """Let clients send orders, and lose the answer of the first call that writes to a table.

    Return the ids that each client was told, or nothing if its connection was closed.
    """
    session.execute(HOLD_UP.encode())
    trigger = f"create trigger hold_up before insert on exchange.{table} execute function hold_up()"
    session.execute(trigger.encode())
    session.execute("select pg_advisory_lock(%s)", [FLAG])
    held_up = (
        "select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database() "
        "and application_name like %s"
    )
    with WireClient(address) as client:  # from then on the gateway knows that there can be two stages
        client.ask(b'<transactions id="1"><query id="1"/></transactions>')
    with ExitStack() as stack:
        clients = [stack.enter_context(WireClient(address)) for _ in range(CLIENTS)]
        for account, client in enumerate(clients, 1):
            client.send(DOCUMENT.format(account).encode())
        wait_until(lambda: session.execute(held_up, [f"pgbourse {who} %"]).rowcount, "a call is held up")
        proxy.stall()
        before = count(session, table)
        session.execute("select pg_advisory_unlock(%s)", [FLAG])
        wait_until(lambda: count(session, table) > before, "it has committed")
        proxy.cut()
        proxy.restore()
        return [told(client) for client in clients]


def told(client: WireClient) -> list[int]:
    try:
        return [int(result.get("id", "")) for result in client.reply()]
    except (AssertionError, ConnectionError):
        return []


def nothing_happens_twice(
    cluster: Cluster,
    exchange: str,
    session: Session,
    proxy: Proxy,
    start_gateway: StartGateway,
    call: str,
    mutant: str | None = None,
) -> None:
    table, who, lanes = CALLS[call]
    database = make_conninfo(cluster.dsn(exchange), host="127.0.0.1", port=proxy.port)
    options = ("--database-url", database, "--lanes", lanes, "--reserve-workers", "1", "--no-migrate")
    gateway = start_gateway(*options, mutant=mutant)
    everybody = lose_an_answer(session, proxy, gateway.address, table, who)
    for account, ids in enumerate(everybody, 1):
        assert len(orders_of(session, account)) <= ORDERS, "carried out twice"
        assert ids in ([], orders_of(session, account))
    closed = [account for account, ids in enumerate(everybody, 1) if not ids]
    if call == "reserve":
        assert not closed, "nobody had been told anything, and nothing was in the market"
    else:
        assert any(len(orders_of(session, account)) == ORDERS for account in closed)
    wait_until(lambda: count(session, "incoming_orders") == 0, "what was reserved is back", PROMISE)
    assert not (findings := integrity(session)), findings[:10]


@pytest.mark.parametrize("call", CALLS)
def test_a_lost_answer_costs_nobody_an_order(
    cluster: Cluster, exchange: str, session: Session, proxy: Proxy, start_gateway: StartGateway, call: str
) -> None:
    nothing_happens_twice(cluster, exchange, session, proxy, start_gateway, call)


@pytest.mark.parametrize("call", ["match", "both"])
def test_orders_that_are_carried_out_again_are_found_out(
    cluster: Cluster, exchange: str, session: Session, proxy: Proxy, start_gateway: StartGateway, call: str
) -> None:
    mutant = "sends_again_what_may_have_committed"
    with pytest.raises(AssertionError, match="carried out twice"):
        nothing_happens_twice(cluster, exchange, session, proxy, start_gateway, call, mutant)


def test_a_match_that_is_forgotten_to_be_lost_is_found_out(
    cluster: Cluster, exchange: str, session: Session, proxy: Proxy, start_gateway: StartGateway
) -> None:
    mutant = "takes_what_is_gone_for_given_back"
    with pytest.raises(AssertionError, match="carried out twice"):
        nothing_happens_twice(cluster, exchange, session, proxy, start_gateway, "match", mutant)


def test_reservations_that_stay_are_found_out(
    cluster: Cluster, exchange: str, session: Session, proxy: Proxy, start_gateway: StartGateway
) -> None:
    replace(session, "give_back_sessions", "begin return 0; end")
    with pytest.raises(AssertionError, match="what was reserved is back"):
        nothing_happens_twice(cluster, exchange, session, proxy, start_gateway, "reserve")
