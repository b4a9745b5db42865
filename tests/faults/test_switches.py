"""A dead man's switch fires in time and never earlier, though everything that knew of it has been killed."""

import pytest

from tests.faults.cluster import Cluster
from tests.faults.conftest import StartGateway
from tests.integration.client import WireClient, wait_until
from tests.sql.mutants import Mutant, install

CANCELED = "select extract(epoch from canceled_at)::float from exchange.cancellations"
# Since when a gateway that lives looks for switches.
LOOKS = (
    "select extract(epoch from backend_start)::float from pg_stat_activity "
    "where datname = current_database() and application_name = 'pgbourse housekeeping'"
)
ORDER = b'<order sym="X" amount="1" limit="1"/>'
ARM = b'<transactions id="1">' + ORDER + b'<cancel all="true" after="%d"/></transactions>'


def kill_all(
    cluster: Cluster, exchange: str, start_gateway: StartGateway, seconds: int, patience: float | None = None
) -> None:
    """Arm a switch, kill the gateway and PostgreSQL, start both again, and wait so long until it fires."""
    gateway = start_gateway("--database-url", cluster.dsn(exchange))
    with WireClient(gateway.address) as client:
        client.ask(b'<create><account id="1" balance="100"/><symbol sym="X"/></create>')
        time = int(client.ask(ARM % seconds)[1].get("time") or 0)
    gateway.end()
    cluster.kill()
    cluster.start()
    cluster.wait_until_ready()
    gateway.start()
    with cluster.connect(exchange) as session:
        wait_until(lambda: session.execute(CANCELED).rowcount, "the switch has fired", patience)
        ((at,),) = session.execute(CANCELED).fetchall()
        ((since,),) = session.execute(LOOKS).fetchall()
        assert session.execute("select * from exchange.switches").fetchall() == []
    assert time <= at, f"{time - at} s early"
    assert at < max(time, since) + 2, f"{at - max(time, since)} s late"


def test_it_outlives_gateway_and_postgresql(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> None:
    kill_all(cluster, exchange, start_gateway, 4)


FAULTS = {
    "a server that starts fires all": (
        Mutant(
            "fire_switches",
            "begin update exchange.switches set fires_at = pg_postmaster_start_time() "
            "where fires_at - make_interval(secs => after_seconds) < pg_postmaster_start_time(); "
            "return query select * from {call}; end",
        ),
        (86400, None),
        "s early",
    ),
    "it takes some seconds": (
        # After the time, and after a session has first looked.
        Mutant(
            "fire_switches",
            "begin insert into exchange.first_looks values (pg_backend_pid(), clock_timestamp()) "
            "on conflict do nothing; "
            "if exists (select from exchange.switches, exchange.first_looks where pid = pg_backend_pid() "
            "and greatest(fires_at, at) > clock_timestamp() - interval '3 s') "
            "then return; end if; return query select * from {call}; end",
        ),
        (1, None),
        "s late",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(cluster: Cluster, exchange: str, start_gateway: StartGateway, fault: str) -> None:
    mutant, waits, finding = FAULTS[fault]
    with cluster.connect(exchange) as session:
        session.execute("create table exchange.first_looks (pid integer primary key, at timestamptz)")
        session.execute("alter table exchange.first_looks owner to exchange_owner")
        install(session, mutant)
    with pytest.raises(AssertionError, match=finding):
        kill_all(cluster, exchange, start_gateway, *waits)


def test_a_switch_that_a_crash_forgets_is_found(
    cluster: Cluster, exchange: str, start_gateway: StartGateway
) -> None:
    with cluster.connect(exchange) as session:
        session.execute("alter table exchange.switches set unlogged")
    with pytest.raises(AssertionError, match="timed out"):
        kill_all(cluster, exchange, start_gateway, 1, patience=4.0)
