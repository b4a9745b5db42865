"""A primary that freezes: it says nothing any more, but its kernel keeps every connection alive.

Its standby is promoted. Until then nobody knows better than to wait, for the silence could be a commit's wait
for a standby; then the silent one can't be the primary any more.
"""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from tests.faults.cluster import Cluster, Session
from tests.faults.conftest import StartGateway
from tests.faults.scene import GatewayProcess
from tests.faults.test_failover import Pair
from tests.faults.test_waiting_commits import has_more, release, session, waiting_commit
from tests.integration.client import WireClient, wait_until

__all__ = ["session"]  # a fixture

CREATE = b'<create><account id="1" balance="1000000"/><symbol sym="X"/></create>'
QUERY = b'<transactions id="1"><query id="1"/></transactions>'
ORDER = b'<transactions id="1"><order sym="X" amount="1" limit="1"/></transactions>'


class FrozenPair(Pair):
    """A pair of which the primary can freeze."""

    def freeze(self) -> None:
        self.frozen = self.primary
        self._stack.callback(self.frozen.thaw)
        self.frozen.freeze()


@pytest.fixture
def pair(folder: Path) -> Iterator[FrozenPair]:
    with ExitStack() as stack:
        yield FrozenPair(folder, stack)


def readiness(gateway: GatewayProcess) -> tuple[int, str]:
    """Ask a gateway with --http-port 0 whether it is ready."""
    return get(gateway, "readyz")


def oldest_call(gateway: GatewayProcess) -> float:
    found = re.search(r"^pgbourse_oldest_call_seconds (\S+)$", get(gateway, "metrics")[1], re.MULTILINE)
    assert found
    return float(found[1])


def get(gateway: GatewayProcess, path: str) -> tuple[int, str]:
    found = re.search(r"metrics on (http://[^/]+)/metrics", gateway.log.read_text())
    assert found
    try:
        with urllib.request.urlopen(f"{found[1]}/{path}", timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def served_again(gateway: GatewayProcess) -> None:
    """Fail unless clients of all workers are answered."""
    clients = [WireClient(gateway.address) for _ in range(4)]
    for client in clients:
        client.send(ORDER)
    for client in clients:
        with client:
            assert client.reply()[0].tag == "opened"


def test_a_primary_that_freezes_is_left_once_another_has_taken_over(
    pair: FrozenPair, start_gateway: StartGateway
) -> None:
    # One worker, or another would serve them as soon as it has found the new primary.
    options = ("--reserve-workers", "1", "--lanes", "0", "--http-port", "0", "--sweep-seconds", "0.1")
    gateway = start_gateway("--database-url", pair.conninfo(), *options)
    with WireClient(gateway.address) as first, WireClient(gateway.address) as second:
        assert first.ask(CREATE)[0].tag == "created"
        assert readiness(gateway) == (200, "ok\n")
        pair.freeze()
        first.send(ORDER)
        wait_until(lambda: oldest_call(gateway) > 0, "the frozen primary has been asked")
        second.send(ORDER)
        wait_until(lambda: readiness(gateway)[0] == 503, "the gateway says that it isn't ready")
        assert not has_more(first)
        pair.promote()
        # Whether the frozen one has carried it out, and would say so, nobody can know.
        assert first.is_closed()
        assert second.reply()[0].tag == "opened"  # that one was not sent
    assert "another server is the primary by now" in gateway.log.read_text()
    served_again(gateway)
    wait_until(lambda: readiness(gateway) == (200, "ok\n"), "the gateway is ready again")
    sweeps = "select count(*) from pg_stat_activity where application_name = 'pgbourse housekeeping'"
    with pair.connect() as observer:
        wait_until(lambda: observer.execute(sweeps).fetchone() != (0,), "the sweep has gone over as well")
    assert "psycopg" not in gateway.log.read_text()  # what it warns of is logged once, by us


def test_a_primary_that_freezes_before_a_worker_connects_costs_nobody_a_reply(
    pair: FrozenPair, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--database-url", pair.conninfo())  # workers connect with their first batch
    pair.freeze()
    with WireClient(gateway.address) as client:
        client.send(CREATE)
        wait_until(lambda: "requests wait" in gateway.log.read_text(), "the worker can't connect")
        pair.promote()
        assert client.reply()[0].tag == "created"
    served_again(gateway)


def test_a_standby_is_no_place_to_ask(pair: FrozenPair, start_gateway: StartGateway) -> None:
    """It may lag behind what clients have been told, so not even queries are answered from it."""
    conninfo = make_conninfo(pair.conninfo(), target_session_attrs="any")
    gateway = start_gateway("--database-url", conninfo, "--http-port", "0")
    with WireClient(gateway.address) as client:
        assert client.ask(CREATE)[0].tag == "created"
        pair.primary.kill()
        client.send(QUERY, ORDER)
        wait_until(lambda: "is a standby" in gateway.log.read_text(), "the log says why requests wait")
        wait_until(lambda: "it is a standby" in readiness(gateway)[1], "readiness says so as well")
        assert not has_more(client)
        pair.promote()
        assert client.reply()[0].tag == "error"  # no such order
        assert client.reply()[0].tag == "opened"
    wait_until(lambda: readiness(gateway) == (200, "ok\n"), "the gateway is ready again")


def test_a_silence_is_waited_out_while_the_server_is_the_primary(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange))
    with waiting_commit(session, gateway) as (client, _):
        wait_until(
            lambda: "no answer from the database" in gateway.log.read_text(),
            "it asks for the primary",
        )
        assert not has_more(client), "the client was told something of a commit that still waited"
        release(session)
        assert client.reply()[0].tag == "opened"
