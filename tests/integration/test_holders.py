"""An open transaction holds up what needs what it holds, and no more; everybody is told whose it is.

With both stages in one transaction as well as in one each, and where it is a lane itself that is held up.
"""

import contextlib
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.test_lanes import CREATE, hold_account, hold_symbol, incoming, order, orders, tags
from tests.integration.test_metrics import StartHealth, start_health

__all__ = ["start_health"]  # a fixture

FLAG = 4711  # an advisory lock: who has it holds up the lane of A
HOLD_UP = f"""
create function hold_up() returns trigger language plpgsql security definer as $$
begin
    while not pg_try_advisory_xact_lock_shared({FLAG}) loop
        perform pg_sleep(0.01);
    end loop;
    return null;
end
$$;
create function is_a(key bigint) returns boolean language sql security definer as
$$ select symbols.sym = 'A' from exchange.symbols where symbols.symbol_key = key $$;
create trigger hold_up after insert on exchange.orders
for each row when (public.is_a(new.symbol_key)) execute function hold_up()
"""

Psql = Callable[[], Session]


@pytest.fixture
def psql(database: str) -> Iterator[Psql]:
    """Open sessions of somebody else, in a transaction each."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(psycopg.connect(database)))


@pytest.fixture(params=[0, 4], ids=["one transaction", "two stages"])
def gateway(request: pytest.FixtureRequest, start_gateway: StartGateway) -> Gateway:
    """A gateway with two workers, which two batches that wait would keep busy."""
    gateway = start_gateway(reserve_workers=2, lanes=request.param, http_port=0)
    assert {child.tag for child in gateway.ask(CREATE)} == {"created"}
    return gateway


@pytest.fixture(autouse=True)
def sound(connection: Session) -> Iterator[None]:
    """Nothing may be lost or minted, and nothing left between the stages."""
    yield
    assert connection.execute("select * from exchange.check_integrity()").fetchall() == []
    assert incoming(connection) == 0


def many(account: int, sym: str) -> bytes:
    """Write more orders than are carried out in one transaction where there are lanes."""
    return orders(account, *[order(sym, 1, 0.5)] * 20)


def is_told(holder: Session, what: str, *, by: str) -> bool:
    return f"pid {holder.info.backend_pid} (" in by and f"has held {what} for " in by


# What somebody holds, who trades meanwhile in which symbols, and what is told.
@pytest.mark.parametrize(
    ("hold", "held", "account", "syms", "what"),
    [(hold_symbol, "A", 2, "BCD", "symbol A and account 3"), (hold_account, "2", 3, "ABCD", "account 2")],
    ids=["symbol", "account"],
)
def test_who_holds_something_holds_up_what_needs_it(
    hold: Callable[[Session, str], None],
    held: str,
    account: int,
    syms: str,
    what: str,
    gateway: Gateway,
    start_health: StartHealth,
    database: str,
    psql: Psql,
    caplog: pytest.LogCaptureFixture,
) -> None:
    health = start_health(gateway, database)
    holder = psql()
    hold(holder, held)
    waiting = [gateway.connect() for _ in range(6)]
    for client in waiting:
        client.send(many(2, "A"), orders(2, order("B", 1, 1)))
    for sym in syms * 5:
        assert tags(gateway.ask(orders(account, order(sym, 1, 1)))) == ["opened"]
        assert set(tags(gateway.ask(many(account, sym)))) == {"opened"}
    wait_until(lambda: is_told(holder, what, by=caplog.text), "the log says who holds what")
    wait_until(lambda: is_told(holder, what, by=health.get("/readyz")[1]), "/readyz says so")
    assert health.get("/readyz")[0] == 200
    holder.commit()
    for client in waiting:
        assert set(tags(client.reply())) == {"opened"}
        assert tags(client.reply()) == ["opened"]


@pytest.mark.parametrize("gateway", [4], indirect=True)
def test_a_lane_that_is_held_up_holds_up_no_other_one(
    gateway: Gateway, connection: Session, psql: Psql
) -> None:
    """Though the same accounts trade in all of them: nobody waits for anybody in the database."""
    connection.execute(HOLD_UP.encode())
    holder = psql()
    holder.execute("select pg_advisory_lock(%s)", [FLAG])
    held_up = gateway.connect()
    held_up.send(many(2, "A"), orders(2, order("B", 1, 1)))
    sleeps = (
        "select application_name from pg_stat_activity "
        "where wait_event = 'PgSleep' and datname = current_database()"
    )
    wait_until(lambda: connection.execute(sleeps).rowcount == 1, "a lane is held up")
    (name,) = connection.execute(sleeps).fetchone() or ("",)
    assert name.startswith("pgbourse lane ")
    waits = (
        "select pid, application_name, pg_blocking_pids(pid) from pg_stat_activity "
        "where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"
    )
    for sym in "BCD" * 5:
        for account in (2, 3):
            assert set(tags(gateway.ask(many(account, sym)))) == {"opened"}
        assert connection.execute(waits).fetchall() == []
    assert connection.execute(sleeps).rowcount == 1
    holder.execute("select pg_advisory_unlock(%s)", [FLAG])
    assert set(tags(held_up.reply())) == {"opened"}
    assert tags(held_up.reply()) == ["opened"]
