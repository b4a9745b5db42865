"""The two images: what they are, and that they serve, log, tell their health and stop as they should."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator

import psycopg
import pytest
from lxml import etree
from psycopg.conninfo import make_conninfo
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from pgbourse.client.ping import ping
from pgbourse.testing import open_exchange
from pgbourse.wire.framing import Framing, wrap_reply
from tests.containers.conftest import PORT, POSTGRES_IMAGES, Start, address, docker, wait_for_health
from tests.integration.client import WireClient

CREATE = (
    b'<create><account id="1" balance="1000"/><account id="2" balance="0"/>'
    b'<symbol sym="X"><account id="2">10</account></symbol></create>'
)
SELL = b'<transactions id="2"><order sym="X" amount="-4" limit="5"/></transactions>'
BUY = b'<transactions id="1"><order sym="X" amount="4" limit="6"/><query id="2"/></transactions>'

# A healthcheck every second instead of every ten. Nothing of it is changed but that.
QUICK = {"interval": 1_000_000_000}


def hardened(image: str) -> DockerContainer:
    """A container that can write to temporary files and its volumes alone, and has no privileges."""
    return (
        DockerContainer(image)
        .with_exposed_ports(PORT)
        .with_tmpfs_mount("/tmp")
        .with_kwargs(
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            healthcheck=QUICK,
        )
    )


def trade(where: tuple[str, int], framing: Framing = Framing.LENGTH_LINE) -> None:
    """Create, sell and buy in this framing, and read back the fill."""
    with WireClient(where) as client:
        replies: list[etree._Element] = []
        for document in (CREATE, SELL, BUY):
            client.send_raw(wrap_reply(document, framing))
            replies.append(client.reply())
    assert [[child.tag for child in reply] for reply in replies] == [
        ["created", "created", "created"],
        ["opened"],
        ["opened", "status"],
    ]
    (executed,) = replies[2][1]
    assert (executed.get("shares"), executed.get("price")) == ("4", "5")


@pytest.mark.parametrize("target", ["gateway", "all-in-one"])
def test_an_image_is_small_and_needs_no_privilege(build: Callable[[str], str], target: str) -> None:
    image = build(target)
    (found,) = json.loads(docker("image", "inspect", image))
    config = found["Config"]
    assert config["User"] not in ("", "root", "0")
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "pgbourse", "ping"]
    assert list(config["ExposedPorts"]) == [f"{PORT}/tcp"]
    (base,) = json.loads(docker("image", "inspect", "python:3.11-slim"))
    megabytes = (found["Size"] - base["Size"]) / 1e6
    assert megabytes < {"gateway": 60, "all-in-one": 110}[target]
    # Nothing that installs or compiles, no tests, no checkout.
    listing = docker("run", "--rm", "--entrypoint", "sh", image, "-c", "ls / /opt/pgbourse/bin")
    assert not {"pip", "gcc", "src", "tests"} & set(listing.split())


@pytest.mark.parametrize("framing", list(Framing))
def test_all_in_one_needs_nothing_else(all_in_one_image: str, start: Start, framing: Framing) -> None:
    container = start(hardened(all_in_one_image))
    wait_for_health(container.get_wrapped_container().id)
    trade(address(container), framing)


def test_all_in_one_serves_the_pytest_plugin(all_in_one_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGBOURSE_TEST_EXCHANGE", all_in_one_image)
    with open_exchange() as exchange:
        for _ in range(2):
            trade(exchange.address)
            exchange.reset()


def test_logs_are_on_standard_output_and_a_stop_answers_what_was_received(
    all_in_one_image: str, start: Start
) -> None:
    container = start(hardened(all_in_one_image).with_env("PGBOURSE_LOG_FORMAT", "json"))
    id_ = container.get_wrapped_container().id
    wait_for_health(id_)
    with WireClient(address(container)) as client:
        client.send(CREATE, *[SELL] * 50)
        client.half_close()
        # The first reply: the rest has been received as well, or will be before the server ends.
        assert client.reply()[0].tag == "created"
        stopping = subprocess.Popen(["docker", "stop", "--time", "60", id_], stdout=subprocess.DEVNULL)
        tags = [client.reply()[0].tag for _ in range(50)]
        assert tags.count("opened") == 2  # of the 10 shares that there are
        assert stopping.wait() == 0
    assert docker("inspect", "--format", "{{.State.ExitCode}}", id_) == "0"
    out, err = container.get_logs()
    assert err == b""
    messages = [json.loads(line)["message"] for line in out.decode().splitlines()]
    assert any(
        re.fullmatch(r"listening on 0\.0\.0\.0:12345 \(PostgreSQL .*, embedded\)", m) for m in messages
    )
    assert messages[-1] == "stopped: all that was received has been answered"


def test_the_gateway_alone_asks_for_a_database(gateway_image: str) -> None:
    result = subprocess.run(
        ["docker", "run", "--rm", gateway_image], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == 1
    assert "name a database with --database-url (PGBOURSE_DATABASE_URL)" in result.stdout


@pytest.fixture(params=POSTGRES_IMAGES)
def postgres(request: pytest.FixtureRequest) -> Iterator[tuple[PostgresContainer, Network]]:
    """PostgreSQL in a network where it is called `database`."""
    with Network() as network:
        container = PostgresContainer(request.param, driver=None)
        with container.with_network(network).with_network_aliases("database"):
            yield container, network


def test_the_gateway_runs_on_any_postgresql(
    gateway_image: str, postgres: tuple[PostgresContainer, Network], start: Start
) -> None:
    database, network = postgres
    url = f"postgresql://{database.username}:{database.password}@database/{database.dbname}"
    gateway = hardened(gateway_image).with_network(network).with_env("PGBOURSE_DATABASE_URL", url)
    start(gateway)
    id_ = gateway.get_wrapped_container().id
    wait_for_health(id_)
    trade(address(gateway))

    # While the database is away the gateway lives on, and says that it is not well.
    docker("pause", database.get_wrapped_container().id)
    try:
        wait_for_health(id_, "unhealthy")
    finally:
        docker("unpause", database.get_wrapped_container().id)
    wait_for_health(id_)
    assert ping(*address(gateway), timeout=30) > 0
    dsn = make_conninfo(database.get_connection_url())
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select count(*) from exchange.executions").fetchone()
        assert row == (1,)
        assert connection.execute("select * from exchange.check_integrity()").fetchall() == []
