"""An answer is one when the server is ready for the next statement: what came before proves nothing."""

from collections.abc import Iterator

import pytest
from psycopg import sql

from tests.faults.cluster import Cluster, Session
from tests.faults.conftest import StartGateway
from tests.faults.scene import GatewayProcess
from tests.integration.client import WireClient

CREATE = b'<create><account id="1" balance="1000000"/><symbol sym="X"/></create>'

# So many orders that their result overflows the server's buffer: most of it is sent before the commit.
MANY = b'<transactions id="1">' + b'<order sym="X" amount="1" limit="1"/>' * 500 + b"</transactions>"

FAIL_AT_COMMIT = (
    "create function fails() returns trigger language plpgsql as "
    "$$ begin raise exception 'the commit fails' using errcode = 'EX999'; end $$",
    "create constraint trigger fails after insert on exchange.orders deferrable initially deferred "
    "for each row execute function fails()",
)


@pytest.fixture
def session(cluster: Cluster, exchange: str) -> Iterator[Session]:
    with cluster.connect(exchange) as session:
        yield session


def ask_for_what_fails_at_commit(session: Session, gateway: GatewayProcess) -> str:
    """Return the tag of the first answer to orders whose commit fails."""
    with WireClient(gateway.address) as client:
        assert client.ask(CREATE)[0].tag == "created"
        for statement in FAIL_AT_COMMIT:
            session.execute(sql.SQL(statement))
        reply = client.ask(MANY)
    assert session.execute("select count(*) from exchange.orders").fetchone() == (0,)
    return str(reply[0].tag)


def test_a_commit_that_fails_is_no_success(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange))
    assert ask_for_what_fails_at_commit(session, gateway) == "error"


def test_trust_in_the_first_result_is_found_out(
    cluster: Cluster, exchange: str, session: Session, start_gateway: StartGateway
) -> None:
    gateway = start_gateway("--database-url", cluster.dsn(exchange), mutant="trusts_the_first_result")
    assert ask_for_what_fails_at_commit(session, gateway) == "opened"
