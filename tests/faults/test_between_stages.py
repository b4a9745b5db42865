"""Something dies while thousands of orders are reserved for and not in the market yet.

Somebody with psql holds their symbol meanwhile, so that they stay there for as long as the test wants.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults.cluster import Cluster, Session
from tests.faults.conftest import StartGateway
from tests.faults.scene import GatewayProcess, integrity
from tests.integration.client import WireClient, wait_until

CLIENTS = 500
ORDERS = 5  # of each
CASH = 1000
BUYS = '<order sym="HELD" amount="1" limit="1"/>' * ORDERS

# A lane for every other symbol, and reservations in two sessions.
STAGES = ("--lanes", "2", "--reserve-workers", "2")

# Seconds after which what a dead gateway had reserved is back, at most.
PROMISE = 10.0

FREE_CASH = (
    "select sum(settled_cash + unsettled_cash) from exchange.account_balances where account_id <> '999'"
)


@pytest.fixture
def gateway(cluster: Cluster, exchange: str, start_gateway: StartGateway) -> GatewayProcess:
    """A gateway with two stages, and an account for each client."""
    with cluster.connect(exchange) as session:
        session.execute(
            "select exchange.create_account(n::text, %s) from generate_series(1, %s) as n", [CASH, CLIENTS]
        )
        session.execute("select exchange.create_account('999', 100), exchange.create_symbol('HELD')")
    return start_gateway("--database-url", cluster.dsn(exchange), *STAGES)


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@contextmanager
def held(cluster: Cluster, exchange: str) -> Iterator[None]:
    """Hold the symbol in an open transaction; the server may die meanwhile."""
    session = cluster.connect(exchange)
    session.execute("begin")
    session.execute("select exchange.place_order('999', 'HELD', 1, 1)")
    try:
        yield
    finally:
        session.close()


def one(cluster: Cluster, exchange: str, query: str) -> object:
    with cluster.connect(exchange) as session:
        row = session.execute(query.encode()).fetchone()
        return row and row[0]


def incoming(cluster: Cluster, exchange: str) -> int:
    return int(str(one(cluster, exchange, "select count(*) from exchange.incoming_orders")))


def send_to_held(
    cluster: Cluster, exchange: str, gateway: GatewayProcess, stack: ExitStack
) -> list[WireClient]:
    """Let all clients send orders, and return once these are reserved for."""
    clients = [stack.enter_context(WireClient(gateway.address)) for _ in range(CLIENTS)]
    for account, client in enumerate(clients, 1):
        client.send(f'<transactions id="{account}">{BUYS}</transactions>'.encode())
    # A batch that is full cuts a document in two.
    enough = CLIENTS * ORDERS - 2 * ORDERS
    wait_until(lambda: incoming(cluster, exchange) >= enough, "all orders are reserved for")
    return clients


def replies_or_ends(clients: list[WireClient]) -> list[list[int]]:
    """Return the ids that each client was told of its orders, or nothing if its connection was closed."""
    told = []
    for client in clients:
        try:
            told.append([int(result.get("id", "")) for result in client.reply()])
        except (AssertionError, ConnectionError):
            told.append([])
    return told


def nothing_lost(session: Session, told: list[list[int]]) -> None:
    """Fail unless each order that was acknowledged is there, once, as its client's."""
    rows = session.execute(
        "select account_id, array_agg(order_id order by order_id) from exchange.orders "
        "natural join exchange.accounts where account_id <> '999' group by account_id"
    ).fetchall()
    there = {int(account): ids for account, ids in rows}
    for account, ids in enumerate(told, 1):
        assert not ids or there.get(account) == ids
        assert len(there.get(account, [])) <= ORDERS
    assert not (findings := integrity(session)), findings[:10]


def test_a_gateway_is_killed(
    cluster: Cluster, exchange: str, gateway: GatewayProcess, clients: ExitStack
) -> None:
    with held(cluster, exchange):
        everybody = send_to_held(cluster, exchange, gateway, clients)
        assert one(cluster, exchange, FREE_CASH) == CLIENTS * CASH - incoming(cluster, exchange)
        gateway.end()
        gateway.start()
        assert replies_or_ends(everybody) == [[]] * CLIENTS
        wait_until(lambda: incoming(cluster, exchange) == 0, "reservations are back", PROMISE)
        assert one(cluster, exchange, FREE_CASH) == CLIENTS * CASH
        with cluster.connect(exchange) as session:
            nothing_lost(session, [[]] * CLIENTS)


def test_another_gateway_gives_back_what_a_dead_one_had_reserved(
    cluster: Cluster, exchange: str, gateway: GatewayProcess, clients: ExitStack, start_gateway: StartGateway
) -> None:
    other = start_gateway("--database-url", cluster.dsn(exchange), "--sweep-seconds", "0", *STAGES)
    with held(cluster, exchange):
        send_to_held(cluster, exchange, gateway, clients)
        gateway.end()
        wait_until(lambda: incoming(cluster, exchange) == 0, "reservations are back", PROMISE)
        assert one(cluster, exchange, FREE_CASH) == CLIENTS * CASH
    with WireClient(other.address) as client:
        order = f'<transactions id="1"><order sym="HELD" amount="1" limit="{CASH}"/></transactions>'
        assert client.ask(order.encode())[0].tag == "opened"


def test_all_of_postgresql_is_killed(
    cluster: Cluster, exchange: str, gateway: GatewayProcess, clients: ExitStack
) -> None:
    """The gateway lives, and reserves anew what nobody was told of."""
    with held(cluster, exchange):
        everybody = send_to_held(cluster, exchange, gateway, clients)
        cluster.kill()
        cluster.start()
        cluster.wait_until_ready()
    told = replies_or_ends(everybody)
    assert sum(map(len, told)) > 0
    assert {len(ids) for ids in told} <= {0, ORDERS}
    wait_until(lambda: incoming(cluster, exchange) == 0, "reservations are matched or back", PROMISE)
    with cluster.connect(exchange) as session:
        nothing_lost(session, told)


@pytest.mark.parametrize("stage", ["reserve", "match"])
def test_the_sessions_of_a_stage_end(
    cluster: Cluster, exchange: str, gateway: GatewayProcess, clients: ExitStack, stage: str
) -> None:
    with held(cluster, exchange):
        everybody = send_to_held(cluster, exchange, gateway, clients)
        with cluster.connect(exchange) as session:
            session.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                "and application_name like %s",
                [f"pgbourse {'lane' if stage == 'match' else 'worker'} %"],
            )
    told = replies_or_ends(everybody)
    assert {len(ids) for ids in told} <= {0, ORDERS}
    wait_until(lambda: incoming(cluster, exchange) == 0, "reservations are matched or back", PROMISE)
    with cluster.connect(exchange) as session:
        nothing_lost(session, told)
